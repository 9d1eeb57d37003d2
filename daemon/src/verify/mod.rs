//! `berthctl quota verify`: compares a user's ledger with the home, exactly, while sessions work.
//!
//! A window is opened under the user's ticket; from then on sessions report what enters, leaves and moves.
//! A filer walks the home beside them, and is told what they report. In the end the ticket is taken once
//! more: with every act settled, nothing left to list and every report heard, the walk's sum and the ledger
//! are those of one instant. The ticket is held for moments ([`HOLD`]); only when sessions die again and
//! again, and their reports with them, is the whole walk made under it, for at most [`LAST_HOLD`].
//!
//! It moves nothing in a home, and changes the ledger only when it is told to fix.

mod hold;
mod walker;
mod windows;

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use berth_common::admin_protocol::Verification;
use berth_common::entry::Usage;
use berth_common::ids::{StagingName, UserName};
use berth_common::ledger_protocol::HomeSum;
use tokio::time::{Instant, sleep, timeout_at};

use crate::daemon::{Daemon, Stopped};
use crate::distrust;
use crate::exit::KillReason;
use crate::filer_handle::FilerError;
use crate::ledger::{LedgerError, UserState};
use crate::recovery::{self, RecoveryError};
use crate::serve::Given;
use hold::Hold;
use walker::Walker;

pub(crate) use hold::Holds;
pub(crate) use windows::{Next, Windows};

/// How long the ticket is held at most while sessions settle what they have begun and the last reports are
/// heard. What takes longer is waited for without it.
const HOLD: Duration = Duration::from_secs(2);

/// How long it is held at most for a walk that is made under it.
const LAST_HOLD: Duration = Duration::from_secs(20);

/// Walks beside working sessions, each blurred by the death of one, before one is made under the ticket.
const WALKS: usize = 4;

/// How often one walk may take the ticket in vain, because more was to be listed or settled than in [`HOLD`].
const ROUNDS: usize = 30;

/// How long what sessions have begun is waited for without the ticket: a large tree may be counted.
const SETTLING: Duration = Duration::from_secs(600);

/// How often rows are looked at that are not settled.
const POLL: Duration = Duration::from_millis(5);

/// Why a home could not be compared with the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Another verification of the same user is under way.
    #[error("it is being verified already")]
    UnderWay,
    /// The home is read-only.
    #[error(
        "the home is read-only, and the log says why: if the ledger's sums did not fit, --fix corrects \
         them and ends the user's sessions; else look at the disk and restart berthd first"
    )]
    ReadOnly,
    /// What is left of dead sessions cannot be replayed.
    #[error("what is left in staging cannot be replayed: {0}")]
    Replay(#[from] RecoveryError),
    /// What was deleted in an outage of the ledger counts as used, and is in no home.
    #[error(
        "what was deleted while the ledger could not be written is not accounted for yet; try again"
    )]
    Owing,
    /// The ticket does not come.
    #[error("a session holds the home and does not let go")]
    NoTicket,
    /// The home did not come to rest for a moment.
    #[error("the home changes too fast, or sessions die too often; try again")]
    Restless,
    /// The daemon ends.
    #[error("berthd is stopping")]
    Stopping,
    /// More or fewer bytes than the ledger can have.
    #[error("the sums are beyond what the ledger can hold")]
    Beyond,
    /// The user's directories.
    #[error("the home cannot be opened: {0}")]
    Directories(#[from] std::io::Error),
    /// The filer.
    #[error("{}", failed(.0))]
    Filer(#[from] FilerError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a filer says of itself is the reason, without who says it.
fn failed(error: &FilerError) -> String {
    match error {
        FilerError::Failed(reason) => reason.clone(),
        FilerError::Ended(_)
        | FilerError::Unsynced(_)
        | FilerError::Home(_)
        | FilerError::Channel(_) => error.to_string(),
    }
}

/// Compares, and with `fix` corrects the ledger.
///
/// # Errors
/// See [`VerifyError`]; nothing is changed then.
pub(crate) async fn verify(
    daemon: &Rc<Daemon>,
    user: &UserName,
    fix: bool,
) -> Result<Verification, VerifyError> {
    let under_way = UnderWay::begin(daemon, user)?;
    let record = daemon.ledger.user(user).await?.ok_or(LedgerError::NoSuchUser)?;
    if record.state != UserState::Active {
        return Err(LedgerError::UserGoing.into());
    }
    if fix && is_to_be_fixed(daemon, user) {
        let mut walks = WALKS;
        loop {
            match under_way.fix_stopped().await {
                Err(VerifyError::Filer(FilerError::Ended(report))) if walks > 0 => {
                    tracing::warn!(%user, ended = %report, "a walking filer ended; counting anew");
                    walks -= 1;
                }
                found => return found.inspect(log),
            }
        }
    }
    for walk in 0..=WALKS {
        let is_last = walk == WALKS;
        match under_way.walk(is_last, fix).await {
            Ok(Some(verification)) => {
                log(&verification);
                return Ok(verification);
            }
            Ok(None) => {}
            // Somebody killed it.
            Err(VerifyError::Filer(FilerError::Ended(report))) if !is_last => {
                tracing::warn!(%user, ended = %report, "a walking filer ended; verifying anew");
            }
            Err(error) => return Err(error),
        }
    }
    Err(VerifyError::Restless)
}

/// Whether the home is stopped for a reason that a correction of its sums takes away.
fn is_to_be_fixed(daemon: &Daemon, user: &UserName) -> bool {
    matches!(daemon.stopped(user), Some(Stopped::Imbalance | Stopped::Unverified))
}

/// Verifies the homes whose sums are not known to fit, one after the other, and lets changes in. One that
/// cannot be verified stays read-only.
pub(crate) async fn verify_unverified(daemon: Rc<Daemon>) {
    let unverified = match daemon.ledger.unverified_users().await {
        Ok(users) => users,
        Err(error) => return tracing::error!(%error, "cannot tell which homes are to be verified"),
    };
    for user in unverified {
        if let Err(error) = verify(&daemon, &user, true).await {
            tracing::error!(%user, %error, "could not be verified: run berthctl quota verify --fix");
        }
    }
}

fn verification(user: &UserName, usage: &Usage, sum: HomeSum) -> Verification {
    let HomeSum { bytes: disk_bytes, entries: disk_entries, linked, linked_names } = sum;
    Verification {
        user: user.clone(),
        ledger_bytes: usage.used_bytes,
        ledger_entries: usage.used_entries,
        disk_bytes,
        disk_entries,
        fixed: false,
        writable_again: false,
        linked,
        linked_names,
    }
}

fn log(verification: &Verification) {
    let Verification {
        user, ledger_bytes, ledger_entries, disk_bytes, disk_entries, fixed, ..
    } = verification;
    if verification.is_exact() {
        tracing::info!(%user, bytes = disk_bytes, entries = disk_entries, "the ledger equals the home");
    } else {
        tracing::error!(
            %user, ledger_bytes, ledger_entries, disk_bytes, disk_entries, fixed,
            "the ledger differs from the home"
        );
    }
    if verification.linked > 0 {
        let paths = &verification.linked_names;
        tracing::warn!(%user, files = verification.linked, ?paths, "files with several names are not served");
    }
}

/// The one verification of a user that is under way.
struct UnderWay {
    daemon: Rc<Daemon>,
    user: UserName,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.daemon.windows.borrow_mut().end(&self.user);
    }
}

/// Where the listing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// All is listed and heard.
    CaughtUp,
    /// The time with the ticket is over.
    OutOfTime,
    /// A report is lost.
    Blurred,
}

impl UnderWay {
    fn begin(daemon: &Rc<Daemon>, user: &UserName) -> Result<Self, VerifyError> {
        if !daemon.windows.borrow_mut().begin(user) {
            return Err(VerifyError::UnderWay);
        }
        Ok(Self { daemon: daemon.clone(), user: user.clone() })
    }

    /// A home that is stopped since the sums did not fit, or are not known to: nobody changes it, and intents may be left that
    /// could not be replayed. Its sessions, which can only read, are ended, so that these are nobody's.
    async fn fix_stopped(&self) -> Result<Verification, VerifyError> {
        let Self { daemon, user } = self;
        // Of a home that was stopped before it was served, sessions have nothing but what they read.
        if daemon.stopped(user) == Some(Stopped::Imbalance) {
            daemon.end_sessions_of(user, &KillReason::Administrator).await;
        }
        let turn = daemon.turn(user);
        let _turn = turn.lock().await;
        let home = open_home(daemon, user).await?;
        let mut walker =
            Walker::join(daemon.filers.take().await, user, home, daemon.settings().config.sandbox)
                .await?;
        while !walker.list().await? {}
        let sum = walker.sum().await?;
        walker.finish().await;
        let used = (i64::try_from(sum.bytes), i64::try_from(sum.entries));
        let (Ok(bytes), Ok(entries)) = used else {
            return Err(VerifyError::Beyond);
        };
        let usage = daemon.ledger.usage(user).await?;
        if !is_to_be_fixed(daemon, user) {
            return Err(VerifyError::ReadOnly);
        }
        let corrected = recovery::replay_and_correct(daemon, user, (bytes, entries)).await;
        if !is_to_be_fixed(daemon, user) {
            // A sync has failed meanwhile, and the mark that says so may have been taken away with the other.
            distrust::mark(daemon, user);
            return Err(VerifyError::ReadOnly);
        }
        corrected?;
        daemon.make_writable(user);
        let mut found = verification(user, &usage, sum);
        // What was not settled yet explains a part; the sums did not fit, so that it is corrected anyway.
        found.fixed = !found.is_exact();
        found.writable_again = true;
        Ok(found)
    }

    /// One walk; `None` when it is blurred.
    async fn walk(&self, held: bool, fix: bool) -> Result<Option<Verification>, VerifyError> {
        self.check()?;
        // It lists nothing yet; no session waits for its start.
        let home = open_home(&self.daemon, &self.user).await?;
        let filer = self.daemon.filers.take().await;
        let mut walker =
            Walker::join(filer, &self.user, home, self.daemon.settings().config.sandbox).await?;
        let found = if held {
            self.walk_held(&mut walker, fix).await
        } else {
            self.walk_beside(&mut walker, fix).await
        };
        walker.finish().await;
        found
    }

    /// Walks under the ticket.
    async fn walk_held(
        &self,
        walker: &mut Walker,
        fix: bool,
    ) -> Result<Option<Verification>, VerifyError> {
        let mut ticket = Some(self.take_ticket().await?);
        let until = Instant::now() + LAST_HOLD;
        if !self.all_is_settled(until).await? {
            return Ok(None);
        }
        self.daemon.windows.borrow_mut().open(&self.user);
        let (_, found) = self.finish(walker, &mut ticket, until, fix).await?;
        Ok(found)
    }

    /// Walks while sessions work, and takes the ticket for the end.
    async fn walk_beside(
        &self,
        walker: &mut Walker,
        fix: bool,
    ) -> Result<Option<Verification>, VerifyError> {
        let ticket = self.take_ticket().await?;
        self.daemon.windows.borrow_mut().open(&self.user);
        drop(ticket);
        for _ in 0..ROUNDS {
            if self.catch_up(walker, &mut None, None).await? == Course::Blurred {
                return Ok(None);
            }
            let mut ticket = Some(self.take_ticket().await?);
            let until = Instant::now() + HOLD;
            if !self.all_is_settled(until).await? {
                drop(ticket);
                self.settles_by_itself().await?;
                continue;
            }
            match self.finish(walker, &mut ticket, until, fix).await? {
                (Course::CaughtUp, found) => return Ok(found),
                (Course::Blurred, _) => return Ok(None),
                (Course::OutOfTime, _) => {}
            }
        }
        Err(VerifyError::Restless)
    }

    /// With the ticket, and every act settled: hears the last reports, lists what they put on the list, and
    /// compares.
    async fn finish(
        &self,
        walker: &mut Walker,
        ticket: &mut Option<Hold>,
        until: Instant,
        fix: bool,
    ) -> Result<(Course, Option<Verification>), VerifyError> {
        let course = self.catch_up(walker, ticket, Some(until)).await?;
        if course != Course::CaughtUp {
            return Ok((course, None));
        }
        let sum = {
            let sum = walker.sum();
            tokio::pin!(sum);
            match timeout_at(until, &mut sum).await {
                Ok(sum) => sum?,
                Err(_) => {
                    ticket.take();
                    sum.await?;
                    return Ok((Course::OutOfTime, None));
                }
            }
        };
        let next = self.daemon.windows.borrow_mut().next(&self.user);
        match next {
            Next::Nothing => Ok((course, Some(self.compare(sum, fix).await?))),
            Next::Reports(_) | Next::Blurred => Ok((Course::Blurred, None)),
            Next::Gone => Err(LedgerError::UserGoing.into()),
        }
    }

    /// Lists until nothing is left to list or to hear. With a ticket, `until` then; a filer that does not
    /// answer in time loses it, so that sessions never wait for a disk that hangs.
    async fn catch_up(
        &self,
        walker: &mut Walker,
        ticket: &mut Option<Hold>,
        until: Option<Instant>,
    ) -> Result<Course, VerifyError> {
        let mut is_listed = false;
        loop {
            self.check()?;
            let reports = match self.daemon.windows.borrow_mut().next(&self.user) {
                Next::Reports(reports) => Some(reports),
                Next::Nothing if is_listed => return Ok(Course::CaughtUp),
                Next::Nothing => None,
                Next::Blurred => return Ok(Course::Blurred),
                Next::Gone => return Err(LedgerError::UserGoing.into()),
            };
            let step = async {
                match reports {
                    Some(reports) => walker.hear(reports).await.map(|()| false),
                    None => walker.list().await,
                }
            };
            let Some(until) = until else {
                is_listed = step.await?;
                continue;
            };
            tokio::pin!(step);
            let Ok(done) = timeout_at(until, &mut step).await else {
                ticket.take();
                step.await?;
                return Ok(Course::OutOfTime);
            };
            is_listed = done?;
        }
    }

    /// At an instant: the ticket is held, and everything is settled.
    async fn compare(&self, sum: HomeSum, fix: bool) -> Result<Verification, VerifyError> {
        self.check()?;
        let Self { daemon, user } = self;
        let usage = daemon.ledger.usage(user).await?;
        // With the ticket nothing more is owed; after it was, this holds until it is accounted for.
        if !daemon.ledger.works() {
            return Err(LedgerError::Unavailable.into());
        }
        if daemon.may_owe(user) {
            return Err(VerifyError::Owing);
        }
        let mut found = verification(user, &usage, sum);
        if fix && !found.is_exact() {
            let (bytes, entries) = found.difference();
            let (Ok(bytes), Ok(entries)) = (i64::try_from(bytes), i64::try_from(entries)) else {
                return Err(VerifyError::Beyond);
            };
            daemon.ledger.correct(user, bytes, entries).await?;
            found.fixed = true;
        }
        Ok(found)
    }

    async fn take_ticket(&self) -> Result<Hold, VerifyError> {
        self.check()?;
        let taken = Hold::take(&self.daemon, &self.user).await;
        self.check()?;
        taken.ok_or(VerifyError::NoTicket)
    }

    /// With the ticket: waits until every act is settled, so that what is used is what has happened. An
    /// intent that waits for the ticket has not acted. A dead session's is settled by its replay.
    async fn all_is_settled(&self, until: Instant) -> Result<bool, VerifyError> {
        loop {
            if self.unsettled().await?.is_empty() {
                return Ok(true);
            }
            // Some of it may belong to a batch that gave the ticket back half way, and waits for it now.
            if Instant::now() >= until || self.a_batch_may_wait() {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }

    /// Whether a session waits for the ticket alone: for a plain rename, or for the rest of a batch.
    fn a_batch_may_wait(&self) -> bool {
        let tickets = self.daemon.tickets.borrow();
        tickets.waiting(&self.user).any(|given| *given == Given::Names(Vec::new()))
    }

    /// Without the ticket: waits until what is unsettled now is settled, whatever else is begun.
    async fn settles_by_itself(&self) -> Result<(), VerifyError> {
        let until = Instant::now() + SETTLING;
        let begun = self.unsettled().await?;
        while !self.unsettled().await?.is_disjoint(&begun) {
            if Instant::now() >= until {
                return Err(VerifyError::Restless);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Intents that are not known to wait for the ticket.
    async fn unsettled(&self) -> Result<HashSet<StagingName>, VerifyError> {
        self.check()?;
        let pending = self.daemon.ledger.pending(&self.user).await?;
        let tickets = self.daemon.tickets.borrow();
        let waiting: HashSet<StagingName> =
            tickets.waiting(&self.user).flat_map(Given::names).copied().collect();
        let names = pending.intents.iter().map(|row| row.name);
        Ok(names.filter(|name| !waiting.contains(name)).collect())
    }

    fn check(&self) -> Result<(), VerifyError> {
        if self.daemon.stopping.is_up() {
            return Err(VerifyError::Stopping);
        }
        if self.daemon.is_read_only(&self.user) {
            return Err(VerifyError::ReadOnly);
        }
        Ok(())
    }
}

async fn open_home(daemon: &Daemon, user: &UserName) -> io::Result<OwnedFd> {
    let name = user.clone();
    daemon.homes.off_thread(move |homes| homes.open_home(&name)).await
}

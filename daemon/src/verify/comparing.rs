//! One walk through a home that is in use, and its comparison with the ledger at one instant.

use std::time::Duration;

use berth_common::admin_protocol::Verification;
use berth_common::ledger_protocol::HomeSum;
use tokio::time::{Instant, timeout_at};

use super::hold::Hold;
use super::walker::Walker;
use super::windows::Next;
use super::{UnderWay, VerifyError, open_home, verification};
use crate::ledger::LedgerError;

/// How long the ticket is held at most while sessions settle what they have begun and the last reports are
/// heard. What takes longer is waited for without it.
pub(super) const HOLD: Duration = Duration::from_secs(2);

/// How long it is held at most for a walk that is made under it.
pub(super) const LAST_HOLD: Duration = Duration::from_secs(20);

/// How often one walk may take the ticket in vain, because more was to be listed or settled than in [`HOLD`].
const ROUNDS: usize = 30;

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
    /// One walk; `None` when it is blurred.
    pub(super) async fn walk(
        &self,
        held: bool,
        fix: bool,
    ) -> Result<Option<Verification>, VerifyError> {
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
}

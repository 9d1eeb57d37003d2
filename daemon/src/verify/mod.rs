//! `berthctl quota verify`: compares a user's ledger with the home, exactly, while sessions work.
//!
//! A window is opened under the user's ticket; from then on sessions report what enters, leaves and moves.
//! A filer walks the home beside them, and is told what they report. In the end the ticket is taken once
//! more: with every act settled, nothing left to list and every report heard, the walk's sum and the ledger
//! are those of one instant. The ticket is held for moments ([`comparing::HOLD`]); only when sessions die again and
//! again, and their reports with them, is the whole walk made under it, for at most [`comparing::LAST_HOLD`].
//!
//! It moves nothing in a home, and changes the ledger only when it is told to fix.

mod comparing;
mod error;
mod hold;
mod settling;
mod stopped;
mod walker;
mod windows;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_common::admin_protocol::Verification;
use berth_common::entry::Usage;
use berth_common::ids::UserName;
use berth_common::ledger_protocol::HomeSum;

use crate::daemon::Daemon;
use crate::filer_handle::FilerError;
use crate::ledger::{LedgerError, UserState};
use hold::Hold;
use stopped::is_to_be_fixed;

pub(crate) use error::VerifyError;
pub(crate) use hold::Holds;
pub(crate) use windows::Windows;

/// Walks beside working sessions, each blurred by the death of one, before one is made under the ticket.
const WALKS: usize = 4;

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

impl UnderWay {
    fn begin(daemon: &Rc<Daemon>, user: &UserName) -> Result<Self, VerifyError> {
        if !daemon.windows.borrow_mut().begin(user) {
            return Err(VerifyError::UnderWay);
        }
        Ok(Self { daemon: daemon.clone(), user: user.clone() })
    }

    async fn take_ticket(&self) -> Result<Hold, VerifyError> {
        self.check()?;
        let taken = Hold::take(&self.daemon, &self.user).await;
        self.check()?;
        taken.ok_or(VerifyError::NoTicket)
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

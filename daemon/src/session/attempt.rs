//! What a login or a change of password meets on its way: refusals, the ledger, and the filer that joins.
//!
//! It runs beside the session's task and is dropped with the session; a filer that joined is ended then.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, UserName};
use rustix::fd::OwnedFd;

use super::login::{Login, Outcome};
use super::password::PasswordOutcome;
use crate::auth::{Accepted, AddressKey, Refusal};
use crate::daemon::Daemon;
use crate::filer_handle::{self, Filer, FilerError, Unowned};
use crate::ledger::{LedgerError, UserRecord};

/// How many filers a login tries.
const FILERS: u32 = 2;

/// Why a step did not succeed.
pub(super) enum Obstacle {
    /// The client is at fault.
    Refusal(Refusal),
    /// The ledger is.
    Ledger(LedgerError),
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<LedgerError> for Obstacle {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Whose attempt it is, for log lines.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) session: SessionId,
    pub(super) addr: SocketAddr,
}

impl Attempt {
    /// A login that failed: logged with its reason, answered without.
    pub(super) async fn refused(
        self,
        daemon: &Daemon,
        address: AddressKey,
        claimed: Option<&str>,
        obstacle: Obstacle,
    ) -> Outcome {
        let (session, addr) = (self.session.0, self.addr);
        match obstacle {
            Obstacle::Refusal(refusal) => {
                let name = claimed.map(tracing::field::debug);
                tracing::warn!(session, %addr, name, reason = %refusal, "login refused");
                held_back(daemon, address, claimed).await
            }
            Obstacle::Ledger(error) => {
                tracing::error!(session, %addr, %error, "nobody can log in");
                Outcome::Refused(ErrorCode::LedgerUnavailable)
            }
        }
    }

    pub(super) fn password_refused(self, user: &UserName, obstacle: &Obstacle) -> PasswordOutcome {
        let session = self.session.0;
        match obstacle {
            Obstacle::Refusal(reason) => {
                tracing::warn!(session, %user, addr = %self.addr, %reason, "password not changed");
            }
            Obstacle::Ledger(error) => {
                tracing::error!(session, %user, addr = %self.addr, %error, "password not changed");
            }
        }
        PasswordOutcome::Over(false)
    }

    /// The password is right: makes the session the user's and joins a filer to it.
    pub(super) async fn join(self, daemon: &Rc<Daemon>, accepted: Accepted) -> Outcome {
        let user = &accepted.user;
        let (session, addr) = (self.session.0, self.addr);
        // From here on nobody is let in at its cost. Before the proof is known to be right it is anybody's.
        daemon.pending.borrow_mut().log_in(self.session);
        let most = daemon.settings().config.max_sessions_per_user;
        if !daemon.sessions.borrow_mut().log_in(self.session, user, most) {
            tracing::warn!(session, %user, %addr, most, "one session too many");
            return Outcome::Refused(ErrorCode::TooManySessions { limit: most });
        }
        // Whoever locks or removes a user does that first and then ends the sessions that are in the
        // table. This one is in it now: either it is ended, or the lock is seen here.
        match daemon.ledger.user(user).await {
            Ok(Some(record)) if record.may_log_in() => {}
            Ok(_) => return Outcome::Refused(Refusal::LOGIN_CODE),
            Err(error) => {
                tracing::error!(session, %user, %addr, %error, "cannot log in");
                return Outcome::Refused(ErrorCode::LedgerUnavailable);
            }
        }
        match self.filer(daemon, user).await {
            Ok((filer, workers_end)) => {
                let filer = Unowned::new(filer);
                Outcome::Accepted(Box::new(Login { accepted, filer, workers_end }))
            }
            Err(error) => {
                tracing::error!(session, %user, %addr, %error, "no filer joined");
                Outcome::Refused(ErrorCode::Internal)
            }
        }
    }

    /// A filer that has joined, with the worker's end of the channel between them. Where one ends instead,
    /// as a spare that died just before it was taken, another one is tried.
    async fn filer(
        self,
        daemon: &Daemon,
        user: &UserName,
    ) -> Result<(Rc<Filer>, OwnedFd), FilerError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let name = user.clone();
            let opened = daemon.homes.off_thread(move |homes| homes.open(&name)).await;
            let directories = opened.map_err(FilerError::Home)?;
            let filer = daemon.filers.take().await;
            let (sync, sandbox) = (daemon.homes.sync(), daemon.settings().config.sandbox);
            match filer_handle::serve(filer, user, self.session, directories, sync, sandbox).await {
                Err(FilerError::Ended(report)) if tries < FILERS => {
                    tracing::warn!(session = self.session.0, %user, %report, "a filer did not join");
                }
                done => return done,
            }
        }
    }
}

/// Counts a failure of this address, and holds the refusal back as it deserves.
pub(super) async fn held_back(
    daemon: &Daemon,
    address: AddressKey,
    claimed: Option<&str>,
) -> Outcome {
    let delay = daemon.failures.borrow_mut().failed(address, claimed, Instant::now());
    tokio::time::sleep(delay).await;
    Outcome::Refused(Refusal::LOGIN_CODE)
}

/// The ledger's record of a user. A name that is none costs no read, as it cannot be a user's.
pub(super) async fn record(
    daemon: &Daemon,
    user: Option<UserName>,
) -> Result<Option<UserRecord>, LedgerError> {
    match user {
        Some(user) => daemon.ledger.user(&user).await,
        None => Ok(None),
    }
}

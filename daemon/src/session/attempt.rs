//! What a login, an invitation or a new credential meets on its way: refusals, the ledger, and the filer that joins.
//!
//! It runs beside the session's task and is dropped with the session; a filer that joined is ended then.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use berth_common::credentials::DeviceKey;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, UserName};
use rustix::fd::OwnedFd;
use tokio::task::spawn_local;

use super::login::{Login, Outcome};
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

    /// The proof is right: makes the session the user's and joins a filer to it.
    pub(super) async fn join(self, daemon: &Rc<Daemon>, accepted: Accepted) -> Outcome {
        let user = &accepted.user;
        let (session, addr) = (self.session.0, self.addr);
        // From here on nobody is let in at its cost. Before the proof is known to be right it is anybody's.
        daemon.pending.borrow_mut().log_in(self.session);
        let most = daemon.settings().config.max_sessions_per_user;
        let device = accepted.device.map(|key| key.id());
        if !daemon.sessions.borrow_mut().log_in(self.session, user, device, most) {
            tracing::warn!(session, %user, %addr, most, "one session too many");
            return Outcome::Refused(ErrorCode::TooManySessions { limit: most });
        }
        // Whoever locks or removes a user, or revokes a device, does that first and then ends the sessions
        // that are in the table. This one is in it now: either it is ended, or that is seen here.
        match self.is_let_in(daemon, &accepted).await {
            Ok(true) => {}
            Ok(false) => return Outcome::Refused(Refusal::LOGIN_CODE),
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

    /// Whether the user, by this device, may be here at this moment.
    async fn is_let_in(
        self,
        daemon: &Rc<Daemon>,
        accepted: &Accepted,
    ) -> Result<bool, LedgerError> {
        let user = &accepted.user;
        let Some(key) = accepted.device else {
            let record = daemon.ledger.user(user).await?;
            return Ok(record.is_some_and(|record| record.may_log_in()));
        };
        let Some(device) = daemon.ledger.device(user, key).await? else {
            return Ok(false);
        };
        let may_log_in = device.user.may_log_in();
        if may_log_in {
            note_use(daemon, user, key, device.used_s);
        }
        Ok(may_log_in)
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

/// How old the time may be that is kept of a device's last login: a login costs no write then.
const USED_WITHIN: Duration = Duration::from_secs(3600);

/// Nobody waits for it.
fn note_use(daemon: &Rc<Daemon>, user: &UserName, key: DeviceKey, used_s: Option<i64>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let used = Duration::from_secs(used_s.unwrap_or_default().try_into().unwrap_or_default());
    if used_s.is_some() && now.abs_diff(used) < USED_WITHIN {
        return;
    }
    let (daemon, user) = (daemon.clone(), user.clone());
    spawn_local(async move {
        if let Err(error) = daemon.ledger.device_used(&user, key).await {
            tracing::warn!(%user, device = %key.id(), %error, "its use was not noted");
        }
    });
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

//! A session's logins and changes of password: what is looked up, checked and joined beside its task.
//!
//! Unknown users, wrong passwords and locked users take the same steps here, too: two reads of the ledger
//! and one answer that is held back as long as the address's failures say.

use std::rc::Rc;
use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, UserName};
use berth_common::scram::ScramVerifier;
use rustix::fd::OwnedFd;
use tokio::task::spawn_local;

use super::{End, Event, Session, Stage};
use crate::auth::{
    self, Accepted, AddressKey, AwaitingFinal, AwaitingPassword, LoginHello, Refusal,
};
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::filer_handle::{self, Unowned};
use crate::ledger::{LedgerError, UserRecord};
use crate::serve::Serving;

/// How far a login came.
pub(crate) enum Outcome {
    /// The client is to prove that it knows the password.
    Challenged(Vec<u8>, Box<AwaitingFinal>),
    /// The proof is right, and a filer has joined.
    Accepted(Box<Login>),
    /// The client is told this, now.
    Refused(ErrorCode),
    /// The session cannot go on.
    Failed(String),
}

/// An accepted login.
pub(crate) struct Login {
    accepted: Accepted,
    filer: Unowned,
    workers_end: OwnedFd,
}

/// How far a change of password came.
pub(crate) enum PasswordOutcome {
    /// The client is to prove that it knows the current one.
    Challenged(Vec<u8>, Box<AwaitingPassword>),
    /// It is changed, or not.
    Over(bool),
}

impl Session {
    /// The client's answer to the site challenge.
    pub(super) fn site_proof(&mut self, proof: &[u8; 32]) {
        let Stage::SitePending { challenge } = self.stage else {
            return;
        };
        let secret = self.daemon.site_secret.as_deref().unwrap_or_default();
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        if auth::site_proof_holds(secret, &challenge, &self.exporter, proof) {
            self.worker.accept_site();
            self.stage = Stage::LoginPending;
            return;
        }
        tracing::warn!(session = self.id.0, addr = %self.peer, "the site proof is wrong");
        // It counts like a failed login, and is answered like one.
        self.stage = Stage::LoginChecking;
        let (daemon, address) = (self.daemon.clone(), self.address());
        self.beside(async move { Event::Login(held_back(&daemon, address).await) });
    }

    /// The client says who it wants to be.
    pub(super) fn login_first(&mut self, message: &[u8]) {
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        self.stage = Stage::LoginLookup;
        let (daemon, address, exporter) = (self.daemon.clone(), self.address(), self.exporter);
        let hello = LoginHello::parse(message);
        let attempt = self.attempt();
        self.beside(async move {
            let challenge = async {
                let hello = hello?;
                let record = record(&daemon, hello.user()).await?;
                let (message, awaiting) =
                    hello.challenge(record.as_ref(), &daemon.secret, &exporter)?;
                Ok(Outcome::Challenged(message, Box::new(awaiting)))
            };
            let outcome = match challenge.await {
                Ok(outcome) => outcome,
                Err(error) => attempt.refused(&daemon, address, None, error).await,
            };
            Event::Login(outcome)
        });
    }

    /// The client's proof.
    pub(super) fn login_final(&mut self, message: Vec<u8>) {
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        let before = std::mem::replace(&mut self.stage, Stage::LoginChecking);
        let Stage::LoginChallenged(awaiting) = before else {
            return;
        };
        let (daemon, address, attempt) = (self.daemon.clone(), self.address(), self.attempt());
        self.beside(async move {
            let claimed = awaiting.claimed_name().to_owned();
            let checked = async {
                let record = record(&daemon, awaiting.user()).await?;
                Ok(awaiting.finish(&message, record.as_ref())?)
            };
            let outcome = match checked.await {
                Ok(accepted) => {
                    daemon.failures.borrow_mut().succeeded(address);
                    attempt.join(&daemon, accepted).await
                }
                Err(error) => {
                    attempt
                        .refused(&daemon, address, Some(&claimed), error)
                        .await
                }
            };
            Event::Login(outcome)
        });
    }

    /// A login came so far.
    pub(super) fn login_outcome(&mut self, outcome: Outcome) -> Option<End> {
        match outcome {
            Outcome::Challenged(message, awaiting) => {
                self.worker.challenge_login(message);
                self.stage = Stage::LoginChallenged(awaiting);
            }
            Outcome::Accepted(login) => self.log_in(*login),
            Outcome::Refused(error) => self.refuse(error),
            Outcome::Failed(reason) => return Some(End::Kill(KillReason::Internal(reason))),
        }
        None
    }

    fn log_in(&mut self, login: Login) {
        let Login {
            accepted: Accepted { server_final, user },
            filer,
            workers_end,
        } = login;
        let Some(filer) = filer.owned() else { return };
        let pid = filer.process().pid;
        self.daemon.sessions.borrow_mut().set_filer(self.id, pid);
        tracing::info!(session = self.id.0, %user, addr = %self.peer, filer = pid, "login");
        self.worker.accept_login(server_final, &user, workers_end);
        let serving = Serving::new(self.daemon.clone(), user, self.id, filer);
        self.control.serving.replace(Some(serving.clone()));
        let events = self.control.events.clone();
        let task = spawn_local({
            let serving = serving.clone();
            async move {
                serving.run().await;
                drop(events.send(Event::FilerEnded));
            }
        });
        self.serving = Some((serving, task));
        self.stage = Stage::Serving;
        self.deadline = None;
    }

    /// Begins a change of password.
    pub(super) fn password_first(&mut self, message: Vec<u8>, new: ScramVerifier) {
        let Some(user) = self.user() else { return };
        self.stage = Stage::PasswordLookup;
        let (daemon, exporter, attempt) = (self.daemon.clone(), self.exporter, self.attempt());
        self.beside(async move {
            let begun = async {
                let record = record(&daemon, Some(user.clone())).await?;
                Ok(AwaitingPassword::begin(
                    &message,
                    new,
                    &user,
                    record.as_ref(),
                    &exporter,
                )?)
            };
            Event::Password(match begun.await {
                Ok((message, awaiting)) => PasswordOutcome::Challenged(message, Box::new(awaiting)),
                Err(error) => attempt.password_refused(&user, &error),
            })
        });
    }

    /// Ends a change of password.
    pub(super) fn password_final(&mut self, message: Vec<u8>) {
        let Some(user) = self.user() else { return };
        let before = std::mem::replace(&mut self.stage, Stage::PasswordChecking);
        let Stage::PasswordChallenged(awaiting) = before else {
            return;
        };
        let (daemon, attempt) = (self.daemon.clone(), self.attempt());
        let address = self.address();
        self.beside(async move {
            let changed = async {
                let record = record(&daemon, Some(user.clone())).await?;
                let verifier = awaiting.finish(&message, record.as_ref())?;
                daemon.ledger.set_verifier(&user, verifier).await?;
                Ok(())
            };
            Event::Password(match changed.await {
                Ok(()) => {
                    tracing::info!(session = attempt.session.0, %user, "password changed");
                    PasswordOutcome::Over(true)
                }
                Err(error) => {
                    // A session must not be a way to try passwords quickly.
                    let delay = daemon.failures.borrow_mut().failed(address, Instant::now());
                    tokio::time::sleep(delay).await;
                    attempt.password_refused(&user, &error)
                }
            })
        });
    }

    /// A change of password came so far.
    pub(super) fn password_outcome(&mut self, outcome: PasswordOutcome) {
        match outcome {
            PasswordOutcome::Challenged(message, awaiting) => {
                self.worker.challenge_password(message);
                self.stage = Stage::PasswordChallenged(awaiting);
            }
            PasswordOutcome::Over(changed) => {
                self.worker.answer_password(changed);
                self.stage = Stage::Serving;
            }
        }
    }

    /// Does this beside the session's task; it is dropped when the session ends before.
    fn beside(&mut self, work: impl Future<Output = Event> + 'static) {
        let events = self.control.events.clone();
        self.beside = Some(spawn_local(async move {
            let event = work.await;
            drop(events.send(event));
        }));
    }

    fn check_address(&self) -> Result<(), ErrorCode> {
        let checked = self
            .daemon
            .failures
            .borrow()
            .check(self.address(), Instant::now());
        if let Err(error) = &checked {
            tracing::warn!(session = self.id.0, addr = %self.peer, %error, "refused");
        }
        checked
    }

    fn address(&self) -> AddressKey {
        self.peer.ip().into()
    }

    fn user(&self) -> Option<UserName> {
        self.serving
            .as_ref()
            .map(|(serving, _)| serving.user.clone())
    }

    fn attempt(&self) -> Attempt {
        Attempt {
            session: self.id,
            addr: self.peer,
        }
    }
}

/// Why a step did not succeed.
enum Obstacle {
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
struct Attempt {
    session: SessionId,
    addr: std::net::SocketAddr,
}

impl Attempt {
    /// A login that failed: logged with its reason, answered without.
    async fn refused(
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
                held_back(daemon, address).await
            }
            Obstacle::Ledger(error) => {
                tracing::error!(session, %addr, %error, "nobody can log in");
                Outcome::Refused(ErrorCode::LedgerUnavailable)
            }
        }
    }

    fn password_refused(self, user: &UserName, obstacle: &Obstacle) -> PasswordOutcome {
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
    async fn join(self, daemon: &Rc<Daemon>, accepted: Accepted) -> Outcome {
        let user = &accepted.user;
        let (session, addr) = (self.session.0, self.addr);
        let most = daemon.config.max_sessions_per_user;
        if !daemon
            .sessions
            .borrow_mut()
            .log_in(self.session, user, most)
        {
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
        let directories = match daemon.homes.open(user) {
            Ok(directories) => directories,
            Err(error) => {
                tracing::error!(session, %user, %addr, %error, "the home cannot be opened");
                return Outcome::Refused(ErrorCode::Internal);
            }
        };
        let filer = daemon.filers.take().await;
        match filer_handle::serve(filer, user, self.session, directories).await {
            Ok((filer, workers_end)) => {
                let filer = Unowned::new(filer);
                Outcome::Accepted(Box::new(Login {
                    accepted,
                    filer,
                    workers_end,
                }))
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// Counts a failure of this address, and holds the refusal back as it deserves.
async fn held_back(daemon: &Daemon, address: AddressKey) -> Outcome {
    let delay = daemon.failures.borrow_mut().failed(address, Instant::now());
    tokio::time::sleep(delay).await;
    Outcome::Refused(Refusal::LOGIN_CODE)
}

/// The ledger's record of a user. A name that is none costs no read, as it cannot be a user's.
async fn record(
    daemon: &Daemon,
    user: Option<UserName>,
) -> Result<Option<UserRecord>, LedgerError> {
    match user {
        Some(user) => daemon.ledger.user(&user).await,
        None => Ok(None),
    }
}

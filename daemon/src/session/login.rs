//! A session's login: what is looked up, checked and joined beside its task.
//!
//! Unknown users, wrong passwords and locked users take the same steps here, too: two reads of the ledger
//! and one answer that is held back as long as the address's failures say.

use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use rustix::fd::OwnedFd;
use tokio::task::spawn_local;

use super::attempt::{Attempt, held_back, record};
use super::{Event, Session, SiteChallenge, Stage};
use crate::auth::{self, Accepted, AddressKey, AwaitingFinal, DeviceLogin, LoginHello};
use crate::bucket::SERVING_WORKER;
use crate::filer_handle::Unowned;
use crate::incidents::Task;
use crate::serve::Serving;

/// How far a login came.
pub(crate) enum Outcome {
    /// The client is to prove that it knows the password.
    Challenged(Vec<u8>, Box<AwaitingFinal>),
    /// The proof is right, and a filer has joined.
    Accepted(Box<Login>),
    /// The client is told this, now.
    Refused(ErrorCode),
}

/// An accepted login.
pub(crate) struct Login {
    pub(super) accepted: Accepted,
    pub(super) filer: Unowned,
    pub(super) workers_end: OwnedFd,
}

impl Session {
    /// The client's answer to the site challenge.
    pub(super) fn site_proof(&mut self, proof: &[u8; 32]) {
        let Stage::SitePending(SiteChallenge { challenge, secret }) = &self.stage else {
            return;
        };
        let holds = auth::site_proof_holds(secret, challenge, &self.exporter, proof);
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        if holds {
            self.worker.accept_site();
            self.stage = Stage::LoginPending;
            return;
        }
        tracing::warn!(session = self.id.0, addr = %self.peer, "the site proof is wrong");
        // It counts like a failed login, and is answered like one.
        self.stage = Stage::LoginChecking;
        let (daemon, address) = (self.daemon.clone(), self.address());
        self.beside(async move { Event::Login(held_back(&daemon, address, None).await) });
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
                    daemon.failures.borrow_mut().succeeded(address, accepted.user.as_str());
                    attempt.join(&daemon, accepted).await
                }
                Err(error) => attempt.refused(&daemon, address, Some(&claimed), error).await,
            };
            Event::Login(outcome)
        });
    }

    /// The client logs in by a device's key.
    pub(super) fn login_device(&mut self, login: DeviceLogin) {
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        self.stage = Stage::LoginChecking;
        let (daemon, address, exporter) = (self.daemon.clone(), self.address(), self.exporter);
        let attempt = self.attempt();
        self.beside(async move {
            let claimed = login.user.to_string();
            let checked = async {
                login.verify(&exporter)?;
                let record = daemon.ledger.device(&login.user, login.key).await?;
                Ok(login.accept(record.as_ref())?)
            };
            let outcome = match checked.await {
                Ok(accepted) => {
                    daemon.failures.borrow_mut().succeeded(address, &claimed);
                    attempt.join(&daemon, accepted).await
                }
                Err(error) => attempt.refused(&daemon, address, Some(&claimed), error).await,
            };
            Event::Login(outcome)
        });
    }

    /// A login came so far.
    pub(super) fn login_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Challenged(message, awaiting) => {
                self.worker.challenge_login(message);
                self.stage = Stage::LoginChallenged(awaiting);
            }
            Outcome::Accepted(login) => self.log_in(*login),
            Outcome::Refused(error) => self.refuse(error),
        }
    }

    fn log_in(&mut self, login: Login) {
        let Login { accepted: Accepted { server_final, user, device }, filer, workers_end } = login;
        let Some(filer) = filer.owned() else { return };
        let pid = filer.process().pid;
        self.daemon.sessions.borrow_mut().set_filer(self.id, pid);
        let device = device.map(|key| tracing::field::display(key.id()));
        tracing::info!(session = self.id.0, %user, addr = %self.peer, filer = pid, device, "login");
        let (session, peer) = (Some(self.id), Some(self.peer));
        self.worker.process().set_task(Task { session, user: Some(user.clone()), peer });
        let worker = self.worker.process().clone();
        self.worker.set_rate(SERVING_WORKER);
        self.worker.accept_login(server_final, &user, workers_end);
        let serving = Serving::new(self.daemon.clone(), user, self.id, filer, worker);
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

    /// Does this beside the session's task; it is dropped when the session ends before.
    pub(super) fn beside(&mut self, work: impl Future<Output = Event> + 'static) {
        let events = self.control.events.clone();
        self.beside = Some(spawn_local(async move {
            let event = work.await;
            drop(events.send(event));
        }));
    }

    pub(super) fn check_address(&self) -> Result<(), ErrorCode> {
        let checked = self.daemon.failures.borrow().check(self.address(), Instant::now());
        if let Err(error) = &checked {
            tracing::warn!(session = self.id.0, addr = %self.peer, %error, "refused");
        }
        checked
    }

    pub(super) fn address(&self) -> AddressKey {
        self.peer.ip().into()
    }

    pub(super) fn user(&self) -> Option<UserName> {
        self.serving.as_ref().map(|(serving, _)| serving.user.clone())
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt { session: self.id, addr: self.peer }
    }
}

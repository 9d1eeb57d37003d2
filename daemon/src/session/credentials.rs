//! A session's credentials: new ones, each by a second proof that covers it, and its user's devices.
//!
//! What is looked up and checked is so beside the session's task. Transfers go on meanwhile.

use std::rc::Rc;
use std::time::Instant;

use berth_common::credentials::{DeviceId, DeviceSummary, NewCredential};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use tokio::task::spawn_local;

use super::attempt::{Attempt, Obstacle, record};
use super::end::End;
use super::{Event, Session, Stage};
use crate::auth::{AddressKey, AwaitingCredential};
use crate::bucket::Rate;
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::ledger::LedgerError;

/// Questions about credentials: one that does not succeed is held back, or its address is, and each has its log line.
/// An honest worker relays whatever its client asks one after the other, so that past them the client is to blame: its
/// session is ended for more tries at a password, and told to wait with other questions.
pub(super) const CHANGES: Rate = Rate { a_second: 1, at_once: 16 };

/// How far it came.
pub(crate) enum CredentialOutcome {
    /// The client is to prove that it knows the current password.
    Challenged(Vec<u8>, Box<AwaitingCredential>),
    /// It is done.
    Changed,
    /// It is not done, and the client is told why.
    Refused(ErrorCode),
    /// The user's devices.
    Devices(Vec<DeviceSummary>),
}

/// Logs why it was not done, and counts what the client is at fault for as a failed login, held back as that deserves.
async fn refused(
    daemon: &Daemon,
    address: AddressKey,
    attempt: Attempt,
    user: &UserName,
    obstacle: Obstacle,
) -> CredentialOutcome {
    let (session, addr) = (attempt.session.0, attempt.addr);
    match obstacle {
        Obstacle::Refusal(reason) => {
            tracing::warn!(session, %user, %addr, %reason, "credentials not changed");
            let name = Some(user.as_str());
            let delay = daemon.failures.borrow_mut().failed(address, name, Instant::now());
            tokio::time::sleep(delay).await;
            CredentialOutcome::Refused(ErrorCode::PasswordRefused)
        }
        Obstacle::Ledger(LedgerError::Refused(code)) => {
            tracing::warn!(session, %user, %addr, %code, "credentials not changed");
            CredentialOutcome::Refused(code)
        }
        Obstacle::Ledger(error) => {
            tracing::error!(session, %user, %addr, %error, "credentials not changed");
            CredentialOutcome::Refused(ErrorCode::LedgerUnavailable)
        }
    }
}

impl Session {
    /// Begins to store a credential.
    pub(super) fn credential_first(&mut self, message: Vec<u8>, new: NewCredential) -> Option<End> {
        let user = self.user()?;
        if self.is_too_often() {
            return Some(End::Kill(KillReason::CredentialTries));
        }
        // As at a login, so that a session is no way to try passwords quickly.
        if let Err(error) = self.check_address() {
            self.worker.refuse_credentials(error);
            return None;
        }
        self.stage = Stage::CredentialLookup;
        let (daemon, exporter, attempt) = (self.daemon.clone(), self.exporter, self.attempt());
        let address = self.address();
        self.beside(async move {
            let begun = async {
                let record = record(&daemon, Some(user.clone())).await?;
                Ok(AwaitingCredential::begin(&message, new, &user, record.as_ref(), &exporter)?)
            };
            Event::Credential(match begun.await {
                Ok((message, awaiting)) => {
                    CredentialOutcome::Challenged(message, Box::new(awaiting))
                }
                Err(error) => refused(&daemon, address, attempt, &user, error).await,
            })
        });
        None
    }

    /// Stores it, if the proof is right.
    pub(super) fn credential_final(&mut self, message: Vec<u8>) {
        let before = std::mem::replace(&mut self.stage, Stage::CredentialChecking);
        let Stage::CredentialChallenged(awaiting) = before else {
            return;
        };
        self.change(async move |daemon, user, attempt| {
            let session = attempt.session.0;
            let record = record(daemon, Some(user.clone())).await?;
            match awaiting.finish(&message, record.as_ref())? {
                (from, NewCredential::Password(to)) => {
                    daemon.ledger.change_verifier(user, from, to).await?;
                    tracing::info!(session, %user, "password changed");
                }
                (proved, NewCredential::Device { key, name }) => {
                    let device = key.id();
                    daemon.ledger.register_device(user, proved, key, name).await?;
                    tracing::info!(session, %user, %device, "device registered");
                }
            }
            Ok(CredentialOutcome::Changed)
        });
    }

    /// Tells the user's devices.
    pub(super) fn devices(&mut self) {
        if self.is_too_often() {
            return self.worker.refuse_credentials(ErrorCode::Busy);
        }
        self.change(async |daemon, user, _| {
            Ok(CredentialOutcome::Devices(daemon.ledger.devices(user).await?))
        });
    }

    /// Revokes devices of the user, and ends their sessions but for this one. It is done to its end, also when this
    /// session ends meanwhile: a device that cannot log in any more shall not go on by a session of before.
    pub(super) fn revoke_devices(&mut self, devices: Vec<DeviceId>) {
        if self.is_too_often() {
            return self.worker.refuse_credentials(ErrorCode::Busy);
        }
        let this = self.id;
        self.change(async move |daemon, user, _| {
            let (daemon, user) = (daemon.clone(), user.clone());
            let revoked = spawn_local(async move {
                daemon.revoke_devices(&user, Some(devices), Some(this)).await
            });
            revoked.await.unwrap_or(Err(LedgerError::Unavailable))?;
            Ok(CredentialOutcome::Changed)
        });
    }

    fn is_too_often(&mut self) -> bool {
        !self.credentials.take(1, Instant::now())
    }

    /// Does this beside the session's task; nothing else is asked of the credentials meanwhile.
    fn change<F>(&mut self, work: F)
    where
        F: AsyncFnOnce(&Rc<Daemon>, &UserName, Attempt) -> Result<CredentialOutcome, Obstacle>
            + 'static,
    {
        let Some(user) = self.user() else { return };
        self.stage = Stage::CredentialChecking;
        let (daemon, attempt, address) = (self.daemon.clone(), self.attempt(), self.address());
        self.beside(async move {
            Event::Credential(match work(&daemon, &user, attempt).await {
                Ok(outcome) => outcome,
                Err(error) => refused(&daemon, address, attempt, &user, error).await,
            })
        });
    }

    /// It came so far.
    pub(super) fn credential_outcome(&mut self, outcome: CredentialOutcome) {
        self.stage = Stage::Serving;
        match outcome {
            CredentialOutcome::Challenged(message, awaiting) => {
                self.worker.challenge_credential(message);
                self.stage = Stage::CredentialChallenged(awaiting);
            }
            CredentialOutcome::Changed => self.worker.accept_credentials(),
            CredentialOutcome::Refused(error) => self.worker.refuse_credentials(error),
            CredentialOutcome::Devices(devices) => self.worker.tell_devices(devices),
        }
    }
}

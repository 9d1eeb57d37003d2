//! A session's changes of password, each by a second proof that covers the new verifier.
//!
//! What is looked up and checked is so beside the session's task. Transfers go on meanwhile.

use std::time::Instant;

use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;

use super::attempt::{Obstacle, record};
use super::end::End;
use super::{Event, Session, Stage};
use crate::auth::{AddressKey, AwaitingPassword};
use crate::bucket::Rate;
use crate::daemon::Daemon;
use crate::exit::KillReason;

/// Changes that are begun: one that does not succeed is held back, or its address is, and each has its log line. An
/// honest worker relays whatever its client asks one after the other, so that past them the client is to blame.
pub(super) const CHANGES: Rate = Rate { a_second: 1, at_once: 16 };

/// How far a change of password came.
pub(crate) enum PasswordOutcome {
    /// The client is to prove that it knows the current one.
    Challenged(Vec<u8>, Box<AwaitingPassword>),
    /// It is changed, or not.
    Over(bool),
}

/// Counts a refusal as a failed login, and holds it back as that deserves.
async fn hold_back(daemon: &Daemon, address: AddressKey, user: &UserName, error: &Obstacle) {
    if matches!(error, Obstacle::Refusal(_)) {
        let name = Some(user.as_str());
        let delay = daemon.failures.borrow_mut().failed(address, name, Instant::now());
        tokio::time::sleep(delay).await;
    }
}

impl Session {
    /// Begins a change of password.
    pub(super) fn password_first(&mut self, message: Vec<u8>, new: ScramVerifier) -> Option<End> {
        let user = self.user()?;
        if !self.passwords.take(1, Instant::now()) {
            return Some(End::Kill(KillReason::PasswordTries));
        }
        // As at a login, so that a session is no way to try passwords quickly.
        if self.check_address().is_err() {
            self.worker.answer_password(false);
            return None;
        }
        self.stage = Stage::PasswordLookup;
        let (daemon, exporter, attempt) = (self.daemon.clone(), self.exporter, self.attempt());
        let address = self.address();
        self.beside(async move {
            let begun = async {
                let record = record(&daemon, Some(user.clone())).await?;
                Ok(AwaitingPassword::begin(&message, new, &user, record.as_ref(), &exporter)?)
            };
            Event::Password(match begun.await {
                Ok((message, awaiting)) => PasswordOutcome::Challenged(message, Box::new(awaiting)),
                Err(error) => {
                    hold_back(&daemon, address, &user, &error).await;
                    attempt.password_refused(&user, &error)
                }
            })
        });
        None
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
                let (from, to) = awaiting.finish(&message, record.as_ref())?;
                daemon.ledger.change_verifier(&user, from, to).await?;
                Ok(())
            };
            Event::Password(match changed.await {
                Ok(()) => {
                    tracing::info!(session = attempt.session.0, %user, "password changed");
                    PasswordOutcome::Over(true)
                }
                Err(error) => {
                    hold_back(&daemon, address, &user, &error).await;
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
}

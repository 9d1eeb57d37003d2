//! An account by an invitation, in a session whose client has not logged in.
//!
//! Whoever knows no invitation takes the same steps and waits as long as whoever fails to log in. The account is made
//! beside the session, to its end: a client that leaves meanwhile leaves no half of one.

use std::rc::Rc;

use berth_common::credentials::{InvitationId, NewAccount};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::points::{Point, reach};
use tokio::task::spawn_local;

use super::attempt::{Attempt, Obstacle, held_back};
use super::login::Outcome;
use super::{Event, Session, Stage};
use crate::auth::{AddressKey, AwaitingJoin, Invited, JoinHello};
use crate::daemon::Daemon;
use crate::ledger::LedgerError;
use crate::recovery::{self, RecoveryError};

/// How far it came.
pub(crate) enum JoinOutcome {
    /// The client is to prove that it knows the invitation's secret.
    Challenged(Vec<u8>, Box<AwaitingJoin>),
    /// The account is there.
    Joined(Vec<u8>),
    /// The client is told this, now.
    Refused(ErrorCode),
}

impl Session {
    /// Somebody says to be invited.
    pub(super) fn join_first(&mut self, message: &[u8], account: NewAccount) {
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        self.stage = Stage::JoinLookup;
        let (daemon, address, exporter) = (self.daemon.clone(), self.address(), self.exporter);
        let hello = JoinHello::parse(message, account);
        let attempt = self.attempt();
        self.beside(async move {
            let challenge = async {
                let hello = hello?;
                let record = match hello.invitation() {
                    Some(id) => daemon.ledger.invitation(id).await?,
                    None => None,
                };
                Ok(hello.challenge(record.as_ref(), &daemon.secret, &exporter)?)
            };
            Event::Join(match challenge.await {
                Ok((message, awaiting)) => JoinOutcome::Challenged(message, Box::new(awaiting)),
                Err(error) => not_invited(attempt, &daemon, address, error).await,
            })
        });
    }

    /// The proof.
    pub(super) fn join_final(&mut self, message: &[u8]) {
        if let Err(error) = self.check_address() {
            return self.refuse(error);
        }
        let before = std::mem::replace(&mut self.stage, Stage::JoinChecking);
        let Stage::JoinChallenged(awaiting) = before else {
            return;
        };
        let (daemon, address, attempt) = (self.daemon.clone(), self.address(), self.attempt());
        let invited = awaiting.finish(message);
        self.beside(async move {
            let outcome = match invited {
                Ok(invited) => {
                    let made = spawn_local(make(daemon.clone(), attempt, invited)).await;
                    made.unwrap_or(Ok(JoinOutcome::Refused(ErrorCode::Internal)))
                }
                Err(refusal) => Err(refusal.into()),
            };
            Event::Join(match outcome {
                Ok(outcome) => outcome,
                Err(error) => not_invited(attempt, &daemon, address, error).await,
            })
        });
    }

    /// It came so far.
    pub(super) fn join_outcome(&mut self, outcome: JoinOutcome) {
        match outcome {
            JoinOutcome::Challenged(message, awaiting) => {
                self.worker.challenge_join(message);
                self.stage = Stage::JoinChallenged(awaiting);
            }
            JoinOutcome::Joined(message) => {
                self.worker.accept_join(message);
                self.stage = Stage::LoginPending;
            }
            JoinOutcome::Refused(error) => self.refuse(error),
        }
    }
}

/// As a login that failed.
async fn not_invited(
    attempt: Attempt,
    daemon: &Daemon,
    address: AddressKey,
    obstacle: Obstacle,
) -> JoinOutcome {
    let (session, addr) = (attempt.session.0, attempt.addr);
    match obstacle {
        Obstacle::Refusal(reason) => {
            tracing::warn!(session, %addr, %reason, "not invited");
            match held_back(daemon, address, None).await {
                Outcome::Refused(ErrorCode::LoginRefused) => {
                    JoinOutcome::Refused(ErrorCode::NotInvited)
                }
                Outcome::Refused(error) => JoinOutcome::Refused(error),
                Outcome::Challenged(..) | Outcome::Accepted(_) => {
                    JoinOutcome::Refused(ErrorCode::Internal)
                }
            }
        }
        Obstacle::Ledger(error) => {
            tracing::error!(session, %addr, %error, "nobody can join");
            JoinOutcome::Refused(ErrorCode::LedgerUnavailable)
        }
    }
}

/// Makes the account, with its directories, or nothing.
async fn make(
    daemon: Rc<Daemon>,
    attempt: Attempt,
    invited: Invited,
) -> Result<JoinOutcome, Obstacle> {
    let Invited { invitation, proved, account, server_final } = invited;
    let (session, addr, user) = (attempt.session.0, attempt.addr, account.user.clone());
    let turn = daemon.turn(&user);
    let _turn = turn.lock().await;
    if is_anybodys(&daemon, &user).await {
        tracing::warn!(session, %user, %addr, "a home of this name is there, and of no user");
        return Ok(JoinOutcome::Refused(ErrorCode::NameTaken));
    }
    match daemon.ledger.join(invitation, proved, account).await {
        Ok(()) => {}
        Err(LedgerError::Refused(code)) => {
            tracing::warn!(session, %user, %addr, %code, "cannot join");
            // Who is invited shall not find out by one invitation who else is here.
            held_back(&daemon, addr.ip().into(), None).await;
            return Ok(JoinOutcome::Refused(code));
        }
        Err(error) => return Err(error.into()),
    }
    reach(Point::UserCreating);
    if let Err(error) = recovery::make_user(&daemon, &user).await {
        tracing::error!(session, %user, %addr, %error, "the user cannot be made");
        if let Err(error) = take_back(&daemon, invitation, &user).await {
            tracing::error!(session, %user, %error, "this user is half made, until the next start");
        }
        return Ok(JoinOutcome::Refused(ErrorCode::Internal));
    }
    tracing::info!(session, %user, %addr, invitation = %invitation, "joined");
    Ok(JoinOutcome::Joined(server_final))
}

/// Nothing is left of a user whom nobody has seen: first the directories, which are new and empty, then the row, and
/// the invitation can be used again.
async fn take_back(
    daemon: &Daemon,
    invitation: InvitationId,
    user: &UserName,
) -> Result<(), RecoveryError> {
    let name = user.clone();
    daemon.homes.off_thread(move |homes| homes.unmake(&name)).await?;
    Ok(daemon.ledger.take_back_join(invitation, user).await?)
}

/// Whether there are directories of this name, as those of a user whom a restored ledger does not know: nobody gets
/// them by an invitation.
async fn is_anybodys(daemon: &Daemon, user: &UserName) -> bool {
    let known = daemon.ledger.user(user).await;
    if !matches!(known, Ok(None)) {
        // The ledger says so itself, and better.
        return false;
    }
    let name = user.clone();
    let looked = daemon.homes.off_thread(move |homes| {
        Ok(homes.open_staging(&name)?.is_some() || homes.open_home(&name).is_ok())
    });
    looked.await.unwrap_or(true)
}

//! Users who are made, removed and shown.

use std::rc::Rc;

use berth_common::admin_protocol::{AdminError, UserSummary};
use berth_common::entry::Limits;
use berth_common::ids::UserName;
use berth_common::points::{Point, reach};
use berth_common::scram::ScramVerifier;

use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::ledger::{LedgerError, UserRecord};
use crate::recovery::{self, RecoveryError};
use crate::verify::{self, VerifyError};

/// Makes a user. A home that is there already, as after a restore from a backup, is kept and counted; nothing
/// in it changes before.
pub(super) async fn add(
    daemon: &Rc<Daemon>,
    user: &UserName,
    verifier: ScramVerifier,
    limits: Limits,
) -> Result<(), AdminError> {
    let turn = daemon.turn(user);
    let turn = turn.lock().await;
    let staging = daemon.homes.open_staging(user);
    let staging = staging.map_err(|error| AdminError::Directories(error.to_string()))?;
    let is_there = staging.is_some() || daemon.homes.open_home(user).is_ok();
    if is_there {
        let added = daemon.ledger.add_unverified_user(user, verifier, limits).await;
        added.map_err(because(user))?;
        recovery::distrust_an_old_home(daemon, user);
    } else {
        daemon.ledger.add_user(user, verifier, limits).await.map_err(because(user))?;
    }
    reach(Point::UserCreating);
    recovery::make_user(daemon, user).await.map_err(unfinished(user))?;
    drop(turn);
    if is_there {
        // The user is there by now, whatever the reason.
        let verified = verify::verify(daemon, user, true).await;
        verified.map_err(|error| AdminError::NotVerified {
            user: user.clone(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

pub(super) async fn remove(daemon: &Rc<Daemon>, user: &UserName) -> Result<(), AdminError> {
    match daemon.ledger.begin_removal(user).await {
        Ok(()) => {}
        // An earlier removal has failed on the way: go on with it.
        Err(LedgerError::UserGoing) => {}
        Err(error) => return Err(because(user)(error)),
    }
    reach(Point::UserRemoving);
    daemon.end_sessions_of(user, &KillReason::Administrator).await;
    reach(Point::SessionsEnded);
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    recovery::finish_removal(daemon, user).await.map_err(unfinished(user))
}

/// Why a user is neither here nor gone; the same request again goes on with it.
fn unfinished(user: &UserName) -> impl FnOnce(RecoveryError) -> AdminError + use<> {
    let user = user.clone();
    move |error| match error {
        RecoveryError::Ledger(error) => because(&user)(error),
        error => AdminError::Directories(error.to_string()),
    }
}

pub(super) fn not_verified(user: &UserName) -> impl FnOnce(VerifyError) -> AdminError + use<> {
    let user = user.clone();
    move |error| match error {
        VerifyError::Ledger(error) => because(&user)(error),
        error => AdminError::NotVerified { user, reason: error.to_string() },
    }
}

pub(super) fn because(user: &UserName) -> impl FnOnce(LedgerError) -> AdminError + use<> {
    let user = user.clone();
    move |error| match error {
        LedgerError::NoSuchUser => AdminError::NoSuchUser(user),
        LedgerError::UserExists => AdminError::UserExists(user),
        LedgerError::UserGoing => AdminError::UserGoing(user),
        LedgerError::Refused(_)
        | LedgerError::Unavailable
        | LedgerError::Protocol(_)
        | LedgerError::Damaged(_)
        | LedgerError::Imbalance => AdminError::Ledger,
    }
}

pub(super) fn summary(daemon: &Daemon, record: &UserRecord) -> UserSummary {
    UserSummary {
        user: record.name.clone(),
        locked: record.locked,
        usage: record.usage,
        sessions: daemon.sessions.borrow().of_user(&record.name).count() as u32,
        uploads: record.uploads,
        created_s: record.created_s,
    }
}

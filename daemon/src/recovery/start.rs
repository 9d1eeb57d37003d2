//! Recovery at the daemon's start, of all users, several at once; and, for those for whom the ledger could not be
//! written then, when it can.

use std::cell::RefCell;
use std::rc::Rc;

use berth_common::ids::{SessionId, UserName};
use futures_util::{StreamExt as _, stream};

use super::attempt::recover_with;
use super::patience::Patience;
use super::users::{finish_removal, make_user};
use super::{RecoveryError, record_end, stop, sweep_user};
use crate::daemon::Daemon;
use crate::ledger::{LedgerError, UserState};

/// Why a home is read-only whose user is unverified at the start.
const UNVERIFIED: &str =
    "its sums may be wrong: the ledger was restored from a backup, or the disk failed";

/// Users read from the ledger at once.
const USERS_PER_PAGE: usize = 256;

/// Users who are recovered at once at the start, each by a filer of its own.
const USERS_AT_ONCE: usize = 4;

/// A user who waits for the ledger, and the number under which this daemon settles what was found.
struct Waiting {
    user: UserName,
    number: SessionId,
}

/// Before anybody is let in: users that were coming or going are finished, and of all others the intents
/// replayed, what is owed accounted for, lost uploads dropped and staging swept (R12, R13). A home that
/// fails is read-only; the others are served. One for which the ledger cannot be written is recovered when
/// it can, and refuses changes until then.
///
/// # Errors
/// When the ledger cannot be read.
pub(crate) async fn at_start(daemon: &Rc<Daemon>) -> Result<(), LedgerError> {
    let later = RefCell::new(Vec::new());
    let mut after = 0;
    loop {
        let (users, last) = daemon.ledger.user_states(after, USERS_PER_PAGE).await?;
        recover_some(daemon, &users, &later).await;
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    let later = later.into_inner();
    if !later.is_empty() {
        tracing::warn!(users = later.len(), "these wait for the ledger to be recovered");
        let daemon = daemon.clone();
        tokio::task::spawn_local(async move { recover_later(&daemon, later).await });
    }
    for user in daemon.ledger.unverified_users().await? {
        daemon.make_read_only_until_verified(&user, UNVERIFIED);
    }
    report_strangers(daemon).await
}

async fn recover_some(
    daemon: &Daemon,
    users: &[(UserName, UserState)],
    later: &RefCell<Vec<Waiting>>,
) {
    let one = async |(user, state): &(UserName, UserState)| {
        let number = daemon.sessions.borrow_mut().number();
        let waiting = Waiting { user: user.clone(), number };
        let turn = daemon.turn(user);
        let _turn = turn.lock().await;
        match recover_one(daemon, &waiting, *state, Patience::while_it_works()).await {
            Err(error) if error.is_an_outage() => {
                daemon.set_unrecovered(user);
                later.borrow_mut().push(waiting);
            }
            done => conclude(daemon, user, *state, done).await,
        }
    };
    stream::iter(users).for_each_concurrent(USERS_AT_ONCE, one).await;
}

/// The caller has the turn.
async fn recover_one(
    daemon: &Daemon,
    Waiting { user, number }: &Waiting,
    state: UserState,
    patience: Patience,
) -> Result<(), RecoveryError> {
    match state {
        UserState::Creating => make_user(daemon, user).await,
        UserState::Removing => finish_removal(daemon, user).await,
        UserState::Active => recover_user(daemon, user, *number, patience).await,
    }
}

async fn conclude(
    daemon: &Daemon,
    user: &UserName,
    state: UserState,
    done: Result<(), RecoveryError>,
) {
    match (state, done) {
        (UserState::Active, Ok(())) => {}
        (UserState::Active, Err(error)) => stop(daemon, user, &error).await,
        (_, Ok(())) => tracing::info!(%user, ?state, "finished what was cut off"),
        (_, Err(error)) => {
            tracing::error!(%user, ?state, %error, "cannot finish what was cut off");
        }
    }
}

/// Nothing of these users is changed meanwhile, so that a sweep finds what the last daemon left alone.
async fn recover_later(daemon: &Daemon, users: Vec<Waiting>) {
    let one = async |waiting: &Waiting| {
        loop {
            daemon.ledger.until_it_works().await;
            if recover_if_it_waits(daemon, waiting).await {
                break;
            }
        }
    };
    stream::iter(&users).for_each_concurrent(USERS_AT_ONCE, one).await;
}

/// `false` in another outage. An administrator may have removed the user since the start, and added another one
/// of that name, whose sessions are alive: that one is none of the start's.
async fn recover_if_it_waits(daemon: &Daemon, waiting: &Waiting) -> bool {
    let user = &waiting.user;
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    if !daemon.is_unrecovered(user) {
        return true;
    }
    let (state, done) = match daemon.ledger.state_of(user).await {
        Ok(state) => {
            let patience = Patience::until_the_end_of_an_outage();
            (state, recover_one(daemon, waiting, state, patience).await)
        }
        Err(error) => (UserState::Active, Err(error.into())),
    };
    match &done {
        Err(error) if error.is_an_outage() && !daemon.ledger.works() => return false,
        Err(_) => {}
        Ok(()) => tracing::info!(%user, "recovered"),
    }
    conclude(daemon, user, state, done).await;
    daemon.set_recovered(user);
    true
}

/// Logs the directories of users who are not in the ledger, as after a restore from a backup. They are an
/// administrator's to look at; nothing of theirs is removed or served.
async fn report_strangers(daemon: &Daemon) -> Result<(), LedgerError> {
    let names = match daemon.homes.off_thread(|homes| homes.names()).await {
        Ok(names) => names,
        Err(error) => {
            tracing::error!(%error, "the users' directories cannot be listed");
            return Ok(());
        }
    };
    for user in names {
        match daemon.ledger.user(&user).await {
            Ok(None) => tracing::warn!(
                %user,
                "there are directories of a user who is not in the ledger; they are left alone"
            ),
            // One whose row does not parse is in it.
            Ok(Some(_)) | Err(LedgerError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Replays and sweeps a user's staging. What an attempt has settled before it was cut off counts under the number
/// until its end is recorded.
async fn recover_user(
    daemon: &Daemon,
    user: &UserName,
    number: SessionId,
    patience: Patience,
) -> Result<(), RecoveryError> {
    let clearing = daemon.clearing(user);
    let _clearing = clearing.lock().await;
    if daemon.are_all_read_only() {
        return Err(RecoveryError::Stopped);
    }
    recover_with(daemon, user, patience, async |recoverer| {
        sweep_user(daemon, recoverer, user, number).await
    })
    .await?;
    record_end(daemon, user, number).await;
    Ok(())
}

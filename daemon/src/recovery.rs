//! Recovery: a dead session's intents are replayed, and at the start everybody's; then left-overs are removed
//! ([`clear_later`]).
//!
//! A recovering filer looks and removes, the ledger decides ([`decide`]) and settles. What cannot be
//! recovered makes the user's home read-only until a restart; an outage of the ledger is waited for, while
//! the user's changes are refused. Nothing here touches a home but to take a removed user's away whole.

mod attempt;
mod clearing;
mod patience;
mod start;
mod users;

use std::cell::RefCell;
use std::rc::Rc;

use berth_common::ids::{SessionId, StagingName, UserName};
use berth_common::ledger_protocol::Finding;
use berth_common::limits::NAMES_PER_MESSAGE;
use berth_common::points::{Point, Rule, is_off, reach};
use rustix::io::Errno;

use crate::daemon::{Daemon, Stopped};
use crate::distrust;
use crate::filer_handle::{FilerError, Recoverer};
use crate::ledger::{
    IntentKind, IntentRow, LedgerError, Removal, Unexplained, UserState, Verdict, decide,
};
use crate::owed;
pub(crate) use attempt::recover;
pub(crate) use clearing::{ToClear, clear_later};
pub(crate) use patience::patiently;
pub(crate) use start::at_start;
pub(crate) use users::{distrust_an_old_home, finish_removal, make_user};

/// Why a recovery failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// The filer.
    #[error(transparent)]
    Filer(#[from] FilerError),
    /// The ledger.
    #[error("recovery: {0}")]
    Ledger(#[from] LedgerError),
    /// A finding that cannot be.
    #[error(transparent)]
    Unexplained(#[from] Unexplained),
    /// The user's directories.
    #[error("the user's directories: {0}")]
    Directories(#[from] std::io::Error),
    /// The user's directories are not there.
    #[error("the user's staging directory is not there")]
    NoStaging,
    /// A sync has failed meanwhile.
    #[error("a sync failed, so that what stands in staging proves nothing")]
    Stopped,
}

impl RecoveryError {
    /// Whether it may be otherwise in a moment, without anybody's doing: the system is short of
    /// descriptors or memory.
    fn is_a_shortage(&self) -> bool {
        match self {
            Self::Directories(error) => matches!(
                Errno::from_io_error(error),
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)
            ),
            Self::Ledger(_)
            | Self::Filer(_)
            | Self::Unexplained(_)
            | Self::NoStaging
            | Self::Stopped => false,
        }
    }

    fn is_an_outage(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Unavailable))
    }
}

/// What a session left is replayed and its reservations are given back; of its uploads those without a file
/// are dropped, and the others are nobody's from then on. Its worker and filer must be reaped, and none of its
/// questions to the ledger under way. What is only to be removed is left to clearing ([`clear_later`]), so that
/// nobody waits for it.
///
/// In an outage of the ledger this waits for its end. What waits so is bounded by the sessions that were
/// there when the outage began: later ones get no row and no reservation, and leave nothing.
pub(crate) async fn after_session(daemon: &Daemon, user: &UserName, session: SessionId) {
    if has_left_nothing(daemon, session).await {
        return;
    }
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    if daemon.is_read_only(user) {
        // Its intents stay for the replay at the next start, and what it left for its sweep.
        tracing::warn!(session = session.0, %user, "not replayed: the home is read-only");
    } else {
        match replay_session(daemon, user, session).await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(session = session.0, %user, %error, "recovery failed");
                stop(daemon, user, &error).await;
            }
        }
    }
    record_end(daemon, user, session).await;
}

async fn has_left_nothing(daemon: &Daemon, session: SessionId) -> bool {
    let left = patiently(&daemon.ledger, async || daemon.ledger.orphans_of(session).await).await;
    left.is_ok_and(|left| left.are_none())
}

async fn record_end(daemon: &Daemon, user: &UserName, session: SessionId) {
    // Nothing is written then, so that nothing waits for an outage's end.
    if has_left_nothing(daemon, session).await {
        return;
    }
    let ended = patiently(&daemon.ledger, async || daemon.ledger.session_ended(session).await);
    if let Err(error) = ended.await {
        tracing::error!(session = session.0, %user, %error, "the session's end is not recorded");
    }
}

/// What is to be done with a home that cannot be recovered. Nothing for a user who is not there any more.
pub(crate) async fn stop(daemon: &Daemon, user: &UserName, error: &RecoveryError) {
    let is_gone = match daemon.ledger.user(user).await {
        Ok(record) => record.is_none_or(|record| record.state != UserState::Active),
        Err(_) => false,
    };
    if is_gone {
        return;
    }
    match error {
        RecoveryError::Ledger(LedgerError::Imbalance) => daemon.make_read_only_for_imbalance(user),
        other => daemon.make_read_only(user, &other.to_string()),
    }
    // The disk may have lost something: after a restart the home is counted.
    if matches!(error, RecoveryError::Filer(FilerError::Failed(_))) {
        distrust::mark(daemon, user);
    }
}

/// For a home that is stopped since the sums did not fit: replays all intents and makes what is used what
/// a walk has found, in one transaction; then sweeps. The user has no session, and the caller the turn.
///
/// # Errors
/// The filer's and the ledger's; nothing of the ledger is changed then, or all of it.
pub(crate) async fn replay_and_correct(
    daemon: &Daemon,
    user: &UserName,
    used: (i64, i64),
) -> Result<(), RecoveryError> {
    let clearing = daemon.clearing(user);
    let _clearing = clearing.lock().await;
    let number = daemon.sessions.borrow_mut().number();
    recover(daemon, user, async |recoverer| {
        // What is owed is in no walk of the home. Cut off from here on, the home is counted again.
        daemon.ledger.mark_unverified(user).await?;
        owed::forget(daemon, recoverer).await?;
        let intents = daemon.ledger.pending(user).await?.intents;
        let verdicts = look(daemon, user, recoverer, &intents).await?;
        recoverer.remove(&to_remove(&verdicts, Removal::Before)).await?;
        daemon.ledger.settle_stopped(user, verdicts, used).await?;
        // What is left over is without a row by now.
        sweep_user(daemon, recoverer, user, number).await
    })
    .await
}

/// Examines and decides.
async fn look(
    daemon: &Daemon,
    user: &UserName,
    recoverer: &mut Recoverer,
    intents: &[IntentRow],
) -> Result<Vec<(StagingName, Verdict)>, RecoveryError> {
    let names: Vec<StagingName> = intents.iter().map(|row| row.name).collect();
    // The filer makes staging durable before it looks (R7).
    let findings = recoverer.examine(&names).await?;
    // Another filer may have been told of an error that this one's sync was not told of.
    daemon.sync_checks_are_over().await;
    if daemon.stopped(user) == Some(Stopped::Damage) {
        return Err(RecoveryError::Stopped);
    }
    let decided = intents.iter().zip(&findings);
    decided.map(|(row, finding)| Ok((row.name, decide(row, finding)?))).collect()
}

async fn replay_session(
    daemon: &Daemon,
    user: &UserName,
    session: SessionId,
) -> Result<(), RecoveryError> {
    let left = patiently(&daemon.ledger, async || daemon.ledger.orphans_of(session).await).await?;
    if left.intents.is_empty() && left.reserved.is_empty() && left.uploads.is_empty() {
        return Ok(());
    }
    tracing::info!(
        session = session.0,
        %user,
        intents = left.intents.len(),
        reserved = left.reserved.len(),
        leftovers = left.leftovers.len(),
        uploads = left.uploads.len(),
        "replaying what the session left"
    );
    recover(daemon, user, async |recoverer| replay_orphans(daemon, recoverer, user, session).await)
        .await?;
    let let_go = patiently(&daemon.ledger, async || daemon.ledger.let_go_uploads(session).await);
    Ok(let_go.await?)
}

/// Asks anew each time what there is: what an attempt has settled is not there any more.
async fn replay_orphans(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
    session: SessionId,
) -> Result<(), RecoveryError> {
    let left = daemon.ledger.orphans_of(session).await?;
    replay(daemon, recoverer, user, &left.intents).await?;
    // Here and not in clearing, which may wait for another session's tree: a reservation stands in the way of
    // the client that tries again.
    remove_without_row(daemon, recoverer, session, &left.reserved).await?;
    let (lost, _) = split_by_file(recoverer, left.uploads).await?;
    // A journal may be left of it; without the row nobody would know.
    recoverer.remove(&lost).await?;
    for name in lost {
        tracing::info!(session = session.0, %user, upload = name.0, "an upload without a file is dropped");
        daemon.ledger.drop_name(user, session, name).await?;
    }
    Ok(())
}

/// Removes what stands at a session's names without a row, and forgets them.
async fn remove_without_row(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    session: SessionId,
    names: &[StagingName],
) -> Result<(), RecoveryError> {
    for names in names.chunks(NAMES_PER_MESSAGE) {
        recoverer.remove(names).await?;
        daemon.ledger.removed(session, names.to_vec()).await?;
    }
    Ok(())
}

/// Uploads without a file, which were aborted, never made, or lost in a power cut; and those with one. None of it
/// has to be durable: a file that a power cut brings back is swept, and one that it takes loses its row then.
async fn split_by_file(
    recoverer: &mut Recoverer,
    uploads: Vec<StagingName>,
) -> Result<(Vec<StagingName>, Vec<StagingName>), RecoveryError> {
    let findings = recoverer.look(&uploads).await?;
    let found = uploads.into_iter().zip(&findings);
    let (lost, kept): (Vec<_>, Vec<_>) =
        found.partition(|(_, finding)| matches!(finding, Finding::Missing));
    let names = |some: Vec<(StagingName, _)>| some.into_iter().map(|(name, _)| name).collect();
    Ok((names(lost), names(kept)))
}

/// Accounts for what a user has taken out of the home while the ledger could not be written. What it is taken
/// to is removed afterwards, and not waited for.
///
/// # Errors
/// As a recovery's; what is left is accounted for at the next start.
pub(crate) async fn settle_owed(daemon: &Rc<Daemon>, user: &UserName) -> Result<(), RecoveryError> {
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    // Numbers of its own, under which its intents are found again when it is cut off: one for as much as is
    // taken at once.
    let fresh = || daemon.sessions.borrow_mut().number();
    let numbers = RefCell::new(vec![fresh()]);
    let settled = recover(daemon, user, async |recoverer| {
        loop {
            let last = numbers.borrow().last().copied();
            let number = last.unwrap_or_else(fresh);
            replay_orphans(daemon, recoverer, user, number).await?;
            if owed::settle_some(daemon, recoverer, user, number).await?.is_empty() {
                return Ok(());
            }
            numbers.borrow_mut().push(fresh());
        }
    })
    .await;
    let numbers = numbers.into_inner();
    if settled.is_err() {
        for number in numbers {
            record_end(daemon, user, number).await;
        }
        return settled;
    }
    for number in numbers {
        clear_later(daemon, user, number);
    }
    Ok(())
}

/// Examines, decides, removes pins and settles, in the order of rules R7, R8, R9 and R16. What it returns
/// is to be removed next: it has no row any more, and nobody needs to wait for it.
pub(crate) async fn replay(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
    intents: &[IntentRow],
) -> Result<Vec<StagingName>, RecoveryError> {
    if intents.is_empty() {
        return Ok(Vec::new());
    }
    let verdicts = look(daemon, user, recoverer, intents).await?;
    reach(Point::ReplayExamined);
    // What left the home is reported by the session that counts it, before the settle. This one is dead.
    let left = intents.iter().zip(&verdicts).any(|(row, (_, verdict))| {
        matches!(row.kind, IntentKind::Take | IntentKind::Over) && verdict.happened()
    });
    if left {
        daemon.windows.borrow_mut().blur(user);
    }
    recoverer.remove(&to_remove(&verdicts, Removal::Before)).await?;
    reach(Point::ReplayRemoved);
    let after = to_remove(&verdicts, Removal::After);
    daemon.ledger.settle_replayed(user, verdicts).await?;
    reach(Point::ReplaySettled);
    Ok(after)
}

/// Replays all of a user's intents, accounts for what is owed, drops lost uploads and sweeps.
async fn sweep_user(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
    number: SessionId,
) -> Result<(), RecoveryError> {
    let pending = daemon.ledger.pending(user).await?;
    if !pending.intents.is_empty() {
        tracing::info!(%user, intents = pending.intents.len(), "replaying");
        let left = replay(daemon, recoverer, user, &pending.intents).await?;
        recoverer.remove(&left).await?;
    }
    loop {
        let settled = owed::settle_some(daemon, recoverer, user, number).await?;
        if settled.is_empty() {
            break;
        }
        recoverer.remove(&settled).await?;
        daemon.ledger.removed(number, settled).await?;
    }
    // Read again: what an intent had committed is gone, what it had not is open again.
    let uploads = daemon.ledger.pending(user).await?.uploads;
    let (lost, keep) = split_by_file(recoverer, uploads).await?;
    if !lost.is_empty() {
        tracing::warn!(%user, uploads = lost.len(), "uploads without a file are dropped");
        daemon.ledger.drop_uploads(user, lost).await?;
    }
    reach(Point::BeforeSweep);
    if is_off(Rule::R12) {
        return Ok(());
    }
    Ok(recoverer.sweep(&keep).await?)
}

fn to_remove(verdicts: &[(StagingName, Verdict)], when: Removal) -> Vec<StagingName> {
    let chosen = verdicts.iter().filter(|(_, verdict)| verdict.removal == when);
    chosen.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_and_a_shortage_are_waited_for_and_damage_is_not() {
        let directories = |errno: Errno| RecoveryError::Directories(errno.into());
        let waits = |error: RecoveryError| error.is_a_shortage() || error.is_an_outage();
        assert!(waits(directories(Errno::MFILE)));
        assert!(waits(RecoveryError::Ledger(LedgerError::Unavailable)));
        assert!(!waits(directories(Errno::IO)));
        assert!(!waits(RecoveryError::Ledger(LedgerError::Imbalance)));
        assert!(!waits(RecoveryError::Ledger(LedgerError::Damaged(String::new()))));
        assert!(!waits(RecoveryError::NoStaging));
    }
}

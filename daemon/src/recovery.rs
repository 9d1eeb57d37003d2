//! Recovery: a dead session's intents are replayed, and at the start everybody's; left-overs are removed.
//!
//! A recovering filer looks and removes, the ledger decides ([`decide`]) and settles. What cannot be
//! recovered makes the user's home read-only until a restart. Nothing here touches a home but to take a
//! removed user's away whole.

use std::time::Duration;

use berth_common::ids::{SessionId, StagingName, UserName};
use berth_common::ledger_protocol::Finding;
use berth_common::points::{Point, Rule, is_off, reach};
use rustix::io::Errno;

use crate::daemon::Daemon;
use crate::filer_handle::{FilerError, Recoverer};
use crate::ledger::{IntentRow, LedgerError, Removal, Unexplained, UserState, Verdict, decide};

/// How often a filer that ends while it recovers is replaced.
const TRIES: usize = 3;

/// How long a recovery waits before it is tried again, while the ledger cannot be read or written (a disk
/// is full for a moment) or the system is short of descriptors. After the last one only a restart helps.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Users read from the ledger at once.
const USERS_PER_PAGE: usize = 256;

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
}

impl RecoveryError {
    /// Whether it may be otherwise in a moment, without anybody's doing: a disk was full, or the system
    /// short of descriptors or memory.
    fn may_pass(&self) -> bool {
        match self {
            Self::Ledger(error) => *error == LedgerError::Unavailable,
            Self::Directories(error) => matches!(
                Errno::from_io_error(error),
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)
            ),
            Self::Filer(_) | Self::Unexplained(_) | Self::NoStaging => false,
        }
    }
}

/// What a session left is replayed and removed; its uploads are nobody's from then on. Its worker and
/// filer must be reaped, and none of its questions to the ledger under way.
pub(crate) async fn after_session(daemon: &Daemon, user: &UserName, session: SessionId) {
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    if daemon.is_read_only(user) {
        // Its intents stay for the replay at the next start.
        tracing::warn!(session = session.0, %user, "not replayed: the home is read-only");
    } else if let Err(error) = replay_session(daemon, user, session).await {
        tracing::error!(session = session.0, %user, %error, "recovery failed");
        daemon.make_read_only(user, &error.to_string());
    }
    let ended = patiently(async || daemon.ledger.session_ended(session).await);
    if let Err(error) = ended.await {
        tracing::error!(session = session.0, %user, %error, "the session's end is not recorded");
    }
}

async fn replay_session(
    daemon: &Daemon,
    user: &UserName,
    session: SessionId,
) -> Result<(), RecoveryError> {
    let left = patiently(async || daemon.ledger.orphans_of(session).await).await?;
    if left.intents.is_empty() && left.names.is_empty() {
        return Ok(());
    }
    tracing::info!(
        session = session.0,
        %user,
        intents = left.intents.len(),
        names = left.names.len(),
        "replaying what the session left"
    );
    recover(daemon, user, async |recoverer| {
        // Asked again each time: what an attempt has settled is not there any more.
        let left = daemon.ledger.orphans_of(session).await?;
        replay(daemon, recoverer, user, &left.intents).await?;
        Ok(recoverer.remove(&left.names).await?)
    })
    .await
}

/// Has a filer recover a user's staging; does all of `work` again when the filer ends meanwhile, or the
/// ledger or descriptors are missing for a while. The filer is reaped afterwards.
pub(crate) async fn recover(
    daemon: &Daemon,
    user: &UserName,
    work: impl AsyncFn(&mut Recoverer) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let (mut ended, mut pauses) = (0, PAUSES.into_iter());
    loop {
        let error = match recover_once(daemon, user, &work).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            // Also one that was a spare and died just before it was taken.
            RecoveryError::Filer(FilerError::Ended(report)) => {
                ended += 1;
                if ended == TRIES {
                    return Err(error);
                }
                tracing::warn!(%user, %report, "a recovering filer ended; trying again");
            }
            _ if error.may_pass() => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
            _ => return Err(error),
        }
    }
}

async fn recover_once(
    daemon: &Daemon,
    user: &UserName,
    work: impl AsyncFn(&mut Recoverer) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let staging = daemon.homes.open_staging(user)?.ok_or(RecoveryError::NoStaging)?;
    let filer = daemon.filers.take().await;
    let mut recoverer = Recoverer::join(filer, user, staging).await?;
    let done = work(&mut recoverer).await;
    recoverer.finish().await;
    done
}

/// Asks the ledger again, ever more slowly, while it is unavailable.
pub(crate) async fn patiently<T>(
    ask: impl AsyncFn() -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    for pause in PAUSES {
        match ask().await {
            Err(LedgerError::Unavailable) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Examines, decides, removes and settles, in the order of rules R7, R8, R9 and R16.
async fn replay(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
    intents: &[IntentRow],
) -> Result<(), RecoveryError> {
    if intents.is_empty() {
        return Ok(());
    }
    let names: Vec<StagingName> = intents.iter().map(|row| row.name).collect();
    // The filer makes staging durable before it looks (R7).
    let findings = recoverer.examine(&names).await?;
    reach(Point::ReplayExamined);
    let mut verdicts = Vec::with_capacity(intents.len());
    for (row, finding) in intents.iter().zip(&findings) {
        verdicts.push((row.name, decide(row, finding)?));
    }
    recoverer.remove(&to_remove(&verdicts, Removal::Before)).await?;
    reach(Point::ReplayRemoved);
    let after = to_remove(&verdicts, Removal::After);
    daemon.ledger.settle_replayed(user, verdicts).await?;
    reach(Point::ReplaySettled);
    recoverer.remove(&after).await?;
    Ok(())
}

fn to_remove(verdicts: &[(StagingName, Verdict)], when: Removal) -> Vec<StagingName> {
    let chosen = verdicts.iter().filter(|(_, verdict)| verdict.removal == when);
    chosen.map(|(name, _)| *name).collect()
}

/// Before anybody is let in: users that were coming or going, then all intents, lost uploads, and a
/// sweep of each staging directory (R12, R13). A home that fails is read-only; the others are served.
///
/// # Errors
/// When the ledger cannot be read or written.
pub(crate) async fn at_start(daemon: &Daemon) -> Result<(), LedgerError> {
    for (user, state) in daemon.ledger.users_not_active().await? {
        let done = match state {
            UserState::Creating => make_user(daemon, &user).await,
            UserState::Removing => finish_removal(daemon, &user).await,
            UserState::Active => Ok(()),
        };
        match done {
            Ok(()) => tracing::info!(%user, ?state, "finished what was cut off"),
            Err(error) => tracing::error!(%user, ?state, %error, "cannot finish what was cut off"),
        }
    }
    let mut after = None;
    loop {
        let users = daemon.ledger.users(after, USERS_PER_PAGE).await?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for user in users.iter().filter(|user| user.state == UserState::Active) {
            if let Err(error) = recover_user(daemon, &user.name).await {
                daemon.make_read_only(&user.name, &error.to_string());
            }
        }
    }
}

async fn recover_user(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    recover(daemon, user, async |recoverer| sweep_user(daemon, recoverer, user).await).await
}

async fn sweep_user(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
) -> Result<(), RecoveryError> {
    let pending = daemon.ledger.pending(user).await?;
    if !pending.intents.is_empty() {
        tracing::info!(%user, intents = pending.intents.len(), "replaying");
        replay(daemon, recoverer, user, &pending.intents).await?;
    }
    // Read again: what an intent had committed is gone, what it had not is open again.
    let uploads = daemon.ledger.pending(user).await?.uploads;
    let findings = recoverer.examine(&uploads).await?;
    let is_missing = |finding: &Finding| matches!(finding, Finding::Missing);
    let (lost, keep): (Vec<_>, Vec<_>) =
        uploads.into_iter().zip(&findings).partition(|(_, finding)| is_missing(finding));
    let names = |some: Vec<(StagingName, _)>| some.into_iter().map(|(name, _)| name).collect();
    let (lost, keep): (Vec<StagingName>, Vec<StagingName>) = (names(lost), names(keep));
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

/// Makes the directories of a user who is `Creating`, and lets it in.
///
/// # Errors
/// The file system's and the ledger's.
pub(crate) async fn make_user(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let (homes, name) = (daemon.homes.clone(), user.clone());
    // On another thread: these fsyncs must not hold up signatures.
    off_thread(move || homes.make(&name)).await?;
    Ok(daemon.ledger.activate_user(user).await?)
}

/// Takes the directories of a user away who is `Removing` and without sessions, then the row.
///
/// # Errors
/// The file system's, the filer's and the ledger's. The row stays, for another try or the next start.
pub(crate) async fn finish_removal(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let name = daemon.ledger.mint().await?;
    let (homes, retiring) = (daemon.homes.clone(), user.clone());
    off_thread(move || homes.retire(&retiring, name)).await?;
    if daemon.homes.open_staging(user)?.is_some() {
        recover(daemon, user, async |recoverer| Ok(recoverer.sweep(&[]).await?)).await?;
    }
    let (homes, leaving) = (daemon.homes.clone(), user.clone());
    off_thread(move || homes.remove(&leaving)).await?;
    daemon.ledger.finish_removal(user).await?;
    daemon.forget_user(user);
    Ok(())
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_waited_for_and_damage_is_not() {
        let directories = |errno: Errno| RecoveryError::Directories(errno.into());
        assert!(directories(Errno::MFILE).may_pass());
        assert!(RecoveryError::Ledger(LedgerError::Unavailable).may_pass());
        assert!(!directories(Errno::IO).may_pass());
        assert!(!RecoveryError::Ledger(LedgerError::Imbalance).may_pass());
        assert!(!RecoveryError::NoStaging.may_pass());
    }
}

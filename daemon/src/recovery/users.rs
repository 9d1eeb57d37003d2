//! Users who come and go: their directories are made and taken away, here and, where that was cut off, at the
//! next start.

use berth_common::ids::UserName;
use berth_common::points::{Point, reach};

use super::attempt::open_staging;
use super::{RecoveryError, recover};
use crate::daemon::Daemon;
use crate::ledger::{LedgerError, UserState};

/// Why a home is read-only that was there before its user.
const ADOPTED: &str = "the home was there before its user, and what is in it is not counted";

/// Nothing changes in a home that was there before its user until it is counted.
pub(crate) fn distrust_an_old_home(daemon: &Daemon, user: &UserName) {
    daemon.make_read_only_until_verified(user, ADOPTED);
}

/// Makes the directories of a user who is `Creating`, and lets it in. The caller has the turn.
///
/// # Errors
/// The file system's and the ledger's.
pub(crate) async fn make_user(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let name = user.clone();
    daemon.homes.off_thread(move |homes| homes.make(&name)).await?;
    reach(Point::DirectoriesMade);
    daemon.ledger.activate_user(user).await?;
    reach(Point::UserActive);
    Ok(())
}

/// Takes the directories of a user away who is `Removing` and without sessions, then the row. The caller has
/// the turn.
///
/// # Errors
/// The file system's, the filer's and the ledger's. The row stays, for another try or the next start.
pub(crate) async fn finish_removal(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let clearing = daemon.clearing(user);
    let _clearing = clearing.lock().await;
    // Whoever asked may have waited here while it was done, and somebody of that name has come since.
    if daemon.ledger.state_of(user).await? != UserState::Removing {
        return Err(LedgerError::UserExists.into());
    }
    let name = daemon.ledger.mint().await?;
    let retiring = user.clone();
    daemon.homes.off_thread(move |homes| homes.retire(&retiring, name)).await?;
    reach(Point::HomeRetired);
    if open_staging(daemon, user).await?.is_some() {
        recover(daemon, user, async |recoverer| Ok(recoverer.empty().await?)).await?;
    }
    reach(Point::StagingEmptied);
    let leaving = user.clone();
    daemon.homes.off_thread(move |homes| homes.remove(&leaving)).await?;
    reach(Point::DirectoriesRemoved);
    daemon.ledger.finish_removal(user).await?;
    reach(Point::UserRemoved);
    daemon.forget_user(user);
    Ok(())
}

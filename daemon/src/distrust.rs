//! What a failed sync means: whose homes may only be read from then on, and are counted before they change again.
//!
//! The kernel tells an error of a `syncfs` once to each description that was open before: a filer that opens
//! staging later is told nothing, and would settle what is not on disk. So where a sync is that of the whole
//! file system its failure stops everybody; where each staging directory is synced by itself, its own user.
//! It settles and replays nothing.

use berth_common::ids::UserName;
use berth_common::ledger_protocol::StagingSync;

use crate::daemon::Daemon;
use crate::recovery::patiently;

/// A session's filer could not make its staging durable.
pub(crate) fn staging(daemon: &Daemon, user: &UserName) {
    match daemon.homes.sync() {
        StagingSync::FileSystem => file_system(daemon),
        StagingSync::Directory => {
            daemon.make_read_only(user, "staging could not be made durable");
            mark(daemon, user);
        }
    }
}

/// A `syncfs` failed, a serving filer's or a recovering one's.
pub(crate) fn file_system(daemon: &Daemon) {
    if !daemon.make_all_read_only() {
        return;
    }
    let ledger = daemon.ledger.clone();
    tokio::task::spawn_local(async move {
        let marked = patiently(&ledger, async || ledger.mark_all_unverified().await);
        if let Err(error) = marked.await {
            tracing::error!(%error, "the users cannot be marked as unverified");
        }
    });
}

/// A restart alone does not let changes in again: what is on the disk is not what was settled. Where the
/// ledger cannot be written either, only this daemon knows.
pub(crate) fn mark(daemon: &Daemon, user: &UserName) {
    let (ledger, user) = (daemon.ledger.clone(), user.clone());
    // A task of nobody's: no session's end waits for the ledger.
    tokio::task::spawn_local(async move {
        let marked = patiently(&ledger, async || ledger.mark_unverified(&user).await);
        if let Err(error) = marked.await {
            tracing::error!(%user, %error, "cannot be marked as unverified");
        }
    });
}

//! What a failed sync means: whose homes may only be read from then on, and are counted before they change again.
//!
//! The kernel tells an error of a `syncfs` once to each description that was open before: a filer that opens
//! staging later is told nothing, and would settle what is not on disk. So where a sync is that of the whole
//! file system its failure stops everybody; where each staging directory is synced by itself, its own user.
//! A session's filer, which may be taken over, stops its own user by its word, and others only where the daemon
//! is told of the error too: by its own descriptor, which is older than any filer's.
//! It settles and replays nothing.

use std::rc::Rc;

use berth_common::ids::UserName;
use berth_common::ledger_protocol::StagingSync;

use crate::daemon::{Daemon, SyncCheck};
use crate::recovery::patiently;

/// A session's filer says that it could not make its staging durable.
pub(crate) fn staging(daemon: &Rc<Daemon>, user: &UserName) {
    daemon.make_read_only(user, "staging could not be made durable");
    mark(daemon, user);
    match daemon.homes.sync() {
        StagingSync::Directory => {}
        StagingSync::FileSystem => {
            let checking = daemon.begin_sync_check();
            tokio::task::spawn_local(check(daemon.clone(), user.clone(), checking));
        }
    }
}

/// Whether the file system has failed, as a filer says. Until this is known no replay decides anything.
async fn check(daemon: Rc<Daemon>, user: UserName, _checking: SyncCheck) {
    let homes = daemon.homes.clone();
    let synced = tokio::task::spawn_blocking(move || homes.sync_file_system()).await;
    match synced.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(()) => tracing::warn!(
            %user,
            "a filer says that a sync failed, and the file system does not: only this home is stopped"
        ),
        Err(error) => {
            tracing::error!(%error, "a sync of the file system");
            file_system(&daemon);
        }
    }
}

/// A `syncfs` failed, the daemon's own or a recovering filer's.
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

//! Whether the file system has failed, while that is being found out ([`crate::distrust`]): replay waits for it.

use std::rc::Rc;

use tokio::sync::watch;

use super::Daemon;

/// How many syncs of the file system are under way that will tell.
pub(super) struct SyncChecks(watch::Sender<u32>);

impl Default for SyncChecks {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// A sync of the file system that is under way.
pub(crate) struct SyncCheck(Rc<Daemon>);

impl Drop for SyncCheck {
    fn drop(&mut self) {
        self.0.sync_checks.0.send_modify(|count| *count -= 1);
    }
}

impl Daemon {
    /// It is being found out until what this returns is dropped.
    pub(crate) fn begin_sync_check(self: &Rc<Self>) -> SyncCheck {
        self.sync_checks.0.send_modify(|count| *count += 1);
        SyncCheck(self.clone())
    }

    /// Waits until it is known whether the file system has failed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn sync_checks_are_over(&self) {
        // The sender is the daemon's own.
        let _ = self.sync_checks.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

//! Clearing: what dead sessions left in staging that has no row any more is removed.
//!
//! It may take minutes, and nobody waits for it: the rows are settled or dropped before, so the ticket
//! and the uploads have passed on, and the names are never used again. Until it is removed, what is left
//! counts as before. One filer at a time clears a user's staging or sweeps it ([`Daemon::clearing`]), so
//! that neither finds the other's tree gone under its hands; what is cut off is left to the next start's
//! sweep.

use berth_common::ids::{SessionId, UserName};

use super::{RecoveryError, has_left_nothing, record_end, recover, remove_without_row, stop};
use crate::daemon::Daemon;
use crate::filer_handle::Recoverer;

/// Has removed what a session left that is replayed, and forgets the session.
pub(crate) async fn clear(daemon: &Daemon, user: &UserName, session: SessionId) {
    if has_left_nothing(daemon, session).await {
        return;
    }
    let clearing = daemon.clearing(user);
    let _clearing = clearing.lock().await;
    // The user may be gone by now, with all that was the user's.
    if has_left_nothing(daemon, session).await {
        return;
    }
    let cleared = recover(daemon, user, async |recoverer| {
        remove_left_overs(daemon, recoverer, session).await
    });
    if let Err(error) = cleared.await {
        tracing::error!(session = session.0, %user, %error, "what it left cannot be removed");
        stop(daemon, user, &error).await;
    }
    record_end(daemon, user, session).await;
}

/// Asks anew each time what there is: what an attempt has removed is not there any more.
async fn remove_left_overs(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    session: SessionId,
) -> Result<(), RecoveryError> {
    let left = daemon.ledger.orphans_of(session).await?;
    remove_without_row(daemon, recoverer, session, &left.leftovers).await
}

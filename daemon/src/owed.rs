//! What was deleted while the ledger could not be written: it stands in staging at owed names, counts as used,
//! and is accounted for by the ordinary protocol of a delete when the ledger works again.
//!
//! An owed name is in no table. So a filer lists them, after each outage for those who have deleted something
//! and at the start for everybody.

use std::rc::Rc;

use berth_common::ids::{OwedName, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::IntentItem;
use berth_common::points::{Point, reach};

use crate::daemon::Daemon;
use crate::filer_handle::Recoverer;
use crate::ledger::{IntentKind, IntentRow, LedgerError};
use crate::recovery::{self, RecoveryError};

/// After each outage, accounts for what was owed in it, one user after the other. Runs for as long as the
/// daemon does.
pub(crate) async fn settle_after_outages(daemon: Rc<Daemon>) {
    loop {
        daemon.ledger.until_it_works().await;
        let Some(user) = daemon.next_who_owes() else {
            daemon.somebody_owes().await;
            continue;
        };
        // The next start sees to one that is read-only.
        if !daemon.is_read_only(&user) {
            match recovery::settle_owed(&daemon, &user).await {
                Ok(()) => {}
                Err(RecoveryError::Ledger(LedgerError::NoSuchUser | LedgerError::UserGoing)) => {}
                Err(error) => recovery::stop(&daemon, &user, &error).await,
            }
        }
        daemon.owes_no_more();
    }
}

/// Removes what is owed by a user whose sums are about to be counted anew, so that nothing has to be settled.
///
/// # Errors
/// As a recovery's.
pub(crate) async fn forget(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
) -> Result<(), RecoveryError> {
    loop {
        let owed = recoverer.list_owed().await?;
        if owed.is_empty() {
            return Ok(());
        }
        let mut pairs = Vec::with_capacity(owed.len());
        for name in owed {
            pairs.push((name, daemon.ledger.mint().await?));
        }
        let names: Vec<StagingName> = pairs.iter().map(|(_, name)| *name).collect();
        recoverer.take_owed(pairs).await?;
        recoverer.remove(&names).await?;
    }
}

/// Accounts for as much as is listed at once, and says what is to be removed next; nothing when nothing is owed
/// any more.
///
/// Intents, then the names of these intents, then what replay does with such rows: so each crash on the way
/// leaves what replay understands, and an intent without anything at its name has not happened.
///
/// # Errors
/// As a recovery's.
pub(crate) async fn settle_some(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    user: &UserName,
    number: SessionId,
) -> Result<Vec<StagingName>, RecoveryError> {
    let owed = recoverer.list_owed().await?;
    if owed.is_empty() {
        return Ok(Vec::new());
    }
    let items = vec![IntentItem::Take; owed.len()];
    let names = daemon.ledger.intent(user, number, items).await?;
    reach(Point::OwedIntentDurable);
    let pairs: Vec<(OwedName, StagingName)> = owed.into_iter().zip(names.iter().copied()).collect();
    recoverer.take_owed(pairs).await?;
    reach(Point::OwedTaken);
    let row =
        |name: &StagingName| IntentRow { name: *name, kind: IntentKind::Take, resumable: false };
    let rows: Vec<IntentRow> = names.iter().map(row).collect();
    recovery::replay(daemon, recoverer, user, &rows).await?;
    tracing::info!(%user, entries = names.len(), "what was deleted in the outage is accounted for");
    Ok(names)
}

//! Staging names: from one durable sequence, leased in chunks, never used twice.
//!
//! A chunk's end is durable before the first of its names is given out, since both are one
//! transaction. The rest of a lease is lost when the daemon ends.
//!
//! Some names are always left in the lease, in memory: what is deleted while the ledger cannot be
//! written is owed under one of them ([`owe`]).

use std::ops::Range;

use berth_common::ids::{OwedName, StagingName};

use super::model::LedgerError;
use super::request::{Failure, Tx};

/// Names a durable step of the sequence takes in.
pub(super) const CHUNK: i64 = 1024;

/// Names that are left in the lease, so that so many can be owed in one outage.
const LEFT: i64 = 1024;

/// The next name.
pub(super) fn mint(tx: &Tx<'_>) -> Result<StagingName, Failure> {
    Ok(StagingName(mint_several(tx, 1)?.start.cast_unsigned()))
}

/// The next names, so many, at most a [`CHUNK`].
pub(super) fn mint_several(tx: &Tx<'_>, count: usize) -> Result<Range<i64>, Failure> {
    let count = i64::try_from(count).map_err(|_| LedgerError::Unavailable)?;
    let (mut next, mut end) = lease(tx)?;
    if end - next < LEFT + count {
        take_in(tx)?;
        (next, end) = lease(tx)?;
    }
    if end - next < count {
        return Err(LedgerError::Unavailable.into());
    }
    set_lease(tx, next + count, end)?;
    Ok(next..next + count)
}

/// A name for what is taken out of a home while the ledger cannot be written; writes nothing to disk.
pub(super) fn owe(tx: &Tx<'_>) -> Result<OwedName, Failure> {
    // While the ledger works, what failed has failed for another reason.
    if !tx.outage {
        return Err(LedgerError::Unavailable.into());
    }
    Ok(OwedName(next_of_lease(tx)?.cast_unsigned()))
}

/// Takes a chunk more into the lease, durably.
pub(super) fn take_in(tx: &Tx<'_>) -> Result<(), Failure> {
    let (mut next, end) = lease(tx)?;
    let from: i64 = tx.db.query_row("SELECT next_name FROM sequence", [], |row| row.get(0))?;
    // The daemon has just started, and leases for the first time.
    if from != end {
        next = from;
    }
    let end = from.checked_add(CHUNK).ok_or(LedgerError::Unavailable)?;
    tx.db.execute("UPDATE sequence SET next_name = ?1", [end])?;
    set_lease(tx, next, end)
}

fn next_of_lease(tx: &Tx<'_>) -> Result<i64, Failure> {
    let (next, end) = lease(tx)?;
    if next == end {
        return Err(LedgerError::Unavailable.into());
    }
    set_lease(tx, next + 1, end)?;
    Ok(next)
}

/// The next name and the end of the lease.
fn lease(tx: &Tx<'_>) -> Result<(i64, i64), Failure> {
    let mut lease = tx.db.prepare_cached("SELECT next_name, end_name FROM temp.lease")?;
    Ok(lease.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn set_lease(tx: &Tx<'_>, next: i64, end: i64) -> Result<(), Failure> {
    let mut update = tx.db.prepare_cached("UPDATE temp.lease SET next_name = ?1, end_name = ?2")?;
    update.execute([next, end])?;
    Ok(())
}

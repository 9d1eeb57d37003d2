//! Staging names: from one durable sequence, leased in chunks, never used twice.
//!
//! A chunk's end is durable before the first of its names is given out, since both are one
//! transaction. The rest of a chunk is lost when the daemon ends.

use berth_common::ids::StagingName;

use super::thread::{Failure, Tx};

/// Names a durable step of the sequence takes in.
pub(super) const CHUNK: i64 = 1024;

/// The next name.
pub(super) fn mint(tx: &Tx<'_>) -> Result<StagingName, Failure> {
    let mut lease = tx.db.prepare_cached("SELECT next_name, end_name FROM temp.lease")?;
    let (mut next, mut end): (i64, i64) =
        lease.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if next == end {
        next = tx.db.query_row("SELECT next_name FROM sequence", [], |row| row.get(0))?;
        end = next + CHUNK;
        tx.db.execute("UPDATE sequence SET next_name = ?1", [end])?;
    }
    let mut update = tx.db.prepare_cached("UPDATE temp.lease SET next_name = ?1, end_name = ?2")?;
    update.execute([next + 1, end])?;
    Ok(StagingName(next.cast_unsigned()))
}

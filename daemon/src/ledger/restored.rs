//! A ledger that was restored from a backup: what it must forget, and which users must be verified.
//!
//! An old ledger knows nothing of what happened since. Its intents and uploads are lies, and so may
//! its sums be; what it says of users, passwords and limits is all that an administrator has. So its
//! rows are dropped without a replay, the sweep at the daemon's start empties staging, and no user's
//! home may change until its sums are corrected ([`corrected`]).

use berth_common::ids::UserName;
use rusqlite::{Connection, TransactionBehavior};

use super::account::UserId;
use super::model::LedgerError;
use super::request::{Failure, Tx};

/// How far the sequence of staging names jumps: names that were minted after the backup was made are
/// never minted again, unless there were more than so many.
const SEQUENCE_JUMP: i64 = 1 << 40;

/// If this is a backup, makes a ledger of it, in one transaction.
///
/// Users that were being made or removed become active and locked: whether they came or went since,
/// and whether somebody of the same name came after them, is for an administrator to say. Carrying
/// out an old removal could destroy files.
pub(super) fn begin_anew(db: &mut Connection) -> rusqlite::Result<()> {
    let is_backup = "SELECT is_backup FROM origin";
    if !db.query_row(is_backup, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let intents = tx.execute("DELETE FROM intents", [])?;
    let uploads = tx.execute("DELETE FROM uploads", [])?;
    let unsure = names(&tx, "SELECT name FROM users WHERE state <> 'active' ORDER BY name")?;
    // Below zero is allowed only for what is reserved as well; verifying finds the true sum.
    let users = tx.execute(
        "UPDATE users SET unverified = 1, locked = (locked OR state <> 'active'), \
         state = 'active', reserved_bytes = 0, reserved_entries = 0, \
         used_bytes = max(used_bytes, 0), used_entries = max(used_entries, 0)",
        [],
    )?;
    // Whether one was used since, nobody knows.
    tx.execute("DELETE FROM invitations WHERE used_by IS NULL", [])?;
    tx.execute("UPDATE sequence SET next_name = next_name + ?1", [SEQUENCE_JUMP])?;
    tx.execute("UPDATE origin SET is_backup = 0", [])?;
    tx.commit()?;
    tracing::warn!(
        users,
        intents,
        uploads,
        "this ledger was restored from a backup: its intents, uploads and invitations are dropped, and all homes \
         are read-only until they are verified with correction"
    );
    for user in unsure {
        tracing::warn!(
            user = ?user,
            "the user was being made or removed when the backup was made, and is locked: unlock or \
             remove it"
        );
    }
    Ok(())
}

fn names(db: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn unverified(tx: &Tx<'_>) -> Result<Vec<UserName>, Failure> {
    let sql = "SELECT name FROM users WHERE unverified = 1 ORDER BY name";
    // A name that is none is nobody's who could be served.
    Ok(names(tx.db, sql)?.iter().filter_map(|name| UserName::new(name).ok()).collect())
}

pub(super) fn mark_unverified(tx: &Tx<'_>, user: &UserName) -> Result<(), Failure> {
    let sql = "UPDATE users SET unverified = 1 WHERE name = ?1";
    match tx.db.execute(sql, [user.as_str()])? {
        0 => Err(LedgerError::NoSuchUser.into()),
        _ => Ok(()),
    }
}

pub(super) fn mark_all_unverified(tx: &Tx<'_>) -> Result<(), Failure> {
    tx.db.execute("UPDATE users SET unverified = 1", [])?;
    Ok(())
}

pub(super) fn mark_verified(tx: &Tx<'_>, user: UserId) -> Result<(), Failure> {
    tx.db.execute("UPDATE users SET unverified = 0 WHERE id = ?1", [user.0])?;
    Ok(())
}

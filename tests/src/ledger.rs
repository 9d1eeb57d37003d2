//! Looks into a running server's ledger, reading only.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Opens the ledger of a data directory for reading. The daemon has to run: it keeps the files
/// that SQLite needs beside the ledger.
///
/// # Panics
/// When it cannot be opened.
#[must_use]
pub fn open(data: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ledger = Connection::open_with_flags(data.join("ledger.sqlite"), flags).unwrap();
    ledger.busy_timeout(Duration::from_secs(10)).unwrap();
    ledger
}

/// How many intents and open uploads a user has.
///
/// # Panics
/// When the ledger cannot be read.
#[must_use]
pub fn open_rows(data: &Path, user: &str) -> u64 {
    let sql = "SELECT (SELECT count(*) FROM uploads WHERE user = users.id)
                    + (SELECT count(*) FROM intents WHERE user = users.id)
               FROM users WHERE name = ?1";
    let rows: i64 = open(data).query_row(sql, [user], |row| row.get(0)).unwrap();
    u64::try_from(rows).unwrap()
}

/// The ledger, held so that nobody else can write it, as an administrator's `sqlite3` might. Released on drop.
#[derive(Debug)]
pub struct Held(#[allow(dead_code)] Connection);

/// Holds the ledger of a data directory.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn hold(data: &Path) -> Held {
    let ledger = open_to_write(data);
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    Held(ledger)
}

/// Opens the ledger of a data directory to damage it.
///
/// # Panics
/// When it cannot be opened.
#[must_use]
pub fn open_to_write(data: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let ledger = Connection::open_with_flags(data.join("ledger.sqlite"), flags).unwrap();
    ledger.busy_timeout(Duration::from_secs(10)).unwrap();
    ledger
}

//! A consistent copy of the running ledger, as an open file without a name.
//!
//! It is made beside the ledger by a second connection of its own, within one read transaction of
//! SQLite's write-ahead log: the ledger's thread neither waits for it nor restarts it, however large
//! the database is; only the log grows meanwhile. The copy says in itself that it is a backup
//! ([`super::restored`]), is checked as a whole, and loses its name before anybody gets it, so that
//! nothing is left of it when whoever asked for it goes away.
//!
//! The daemon opens no path that an administrator names: it hands the bytes out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use berth_common::digest::{Md5, Md5Stream};
use rusqlite::backup::Backup as Copying;
use rusqlite::{Connection, OpenFlags};

use super::schema;

/// Pages copied in one step: all, so that they are of one transaction.
const ALL_PAGES: i32 = -1;

/// A copy of the ledger.
#[derive(Debug)]
pub(crate) struct Backup {
    /// The copy, at its beginning.
    pub(crate) file: File,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// The MD5 of all of them.
    pub(crate) md5: Md5,
    /// The version of its tables.
    pub(crate) version: u32,
    /// Users in it.
    pub(crate) users: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// SQLite could not read the ledger or write the copy.
    #[error("the ledger cannot be copied: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The copy cannot be made or read.
    #[error("the copy of the ledger: {0}")]
    Io(#[from] io::Error),
    /// The copy is no sound ledger, so the ledger itself may be none.
    #[error("the copy of the ledger is damaged: {0}")]
    Damaged(String),
}

/// Where the copy stands while it is made.
fn copy_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("copy")
}

/// Removes what a daemon has left that was killed while it made a copy.
pub(super) fn remove_left_over(ledger: &Path) -> io::Result<()> {
    let copy = copy_path(ledger);
    let beside = |end: &str| {
        let mut path = copy.clone().into_os_string();
        path.push(end);
        PathBuf::from(path)
    };
    for path in [copy.clone(), beside("-journal"), beside("-wal"), beside("-shm")] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a copy; one at a time. It takes as long as the disk needs.
pub(super) fn make(ledger: &Path) -> Result<Backup, BackupError> {
    remove_left_over(ledger)?;
    let path = copy_path(ledger);
    let made = copy(ledger, &path).and_then(|(version, users)| {
        let mut file = File::open(&path)?;
        let (bytes, md5) = digest(&mut file)?;
        Ok(Backup { file, bytes, md5, version, users })
    });
    remove_left_over(ledger)?;
    made
}

fn copy(ledger: &Path, path: &Path) -> Result<(u32, u64), BackupError> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(ledger, flags)?;
    source.execute_batch("PRAGMA query_only = ON")?;
    let mut copy = Connection::open_with_flags(path, flags)?;
    // Whoever gets the copy makes it durable.
    copy.execute_batch("PRAGMA synchronous = OFF")?;
    source.busy_timeout(schema::BUSY_TIMEOUT)?;
    match Copying::new(&source, &mut copy)?.step(ALL_PAGES)? {
        rusqlite::backup::StepResult::Done => {}
        other => return Err(BackupError::Damaged(format!("it is not whole ({other:?})"))),
    }
    // One file that stands for itself, which also tells it from a ledger with a log beside it.
    let mode: String = copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode != "delete" {
        return Err(BackupError::Damaged(format!("it stays in the mode {mode:?}")));
    }
    copy.execute("UPDATE origin SET is_backup = 1", [])?;
    let found: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(BackupError::Damaged(found));
    }
    let version =
        schema::check_version(&copy).map_err(|error| BackupError::Damaged(error.to_string()))?;
    let users: i64 = copy.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok((u32::try_from(version).unwrap_or(u32::MAX), users.cast_unsigned()))
}

/// Counts and hashes a file, and goes back to its beginning.
fn digest(file: &mut File) -> io::Result<(u64, Md5)> {
    let mut md5 = Md5Stream::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        md5.update(&buffer[..count]);
        bytes += count as u64;
    }
    file.rewind()?;
    Ok((bytes, md5.finish()))
}

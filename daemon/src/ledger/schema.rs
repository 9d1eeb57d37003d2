//! The ledger's tables, and opening the database with them.
//!
//! What survives the daemon is made and brought up to date by [`super::migrations`]; a ledger of a
//! later version is refused, so that an older daemon never writes what it does not understand.
//! Nothing is written before the version is known, and nothing else before it is brought up to date.
//!
//! Unsigned 64-bit numbers that are no amounts (inode numbers, sessions, limits) are stored as the
//! signed number with the same bits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode as SqliteCode, OpenFlags};

use super::migrations::{self, APPLICATION_ID, VERSION};
use super::restored;

/// How long a foreign writer (an administrator's `sqlite3`) may hold the ledger up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A later Berth has written it.
    #[error(
        "the ledger has version {found}, and this berthd knows versions up to {known}: \
         run a newer berthd"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// This one's.
        known: i64,
    },
    /// It is a database of another program.
    #[error("the file is an SQLite database, but not a Berth ledger")]
    NotALedger,
    /// A copy was put in place of a ledger, and that one's log was left.
    #[error(
        "{0:?} belongs to another ledger than the one beside it, which was restored from a backup: \
         remove it, and the file that ends in -shm"
    )]
    ForeignLog(PathBuf),
    /// Its pages do not fit together.
    #[error(
        "the ledger is damaged ({0}): nothing was changed; restore it from a backup, or repair a copy"
    )]
    Damaged(String),
    /// The file system cannot carry SQLite's write-ahead log.
    #[error("the ledger's file system does not allow SQLite's WAL mode (it has {0:?})")]
    NoWal(String),
    /// SQLite could not open or read it, or make the tables.
    #[error("cannot open the ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file could not be made, or the thread not started.
    #[error("cannot open the ledger: {0}")]
    Io(#[from] io::Error),
}

/// What dies with the daemon: the names that sessions have, with what is reserved or waits to be
/// unlinked under them, and the sums of these by user. A name with a durable row is here for its
/// owner alone.
const IN_MEMORY: &str = "
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE lease (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    next_name  INTEGER NOT NULL,
    end_name   INTEGER NOT NULL CHECK (next_name <= end_name)
) STRICT;
INSERT INTO temp.lease VALUES (1, 1, 1);

-- A list of more than two after IN is a table that SQLite makes for each row it checks.
CREATE TEMP TABLE names (
    name    INTEGER PRIMARY KEY,
    user    INTEGER NOT NULL,
    session INTEGER NOT NULL,
    hold    TEXT NOT NULL
            CHECK (hold = 'reservation' OR hold = 'upload' OR hold = 'intent' OR hold = 'leftover'),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    entries INTEGER NOT NULL CHECK (entries >= 0),
    CHECK (hold IN ('reservation', 'leftover') OR bytes = 0),
    CHECK (hold = 'reservation' OR entries = 0)
) STRICT;
CREATE INDEX temp.names_of_session ON names (session);

-- Those that were counted of a session, and what was given to it and went into intents since.
CREATE TEMP TABLE counts (
    session INTEGER PRIMARY KEY,
    names   INTEGER NOT NULL
) STRICT;

CREATE TEMP TABLE sums (
    user             INTEGER PRIMARY KEY,
    reserved_bytes   INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    reserved_entries INTEGER NOT NULL CHECK (reserved_entries >= 0),
    leftover_bytes   INTEGER NOT NULL CHECK (leftover_bytes >= 0)
) STRICT;
";

/// Opens or makes the database.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    // SQLite would make the file readable for others; its WAL gets the same mode as the file.
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    check_log(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.set_prepared_statement_cache_capacity(128);
    // Else SQLite plans a cached statement anew whenever a text is bound to it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    // Else closing it would write its log into a file that is refused below.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = check_version(&db).map_err(or_damaged)?;
    check_pages(&db).map_err(or_damaged)?;
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NoWal(mode));
    }
    migrations::migrate(&mut db, version)?;
    if version == 0 {
        // SQLite makes the name of its log durable, but not that of the file itself.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    restored::begin_anew(&mut db)?;
    db.execute_batch(IN_MEMORY)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}

/// The version of a ledger, 0 of an empty database. Read before anything is written.
pub(super) fn check_version(db: &Connection) -> Result<i64, OpenError> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    match (number("PRAGMA application_id")?, version) {
        (0, 0) if empty => Ok(0),
        (APPLICATION_ID, found) if found > VERSION => {
            Err(OpenError::Newer { found, known: VERSION })
        }
        (APPLICATION_ID, found) if found >= 1 => Ok(found),
        _ => Err(OpenError::NotALedger),
    }
}

/// Refuses a ledger beside the write-ahead log of another one: SQLite would carry out what it says.
/// A backup says in its header that it has no log; the daemon's own ledger says that it has one.
fn check_log(path: &Path) -> Result<(), OpenError> {
    /// Bytes 18 and 19 are 1 for a database without a write-ahead log, and 2 for one with it.
    const HEADER: usize = 20;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if std::fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        return Ok(());
    }
    let mut header = Vec::with_capacity(HEADER);
    File::open(path)?.take(HEADER as u64).read_to_end(&mut header)?;
    match header.get(18) {
        Some(1) => Err(OpenError::ForeignLog(log.into())),
        _ => Ok(()),
    }
}

/// What SQLite itself calls damage is told as such.
fn or_damaged(error: OpenError) -> OpenError {
    match error {
        OpenError::Sqlite(error)
            if matches!(
                error.sqlite_error_code(),
                Some(SqliteCode::DatabaseCorrupt | SqliteCode::NotADatabase)
            ) =>
        {
            OpenError::Damaged(error.to_string())
        }
        other => other,
    }
}

/// Reads all pages, so that damage is found before anything is served or written. A row that its table
/// does not allow is its user's trouble alone, and found when it is read.
fn check_pages(db: &Connection) -> Result<(), OpenError> {
    let complaint = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    db.execute_batch("PRAGMA ignore_check_constraints = ON")?;
    let checked = db.query_row("PRAGMA quick_check(1)", [], complaint);
    db.execute_batch("PRAGMA ignore_check_constraints = OFF")?;
    match checked? {
        text if text == "ok" => Ok(()),
        text => Err(OpenError::Damaged(text)),
    }
}

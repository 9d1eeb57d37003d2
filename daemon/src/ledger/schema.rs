//! The ledger's tables, and opening the database with them.
//!
//! Version 1 is the first. A change of the tables is a new version with its migration here; a
//! ledger of a later version is refused, so that an older daemon never writes what it does not
//! understand.
//!
//! Unsigned 64-bit numbers that are no amounts (inode numbers, sessions, limits) are stored as the
//! signed number with the same bits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode as SqliteCode, OpenFlags};

/// The version of the tables below, kept in `user_version`.
pub(super) const VERSION: i64 = 1;

/// "Brth": tells a ledger from any other SQLite file.
const APPLICATION_ID: i64 = 0x4272_7468;

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

/// What survives the daemon. `reserved_*` of a user is the sum over the user's uploads and intents.
/// `used` may be below zero for a moment (R17): what one session placed and has not settled,
/// another may have taken out and settled.
const DURABLE: &str = "
CREATE TABLE sequence (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    next_name INTEGER NOT NULL CHECK (next_name >= 1)
) STRICT;
INSERT INTO sequence VALUES (1, 1);

CREATE TABLE users (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    name             TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    state            TEXT NOT NULL CHECK (state IN ('creating', 'active', 'removing')),
    locked           INTEGER NOT NULL CHECK (locked IN (0, 1)),
    salt             BLOB NOT NULL,
    iterations       INTEGER NOT NULL CHECK (iterations > 0),
    stored_key       BLOB NOT NULL CHECK (length(stored_key) = 32),
    server_key       BLOB NOT NULL CHECK (length(server_key) = 32),
    limit_bytes      INTEGER,
    limit_entries    INTEGER,
    used_bytes       INTEGER NOT NULL DEFAULT 0,
    used_entries     INTEGER NOT NULL DEFAULT 0,
    reserved_bytes   INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    reserved_entries INTEGER NOT NULL DEFAULT 0 CHECK (reserved_entries >= 0),
    created_s        INTEGER NOT NULL,
    CHECK (used_bytes + reserved_bytes >= 0),
    CHECK (used_entries + reserved_entries >= 0)
) STRICT;

CREATE TABLE uploads (
    name             INTEGER PRIMARY KEY CHECK (name >= 1),
    user             INTEGER NOT NULL REFERENCES users (id),
    path             TEXT NOT NULL,
    token            BLOB NOT NULL CHECK (length(token) = 16),
    source_size      INTEGER NOT NULL,
    source_mtime_ns  INTEGER NOT NULL,
    source_ctime_ns  INTEGER NOT NULL,
    source_inode     INTEGER NOT NULL,
    reserved_bytes   INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    reserved_entries INTEGER NOT NULL CHECK (reserved_entries >= 0),
    opened_s         INTEGER NOT NULL,
    touched_s        INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_of_user ON uploads (user);
CREATE INDEX uploads_by_path ON uploads (user, path);

CREATE TABLE intents (
    name             INTEGER PRIMARY KEY CHECK (name >= 1),
    user             INTEGER NOT NULL REFERENCES users (id),
    kind             TEXT NOT NULL CHECK (kind IN ('stage', 'take', 'over')),
    inode            INTEGER CHECK ((inode IS NOT NULL) = (kind = 'stage')),
    size             INTEGER CHECK ((size IS NOT NULL) = (kind = 'stage')) CHECK (size >= 0),
    upload           INTEGER REFERENCES uploads (name) CHECK (upload = name)
                     CHECK (upload IS NULL OR kind = 'stage'),
    reserved_bytes   INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    reserved_entries INTEGER NOT NULL CHECK (reserved_entries >= 0)
) STRICT;
CREATE INDEX intents_of_user ON intents (user);
CREATE INDEX intents_by_upload ON intents (upload);
";

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

CREATE TEMP TABLE names (
    name    INTEGER PRIMARY KEY,
    user    INTEGER NOT NULL,
    session INTEGER NOT NULL,
    hold    TEXT NOT NULL CHECK (hold IN ('reservation', 'upload', 'intent', 'leftover')),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    entries INTEGER NOT NULL CHECK (entries >= 0),
    CHECK (hold IN ('reservation', 'leftover') OR bytes = 0),
    CHECK (hold = 'reservation' OR entries = 0)
) STRICT;
CREATE INDEX temp.names_of_session ON names (session);

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
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.set_prepared_statement_cache_capacity(128);
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
    if version == 0 {
        create(&mut db)?;
        // SQLite makes the name of its log durable, but not that of the file itself.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    db.execute_batch(IN_MEMORY)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}

/// The version of a ledger, 0 of an empty database. Read before anything is written.
fn check_version(db: &Connection) -> Result<i64, OpenError> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    match (number("PRAGMA application_id")?, version) {
        (0, 0) if empty => Ok(0),
        (APPLICATION_ID, found) if found > VERSION => {
            Err(OpenError::Newer { found, known: VERSION })
        }
        (APPLICATION_ID, VERSION) => Ok(VERSION),
        _ => Err(OpenError::NotALedger),
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

fn create(db: &mut Connection) -> Result<(), OpenError> {
    let tx = db.transaction()?;
    tx.execute_batch(DURABLE)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()?;
    Ok(())
}

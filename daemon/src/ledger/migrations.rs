//! The versions of the ledger's tables, and how one becomes the next.
//!
//! Opening the database ([`super::schema`]) calls [`migrate`]. A version, once released, is never
//! changed: a change of the tables is a new version at the end of [`MIGRATIONS`]. A new ledger goes
//! through all of them, so that there is one way to every table. Each migration is one transaction
//! with its number in it: one that is cut off has not happened.

use rusqlite::{Connection, TransactionBehavior};

/// The version of the tables after all migrations, kept in `user_version`.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// "Brth": tells a ledger from any other SQLite file.
pub(super) const APPLICATION_ID: i64 = 0x4272_7468;

/// From nothing to version 1, from there to version 2, and so on.
const MIGRATIONS: [&str; 5] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5];

/// Users, uploads and intents. `reserved_*` of a user is the sum over the user's uploads and
/// intents. `used` may be below zero for a moment (R17): what one session placed and has not
/// settled, another may have taken out and settled.
const VERSION_1: &str = "
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

/// Whether the file is a backup, and which users' sums have to be verified before anything of theirs
/// is changed.
const VERSION_2: &str = "
CREATE TABLE origin (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    is_backup INTEGER NOT NULL CHECK (is_backup IN (0, 1))
) STRICT;
INSERT INTO origin VALUES (1, 0);

ALTER TABLE users ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0 CHECK (unverified IN (0, 1));
";

/// Devices, in the order of their registration, and invitations.
const VERSION_3: &str = "
CREATE TABLE devices (
    id        INTEGER PRIMARY KEY,
    user      INTEGER NOT NULL REFERENCES users (id),
    key       BLOB NOT NULL CHECK (length(key) = 32),
    name      TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    created_s INTEGER NOT NULL,
    used_s    INTEGER,
    UNIQUE (user, key)
) STRICT;

CREATE TABLE invitations (
    id            BLOB PRIMARY KEY CHECK (length(id) = 8),
    name          TEXT CHECK (length(name) BETWEEN 1 AND 64),
    salt          BLOB NOT NULL,
    iterations    INTEGER NOT NULL CHECK (iterations > 0),
    stored_key    BLOB NOT NULL CHECK (length(stored_key) = 32),
    server_key    BLOB NOT NULL CHECK (length(server_key) = 32),
    limit_bytes   INTEGER,
    limit_entries INTEGER,
    created_s     INTEGER NOT NULL,
    expires_s     INTEGER NOT NULL,
    used_by       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_by_end ON invitations (expires_s);
";

/// Programs that users may run.
const VERSION_4: &str = "
CREATE TABLE programs (
    user INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    PRIMARY KEY (user, name)
) STRICT, WITHOUT ROWID;
";

/// Intents that cost less to write: in the index by upload are those alone that have one, and no list of more than two
/// stands after IN, which is a table that SQLite makes for each row it checks.
const VERSION_5: &str = "
CREATE TABLE new_intents (
    name             INTEGER PRIMARY KEY CHECK (name >= 1),
    user             INTEGER NOT NULL REFERENCES users (id),
    kind             TEXT NOT NULL CHECK (kind = 'stage' OR kind = 'take' OR kind = 'over'),
    inode            INTEGER CHECK ((inode IS NOT NULL) = (kind = 'stage')),
    size             INTEGER CHECK ((size IS NOT NULL) = (kind = 'stage')) CHECK (size >= 0),
    upload           INTEGER REFERENCES uploads (name) CHECK (upload = name)
                     CHECK (upload IS NULL OR kind = 'stage'),
    reserved_bytes   INTEGER NOT NULL CHECK (reserved_bytes >= 0),
    reserved_entries INTEGER NOT NULL CHECK (reserved_entries >= 0)
) STRICT;
INSERT INTO new_intents SELECT * FROM intents;
DROP TABLE intents;
ALTER TABLE new_intents RENAME TO intents;
CREATE INDEX intents_of_user ON intents (user);
CREATE INDEX intents_by_upload ON intents (upload) WHERE upload IS NOT NULL;
";

/// Brings a ledger of version `from`, 0 for an empty database, up to [`VERSION`].
pub(super) fn migrate(db: &mut Connection, from: i64) -> rusqlite::Result<()> {
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
        if from > 0 {
            tracing::info!(version, "the ledger was brought to a new version of its tables");
        }
    }
    Ok(())
}

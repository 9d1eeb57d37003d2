//! Ledgers of earlier versions: migrated whole, or left as they were.

use std::path::Path;

use rusqlite::Connection;

use super::super::migrations::VERSION;
use super::super::model::IntentKind;
use super::*;

const VERSION_1: &[u8] = include_bytes!("fixtures/version-1.sqlite");

/// A copy of the fixture, in a directory of its own.
fn fixture() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    std::fs::write(&path, VERSION_1).unwrap();
    (dir, path)
}

/// All rows of a table, in the order of their keys, each as text.
fn rows(path: &Path, sql: &str) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut select = db.prepare(sql).unwrap();
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|column| Ok(format!("{:?}", row.get_ref(column)?)));
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    };
    select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

const COLUMNS_OF_USERS: &str = "SELECT id, name, state, locked, salt, iterations, stored_key, \
    server_key, limit_bytes, limit_entries, used_bytes, used_entries, reserved_bytes, \
    reserved_entries, created_s FROM users ORDER BY id";

#[tokio::test]
async fn a_ledger_of_version_1_keeps_every_row() {
    let (_dir, path) = fixture();
    let tables = [
        COLUMNS_OF_USERS,
        "SELECT * FROM uploads ORDER BY name",
        "SELECT * FROM intents ORDER BY name",
        "SELECT * FROM sequence",
    ];
    let before: Vec<_> = tables.iter().map(|sql| rows(&path, sql)).collect();
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 4, 1]);
    let (ledger, _fatal) = open(path.clone(), &Outside::default()).unwrap();

    let alice = ledger.user(&name("alice")).await.unwrap().unwrap();
    assert_eq!((alice.state, alice.verifier), (UserState::Active, verifier(1)));
    assert_eq!(alice.usage.limits, limits(1 << 20, 100));
    assert_eq!((alice.usage.used_bytes, alice.usage.used_entries), (5007, 2));
    assert_eq!((alice.usage.reserved_bytes, alice.usage.reserved_entries), (3440, 2));
    let pending = ledger.pending(&name("alice")).await.unwrap();
    let kinds = [
        IntentKind::Stage { inode: 7, size: 400 },
        IntentKind::Stage { inode: 7, size: 60 },
        IntentKind::Take,
        IntentKind::Over,
    ];
    assert_eq!(pending.intents.iter().map(|row| row.kind).collect::<Vec<_>>(), kinds);
    assert_eq!(pending.uploads, [StagingName(3), StagingName(4)]);
    let states = [
        (name("alice"), UserState::Active),
        (name("bob"), UserState::Creating),
        (name("carol"), UserState::Removing),
    ];
    assert_eq!(ledger.user_states(0, 9).await.unwrap().0, states);
    assert_eq!(ledger.unverified_users().await.unwrap(), []);
    assert_eq!(ledger.mint().await.unwrap(), StagingName(1025), "no name is minted twice");
    ledger.close().await;

    let after: Vec<_> = tables.iter().map(|sql| rows(&path, sql)).collect();
    assert_eq!(after[..3], before[..3]);
    assert_eq!(rows(&path, "PRAGMA user_version"), [format!("Integer({VERSION})")]);
    assert_eq!(rows(&path, "SELECT is_backup FROM origin"), ["Integer(0)"]);
}

#[tokio::test]
async fn a_migrated_ledger_has_the_tables_of_a_new_one() {
    let (dir, path) = fixture();
    let new = dir.path().join("new.sqlite");
    for path in [&path, &new] {
        open(path.clone(), &Outside::default()).unwrap().0.close().await;
    }
    let tables = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";
    assert_eq!(rows(&path, tables), rows(&new, tables));
}

#[test]
fn a_migration_that_is_cut_off_has_not_happened() {
    let (_dir, path) = fixture();
    let before = rows(&path, COLUMNS_OF_USERS);
    let mut db = Connection::open(&path).unwrap();
    db.commit_hook(Some(|| true)).unwrap();
    super::super::migrations::migrate(&mut db, 1).unwrap_err();
    drop(db);
    assert_eq!(rows(&path, "PRAGMA user_version"), ["Integer(1)"]);
    assert_eq!(rows(&path, COLUMNS_OF_USERS), before);
    assert_eq!(rows(&path, "SELECT name FROM sqlite_schema WHERE name = 'origin'"), [""; 0]);
    open(path, &Outside::default()).unwrap();
}

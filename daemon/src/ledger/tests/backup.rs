//! Copies of a running ledger, and ledgers that were restored from one.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;

use berth_common::digest::Md5;

use super::super::migrations::VERSION;
use super::*;

/// The copy's bytes, after checking what it says of itself.
fn bytes_of(mut backup: Backup) -> Vec<u8> {
    assert_eq!(backup.file.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(backup.file.metadata().unwrap().nlink(), 0, "it has no name any more");
    let mut bytes = Vec::new();
    backup.file.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.len() as u64, Md5::of(&bytes)), (backup.bytes, backup.md5));
    bytes
}

/// Opens these bytes as the ledger of a data directory of its own.
fn restored(bytes: &[u8]) -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    std::fs::write(&path, bytes).unwrap();
    let (ledger, _fatal) = open(path, &Outside::default()).unwrap();
    (dir, ledger)
}

#[tokio::test]
async fn a_copy_of_a_running_ledger_has_all_that_is_committed() {
    let bench = Bench::new(limits(1 << 40, 1000)).await;
    bench.put(S1, 77).await;
    let backup = bench.ledger.backup().await.unwrap();
    assert_eq!((i64::from(backup.version), backup.users), (VERSION, 1));
    bench.put(S1, 1).await;
    let (_dir, ledger) = restored(&bytes_of(backup));
    let usage = ledger.usage(&bench.alice).await.unwrap();
    assert_eq!((usage.used_bytes, usage.used_entries), (77, 1));
    assert_eq!(bench.sums().await.0, 78, "the ledger itself goes on");
    let names: Vec<_> = std::fs::read_dir(bench.dir.path()).unwrap().collect();
    assert!(names.iter().all(|entry| {
        entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("ledger.sqlite")
    }));
}

#[tokio::test]
async fn copies_made_under_load_are_each_consistent() {
    let bench = Bench::new(Limits::default()).await;
    let busy = async {
        for _ in 0..120 {
            bench.put(S1, 10).await;
        }
    };
    let copies = async {
        let mut copies = Vec::new();
        for _ in 0..4 {
            copies.push(bytes_of(bench.ledger.backup().await.unwrap()));
        }
        copies
    };
    let (copies, ()) = tokio::join!(copies, busy);
    for copy in copies {
        let (_dir, ledger) = restored(&copy);
        let usage = ledger.usage(&bench.alice).await.unwrap();
        assert_eq!(usage.used_bytes, usage.used_entries * 10);
    }
}

#[tokio::test]
async fn a_restored_ledger_forgets_its_rows_and_trusts_no_sum() {
    let bench = Bench::new(limits(1 << 40, 1000)).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    bench.put(S1, 500).await;
    bench.opened(S1, &upload("film", 1, 1, 3000)).await;
    bench.intend(S1, IntentItem::Take).await.unwrap();
    ledger.add_user(&name("bob"), verifier(2), Limits::default()).await.unwrap();
    ledger.add_user(&name("carol"), verifier(3), Limits::default()).await.unwrap();
    ledger.begin_removal(&name("carol")).await.unwrap();
    let last = ledger.mint().await.unwrap();
    assert_eq!(ledger.unverified_users().await.unwrap(), [], "the ledger itself is no backup");

    let copy = bytes_of(ledger.backup().await.unwrap());
    let (dir, ledger) = restored(&copy);
    assert_eq!(ledger.pending(alice).await.unwrap(), Pending::default());
    let usage = ledger.usage(alice).await.unwrap();
    assert_eq!((usage.reserved_bytes, usage.reserved_entries), (0, 0));
    let all = [alice.clone(), name("bob"), name("carol")];
    assert_eq!(ledger.unverified_users().await.unwrap(), all);
    let states = ledger.user_states(0, 9).await.unwrap().0;
    let active = |(_, state): &(UserName, UserState)| *state == UserState::Active;
    assert!(states.iter().all(active), "an old removal is not carried out: {states:?}");
    for user in ["bob", "carol"] {
        assert!(ledger.user(&name(user)).await.unwrap().unwrap().locked, "{user}");
    }
    assert!(!ledger.user(alice).await.unwrap().unwrap().locked);
    assert!(ledger.mint().await.unwrap().0 > last.0 + (1 << 39), "old names are not minted again");

    ledger.settle_stopped(alice, Vec::new(), (123, 4)).await.unwrap();
    let usage = ledger.usage(alice).await.unwrap();
    assert_eq!((usage.used_bytes, usage.used_entries), (123, 4));
    ledger.close().await;
    // Only the first start begins anew.
    let (ledger, _fatal) = open(dir.path().join("ledger.sqlite"), &bench.outside).unwrap();
    assert_eq!(ledger.unverified_users().await.unwrap(), [name("bob"), name("carol")]);
    ledger.mark_unverified(alice).await.unwrap();
    assert_eq!(ledger.unverified_users().await.unwrap(), all);
    assert_eq!(ledger.mark_unverified(&name("dave")).await, Err(LedgerError::NoSuchUser));
}

#[tokio::test]
async fn a_copy_beside_the_log_of_another_ledger_is_refused() {
    let bench = Bench::new(Limits::default()).await;
    let copy = bytes_of(bench.ledger.backup().await.unwrap());
    bench.put(S1, 9).await;
    let log = bench.dir.path().join("ledger.sqlite-wal");
    let left = std::fs::read(&log).unwrap();
    assert!(!left.is_empty());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    std::fs::write(&path, &copy).unwrap();
    std::fs::write(dir.path().join("ledger.sqlite-wal"), left).unwrap();
    let error = open(path.clone(), &bench.outside).unwrap_err();
    assert!(matches!(error, OpenError::ForeignLog(_)), "{error}");
    assert!(error.to_string().contains("ledger.sqlite-wal"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), copy, "nothing was written");
    std::fs::remove_file(dir.path().join("ledger.sqlite-wal")).unwrap();
    open(path, &bench.outside).unwrap();
}

#[tokio::test]
async fn what_a_killed_copy_left_is_removed_at_the_next_start() {
    let mut bench = Bench::new(Limits::default()).await;
    bench.ledger.close().await;
    let left = bench.dir.path().join("ledger.copy");
    let mut file = std::fs::File::create(&left).unwrap();
    file.write_all(b"half").unwrap();
    bench.ledger = Ledger::open(&bench.path(), Options::new(|text| panic!("{text}"))).unwrap();
    assert!(!left.exists());
}

#[tokio::test]
async fn a_damaged_ledger_gives_no_copy() {
    let bench = Bench::new(Limits::default()).await;
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    // A page that no table has: the check of the copy finds it.
    db.execute_batch(
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'intents';",
    )
    .unwrap();
    drop(db);
    let error = bench.ledger.backup().await.unwrap_err();
    let is_damage = matches!(error, BackupError::Damaged(_) | BackupError::Sqlite(_));
    assert!(is_damage, "{error}");
    assert!(!bench.dir.path().join("ledger.copy").exists());
}

//! Users come and go, and what is known of them stays.

use berth_common::admin_protocol::Change;

use super::super::migrations::VERSION;
use super::*;

#[tokio::test]
async fn a_user_is_made_activated_removed_and_may_come_again() {
    let bench = Bench::new(Limits::default()).await;
    let (ledger, bob) = (&bench.ledger, name("bob"));
    assert!(ledger.user(&bob).await.unwrap().is_none());
    ledger.add_user(&bob, verifier(9), limits(99, 9)).await.unwrap();
    // Its making was cut off: it is begun anew.
    ledger.add_user(&bob, verifier(2), limits(10, 2)).await.unwrap();
    assert_eq!(ledger.user(&bob).await.unwrap().unwrap().verifier, verifier(2));
    assert_eq!(ledger.user_states(1, 9).await.unwrap().0, [(bob.clone(), UserState::Creating)]);
    assert_eq!(ledger.reserve(&bob, S1, 1, 1).await, Err(LedgerError::UserGoing));
    assert!(!ledger.user(&bob).await.unwrap().unwrap().may_log_in());

    ledger.activate_user(&bob).await.unwrap();
    ledger.activate_user(&bob).await.unwrap();
    let again = ledger.add_user(&bob, verifier(2), limits(10, 2)).await;
    assert_eq!(again, Err(LedgerError::UserExists));
    assert_eq!(ledger.count_users().await.unwrap(), 2);
    let held = ledger.reserve(&bob, S1, 1, 1).await.unwrap();
    ledger.open_upload(&bob, S1, upload("a", 1, 1, 2), ROOM).await.unwrap();
    ledger.intent(&bob, S1, vec![stage(held, 1, None), IntentItem::Take]).await.unwrap();
    assert_eq!(ledger.finish_removal(&bob).await, Err(LedgerError::UserExists));

    ledger.begin_removal(&bob).await.unwrap();
    assert_eq!(ledger.begin_removal(&bob).await, Err(LedgerError::UserGoing));
    assert_eq!(ledger.activate_user(&bob).await, Err(LedgerError::UserGoing));
    assert_eq!(ledger.set_locked(&bob, false).await, Err(LedgerError::UserGoing));
    assert_eq!(ledger.reserve(&bob, S1, 1, 1).await, Err(LedgerError::UserGoing));
    ledger.finish_removal(&bob).await.unwrap();
    assert_eq!(ledger.usage(&bob).await, Err(LedgerError::NoSuchUser));
    assert_eq!(ledger.begin_removal(&bob).await, Err(LedgerError::NoSuchUser));

    ledger.add_user(&bob, verifier(3), limits(10, 2)).await.unwrap();
    let bob = ledger.user(&bob).await.unwrap().unwrap();
    assert_eq!((bob.usage.used_bytes, bob.usage.reserved_bytes, bob.uploads), (0, 0, 0));
}

#[tokio::test]
async fn what_is_set_is_kept_by_the_file() {
    let mut bench = Bench::new(limits(u64::MAX, 7)).await;
    let alice = bench.alice.clone();
    bench.ledger.set_verifier(&alice, verifier(9)).await.unwrap();
    bench.ledger.set_locked(&alice, true).await.unwrap();
    bench.ledger.set_limits(&alice, Change::Keep, Change::Unlimited).await.unwrap();
    bench.put(S1, 5).await;
    bench.reserve(S1, 1000).await.unwrap();
    bench.opened(S1, &upload("a", 1, 1, 20)).await;
    bench.reopen().await;

    let record = bench.ledger.user(&alice).await.unwrap().unwrap();
    assert_eq!(record.name, alice);
    assert_eq!(record.state, UserState::Active);
    assert_eq!(record.verifier, verifier(9));
    assert!(record.locked && !record.may_log_in());
    assert_eq!((record.created_s, record.uploads), (100, 1));
    assert_eq!(record.usage.limits, Limits { bytes: Some(u64::MAX), entries: None });
    assert_eq!(bench.sums().await, (5, 20, 1, 1), "what was in memory is gone");
}

#[tokio::test]
async fn users_come_in_pages_by_name() {
    let bench = Bench::new(Limits::default()).await;
    for user in ["zoe", "bob", "_x"] {
        bench.ledger.add_user(&name(user), verifier(1), Limits::default()).await.unwrap();
    }
    let page = async |after: Option<&str>| -> Vec<String> {
        let users = bench.ledger.users(after.map(name), 2).await.unwrap();
        users.into_iter().map(|user| user.name.into()).collect()
    };
    assert_eq!(page(None).await, ["_x", "alice"]);
    assert_eq!(page(Some("alice")).await, ["bob", "zoe"]);
    assert_eq!(page(Some("zoe")).await, [""; 0]);
}

#[tokio::test]
async fn a_file_of_another_kind_or_a_later_version_is_refused_and_left_alone() {
    let bench = Bench::new(Limits::default()).await;
    bench.ledger.close().await;
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    db.pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(db);
    let error = open(bench.path(), &bench.outside).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found, known: VERSION } if found == VERSION + 1),
        "{error}"
    );
    assert!(error.to_string().contains("newer berthd"), "{error}");

    let other = bench.dir.path().join("other.sqlite");
    let db = rusqlite::Connection::open(&other).unwrap();
    db.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(db);
    let before = std::fs::read(&other).unwrap();
    assert!(matches!(open(other.clone(), &bench.outside), Err(OpenError::NotALedger)));
    assert_eq!(std::fs::read(&other).unwrap(), before);

    let text = bench.dir.path().join("text");
    std::fs::write(&text, "this is no database, and longer than a header of SQLite's is".repeat(9))
        .unwrap();
    assert!(matches!(open(text, &bench.outside), Err(OpenError::Damaged(_))));
    let missing = bench.dir.path().join("missing/ledger.sqlite");
    assert!(matches!(open(missing, &bench.outside), Err(OpenError::Io(_))));
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new(Limits::default()).await;
    for entry in std::fs::read_dir(bench.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn the_tables_themselves_refuse_impossible_sums() {
    let bench = Bench::new(Limits::default()).await;
    let refused = |sql: &'static str| {
        let ledger = bench.ledger.clone();
        async move {
            let run = move |tx: &super::super::request::Tx<'_>| Ok(tx.db.execute(sql, []).is_err());
            ledger.write(run).await.unwrap()
        }
    };
    assert!(refused("UPDATE users SET used_bytes = -1").await);
    assert!(refused("UPDATE users SET reserved_bytes = -1, used_bytes = 5").await);
    assert!(refused("UPDATE users SET state = 'gone'").await);
    assert!(refused("UPDATE users SET used_bytes = 'many'").await);
    assert!(refused("INSERT INTO intents VALUES (9, 77, 'take', NULL, NULL, NULL, 0, 0)").await);
    assert!(refused("INSERT INTO intents VALUES (9, 1, 'stage', NULL, NULL, NULL, 0, 0)").await);
    assert!(refused("INSERT INTO intents VALUES (9, 1, 'stage', 1, 1, 9, 0, 0)").await);
    assert!(!refused("UPDATE users SET used_bytes = -1, reserved_bytes = 1").await);
}

#[tokio::test]
async fn a_new_file_opens_by_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(|text| panic!("{text}"));
    let ledger = Ledger::open(&dir.path().join("ledger.sqlite"), options).unwrap();
    ledger.add_user(&name("bob"), verifier(1), Limits::default()).await.unwrap();
    let bob = ledger.user(&name("bob")).await.unwrap().unwrap();
    assert!(bob.created_s > 1_700_000_000);
    ledger.close().await;
}

#[tokio::test]
async fn a_user_changes_only_the_password_that_was_proved() {
    let bench = Bench::new(Limits::default()).await;
    let change = async |from, to| {
        let ledger = &bench.ledger;
        let changed = ledger.change_verifier(&bench.alice, verifier(from), verifier(to));
        changed.await
    };
    let refused = Err(LedgerError::Refused(ErrorCode::PasswordRefused));
    assert_eq!(change(1, 2).await, Ok(()));
    assert_eq!(change(1, 3).await, refused, "an administrator was quicker");
    bench.ledger.set_locked(&bench.alice, true).await.unwrap();
    assert_eq!(change(2, 3).await, refused);
    let record = bench.ledger.user(&bench.alice).await.unwrap().unwrap();
    assert_eq!(record.verifier, verifier(2));
}

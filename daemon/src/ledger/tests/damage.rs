//! Rows that cannot be, and files that are no ledger.

use rusqlite::Connection;

use super::*;

/// Changes the file behind the ledger's back, against what its tables allow.
fn damage(bench: &Bench, sql: &str) {
    let db = Connection::open(bench.path()).unwrap();
    db.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    assert_eq!(db.execute(sql, []).unwrap(), 1, "{sql}");
}

fn names_row<T: std::fmt::Debug>(result: Result<T, LedgerError>, table: &str, key: u64) {
    let Err(LedgerError::Damaged(text)) = result else { panic!("{result:?}") };
    assert!(text.contains(table) && text.contains(&key.to_string()), "{text}");
}

/// Alice with an upload and an intent, and bob.
async fn bench() -> (Bench, UserName, StagingName, StagingName) {
    let bench = Bench::new(Limits::default()).await;
    let bob = name("bob");
    bench.ledger.add_user(&bob, verifier(2), Limits::default()).await.unwrap();
    bench.ledger.activate_user(&bob).await.unwrap();
    let upload = bench.opened(S1, &upload("a", 1, 1, 10)).await;
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    (bench, bob, upload, take)
}

#[tokio::test]
async fn a_path_that_is_none_is_named_and_fails_its_users_requests_alone() {
    for bad in ["../etc/passwd", "/a", "a//b"] {
        let (bench, bob, upload, _) = bench().await;
        damage(&bench, &format!("UPDATE uploads SET path = '{bad}'"));
        names_row(bench.ledger.pending(&bench.alice).await, "uploads", upload.0);
        names_row(bench.ledger.uploads(&bench.alice, None, 9).await, "uploads", upload.0);
        assert_eq!(bench.ledger.pending(&bob).await.unwrap(), Pending::default());
        bench.ledger.reserve(&bob, S2, 1, 1).await.unwrap();
        assert!(bench.ledger.usage(&bench.alice).await.is_ok());
        assert!(bench.ledger.works(), "it is no outage");
    }
}

#[tokio::test]
async fn an_unknown_kind_of_intent_is_named_and_not_guessed_at() {
    for columns in ["kind = 'move'", "kind = 'move', inode = 1, size = 1", "kind = 'stage'"] {
        let (bench, bob, _, take) = bench().await;
        damage(&bench, &format!("UPDATE intents SET {columns} WHERE name = {}", take.0));
        names_row(bench.ledger.pending(&bench.alice).await, "intents", take.0);
        names_row(bench.ledger.orphans_of(S1).await, "intents", take.0);
        let settled = bench.settle(S1, take, Outcome::NotHappened).await;
        names_row(settled, "intents", take.0);
        bench.ledger.reserve(&bob, S2, 1, 1).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_user_is_left_out_and_the_others_are_listed() {
    let damages = ["state = 'odd'", "stored_key = x'00'", "iterations = 0"];
    for columns in damages {
        let (bench, bob, ..) = bench().await;
        damage(&bench, &format!("UPDATE users SET {columns} WHERE name = 'alice'"));
        names_row(bench.ledger.user(&bench.alice).await, "users", 1);
        let users = bench.ledger.users(None, 9).await.unwrap();
        assert_eq!(users.iter().map(|user| &user.name).collect::<Vec<_>>(), [&bob], "{columns}");
    }
    let (bench, bob, ..) = bench().await;
    damage(&bench, "UPDATE users SET name = '../bob' WHERE name = 'alice'");
    let (users, last) = bench.ledger.user_states(0, 9).await.unwrap();
    assert_eq!((users, last), (vec![(bob, UserState::Active)], Some(2)));
    assert_eq!(bench.ledger.user_states(2, 9).await.unwrap(), (vec![], None));
}

/// What is in the file and in its log, which may be there and empty.
fn files(bench: &Bench) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(bench.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-shm"))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .filter(|(_, content)| !content.is_empty())
        .collect();
    all.sort();
    all
}

/// What SQLite says, and what is done to the bytes.
type Spoil = (&'static str, fn(&mut Vec<u8>));

#[tokio::test]
async fn a_file_that_is_no_sound_database_is_refused_and_left_as_it_is() {
    let garbage = |bytes: &mut Vec<u8>| bytes.fill(b'x');
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2 + 100);
    // The content of pages, behind the first one with the schema.
    let pages = |bytes: &mut Vec<u8>| bytes[4096..].fill(0xa5);
    let spoils: [Spoil; 3] =
        [("not a database", garbage), ("malformed", half), ("malformed", pages)];
    for (sentence, spoil) in spoils {
        let (bench, ..) = bench().await;
        bench.ledger.close().await;
        let mut bytes = std::fs::read(bench.path()).unwrap();
        spoil(&mut bytes);
        std::fs::write(bench.path(), &bytes).unwrap();
        let before = files(&bench);
        let error = super::open(bench.path(), &bench.outside).unwrap_err().to_string();
        assert!(error.contains("damaged") || error.contains(sentence), "{error}");
        assert!(files(&bench) == before, "nothing is overwritten");
    }
}

#[tokio::test]
async fn damage_that_is_found_while_it_runs_stops_all_writing_for_good() {
    let (bench, bob, ..) = bench().await;
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let mut bytes = std::fs::read(bench.path()).unwrap();
    bytes[4096..].fill(0xa5);
    std::fs::write(bench.path(), &bytes).unwrap();
    bench.run("PRAGMA shrink_memory").await;
    assert_eq!(bench.ledger.reserve(&bob, S2, 1, 1).await, Err(LedgerError::Unavailable));
    assert!(!bench.ledger.works());
    assert_eq!(bench.ledger.reserve(&bob, S2, 1, 1).await, Err(LedgerError::Unavailable));
    assert!(std::fs::read(bench.path()).unwrap() == bytes);
    assert!(bench.fatal.try_recv().is_err());
}

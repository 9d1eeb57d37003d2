//! While the ledger cannot be written: what is refused, what goes on, and when it is over.

use rusqlite::{Connection, ffi};

use super::request::Tx;
use super::*;

/// Another program that writes the ledger and does not come to an end.
fn foreign_writer(bench: &Bench) -> Connection {
    let foreign = Connection::open(bench.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    foreign
}

async fn outage(bench: &Bench) -> Connection {
    bench.run("PRAGMA busy_timeout = 1").await;
    let foreign = foreign_writer(bench);
    assert_eq!(bench.intend(S1, IntentItem::Take).await, Err(LedgerError::Unavailable));
    foreign
}

#[tokio::test]
async fn readers_are_served_beside_a_writer_that_fails() {
    let bench = Bench::new(Limits::default()).await;
    bench.run("PRAGMA busy_timeout = 1").await;
    let _foreign = foreign_writer(&bench);
    // All in one transaction of the thread's.
    let go = bench.hold_up().await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let (first, reserved, second, _) =
        tokio::join!(ledger.usage(alice), bench.reserve(S1, 1), ledger.user(alice), async {
            go.send(())
        });
    assert_eq!(reserved, Err(LedgerError::Unavailable));
    first.unwrap();
    assert!(second.unwrap().is_some());
}

#[tokio::test]
async fn names_can_be_owed_in_an_outage_alone_and_are_never_used_twice() {
    let bench = Bench::new(Limits::default()).await;
    assert_eq!(bench.ledger.owe().await, Err(LedgerError::Unavailable), "intents are for that");
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..3 {
        used.insert(bench.reserve(S1, 1).await.unwrap().0);
        let foreign = outage(&bench).await;
        assert!(!bench.ledger.works());
        for _ in 0..3 {
            assert!(used.insert(bench.ledger.owe().await.unwrap().0), "{used:?}");
        }
        foreign.execute_batch("ROLLBACK").unwrap();
        bench.ledger.until_it_works().await;
        assert!(used.insert(bench.reserve(S1, 1).await.unwrap().0), "{used:?}");
    }
}

#[tokio::test]
async fn as_many_names_as_are_left_can_be_owed_also_after_a_restart() {
    let mut bench = Bench::new(Limits::default()).await;
    let mut last = bench.reserve(S1, 1).await.unwrap().0;
    bench.reopen().await;
    bench.ledger.usage(&bench.alice).await.unwrap();
    let foreign = outage(&bench).await;
    let mut count = 0;
    while let Ok(name) = bench.ledger.owe().await {
        assert!(name.0 > last);
        (last, count) = (name.0, count + 1);
    }
    assert!(count >= 1024, "{count}");
    foreign.execute_batch("ROLLBACK").unwrap();
    bench.ledger.until_it_works().await;
    assert!(bench.reserve(S1, 1).await.unwrap().0 > last);
}

#[tokio::test]
async fn the_end_of_an_outage_is_noticed_without_a_request() {
    let bench = Bench::new(Limits::default()).await;
    let foreign = outage(&bench).await;
    assert!(!bench.ledger.works());
    assert!(bench.ledger.usage(&bench.alice).await.is_ok());
    assert!(!bench.ledger.works(), "a reader's success tells nothing of writers");
    foreign.execute_batch("ROLLBACK").unwrap();
    bench.ledger.until_it_works().await;
    bench.reserve(S1, 1).await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_opens_in_an_outage_works_when_it_is_over() {
    let mut bench = Bench::new(Limits::default()).await;
    bench.ledger.close().await;
    let foreign = foreign_writer(&bench);
    (bench.ledger, bench.fatal) = super::open(bench.path(), &bench.outside).unwrap();
    assert!(bench.ledger.user(&bench.alice).await.unwrap().is_some());
    assert_eq!(bench.reserve(S1, 1).await, Err(LedgerError::Unavailable));
    assert_eq!(bench.ledger.owe().await, Err(LedgerError::Unavailable), "no name is leased");
    foreign.execute_batch("ROLLBACK").unwrap();
    bench.ledger.until_it_works().await;
    bench.reserve(S1, 1).await.unwrap();
}

#[tokio::test]
async fn notes_of_an_outage_wait_for_its_end_and_come_before_what_is_asked_after_them() {
    let bench = Bench::new(Limits::default()).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    for round in 1..20 {
        let upload = upload(&format!("f{round}"), round, round.into(), 10);
        let name = bench.opened(S1, &upload).await;
        let leftover = bench.intend(S1, IntentItem::Take).await.unwrap();
        bench.settle(S1, leftover, Outcome::NotHappened).await.unwrap();
        let foreign = outage(&bench).await;
        let let_go = ledger.let_go(alice, S1, name);
        let gone = ledger.gone(S1, vec![leftover]);
        let asked_on = async {
            assert_eq!(ledger.claim(alice, S1, name).await, Err(LedgerError::Unavailable));
            foreign.execute_batch("ROLLBACK").unwrap();
            while ledger.claim(alice, S1, name).await == Err(LedgerError::Unavailable) {}
            // It was let go before it was claimed again; were it let go only now, it would be nobody's.
            ledger.drop_name(alice, S1, name).await
        };
        let answers = tokio::join!(let_go, gone, asked_on);
        assert_eq!(answers, (Ok(()), Ok(()), Ok(())), "round {round}");
        assert!(ledger.orphans_of(S1).await.unwrap().are_none());
    }
}

#[tokio::test]
async fn a_note_of_an_outage_that_is_wrong_is_refused_at_its_end_alone() {
    let bench = Bench::new(Limits::default()).await;
    let name = bench.reserve(S2, 10).await.unwrap();
    let foreign = outage(&bench).await;
    let wrong = bench.ledger.gone(S1, vec![name]);
    let dropped = bench.ledger.note(&bench.alice, S2, vec![Note::Dropped(name)]);
    let (wrong, dropped, ()) = tokio::join!(wrong, dropped, async {
        bench.ledger.usage(&bench.alice).await.unwrap();
        foreign.execute_batch("ROLLBACK").unwrap();
    });
    assert!(matches!(wrong, Err(LedgerError::Protocol(_))), "{wrong:?}");
    assert_eq!(dropped, Ok(()));
    assert_eq!(bench.sums().await, (0, 0, 0, 0));
}

#[tokio::test]
async fn a_note_that_was_taken_back_with_its_transaction_is_taken_once_at_the_end_of_the_outage() {
    let bench = Bench::new(Limits::default()).await;
    let mine = bench.opened(S1, &upload("mine", 1, 1, 10)).await;
    // The file may not grow any more.
    bench.run("PRAGMA max_page_count = 1").await;
    let go = bench.hold_up().await;
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    let noted = tokio::spawn(async move { ledger.let_go(&alice, S1, mine).await });
    tokio::task::yield_now().await;
    let mut opening = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        let request = upload(&format!("{}/{n}", "long".repeat(60)), 1, 1, 10);
        opening.spawn(async move { ledger.open_upload(&alice, S1, request, ROOM).await });
    }
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    for opened in opening.join_all().await {
        assert_eq!(opened, Err(LedgerError::Unavailable));
    }
    bench.run("PRAGMA max_page_count = 1000000").await;
    // A second time it would be refused, as of an upload that is nobody's.
    assert_eq!(noted.await.unwrap(), Ok(()));
    assert!(bench.ledger.orphans_of(S1).await.unwrap().are_none());
}

#[tokio::test]
async fn a_note_of_an_outage_for_whose_answer_nobody_waits_is_never_taken() {
    let bench = Bench::new(Limits::default()).await;
    let mine = bench.opened(S1, &upload("mine", 1, 1, 10)).await;
    let foreign = outage(&bench).await;
    tokio::select! {
        biased;
        noted = bench.ledger.let_go(&bench.alice, S1, mine) => panic!("{noted:?}"),
        // It is served behind the note.
        usage = bench.ledger.usage(&bench.alice) => drop(usage.unwrap()),
    }
    foreign.execute_batch("ROLLBACK").unwrap();
    bench.ledger.until_it_works().await;
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap().uploads, [mine]);
}

#[tokio::test]
async fn a_note_that_alone_cannot_be_written_is_refused_and_holds_up_nobody() {
    let bench = Bench::new(Limits::default()).await;
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let bad = bench.opened(S1, &upload("bad", 1, 1, 10)).await;
    let good = bench.opened(S2, &upload("good", 2, 2, 10)).await;
    let foreign = outage(&bench).await;
    let failing = format!(
        "CREATE TEMP TRIGGER failing BEFORE UPDATE ON uploads WHEN old.name = {} \
         BEGIN SELECT abs(-9223372036854775808); END",
        bad.0
    );
    let (bad, good, ()) =
        tokio::join!(ledger.let_go(alice, S1, bad), ledger.let_go(alice, S2, good), async {
            ledger.read(move |tx| Ok(tx.db.execute_batch(&failing)?)).await.unwrap();
            foreign.execute_batch("ROLLBACK").unwrap();
            ledger.until_it_works().await;
        });
    assert_eq!((bad, good), (Err(LedgerError::Unavailable), Ok(())));
    assert!(ledger.orphans_of(S2).await.unwrap().are_none());
}

#[tokio::test]
async fn a_damaged_ledger_keeps_no_notes() {
    let bench = Bench::new(Limits::default()).await;
    let name = bench.opened(S1, &upload("mine", 1, 1, 10)).await;
    let damaged = |_: &Tx<'_>| -> Result<(), Failure> {
        Err(Failure::Sqlite(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CORRUPT),
            None,
        )))
    };
    assert_eq!(bench.ledger.write(damaged).await, Err(LedgerError::Unavailable));
    let noted = bench.ledger.let_go(&bench.alice, S1, name).await;
    assert_eq!(noted, Err(LedgerError::Unavailable));
    bench.ledger.usage(&bench.alice).await.unwrap();
}

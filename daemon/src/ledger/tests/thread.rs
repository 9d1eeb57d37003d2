//! Group commit, and what happens when the database fails.

use tokio::task::{JoinSet, yield_now};

use super::super::request::Tx;
use super::*;

impl Bench {
    /// Keeps the thread busy until the sender is used, so that requests pile up behind it.
    pub(super) async fn hold_up(&self) -> mpsc::Sender<()> {
        let (go, gate) = mpsc::channel::<()>();
        let (entered, wait) = tokio::sync::oneshot::channel();
        let ledger = self.ledger.clone();
        tokio::spawn(async move {
            let mut entered = Some(entered);
            let work = move |_: &Tx<'_>| {
                let _ = entered.take().map(|entered| entered.send(()));
                let _ = gate.recv();
                Ok(())
            };
            ledger.read(work).await
        });
        wait.await.unwrap();
        go
    }

    pub(super) async fn run(&self, sql: &'static str) {
        self.ledger.read(move |tx: &Tx<'_>| Ok(tx.db.execute_batch(sql)?)).await.unwrap();
    }
}

/// Lets every spawned task get to its first wait.
async fn settle_down() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn requests_that_wait_share_one_transaction() {
    let bench = Bench::new(limits(1000, 1000)).await;
    let go = bench.hold_up().await;
    let mut tasks = JoinSet::new();
    for n in 0..300 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        tasks.spawn(async move {
            let request = upload(&format!("f{n}"), 1, n, 4);
            ledger.open_upload(&alice, S1, request, ROOM).await
        });
    }
    settle_down().await;
    let commits = &bench.outside.commits;
    commits.store(0, Ordering::Relaxed);
    go.send(()).unwrap();
    let opened = tasks.join_all().await;
    let granted = opened.iter().filter(|opening| opening.is_ok()).count();
    assert_eq!(granted, 250, "a refusal takes back only itself");
    assert!(opened.iter().flat_map(|opening| opening.as_ref().err()).all(over_quota));
    assert_eq!(commits.load(Ordering::Relaxed), 2, "300 in groups of at most 256");
    assert_eq!(bench.sums().await, (0, 1000, 0, 250));
}

#[tokio::test]
async fn reservations_in_memory_write_nothing() {
    let bench = Bench::new(Limits::default()).await;
    let log = bench.dir.path().join("ledger.sqlite-wal");
    bench.reserve(S1, 1).await.unwrap();
    let before = std::fs::metadata(&log).unwrap().len();
    for _ in 0..100 {
        let name = bench.reserve(S1, 1).await.unwrap();
        bench.ledger.drop_name(&bench.alice, S1, name).await.unwrap();
    }
    assert_eq!(std::fs::metadata(&log).unwrap().len(), before);
    bench.opened(S1, &upload("a", 1, 1, 1)).await;
    assert!(std::fs::metadata(&log).unwrap().len() > before);
}

#[tokio::test]
async fn a_full_disk_refuses_the_whole_group_and_takes_back_both_halves() {
    let bench = Bench::new(Limits::default()).await;
    let held = bench.reserve(S1, 5).await.unwrap();
    let before = bench.sums().await;
    // The file may not grow any more.
    bench.run("PRAGMA max_page_count = 1").await;
    let go = bench.hold_up().await;
    let mut tasks: JoinSet<Result<(), LedgerError>> = JoinSet::new();
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    tasks.spawn(async move { ledger.reserve(&alice, S1, 100, 1).await.map(drop) });
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    tasks.spawn(async move { ledger.drop_name(&alice, S1, held).await });
    for n in 0..40 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        let path = format!("{}/{n}", "long".repeat(60));
        tasks.spawn(async move {
            ledger.open_upload(&alice, S1, upload(&path, 1, 1, 10), ROOM).await.map(drop)
        });
    }
    settle_down().await;
    go.send(()).unwrap();
    for outcome in tasks.join_all().await {
        assert_eq!(outcome, Err(LedgerError::Unavailable));
    }
    assert_eq!(bench.sums().await, before, "reading works");
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap().reserved, [held]);
    assert!(bench.fatal.try_recv().is_err());

    bench.run("PRAGMA max_page_count = 1000000").await;
    bench.opened(S1, &upload("a", 1, 1, 10)).await;
    bench.ledger.drop_name(&bench.alice, S1, held).await.unwrap();
    assert_eq!(bench.sums().await, (0, 10, 0, 1));
}

#[tokio::test]
async fn a_row_that_the_tables_do_not_allow_fails_its_own_request_alone() {
    let bench = Bench::new(Limits::default()).await;
    let go = bench.hold_up().await;
    let mut tasks: JoinSet<Result<(), LedgerError>> = JoinSet::new();
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    tasks.spawn(async move { ledger.reserve(&alice, S1, 5, 1).await.map(drop) });
    let ledger = bench.ledger.clone();
    tasks.spawn(async move {
        let work = |tx: &Tx<'_>| {
            tx.db.execute("UPDATE users SET used_bytes = 7", [])?;
            tx.db.execute("UPDATE users SET reserved_bytes = -1", [])?;
            Ok(())
        };
        ledger.write(work).await
    });
    settle_down().await;
    bench.outside.commits.store(0, Ordering::Relaxed);
    go.send(()).unwrap();
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(Result::is_err);
    assert_eq!(outcomes, [Ok(()), Err(LedgerError::Unavailable)]);
    assert_eq!(bench.outside.commits.load(Ordering::Relaxed), 1);
    assert_eq!(bench.sums().await, (0, 5, 0, 1));
}

#[tokio::test]
async fn a_foreign_writer_stops_writing_but_not_reading() {
    let bench = Bench::new(Limits::default()).await;
    bench.run("PRAGMA busy_timeout = 1").await;
    let foreign = rusqlite::Connection::open(bench.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(bench.reserve(S1, 1).await, Err(LedgerError::Unavailable));
    assert!(bench.ledger.user(&bench.alice).await.unwrap().is_some());
    foreign.execute_batch("ROLLBACK").unwrap();
    bench.reserve(S1, 1).await.unwrap();
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_fatal_and_never_answered() {
    let bench = Bench::new(Limits::default()).await;
    bench.outside.fail_commits.store(true, Ordering::Relaxed);
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        tasks.spawn(async move { ledger.reserve(&alice, S1, 1, 1).await.map(drop) });
    }
    settle_down().await;
    let fatal = std::time::Duration::from_secs(30);
    let text = bench.fatal.recv_timeout(fatal).unwrap();
    assert!(text.contains("unknown"), "{text}");
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    tasks.spawn(async move { ledger.usage(&alice).await.map(drop) });
    settle_down().await;
    assert!(tasks.try_join_next().is_none());
    assert!(bench.fatal.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn a_panic_on_the_thread_is_fatal() {
    let bench = Bench::new(Limits::default()).await;
    let ledger = bench.ledger.clone();
    let asked = tokio::spawn(async move {
        ledger.read(|_: &Tx<'_>| -> Result<(), Failure> { panic!("for this test") }).await
    });
    settle_down().await;
    let text = bench.fatal.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert!(text.contains("panicked"), "{text}");
    settle_down().await;
    assert!(!asked.is_finished());
}

#[tokio::test]
async fn a_request_nobody_waits_for_is_carried_out() {
    let bench = Bench::new(Limits::default()).await;
    let go = bench.hold_up().await;
    let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
    let task = tokio::spawn(async move { ledger.reserve(&alice, S1, 5, 1).await });
    settle_down().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    assert_eq!(bench.sums().await, (0, 5, 0, 1));
}

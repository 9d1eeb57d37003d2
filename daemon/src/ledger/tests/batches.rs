//! What a batch costs: durable transactions, counted by SQLite's hooks.

use super::super::request::Tx;
use super::*;

impl Bench {
    /// Transactions that reached the disk so far.
    fn durable(&self) -> u64 {
        self.ledger.work().transactions
    }

    /// Reserves so many files of one byte and states them.
    async fn reserve_all(&self, count: u64) -> (Vec<IntentItem>, Vec<SettleItem>) {
        let (mut items, mut settles) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let name = self.reserve(S1, 1).await.unwrap();
            items.push(stage(name, 1, None));
            settles.push(SettleItem { name, outcome: PLACED });
        }
        (items, settles)
    }
}

#[tokio::test]
async fn a_batch_of_any_size_costs_exactly_two_transactions() {
    for count in [1, 100, 4096] {
        let bench = Bench::new(Limits::default()).await;
        bench.reserve(S1, 1).await.unwrap();
        let before = bench.durable();
        let (items, settles) = bench.reserve_all(count).await;
        // A reservation writes nothing, but the sequence of names goes on in durable steps.
        let steps = count / names::CHUNK.cast_unsigned();
        assert_eq!(bench.durable() - before, steps, "{count} reservations");

        let (before, commits) = (bench.durable(), &bench.outside.commits);
        commits.store(0, Ordering::Relaxed);
        bench.ledger.intent(&bench.alice, S1, items).await.unwrap();
        assert_eq!((bench.durable() - before, commits.load(Ordering::Relaxed)), (1, 1));
        bench.ledger.settle(&bench.alice, S1, settles).await.unwrap();
        assert_eq!((bench.durable() - before, commits.load(Ordering::Relaxed)), (2, 2));
        let count = i64::try_from(count).unwrap();
        assert_eq!(bench.sums().await, (count, 1, count, 1));
    }
}

#[tokio::test]
async fn a_settle_travels_with_the_next_intent_in_one_transaction() {
    let bench = Bench::new(Limits::default()).await;
    let (items, settles) = bench.reserve_all(50).await;
    bench.ledger.intent(&bench.alice, S1, items).await.unwrap();
    let (items, _) = bench.reserve_all(70).await;
    let (before, requests) = (bench.durable(), bench.ledger.work().requests);
    bench.outside.commits.store(0, Ordering::Relaxed);
    let (settled, written) = bench.ledger.settle_and_intent(&bench.alice, S1, settles, items).await;
    assert_eq!(settled.unwrap().used_bytes, 50);
    assert_eq!(written.unwrap().len(), 70);
    assert_eq!(bench.durable() - before, 1);
    assert_eq!(bench.outside.commits.load(Ordering::Relaxed), 1);
    assert_eq!(bench.ledger.work().requests - requests, 2);
}

#[tokio::test]
async fn of_a_settle_and_an_intent_each_is_refused_by_itself() {
    let bench = Bench::new(limits(10, 10)).await;
    let (items, settles) = bench.reserve_all(4).await;
    bench.ledger.intent(&bench.alice, S1, items).await.unwrap();
    let large = bench.reserve(S1, 1).await.unwrap();
    let too_large = vec![stage(large, 100, None)];
    let (settled, written) =
        bench.ledger.settle_and_intent(&bench.alice, S1, settles.clone(), too_large).await;
    assert_eq!(settled.unwrap().used_bytes, 4);
    assert!(over_quota(&written.unwrap_err()));

    let fits = vec![stage(large, 1, None)];
    let (settled, written) = bench.ledger.settle_and_intent(&bench.alice, S1, settles, fits).await;
    assert!(is_protocol(settled), "they are settled");
    assert_eq!(written, Ok(vec![large]));
    assert_eq!(bench.sums().await, (4, 1, 4, 1));
}

#[tokio::test]
async fn the_log_is_copied_into_the_database_as_it_grows() {
    let bench = Bench::new(Limits::default()).await;
    // Each transaction writes 600 pages, so that the log is due after every second one.
    for _ in 0..20 {
        let work = |tx: &Tx<'_>| {
            tx.db.execute_batch(
                "CREATE TABLE IF NOT EXISTS filler (id INTEGER PRIMARY KEY, bytes BLOB);
                 INSERT OR REPLACE INTO filler VALUES (1, zeroblob(600 * 4096));",
            )?;
            Ok(())
        };
        bench.ledger.write(work).await.unwrap();
    }
    let log = std::fs::metadata(bench.dir.path().join("ledger.sqlite-wal")).unwrap().len();
    assert!(log < 5 * 600 * 4096, "{log} bytes: it begins anew");
}

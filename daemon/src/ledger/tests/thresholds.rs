//! Thresholds of quotas: noted by whatever moves a sum or a limit, once for each crossing.

use berth_common::admin_protocol::Change;

use super::super::request::Tx;
use super::super::{intents, users};
use super::*;

impl Bench {
    /// How many thresholds the transaction of this work has crossed.
    async fn crossings(
        &self,
        work: impl FnOnce(&Tx<'_>, &UserName) -> Result<(), Failure> + Send + 'static,
    ) -> usize {
        let alice = self.alice.clone();
        let count = move |tx: &Tx<'_>| {
            let before = tx.crossings.mark();
            work(tx, &alice)?;
            Ok(tx.crossings.mark() - before)
        };
        self.ledger.write(count).await.unwrap()
    }

    /// The same of the settle of a new file.
    async fn crossings_of_a_put(&self, size: u64) -> usize {
        let name = self.reserve(S1, size).await.unwrap();
        self.intend(S1, stage(name, size, None)).await.unwrap();
        self.crossings(move |tx, user| {
            intents::settle(tx, user, S1, &[SettleItem { name, outcome: PLACED }]).map(drop)
        })
        .await
    }

    async fn crossings_of_a_limit(&self, bytes: Change, entries: Change) -> usize {
        self.crossings(move |tx, user| users::set_limits(tx, user, bytes, entries)).await
    }
}

#[tokio::test]
async fn a_settle_crosses_a_threshold_once_and_again_after_a_delete() {
    let bench = Bench::new(limits(1000, 1000)).await;
    assert_eq!(bench.crossings_of_a_put(799).await, 0);
    assert_eq!(bench.crossings_of_a_put(1).await, 1, "80%");
    assert_eq!(bench.crossings_of_a_put(149).await, 0);
    assert_eq!(bench.crossings_of_a_put(1).await, 1, "95%");
    assert_eq!(bench.crossings_of_a_put(50).await, 0);
    let taken = bench.intend(S1, IntentItem::Take).await.unwrap();
    let removed = Outcome::Removed { bytes: 799, entries: 1 };
    bench.settle(S1, taken, removed).await.unwrap();
    assert_eq!(bench.crossings_of_a_put(799).await, 1, "both at once are one event");
}

#[tokio::test]
async fn a_lower_limit_crosses_it_and_a_higher_one_does_not() {
    let bench = Bench::new(Limits::default()).await;
    assert_eq!(bench.crossings_of_a_put(800).await, 0);
    assert_eq!(bench.crossings_of_a_limit(Change::To(1000), Change::To(1)).await, 2);
    assert_eq!(bench.crossings_of_a_limit(Change::To(900), Change::Keep).await, 0);
    assert_eq!(bench.crossings_of_a_limit(Change::To(0), Change::Keep).await, 1);
    assert_eq!(bench.crossings_of_a_limit(Change::Unlimited, Change::To(9)).await, 0);
}

#[tokio::test]
async fn a_correction_crosses_it_too() {
    let bench = Bench::new(limits(1000, 1000)).await;
    let corrected =
        |bytes| bench.crossings(move |tx, user| intents::settle_stopped(tx, user, &[], (bytes, 3)));
    assert_eq!(corrected(960).await, 1);
    assert_eq!(corrected(960).await, 0);
    assert_eq!(corrected(0).await, 0);
    assert_eq!(corrected(900).await, 1);
}

#[tokio::test]
async fn a_request_that_is_refused_crosses_nothing() {
    let bench = Bench::new(limits(1000, 1000)).await;
    bench.put(S1, 500).await;
    let alice = bench.alice.clone();
    let refused = move |tx: &Tx<'_>| {
        users::set_limits(tx, &alice, Change::To(1), Change::Keep)?;
        assert_eq!(tx.crossings.mark(), 1);
        Err::<(), _>(LedgerError::UserGoing.into())
    };
    assert_eq!(bench.ledger.write(refused).await, Err(LedgerError::UserGoing));
    let nothing_noted = |tx: &Tx<'_>, _: &UserName| {
        assert_eq!(tx.crossings.mark(), 0);
        Ok(())
    };
    assert_eq!(bench.crossings(nothing_noted).await, 0);
}

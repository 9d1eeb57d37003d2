//! Reservations that grow: leases of uploads of unknown size (Q1, Q4).

use berth_common::limits::LEASE_BYTES;

use super::*;

impl Bench {
    async fn lease(&self, session: SessionId) -> (StagingName, u64) {
        self.ledger.lease(&self.alice, session, 1, ROOM).await.unwrap()
    }

    async fn extend(
        &self,
        session: SessionId,
        name: StagingName,
        least: u64,
    ) -> Result<u64, LedgerError> {
        self.ledger.extend(&self.alice, session, name, least, ROOM).await
    }
}

#[tokio::test]
async fn a_lease_is_what_is_left_and_never_more_than_one() {
    let bench = Bench::new(limits(LEASE_BYTES + 5, 3)).await;
    let (first, bytes) = bench.lease(S1).await;
    assert_eq!(bytes, LEASE_BYTES);
    let (_, bytes) = bench.lease(S2).await;
    assert_eq!(bytes, 5);
    let (none, bytes) = bench.lease(S2).await;
    assert_eq!(bytes, 0, "nothing is left, and an empty file is still possible");
    assert_eq!(bench.sums().await, (0, LEASE_BYTES + 5, 0, 3));
    let refused = bench.ledger.lease(&bench.alice, S3, 1, ROOM).await.unwrap_err();
    assert!(over_quota(&refused), "of entries: {refused}");
    assert_eq!(bench.ledger.lease(&bench.alice, S3, 0, ROOM).await.unwrap().1, 0);
    bench.ledger.drop_name(&bench.alice, S1, first).await.unwrap();
    assert_eq!(bench.extend(S2, none, 0).await, Ok(LEASE_BYTES), "what came free");
}

#[tokio::test]
async fn an_extension_gives_at_least_what_is_asked_for_or_nothing() {
    let bench = Bench::new(limits(3 * LEASE_BYTES + 7, 3)).await;
    let (name, _) = bench.lease(S1).await;
    assert_eq!(bench.extend(S1, name, 0).await, Ok(2 * LEASE_BYTES), "asked ahead");
    assert_eq!(bench.extend(S1, name, 2 * LEASE_BYTES + 1).await, Ok(3 * LEASE_BYTES));
    assert_eq!(bench.extend(S1, name, 3 * LEASE_BYTES).await, Ok(3 * LEASE_BYTES + 7));
    assert_eq!(bench.extend(S1, name, 0).await, Ok(3 * LEASE_BYTES + 7), "nothing is left");
    let refused = bench.extend(S1, name, 3 * LEASE_BYTES + 8).await.unwrap_err();
    let expected = ErrorCode::QuotaExceeded {
        resource: Resource::Bytes,
        limit: 3 * LEASE_BYTES + 7,
        used: 0,
        reserved: 3 * LEASE_BYTES + 7,
        requested: 1,
    };
    assert_eq!(refused, LedgerError::Refused(expected));
    assert!(over_quota(&bench.extend(S1, name, u64::MAX).await.unwrap_err()));
    assert_eq!(bench.sums().await, (0, 3 * LEASE_BYTES + 7, 0, 1), "a refusal changes nothing");
}

#[tokio::test]
async fn what_is_asked_for_may_be_more_than_a_lease() {
    let bench = Bench::new(Limits::default()).await;
    let (name, _) = bench.lease(S1).await;
    assert_eq!(bench.extend(S1, name, 5 * LEASE_BYTES).await, Ok(5 * LEASE_BYTES));
    assert!(over_quota(&bench.extend(S1, name, u64::MAX).await.unwrap_err()));
}

#[tokio::test]
async fn the_intent_gives_back_what_was_leased_too_much() {
    let bench = Bench::new(limits(2 * LEASE_BYTES, 3)).await;
    let (name, _) = bench.lease(S1).await;
    let (other, _) = bench.lease(S2).await;
    bench.intend(S1, stage(name, 100, None)).await.unwrap();
    assert_eq!(bench.sums().await, (0, 100 + LEASE_BYTES, 0, 2));
    bench.settle(S1, name, PLACED).await.unwrap();
    let most = 2 * LEASE_BYTES - 100;
    assert_eq!(bench.extend(S2, other, most).await, Ok(most), "to the last byte");
    bench.intend(S2, stage(other, most, None)).await.unwrap();
    bench.settle(S2, other, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, ((2 * LEASE_BYTES).cast_signed(), 0, 2, 0));
}

#[tokio::test]
async fn only_an_own_reservation_is_extended() {
    let bench = Bench::new(limits(4 * LEASE_BYTES, 9)).await;
    let (name, _) = bench.lease(S1).await;
    assert!(is_protocol(bench.extend(S2, name, 0).await));
    assert!(is_protocol(bench.extend(S1, StagingName(999_999), 0).await));
    let upload = bench.opened(S1, &upload("a", 1, 1, 5)).await;
    assert!(is_protocol(bench.extend(S1, upload, 0).await), "its row is durable");
    bench.intend(S1, stage(name, 1, None)).await.unwrap();
    assert!(is_protocol(bench.extend(S1, name, 0).await), "its intent is written");
}

#[tokio::test]
async fn the_disk_bounds_leases_too() {
    let bench = Bench::new(limits(100, 9)).await;
    let (name, bytes) = bench.ledger.lease(&bench.alice, S1, 1, 7).await.unwrap();
    assert_eq!(bytes, 7);
    let refused = bench.ledger.extend(&bench.alice, S1, name, 10, 2).await;
    assert_eq!(refused, Err(LedgerError::Refused(ErrorCode::DiskFull)));
    assert_eq!(bench.ledger.extend(&bench.alice, S1, name, 10, 3).await, Ok(10));
}

#[tokio::test]
async fn bytes_that_wait_to_be_unlinked_hold_up_what_is_needed_and_give_nothing_ahead() {
    let gib = 1 << 30;
    let bench = Bench::new(limits(20 * gib, 10)).await;
    let (name, bytes) = bench.lease(S2).await;
    bench.put(S1, 5 * gib).await;
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    bench.settle(S1, take, Outcome::Removed { bytes: 5 * gib, entries: 1 }).await.unwrap();
    assert_eq!(bench.extend(S2, name, bytes).await, Ok(bytes));
    let busy = LedgerError::Refused(ErrorCode::Busy);
    assert_eq!(bench.extend(S2, name, bytes + 1).await, Err(busy));
    bench.ledger.gone(S1, vec![take]).await.unwrap();
    assert_eq!(bench.extend(S2, name, bytes + 1).await, Ok(bytes + LEASE_BYTES));
}

#[tokio::test]
async fn leases_end_with_their_session_and_a_lowered_limit_takes_none_away() {
    let mut bench = Bench::new(limits(100, 9)).await;
    let (name, _) = bench.lease(S1).await;
    let lowered = berth_common::admin_protocol::Change::To(10);
    let keep = berth_common::admin_protocol::Change::Keep;
    bench.ledger.set_limits(&bench.alice, lowered, keep).await.unwrap();
    assert_eq!(bench.extend(S1, name, 100).await, Ok(100));
    assert!(over_quota(&bench.extend(S1, name, 101).await.unwrap_err()));
    assert_eq!(bench.lease(S2).await.1, 0);
    bench.ledger.session_ended(S1).await.unwrap();
    assert_eq!(bench.sums().await, (0, 0, 0, 1));
    bench.reopen().await;
    assert_eq!(bench.sums().await, (0, 0, 0, 0), "nothing of them is durable");
}

#[tokio::test]
async fn streams_side_by_side_never_overshoot() {
    const LIMIT: u64 = 5 * LEASE_BYTES + 12_345;
    let bench = Bench::new(limits(LIMIT, 1000)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        tasks.spawn(async move {
            let session = SessionId(number);
            let (name, mut limit) = ledger.lease(&alice, session, 1, ROOM).await.unwrap();
            let size = 1_000_003 * (number + 1);
            let mut written = 0;
            while written < size {
                let end = size.min(written + (1 << 20));
                if end > limit {
                    match ledger.extend(&alice, session, name, end, ROOM).await {
                        Ok(bytes) => limit = bytes,
                        Err(error) => {
                            assert!(over_quota(&error));
                            ledger.drop_name(&alice, session, name).await.unwrap();
                            return 0;
                        }
                    }
                }
                written = end;
                let usage = ledger.usage(&alice).await.unwrap();
                assert!(usage.used_bytes.cast_unsigned() + usage.reserved_bytes <= LIMIT);
                assert!(usage.reserved_bytes >= written);
            }
            ledger.intent(&alice, session, vec![stage(name, size, None)]).await.unwrap();
            let items = vec![SettleItem { name, outcome: PLACED }];
            ledger.settle(&alice, session, items).await.unwrap();
            size
        });
    }
    let placed: u64 = tasks.join_all().await.into_iter().sum();
    assert!(placed > 0);
    let (used, reserved, ..) = bench.sums().await;
    assert_eq!((used, reserved), (placed.cast_signed(), 0));
}

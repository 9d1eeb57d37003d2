//! Reservations, intents and settles (Q1, Q4, Q5, Q8, R2, R17).

use berth_common::admin_protocol::Change;
use berth_common::ledger_protocol::Finding;

use super::*;

#[tokio::test]
async fn over_quota_is_refused_at_the_reservation_with_the_numbers() {
    let bench = Bench::new(limits(100, 3)).await;
    bench.put(S1, 40).await;
    let held = bench.reserve(S1, 50).await.unwrap();
    let refused = bench.reserve(S2, 11).await.unwrap_err();
    let expected = ErrorCode::QuotaExceeded {
        resource: Resource::Bytes,
        limit: 100,
        used: 40,
        reserved: 50,
        requested: 11,
    };
    assert_eq!(refused, LedgerError::Refused(expected));
    bench.reserve(S2, 10).await.unwrap();
    let refused = bench.reserve(S2, 0).await.unwrap_err();
    let expected = ErrorCode::QuotaExceeded {
        resource: Resource::Entries,
        limit: 3,
        used: 1,
        reserved: 2,
        requested: 1,
    };
    assert_eq!(refused, LedgerError::Refused(expected));
    bench.ledger.drop_name(&bench.alice, S1, held).await.unwrap();
    bench.reserve(S2, 50).await.unwrap();
    assert_eq!(bench.sums().await, (40, 60, 1, 2));
}

#[tokio::test]
async fn numbers_that_do_not_fit_are_refused_and_nothing_wraps() {
    let bench = Bench::new(Limits::default()).await;
    let most = i64::MAX.cast_unsigned();
    for growth in [u64::MAX, most + 1] {
        assert!(over_quota(&bench.reserve(S1, growth).await.unwrap_err()));
        let request = upload("a", 1, 1, growth);
        assert!(over_quota(&bench.open_upload(S1, &request).await.unwrap_err()));
    }
    let many = bench.ledger.reserve(&bench.alice, S1, 0, u64::MAX).await;
    assert!(over_quota(&many.unwrap_err()));

    let all = bench.reserve(S1, most).await.unwrap();
    assert!(over_quota(&bench.reserve(S1, 1).await.unwrap_err()));
    let small = bench.reserve(S1, 0).await.unwrap();
    for (size, replaces) in [(u64::MAX, None), (1, Some(u64::MAX)), (most + 1, Some(1))] {
        assert!(is_protocol(bench.intend(S1, stage(small, size, replaces)).await));
    }
    let batch = vec![stage(all, most, None), stage(small, most, None)];
    assert!(bench.ledger.intent(&bench.alice, S1, batch).await.is_err());
    bench.intend(S1, stage(all, most, None)).await.unwrap();
    bench.settle(S1, all, PLACED).await.unwrap();
    assert!(over_quota(&bench.reserve(S1, 1).await.unwrap_err()));
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    let huge = Outcome::Removed { bytes: u64::MAX, entries: 1 };
    assert!(is_protocol(bench.settle(S1, take, huge).await));
    assert_eq!(bench.sums().await, (i64::MAX, 0, 1, 1));
}

#[tokio::test]
async fn an_intent_reserves_exactly_what_it_needs_now() {
    let bench = Bench::new(limits(100, 10)).await;
    bench.put(S1, 60).await;
    // Topped up: the old file, on whose bytes the put had counted, has gone meanwhile.
    let put = bench.reserve(S1, 10).await.unwrap();
    let refused = bench.intend(S1, stage(put, 50, None)).await.unwrap_err();
    let expected = ErrorCode::QuotaExceeded {
        resource: Resource::Bytes,
        limit: 100,
        used: 60,
        reserved: 10,
        requested: 40,
    };
    assert_eq!(refused, LedgerError::Refused(expected));
    assert_eq!(bench.sums().await, (60, 10, 1, 1), "a refusal changes nothing");
    bench.intend(S1, stage(put, 40, None)).await.unwrap();
    assert_eq!(bench.sums().await, (60, 40, 1, 1));

    // Shrunk: what it replaces is larger than was thought, and is no new entry.
    let put = bench.ledger.reserve(&bench.alice, S2, 0, 1).await.unwrap();
    bench.intend(S2, stage(put, 5, Some(60))).await.unwrap();
    assert_eq!(bench.sums().await, (60, 40, 1, 1));
    bench.settle(S2, put, Outcome::Placed { replaced: Some(60) }).await.unwrap();
    assert_eq!(bench.sums().await, (5, 40, 1, 1));
}

#[tokio::test]
async fn a_batch_is_admitted_as_a_whole_or_not_at_all() {
    let bench = Bench::new(limits(10, 10)).await;
    let (a, b) = (bench.reserve(S1, 8).await.unwrap(), bench.reserve(S1, 2).await.unwrap());
    let over = vec![stage(a, 8, None), IntentItem::Take, stage(b, 3, None)];
    let refused = bench.ledger.intent(&bench.alice, S1, over).await.unwrap_err();
    assert!(over_quota(&refused));
    let pending = bench.ledger.pending(&bench.alice).await.unwrap();
    assert_eq!(pending, Pending::default());

    // The first grows by what the second gives back.
    let fits = vec![stage(a, 9, None), IntentItem::Take, IntentItem::Over, stage(b, 1, None)];
    let names = bench.ledger.intent(&bench.alice, S1, fits).await.unwrap();
    assert_eq!((names[0], names[3]), (a, b));
    assert_eq!(bench.sums().await, (0, 10, 0, 2));

    let settle = |outcomes: [Outcome; 4]| {
        let items = names.iter().zip(outcomes);
        items.map(|(name, outcome)| SettleItem { name: *name, outcome }).collect::<Vec<_>>()
    };
    let wrong = settle([PLACED, Outcome::NotHappened, PLACED, PLACED]);
    assert!(is_protocol(bench.ledger.settle(&bench.alice, S1, wrong).await));
    assert_eq!(bench.sums().await, (0, 10, 0, 2));
    // What the batch itself placed may be what it takes out.
    let removed = Outcome::Removed { bytes: 9, entries: 1 };
    let right = settle([PLACED, removed, Outcome::NotHappened, PLACED]);
    let usage = bench.ledger.settle(&bench.alice, S1, right).await.unwrap();
    assert_eq!((usage.used_bytes, usage.reserved_bytes), (1, 0));
    assert_eq!((usage.used_entries, usage.reserved_entries), (1, 0));
}

#[tokio::test]
async fn a_session_intends_and_settles_only_what_is_its_own_and_open() {
    let bench = Bench::new(limits(100, 10)).await;
    let own = bench.reserve(S1, 5).await.unwrap();
    let other = bench.reserve(S2, 5).await.unwrap();
    let never = StagingName(1 << 40);
    let same = vec![stage(own, 5, None), stage(own, 5, None)];
    assert!(is_protocol(bench.ledger.intent(&bench.alice, S1, same).await));
    for name in [other, never] {
        assert!(is_protocol(bench.intend(S1, stage(name, 5, None)).await));
        assert!(is_protocol(bench.settle(S1, name, PLACED).await));
        assert!(is_protocol(bench.ledger.drop_name(&bench.alice, S1, name).await));
        assert!(is_protocol(bench.ledger.let_go(&bench.alice, S1, name).await));
    }
    assert!(is_protocol(bench.ledger.let_go(&bench.alice, S1, own).await), "it is no upload");
    assert!(is_protocol(bench.settle(S1, own, PLACED).await), "it is no intent yet");
    bench.intend(S1, stage(own, 5, None)).await.unwrap();
    assert!(is_protocol(bench.intend(S1, stage(own, 5, None)).await), "it is one already");
    assert!(is_protocol(bench.ledger.drop_name(&bench.alice, S1, own).await));
    assert!(is_protocol(bench.settle(S2, own, PLACED).await));
    assert!(is_protocol(bench.ledger.gone(S1, vec![own]).await));
    assert!(is_protocol(bench.ledger.gone(S2, vec![own]).await));
    bench.settle(S1, own, PLACED).await.unwrap();
    assert!(is_protocol(bench.settle(S1, own, PLACED).await), "it is settled");
    assert_eq!(bench.sums().await, (5, 5, 1, 1));
}

#[tokio::test]
async fn a_batch_has_each_of_its_sessions_names_once_and_no_others_between_them() {
    let bench = Bench::new(limits(100, 10)).await;
    let own = bench.reserve(S1, 5).await.unwrap();
    let other = bench.reserve(S2, 5).await.unwrap();
    assert_eq!(other, StagingName(own.0 + 1), "they follow each other");
    let both = vec![stage(own, 5, None), stage(other, 5, None)];
    assert!(is_protocol(bench.ledger.intent(&bench.alice, S1, both).await));
    bench.intend(S1, stage(own, 5, None)).await.unwrap();
    bench.intend(S2, stage(other, 5, None)).await.unwrap();
    for names in [[own, own], [own, other], [other, own]] {
        let items = names.map(|name| SettleItem { name, outcome: PLACED }).to_vec();
        assert!(is_protocol(bench.ledger.settle(&bench.alice, S1, items).await), "{names:?}");
        assert_eq!(bench.sums().await, (0, 10, 0, 2), "{names:?}");
    }
    bench.settle(S2, other, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, (5, 5, 1, 1));
    bench.settle(S1, own, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, (10, 0, 2, 0));
}

#[tokio::test]
async fn another_users_names_are_nobodys() {
    let bench = Bench::new(limits(100, 10)).await;
    let bob = name("bob");
    bench.ledger.add_user(&bob, verifier(2), limits(100, 10)).await.unwrap();
    bench.ledger.activate_user(&bob).await.unwrap();
    let held = bench.reserve(S1, 5).await.unwrap();
    let upload = bench.opened(S1, &upload("a", 1, 1, 5)).await;
    let stolen = bench.ledger.intent(&bob, S1, vec![stage(held, 5, None)]).await;
    assert!(is_protocol(stolen));
    let claimed = bench.ledger.claim(&bob, S2, upload).await;
    assert_eq!(claimed, Err(LedgerError::Refused(ErrorCode::NoSuchUpload)));
    bench.ledger.drop_uploads(&bob, vec![upload]).await.unwrap();
    bench.ledger.session_ended(S1).await.unwrap();
    assert_eq!(bench.sums().await, (0, 5, 0, 1));
    assert_eq!(bench.ledger.usage(&bob).await.unwrap().reserved_bytes, 0);
}

#[tokio::test]
async fn sessions_side_by_side_never_overshoot() {
    let bench = Bench::new(limits(1000, 1_000_000)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..40 {
        let (ledger, alice) = (bench.ledger.clone(), bench.alice.clone());
        tasks.spawn(async move {
            let session = SessionId(session);
            let mut placed = 0;
            for step in 0..10 {
                let size = 1 + (session.0 * 7 + step * 3) % 13;
                let Ok(name) = ledger.reserve(&alice, session, size / 2, 1).await else {
                    continue;
                };
                let items = vec![stage(name, size, None)];
                match ledger.intent(&alice, session, items).await {
                    Err(error) => {
                        assert!(over_quota(&error));
                        ledger.drop_name(&alice, session, name).await.unwrap();
                    }
                    Ok(_) => {
                        let items = vec![SettleItem { name, outcome: PLACED }];
                        let usage = ledger.settle(&alice, session, items).await.unwrap();
                        assert!(usage.used_bytes + usage.reserved_bytes.cast_signed() <= 1000);
                        placed += size;
                    }
                }
            }
            placed
        });
    }
    let placed: u64 = tasks.join_all().await.into_iter().sum();
    assert!(placed > 900, "{placed}");
    let (used, reserved, ..) = bench.sums().await;
    assert_eq!((used, reserved), (placed.cast_signed(), 0));
}

#[tokio::test]
async fn a_lowered_limit_holds_for_every_growth_and_takes_nothing_away() {
    let bench = Bench::new(limits(100, 10)).await;
    bench.put(S1, 50).await;
    let held = bench.reserve(S1, 20).await.unwrap();
    bench.ledger.set_limits(&bench.alice, Change::To(10), Change::Keep).await.unwrap();
    assert!(over_quota(&bench.reserve(S1, 1).await.unwrap_err()));
    bench.reserve(S1, 0).await.unwrap();
    assert!(over_quota(&bench.intend(S1, stage(held, 21, None)).await.unwrap_err()));
    bench.intend(S1, stage(held, 20, None)).await.unwrap();
    bench.settle(S1, held, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, (70, 0, 2, 1));
}

#[tokio::test]
async fn placing_more_than_was_reserved_is_a_breach() {
    let bench = Bench::new(limits(100, 10)).await;
    let put = bench.reserve(S1, 5).await.unwrap();
    bench.intend(S1, stage(put, 9, Some(4))).await.unwrap();
    for replaced in [None, Some(3)] {
        assert!(is_protocol(bench.settle(S1, put, Outcome::Placed { replaced }).await));
    }
    bench.settle(S1, put, Outcome::Placed { replaced: Some(9) }).await.unwrap();
    assert_eq!(bench.sums().await, (0, 0, 0, 0));
}

#[tokio::test]
async fn used_may_go_below_zero_but_never_used_and_reserved() {
    let bench = Bench::new(limits(100, 10)).await;
    let put = bench.reserve(S1, 5).await.unwrap();
    bench.intend(S1, stage(put, 5, None)).await.unwrap();
    // Placed and not settled yet, and taken out by another session, which settles first.
    let take = bench.intend(S2, IntentItem::Take).await.unwrap();
    bench.settle(S2, take, Outcome::Removed { bytes: 5, entries: 1 }).await.unwrap();
    assert_eq!(bench.sums().await, (-5, 5, -1, 1));
    bench.settle(S1, put, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, (0, 0, 0, 0));

    // What an administrator put into the home by hand goes out again. What is only set aside does
    // not stand in for it.
    bench.reserve(S1, 1).await.unwrap();
    bench.opened(S1, &upload("a", 1, 1, 10)).await;
    let take = bench.intend(S2, IntentItem::Take).await.unwrap();
    for (bytes, entries) in [(1, 1), (0, 1)] {
        let settled = bench.settle(S2, take, Outcome::Removed { bytes, entries }).await;
        assert_eq!(settled, Err(LedgerError::Imbalance));
    }
    let verdict = decide(
        &bench.ledger.orphans_of(S2).await.unwrap().intents[0],
        &Finding::File { inode: 1, size: 1, links: 1 },
    );
    let verdicts = vec![(take, verdict.unwrap())];
    let replayed = bench.ledger.settle_replayed(&bench.alice, verdicts).await;
    assert_eq!(replayed, Err(LedgerError::Imbalance));
    bench.settle(S2, take, Outcome::NotHappened).await.unwrap();
}

#[tokio::test]
async fn bytes_that_wait_to_be_unlinked_hold_up_new_reservations() {
    let gib = 1 << 30;
    let bench = Bench::new(limits(20 * gib, 10)).await;
    bench.put(S1, 5 * gib).await;
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    bench.settle(S1, take, Outcome::Removed { bytes: 5 * gib, entries: 1 }).await.unwrap();
    let busy = LedgerError::Refused(ErrorCode::Busy);
    assert_eq!(bench.reserve(S2, 1).await.unwrap_err(), busy);
    assert_eq!(bench.open_upload(S2, &upload("a", 1, 1, 5)).await.unwrap_err(), busy);
    let nothing = bench.ledger.reserve(&bench.alice, S2, 0, 0).await;
    assert!(nothing.is_ok(), "it needs no room: {nothing:?}");
    bench.ledger.gone(S1, vec![take, StagingName(999)]).await.unwrap();
    bench.ledger.gone(S1, vec![take]).await.unwrap();
    bench.reserve(S2, 1).await.unwrap();

    // The same where the session dies first.
    bench.put(S1, 5 * gib).await;
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    bench.settle(S1, take, Outcome::Removed { bytes: 5 * gib, entries: 1 }).await.unwrap();
    assert_eq!(bench.reserve(S2, 1).await.unwrap_err(), busy);
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap().leftovers, [take]);
    bench.ledger.session_ended(S1).await.unwrap();
    bench.reserve(S2, 1).await.unwrap();
}

#[tokio::test]
async fn a_session_cannot_fill_the_daemons_memory_with_names() {
    let bench = Bench::new(Limits::default()).await;
    let fill = |tx: &super::super::request::Tx<'_>| {
        tx.db.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 16383) \
             INSERT INTO temp.names SELECT 1000000 + n, 1, 1, 'leftover', 0, 0 FROM n",
        )?;
        Ok(())
    };
    bench.ledger.write(fill).await.unwrap();
    let last = bench.reserve(S1, 1).await.unwrap();
    let busy = LedgerError::Refused(ErrorCode::Busy);
    assert_eq!(bench.reserve(S1, 1).await.unwrap_err(), busy);
    assert_eq!(bench.intend(S1, IntentItem::Take).await.unwrap_err(), busy);
    let request = upload("a", 1, 1, 1);
    assert_eq!(bench.open_upload(S1, &request).await.unwrap_err(), busy);
    bench.reserve(S2, 1).await.unwrap();
    bench.ledger.drop_name(&bench.alice, S1, last).await.unwrap();
    bench.reserve(S1, 1).await.unwrap();

    let counted = |tx: &super::super::request::Tx<'_>| {
        let sql = "SELECT count(*) FROM temp.counts WHERE session = ?1";
        Ok(tx.db.query_row(sql, [S1.0.cast_signed()], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(bench.ledger.read(counted).await, Ok(1));
    bench.ledger.orphans_of(S1).await.unwrap();
    assert_eq!(bench.ledger.read(counted).await, Ok(0), "of a session that has ended");
}

//! What a dead session and an earlier daemon left: replayed, dropped, never used again.

use berth_common::ledger_protocol::Finding;

use super::*;

#[tokio::test]
async fn a_dead_sessions_intents_are_replayed_and_its_names_removed() {
    let bench = Bench::new(limits(1000, 100)).await;
    bench.put(S2, 50).await;
    let held = bench.reserve(S1, 1).await.unwrap();
    let open = bench.opened(S1, &upload("open", 1, 1, 10)).await;
    let (placed, refused) =
        (bench.reserve(S1, 20).await.unwrap(), bench.reserve(S1, 30).await.unwrap());
    let (sent, lost) = (
        bench.opened(S1, &upload("sent", 1, 2, 100)).await,
        bench.opened(S1, &upload("lost", 1, 3, 200)).await,
    );
    let items = vec![
        stage(placed, 20, None),
        stage(refused, 30, None),
        stage(sent, 100, None),
        stage(lost, 200, None),
        IntentItem::Take,
        IntentItem::Over,
    ];
    let names = bench.ledger.intent(&bench.alice, S1, items).await.unwrap();
    let other = bench.reserve(S2, 7).await.unwrap();

    let orphans = bench.ledger.orphans_of(S1).await.unwrap();
    assert_eq!((orphans.reserved, orphans.leftovers), (vec![held], vec![]));
    let mut found: Vec<_> = orphans.intents.iter().map(|row| row.name).collect();
    found.sort();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(bench.ledger.pending(&bench.alice).await.unwrap().intents, orphans.intents);
    let uploads = bench.ledger.pending(&bench.alice).await.unwrap().uploads;
    assert_eq!(uploads, [open, sent, lost]);

    let there = Finding::File { inode: 7, size: 0, links: 1 };
    let findings = [
        (placed, Finding::Missing, Removal::Nothing),
        (refused, there, Removal::After),
        (sent, Finding::File { inode: 8, size: 40, links: 1 }, Removal::After),
        (lost, there, Removal::Nothing),
        (names[4], Finding::Directory { inode: 9, bytes: 10, entries: 1 }, Removal::After),
        (names[5], Finding::File { inode: 10, size: 3, links: 2 }, Removal::Before),
    ];
    let mut verdicts = Vec::new();
    for (name, finding, removal) in findings {
        let row = orphans.intents.iter().find(|row| row.name == name).unwrap();
        let verdict = decide(row, &finding).unwrap();
        assert_eq!(verdict.removal, removal, "{row:?}");
        verdicts.push((name, verdict));
    }
    bench.ledger.settle_replayed(&bench.alice, verdicts.clone()).await.unwrap();
    // 50 + 20 + (100 - 40) - 10, and reserved what is open or held.
    assert_eq!(bench.sums().await, (120, 1 + 10 + 200 + 7, 1, 1 + 1 + 1 + 1));
    assert!(is_protocol(bench.ledger.settle_replayed(&bench.alice, verdicts).await), "once only");
    let orphans = bench.ledger.orphans_of(S1).await.unwrap();
    assert_eq!(orphans.intents, []);
    assert_eq!(orphans.reserved, [held]);
    assert!([refused, sent, names[4]].iter().all(|name| orphans.leftovers.contains(name)));
    assert!(!orphans.leftovers.contains(&open) && !orphans.leftovers.contains(&lost));

    bench.ledger.session_ended(S1).await.unwrap();
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap(), Orphans::default());
    assert_eq!(bench.sums().await, (120, 10 + 200 + 7, 1, 1 + 1 + 1));
    assert_eq!(bench.ledger.orphans_of(S2).await.unwrap().reserved, [other]);
    let pending = bench.ledger.pending(&bench.alice).await.unwrap();
    assert_eq!(pending, Pending { intents: vec![], uploads: vec![open, lost] });
}

#[tokio::test]
async fn a_daemon_that_starts_again_finds_every_durable_row() {
    let mut bench = Bench::new(limits(1000, 100)).await;
    bench.put(S1, 50).await;
    bench.reserve(S1, 500).await.unwrap();
    let (gone, kept) = (
        bench.opened(S1, &upload("gone", 1, 1, 10)).await,
        bench.opened(S1, &upload("kept", 1, 2, 20)).await,
    );
    bench.intend(S1, stage(kept, 20, None)).await.unwrap();
    let take = bench.intend(S1, IntentItem::Take).await.unwrap();
    bench.reopen().await;

    let pending = bench.ledger.pending(&bench.alice).await.unwrap();
    assert_eq!(pending.uploads, [gone, kept]);
    let kinds: Vec<_> = pending.intents.iter().map(|row| (row.name, row.resumable)).collect();
    assert_eq!(kinds, [(kept, true), (take, false)]);
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap(), Orphans::default());
    assert!(is_protocol(bench.settle(S1, take, Outcome::NotHappened).await), "S1 is another one");
    let busy = bench.open_upload(S2, &upload("kept", 1, 2, 20)).await;
    assert_eq!(busy, Err(LedgerError::Refused(ErrorCode::UploadBusy)), "before replay");
    assert!(is_protocol(bench.ledger.drop_uploads(&bench.alice, vec![kept]).await));

    let not = Finding::File { inode: 7, size: 20, links: 1 };
    let verdicts = vec![
        (kept, decide(&pending.intents[0], &not).unwrap()),
        (take, decide(&pending.intents[1], &Finding::Missing).unwrap()),
    ];
    bench.ledger.settle_replayed(&bench.alice, verdicts).await.unwrap();
    bench.ledger.drop_uploads(&bench.alice, vec![gone, StagingName(77)]).await.unwrap();
    assert_eq!(bench.sums().await, (50, 20, 1, 1));
    bench.opened(S2, &upload("kept", 1, 2, 20)).await;
}

#[tokio::test]
async fn names_are_never_used_twice() {
    let mut bench = Bench::new(Limits::default()).await;
    let mut last = StagingName(0);
    for _ in 0..3 {
        for _ in 0..1100 {
            let name = bench.ledger.mint().await.unwrap();
            assert!(name > last, "{name} after {last}");
            last = name;
        }
        bench.reopen().await;
    }
}

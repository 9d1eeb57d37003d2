//! Resumable uploads: who gets which, and what it reserves.

use super::*;

async fn expect(
    bench: &Bench,
    session: SessionId,
    request: &UploadRequest,
    expected: UploadOpening,
) {
    assert_eq!(bench.open_upload(session, request).await, Ok(expected), "{request:?}");
}

fn resumed(name: StagingName) -> UploadOpening {
    UploadOpening::Opened { name, resumed: true, superseded: None }
}

#[tokio::test]
async fn an_upload_nobody_works_on_is_resumed_by_whoever_has_its_source() {
    let mut bench = Bench::new(limits(100, 10)).await;
    let request = upload("d/a", 1, 1, 30);
    let name = bench.opened(S1, &request).await;
    bench.ledger.let_go(&bench.alice, S1, name).await.unwrap();
    expect(&bench, S1, &request, resumed(name)).await;
    bench.ledger.session_ended(S1).await.unwrap();
    let other = upload("d/a", 2, 1, 30);
    expect(&bench, S2, &other, resumed(name)).await;
    bench.ledger.session_ended(S2).await.unwrap();

    // The upload is now the one of the second token.
    let changed = upload("d/a", 1, 9, 30);
    let beside = bench.opened(S1, &changed).await;
    assert_ne!(beside, name);
    bench.reopen().await;
    expect(&bench, S3, &request, resumed(name)).await;
    let (rows, _) = bench.ledger.uploads(&bench.alice, None, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(bench.sums().await, (0, 60, 0, 2));
}

#[tokio::test]
async fn an_upload_somebody_works_on_is_not_given_away() {
    let bench = Bench::new(limits(100, 10)).await;
    let request = upload("a", 1, 1, 30);
    let name = bench.opened(S1, &request).await;
    let busy = Err(LedgerError::Refused(ErrorCode::UploadBusy));
    assert_eq!(bench.open_upload(S1, &request).await, busy);
    for (token, same_token) in [(1, true), (2, false)] {
        let held = UploadOpening::HeldBy { session: S1, same_token };
        expect(&bench, S2, &upload("a", token, 1, 30), held).await;
    }
    let claiming = bench.ledger.claim(&bench.alice, S2, name).await;
    assert_eq!(claiming, Ok(Claiming::HeldBy(S1)));

    // It is held as well while it is being committed and while its holder is dead and not replayed.
    bench.intend(S1, stage(name, 30, None)).await.unwrap();
    let held = UploadOpening::HeldBy { session: S1, same_token: true };
    expect(&bench, S2, &request, held).await;
    assert_eq!(bench.open_upload(S1, &request).await, busy);
    let claiming = bench.ledger.claim(&bench.alice, S1, name).await;
    assert_eq!(claiming, Err(LedgerError::Refused(ErrorCode::UploadBusy)));
    bench.settle(S1, name, Outcome::NotHappened).await.unwrap();
    bench.ledger.session_ended(S1).await.unwrap();
    expect(&bench, S2, &request, resumed(name)).await;
}

#[tokio::test]
async fn a_changed_source_supersedes_the_clients_own_upload_only() {
    let bench = Bench::new(limits(100, 2)).await;
    let old = bench.opened(S1, &upload("a", 1, 1, 80)).await;

    // Somebody works on it: it is left alone, and both do not fit.
    let changed = upload("a", 1, 2, 90);
    assert!(over_quota(&bench.open_upload(S2, &changed).await.unwrap_err()));
    bench.ledger.session_ended(S1).await.unwrap();
    // Another client's upload is independent, and does not fit either.
    assert!(over_quota(&bench.open_upload(S2, &upload("a", 2, 2, 90)).await.unwrap_err()));
    // So is one to another path.
    assert!(over_quota(&bench.open_upload(S2, &upload("b", 1, 2, 90)).await.unwrap_err()));
    // Too large even with what the old one had: nothing has changed then.
    assert!(over_quota(&bench.open_upload(S2, &upload("a", 1, 2, 101)).await.unwrap_err()));
    assert_eq!(bench.sums().await, (0, 80, 0, 1));

    let opening = bench.open_upload(S2, &changed).await.unwrap();
    let UploadOpening::Opened { name, resumed: false, superseded } = opening else {
        panic!("{opening:?}")
    };
    assert_eq!(superseded, Some(old));
    assert_eq!(bench.sums().await, (0, 90, 0, 1));
    bench.ledger.drop_name(&bench.alice, S2, old).await.unwrap();
    assert_eq!(bench.sums().await, (0, 90, 0, 1));
    let (rows, last) = bench.ledger.uploads(&bench.alice, None, 10).await.unwrap();
    assert_eq!((rows[0].name, rows.len(), last), (name, 1, true));
}

#[tokio::test]
async fn a_superseded_upload_that_was_not_dropped_is_admitted_anew() {
    let bench = Bench::new(limits(100, 10)).await;
    let (first, changed) = (upload("a", 1, 1, 80), upload("a", 1, 2, 90));
    let old = bench.opened(S1, &first).await;
    bench.ledger.session_ended(S1).await.unwrap();
    bench.opened(S2, &changed).await;
    bench.ledger.session_ended(S2).await.unwrap();
    assert!(over_quota(&bench.open_upload(S3, &first).await.unwrap_err()));
    assert_eq!(bench.ledger.claim(&bench.alice, S3, old).await, Ok(Claiming::Claimed));
    bench.ledger.drop_name(&bench.alice, S3, old).await.unwrap();
    assert_eq!(bench.sums().await, (0, 90, 0, 1));
}

#[tokio::test]
async fn a_resumed_upload_reserves_what_it_needs_now() {
    let bench = Bench::new(limits(100, 10)).await;
    let name = bench.opened(S1, &upload("a", 1, 1, 50)).await;
    let with = |growth, entries| UploadRequest { growth, entries, ..upload("a", 1, 1, 50) };
    let table = [(70, 1, 70, 1), (70, 0, 70, 0), (100, 2, 100, 2), (5, 1, 5, 1), (0, 0, 0, 0)];
    for (growth, entries, bytes, reserved_entries) in table {
        bench.ledger.session_ended(S1).await.unwrap();
        expect(&bench, S1, &with(growth, entries), resumed(name)).await;
        assert_eq!(bench.sums().await, (0, bytes, 0, reserved_entries));
    }
    bench.ledger.session_ended(S1).await.unwrap();
    for growth in [101, u64::MAX] {
        assert!(over_quota(&bench.open_upload(S1, &with(growth, 0)).await.unwrap_err()));
    }
    expect(&bench, S1, &with(50, 1), resumed(name)).await;
    bench.ledger.session_ended(S1).await.unwrap();

    // A limit that was lowered meanwhile does not keep it from going on.
    let to = berth_common::admin_protocol::Change::To(10);
    bench.ledger.set_limits(&bench.alice, to, to).await.unwrap();
    assert!(over_quota(&bench.open_upload(S1, &with(51, 1)).await.unwrap_err()));
    expect(&bench, S1, &with(50, 1), resumed(name)).await;
}

#[tokio::test]
async fn the_disk_must_have_room_for_all_of_a_new_upload_and_its_filer_looks_at_the_rest_of_an_old_one()
 {
    let bench = Bench::new(limits(100, 10)).await;
    let overwriting = UploadRequest { growth: 0, entries: 0, ..upload("a", 1, 1, 500) };
    let open =
        async |room| bench.ledger.open_upload(&bench.alice, S1, overwriting.clone(), room).await;
    assert_eq!(open(499).await, Err(LedgerError::Refused(ErrorCode::DiskFull)));
    let UploadOpening::Opened { name, .. } = open(500).await.unwrap() else { panic!() };
    bench.ledger.let_go(&bench.alice, S1, name).await.unwrap();
    assert_eq!(open(0).await, Ok(resumed(name)));
    let (rows, _) = bench.ledger.uploads(&bench.alice, None, 10).await.unwrap();
    assert_eq!(rows.len(), 1, "the refusal left none");
}

#[tokio::test]
async fn a_refused_commit_reopens_an_upload_and_drops_a_reservation() {
    let bench = Bench::new(limits(100, 10)).await;
    let big = bench.opened(S1, &upload("a", 1, 1, 30)).await;
    let small = bench.reserve(S1, 10).await.unwrap();
    for _ in 0..2 {
        bench.intend(S1, stage(big, 30, Some(10))).await.unwrap();
        bench.settle(S1, big, Outcome::NotHappened).await.unwrap();
        assert_eq!(bench.sums().await, (0, 20 + 10, 0, 1));
    }
    bench.intend(S1, stage(small, 10, None)).await.unwrap();
    bench.settle(S1, small, Outcome::NotHappened).await.unwrap();
    assert_eq!(bench.sums().await, (0, 20, 0, 0));
    assert!(is_protocol(bench.intend(S1, stage(small, 10, None)).await));
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap().leftovers, [small], "to be unlinked");
    bench.ledger.gone(S1, vec![small]).await.unwrap();
    let left = bench.ledger.orphans_of(S1).await.unwrap();
    assert_eq!(left, Orphans { uploads: vec![big], ..Orphans::default() });

    bench.intend(S1, stage(big, 30, None)).await.unwrap();
    bench.settle(S1, big, PLACED).await.unwrap();
    assert_eq!(bench.sums().await, (30, 0, 1, 0));
    assert_eq!(bench.ledger.orphans_of(S1).await.unwrap().leftovers, [big], "its journal");
    assert!(bench.ledger.uploads(&bench.alice, None, 9).await.unwrap().0.is_empty());
    let gone = bench.ledger.claim(&bench.alice, S1, big).await;
    assert_eq!(gone, Err(LedgerError::Refused(ErrorCode::NoSuchUpload)));
}

#[tokio::test]
async fn uploads_are_listed_in_pages_with_what_they_are() {
    let bench = Bench::new(limits(1000, 10)).await;
    let mut names = Vec::new();
    for (n, path) in ["x", "d/'é\n", "z"].into_iter().enumerate() {
        bench.at(200 + i64::try_from(n).unwrap());
        names.push(bench.opened(S1, &upload(path, 1, u64::MAX, 50)).await);
    }
    bench.at(500);
    bench.ledger.let_go(&bench.alice, S1, names[1]).await.unwrap();
    let (rows, last) = bench.ledger.uploads(&bench.alice, None, 2).await.unwrap();
    assert!(!last);
    let expected = UploadRow {
        name: names[1],
        path: RelPath::new("d/'é\n").unwrap(),
        source: upload("x", 1, u64::MAX, 50).source,
        opened_s: 201,
        expires_s: 500 + EXPIRY_S,
        active: false,
    };
    assert_eq!(rows[1], expected);
    assert_eq!((rows[0].expires_s, rows[0].active), (200 + EXPIRY_S, true));
    let (rows, last) = bench.ledger.uploads(&bench.alice, Some(names[1]), 1).await.unwrap();
    assert_eq!((rows[0].name, rows.len(), last), (names[2], 1, true));

    bench.at(900);
    bench.ledger.session_ended(S1).await.unwrap();
    let (rows, _) = bench.ledger.uploads(&bench.alice, None, 9).await.unwrap();
    assert_eq!(rows[0].expires_s, 900 + EXPIRY_S, "the time counts from the session's end");
    assert_eq!(rows[1].expires_s, 500 + EXPIRY_S);
}

#[tokio::test]
async fn a_user_has_a_bound_of_uploads_whatever_they_reserve() {
    let bench = Bench::new(limits(100, 10)).await;
    // Each overwrites a file of the same size, so that it reserves nothing.
    let request = |source| UploadRequest { entries: 0, ..upload("a", 1, source, 0) };
    for source in 0..u64::from(MAX_UPLOADS) {
        bench.opened(S1, &request(source)).await;
    }
    let limit = MAX_UPLOADS;
    let refused = Err(LedgerError::Refused(ErrorCode::TooManyUploads { limit }));
    let one_more = request(u64::from(MAX_UPLOADS));
    assert_eq!(bench.open_upload(S2, &one_more).await, refused);

    // What is there goes on, and a changed source takes the place of what it supersedes, once.
    bench.ledger.session_ended(S1).await.unwrap();
    let name = bench.opened(S2, &request(7)).await;
    let superseded = match bench.open_upload(S2, &one_more).await.unwrap() {
        UploadOpening::Opened { superseded, .. } => superseded.unwrap(),
        held => panic!("{held:?}"),
    };
    let another = request(u64::from(MAX_UPLOADS) + 1);
    assert_eq!(bench.open_upload(S2, &another).await, refused);
    for name in [superseded, name] {
        bench.ledger.drop_name(&bench.alice, S2, name).await.unwrap();
    }
    bench.opened(S2, &another).await;
}

#[tokio::test]
async fn what_a_session_is_at_work_on_is_as_young_after_a_crash_as_when_it_was_last_marked() {
    let mut bench = Bench::new(limits(1000, 10)).await;
    let idle = bench.opened(S1, &upload("idle", 1, 1, 10)).await;
    bench.ledger.session_ended(S1).await.unwrap();
    let open = bench.opened(S1, &upload("open", 1, 2, 10)).await;
    let committing = bench.opened(S1, &upload("committing", 1, 3, 10)).await;
    bench.intend(S1, stage(committing, 10, None)).await.unwrap();
    bench.at(99 + EXPIRY_S);
    bench.ledger.touch_held_uploads().await.unwrap();
    bench.at(50);
    bench.ledger.touch_held_uploads().await.unwrap();

    // The daemon is killed, and a session has nothing any more.
    bench.reopen().await;
    let (rows, _) = bench.ledger.uploads(&bench.alice, None, 10).await.unwrap();
    let expire: Vec<_> = rows.iter().map(|row| (row.name, row.expires_s)).collect();
    let late = 99 + 2 * EXPIRY_S;
    assert_eq!(expire, [(idle, 100 + EXPIRY_S), (open, late), (committing, late)]);
    let claim = async || bench.ledger.claim_expired(&bench.alice, S3).await.unwrap();
    bench.at(late - 1);
    assert_eq!(claim().await, [idle]);
    bench.at(late);
    assert_eq!(claim().await, [open], "the other one's intent is not replayed");
}

#[tokio::test]
async fn what_expires_is_claimed_at_once_and_given_up_as_old_as_it_was() {
    let bench = Bench::new(limits(1000, 10)).await;
    let old = bench.opened(S1, &upload("old", 1, 1, 10)).await;
    let busy = bench.opened(S2, &upload("busy", 1, 2, 10)).await;
    bench.ledger.session_ended(S1).await.unwrap();
    bench.at(200);
    bench.opened(S1, &upload("young", 1, 3, 10)).await;
    bench.ledger.session_ended(S1).await.unwrap();

    let claim = async || bench.ledger.claim_expired(&bench.alice, S3).await.unwrap();
    bench.at(99 + EXPIRY_S);
    assert_eq!(claim().await, []);
    bench.at(100 + EXPIRY_S);
    assert_eq!(claim().await, [old], "{busy:?} has an owner");
    assert_eq!(claim().await, [], "it has one now");
    bench.ledger.give_up_claims(S3).await.unwrap();
    assert_eq!(claim().await, [old], "its time was not renewed");
    bench.ledger.drop_name(&bench.alice, S3, old).await.unwrap();
    assert_eq!(bench.sums().await, (0, 20, 0, 2));
}

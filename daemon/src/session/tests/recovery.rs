//! What dead sessions left: replayed, tried again, removed when its time is over.

use std::sync::atomic::Ordering;

use berth_common::error_code::ErrorCode;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, StagingSync};

use super::fakes::{FakeFiler, Fakes, run, user};
use super::*;
use crate::daemon::Stopped;
use crate::{expiry, recovery};

#[test]
fn an_intent_of_a_dead_holder_is_replayed_before_the_ticket_passes_on() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (_client2, _worker2, filer2) = fakes.session().await;
        let name = granted(&filer, 10).await;
        filer2.send(&FilerToDaemon::Ticket { op: OP });
        filer.crash();
        worker.crash();

        // It had happened: nothing stands at the staged file's name any more.
        let recoverer = fakes.recoverer().await;
        recoverer.find(&[name], vec![Finding::Missing]).await;
        assert_eq!(
            filer2.recv().await,
            DaemonToFiler::Granted { op: OP, names: vec![], reporting: false }
        );
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (10, 0));
        fakes.sessions(1).await;
    });
}

#[test]
fn nobody_waits_for_the_removal_of_what_a_dead_session_left() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        fakes.daemon.ledger.correct(&alice, 60, 3).await.unwrap();
        // It is clearing a tree that it has removed, and has an upload, and the ticket.
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OpId(2)));
        let DaemonToFiler::UploadReserved { name: upload, .. } = filer.recv().await else {
            panic!()
        };
        let tree = remove(&filer, 40).await;
        filer.send(&FilerToDaemon::Ticket { op: OpId(3) });
        assert!(matches!(filer.recv().await, DaemonToFiler::Granted { .. }));
        let (_client2, worker2, filer2) = fakes.session().await;
        filer2.send(&FilerToDaemon::Ticket { op: OP });
        filer.crash();
        worker.crash();
        fakes.recoverer().await.find(&[upload], vec![STAGED]).await;

        // The removal does not end.
        let clearing = fakes.recoverer().await;
        let DaemonToFiler::Remove { op: removal, names } = clearing.recv().await else { panic!() };
        assert_eq!(names, [tree]);
        assert!(matches!(filer2.recv().await, DaemonToFiler::Granted { .. }), "it passes on");
        filer2.send(&FilerToDaemon::Released { op: OP });
        filer2.send(&open_upload(2, OpId(2)));
        let DaemonToFiler::UploadReserved { name, resumed, .. } = filer2.recv().await else {
            panic!("the upload is nobody's")
        };
        assert_eq!((name, resumed), (upload, true));

        // Another session dies: its rows are replayed beside it, and its left-overs wait.
        let second = granted(&filer2, 10).await;
        filer2.crash();
        worker2.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, names } = recoverer.recv().await else { panic!() };
        assert_eq!(names, [second]);
        let displaced = Finding::File { inode: 5, size: 4, links: 1 };
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![displaced] });
        recoverer.find(&[upload], vec![STAGED]).await;
        let (_client3, _worker3, filer3) = fakes.session().await;
        filer3.send(&FilerToDaemon::Ticket { op: OP });
        assert!(matches!(filer3.recv().await, DaemonToFiler::Granted { .. }));
        let usage = fakes.daemon.ledger.usage(&alice).await.unwrap();
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (26, 500));

        // One clears at a time, and what is left is forgotten as it is removed.
        let left = fakes.daemon.ledger.orphans_of(SessionId(2)).await.unwrap();
        assert_eq!(left.leftovers, [second]);
        clearing.send(&FilerToDaemon::Done { op: removal });
        clearing.obey().await;
        let clearing = fakes.recoverer().await;
        let DaemonToFiler::Remove { op, names } = clearing.recv().await else { panic!() };
        assert_eq!(names, [second]);
        clearing.send(&FilerToDaemon::Done { op });
        clearing.obey().await;
        fakes.sessions(1).await;
        assert_eq!(fakes.daemon.read_only_users(), []);
    });
}

/// A tree of so many bytes is removed and settled, and stands in staging.
async fn remove(filer: &FakeFiler, bytes: u64) -> StagingName {
    filer.send(&FilerToDaemon::Intent { op: OP, items: vec![IntentItem::Take], settle: None });
    let DaemonToFiler::Granted { names, .. } = filer.recv().await else { panic!() };
    filer.send(&FilerToDaemon::Released { op: OP });
    let outcome = Outcome::Removed { bytes, entries: 1 };
    filer.send(&FilerToDaemon::Settle {
        op: OP,
        items: vec![SettleItem { name: names[0], outcome }],
    });
    assert!(matches!(filer.recv().await, DaemonToFiler::Settled { .. }));
    names[0]
}

#[test]
fn nothing_is_kept_of_a_session_but_its_number_while_what_it_left_is_removed() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        fakes.daemon.ledger.correct(&user("alice"), 60, 3).await.unwrap();
        let (mut trees, mut kept) = (Vec::new(), Vec::new());
        let mut first = None;
        for session in 1..=3 {
            let (_client, worker, filer) = fakes.session().await;
            trees.push(remove(&filer, 10).await);
            let control = fakes.daemon.control(SessionId(session)).unwrap();
            let serving = control.serving.borrow().clone().unwrap();
            kept.push((Rc::downgrade(&control), Rc::downgrade(&serving)));
            drop((control, serving));
            filer.crash();
            worker.crash();
            if first.is_none() {
                // The removal does not end.
                let clearing = fakes.recoverer().await;
                let DaemonToFiler::Remove { op, names } = clearing.recv().await else { panic!() };
                assert_eq!(names, trees);
                first = Some((clearing, op));
            }
            fakes.no_sessions().await;
        }
        while kept
            .iter()
            .any(|(control, serving)| control.strong_count() > 0 || serving.strong_count() > 0)
        {
            tokio::task::yield_now().await;
        }

        // They are cleared all the same, one after the other.
        let (mut clearing, mut op) = first.unwrap();
        for tree in &trees[1..] {
            clearing.send(&FilerToDaemon::Done { op });
            clearing.obey().await;
            clearing = fakes.recoverer().await;
            let DaemonToFiler::Remove { op: next, names } = clearing.recv().await else { panic!() };
            assert_eq!(names, [*tree]);
            op = next;
        }
        // The last is cut off when the daemon ends.
        fakes.daemon.clearing_ends.raise();
        clearing.ended_untold().await;
        assert_eq!(fakes.daemon.read_only_users(), []);
    });
}

/// A session of alice's has removed a tree and died; the filer that is to clear it away, and the order's number.
async fn tree_of_the_dead(fakes: &Fakes) -> (FakeFiler, OpId) {
    fakes.daemon.ledger.correct(&user("alice"), 60, 3).await.unwrap();
    let (_client, worker, filer) = fakes.session().await;
    remove(&filer, 40).await;
    filer.crash();
    worker.crash();
    let clearing = fakes.recoverer().await;
    let DaemonToFiler::Remove { op, .. } = clearing.recv().await else { panic!() };
    (clearing, op)
}

#[test]
fn a_dead_sessions_reservation_does_not_wait_for_the_removal_of_anothers_tree() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        // The removal does not end.
        let (_clearing, _) = tree_of_the_dead(&fakes).await;

        let (_client2, worker2, filer2) = fakes.session().await;
        let name = reserve(&filer2, 900).await;
        filer2.crash();
        worker2.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Remove { op, names } = recoverer.recv().await else { panic!() };
        assert_eq!(names, [name]);
        assert_eq!(fakes.daemon.ledger.usage(&alice).await.unwrap().reserved_bytes, 900);
        recoverer.send(&FilerToDaemon::Done { op });
        recoverer.obey().await;
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.ledger.usage(&alice).await.unwrap().reserved_bytes, 0);
        // Its client tries again.
        let (_client3, _worker3, filer3) = fakes.session().await;
        reserve(&filer3, 900).await;
    });
}

#[test]
fn a_user_is_removed_after_what_dead_sessions_left() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        let (clearing, op) = tree_of_the_dead(&fakes).await;
        fakes.daemon.ledger.begin_removal(&alice).await.unwrap();
        let daemon = fakes.daemon.clone();
        let removing =
            tokio::task::spawn_local(
                async move { recovery::finish_removal(&daemon, &alice).await },
            );
        for _ in 0..20 {
            fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        }
        assert!(fakes.daemon.homes.open_home(&user("alice")).is_ok(), "it waits");
        clearing.send(&FilerToDaemon::Done { op });
        clearing.obey().await;
        let emptying = fakes.recoverer().await;
        let DaemonToFiler::Empty { op } = emptying.recv().await else { panic!() };
        let staging = fakes.daemon.settings().config.data_dir.join("users/alice/staging");
        for retired in std::fs::read_dir(staging).unwrap() {
            std::fs::remove_dir(retired.unwrap().path()).unwrap();
        }
        emptying.send(&FilerToDaemon::Done { op });
        emptying.crash();
        removing.await.unwrap().unwrap();
    });
}

#[test]
fn a_recovery_that_fails_makes_the_home_read_only_and_keeps_the_intent() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (_client2, _worker2, filer2) = fakes.session().await;
        granted(&filer, 10).await;
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, .. } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::Failed { op, reason: "I/O error".to_owned() });
        recoverer.crash();
        fakes.sessions(1).await;
        let alice = user("alice");
        assert_eq!(fakes.daemon.read_only_users(), std::slice::from_ref(&alice));
        filer2.send(&FilerToDaemon::Ticket { op: OP });
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::ReadOnly };
        assert_eq!(filer2.recv().await, refused);
        assert_eq!(fakes.daemon.ledger.pending(&alice).await.unwrap().intents.len(), 1);
    });
}

#[test]
fn a_recovering_filer_that_ends_is_replaced() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let daemon = fakes.daemon.clone();
        let start = tokio::task::spawn_local(async move { recovery::at_start(&daemon).await });
        // One dies before it has joined, one at its work.
        let unwilling = fakes.filer().await;
        assert!(matches!(unwilling.recv().await, DaemonToFiler::Join(_)));
        unwilling.crash();
        fakes.recoverer().await.crash();
        fakes.recoverer().await.obey().await;
        start.await.unwrap().unwrap();
        assert_eq!(fakes.daemon.read_only_users(), []);
    });
}

#[test]
fn of_a_dead_sessions_uploads_those_without_a_file_are_dropped() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let mut names = Vec::new();
        for (path, op) in [("a", OP), ("b", OpId(2))] {
            filer.send(&open_upload_at(path, 1, op));
            let DaemonToFiler::UploadReserved { name, .. } = filer.recv().await else { panic!() };
            names.push(name);
        }
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Look { op, names: asked } = recoverer.recv().await else { panic!() };
        assert_eq!(asked, names);
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![Finding::Missing, STAGED] });
        // A journal may be left.
        let DaemonToFiler::Remove { op, names: removed } = recoverer.recv().await else { panic!() };
        assert_eq!(removed, names[..1]);
        let pending = fakes.daemon.ledger.pending(&user("alice")).await.unwrap();
        assert_eq!(pending.uploads, names, "a row is dropped when nothing is left of its files");
        recoverer.send(&FilerToDaemon::Done { op });
        recoverer.obey().await;
        fakes.no_sessions().await;
        let pending = fakes.daemon.ledger.pending(&user("alice")).await.unwrap();
        assert_eq!(pending.uploads, names[1..]);
    });
}

#[test]
fn each_round_of_expiry_marks_what_is_under_way_whether_anything_may_expire_or_not() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { .. } = filer.recv().await else { panic!() };
        let expires_s = async || {
            let uploads = fakes.daemon.ledger.uploads(&user("alice"), None, 1).await.unwrap();
            uploads.0[0].expires_s
        };
        for may_expire in [false, true] {
            let before = expires_s().await;
            while expires_s().await == before {
                tokio::time::sleep(Duration::from_millis(20)).await;
                expiry::round(&fakes.daemon, may_expire).await.unwrap();
            }
        }
    });
}

#[test]
fn an_upload_that_could_not_be_removed_expires_in_the_next_round() {
    run(|| async {
        let fakes = Fakes::start(|config| config.upload_expiry = Duration::ZERO).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { name, .. } = filer.recv().await else { panic!() };
        filer.crash();
        worker.crash();
        fakes.recoverer().await.find(&[name], vec![STAGED]).await;
        fakes.no_sessions().await;
        let expire = || {
            let daemon = fakes.daemon.clone();
            tokio::task::spawn_local(async move {
                expiry::expire_user(&daemon, &user("alice")).await.is_ok()
            })
        };
        for works in [false, true] {
            let expiring = expire();
            let recoverer = fakes.recoverer().await;
            let DaemonToFiler::Remove { op, names } = recoverer.recv().await else { panic!() };
            assert_eq!(names, [name]);
            if works {
                recoverer.send(&FilerToDaemon::Done { op });
            } else {
                let reason = "I/O error".to_owned();
                recoverer.send(&FilerToDaemon::Failed { op, reason });
            }
            recoverer.crash();
            assert_eq!(expiring.await.unwrap(), works);
            let pending = fakes.daemon.ledger.pending(&user("alice")).await.unwrap();
            assert_eq!(pending.uploads.is_empty(), works);
        }
        assert!(expire().await.unwrap(), "nothing is left to be removed");
    });
}

#[test]
fn a_failed_fsync_of_staging_outlives_a_restart() {
    run(|| async {
        let fakes = Fakes::start_on(StagingSync::Directory, |_| {}).await;
        fakes.add_user("bob").await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::StagingSyncFailed);
        filer.send(&FilerToDaemon::Ticket { op: OP });
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::ReadOnly };
        assert_eq!(filer.recv().await, refused);
        let (daemon, alice) = (fakes.daemon.clone(), user("alice"));
        // The mark is written beside the refusal.
        while daemon.ledger.unverified_users().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!daemon.is_read_only(&user("bob")), "each directory is synced by itself");
        assert_eq!(daemon.ledger.unverified_users().await.unwrap(), std::slice::from_ref(&alice));
        daemon.ledger.begin_removal(&user("bob")).await.unwrap();
        daemon.ledger.finish_removal(&user("bob")).await.unwrap();
        // What a next start does with it.
        daemon.forget_user(&alice);
        let starting = daemon.clone();
        let start = tokio::task::spawn_local(async move { recovery::at_start(&starting).await });
        fakes.recoverer().await.obey().await;
        start.await.unwrap().unwrap();
        assert!(daemon.is_read_only(&alice));
        daemon.ledger.settle_stopped(&alice, Vec::new(), (0, 0)).await.unwrap();
        assert_eq!(daemon.ledger.unverified_users().await.unwrap(), []);
    });
}

/// Both users are stopped, and are counted after a restart.
async fn assert_all_stopped(fakes: &Fakes) {
    let (daemon, users) = (&fakes.daemon, [user("alice"), user("bob")]);
    for name in &users {
        assert!(daemon.is_read_only(name), "{name}");
        assert_eq!(daemon.stopped(name), Some(Stopped::Damage), "no verification helps");
        // Nor does one that was under way.
        daemon.make_writable(name);
        assert!(daemon.is_read_only(name), "{name}");
    }
    while daemon.ledger.unverified_users().await.unwrap() != users {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_failed_sync_of_the_file_system_stops_everybody() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        fakes.add_user("bob").await;
        let (_client, _worker, filer) = fakes.session().await;
        let (_client2, worker2, filer2) = fakes.session_of("bob").await;
        let (_client3, worker3, filer3) = fakes.session_of("bob").await;
        // Bob's filer has acted and not synced, and another one of his waits for the ticket.
        granted(&filer2, 10).await;
        let other = reserve(&filer3, 10).await;
        filer3.send(&stage(other, 10));
        let bob = user("bob");
        while fakes.daemon.ledger.pending(&bob).await.unwrap().intents.len() < 2 {
            tokio::task::yield_now().await;
        }
        fakes.daemon.homes.sync_fails.store(true, Ordering::Relaxed);
        filer.send(&FilerToDaemon::StagingSyncFailed);
        filer3.ended().await;
        worker3.ended().await;
        filer2.crash();
        worker2.crash();
        // A next sync would succeed and prove nothing: no filer comes to replay what bob's have left.
        fakes.sessions(1).await;
        assert_eq!(fakes.daemon.ledger.pending(&bob).await.unwrap().intents.len(), 2);
        assert_eq!(fakes.daemon.ledger.usage(&bob).await.unwrap().used_bytes, 0);
        assert_all_stopped(&fakes).await;
    });
}

#[test]
fn a_filer_that_says_so_without_the_file_system_stops_its_own_user_alone() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        fakes.add_user("bob").await;
        let (_client, _worker, filer) = fakes.session().await;
        let (_client2, _worker2, filer2) = fakes.session_of("bob").await;
        filer.send(&FilerToDaemon::StagingSyncFailed);
        while !fakes.daemon.is_read_only(&user("alice")) {
            tokio::task::yield_now().await;
        }
        fakes.daemon.sync_checks_are_over().await;
        assert!(!fakes.daemon.is_read_only(&user("bob")));
        reserve(&filer2, 1).await;
    });
}

#[test]
fn a_replay_that_is_under_way_when_another_users_sync_fails_settles_nothing() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        fakes.add_user("bob").await;
        let (_client, worker, filer) = fakes.session().await;
        let (_client2, _worker2, filer2) = fakes.session_of("bob").await;
        granted(&filer, 10).await;
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, .. } = recoverer.recv().await else { panic!() };
        fakes.daemon.homes.sync_fails.store(true, Ordering::Relaxed);
        filer2.send(&FilerToDaemon::StagingSyncFailed);
        while !fakes.daemon.are_all_read_only() {
            tokio::task::yield_now().await;
        }
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![Finding::Missing] });
        recoverer.obey().await;
        fakes.sessions(1).await;
        let alice = user("alice");
        assert_eq!(fakes.daemon.ledger.pending(&alice).await.unwrap().intents.len(), 1);
        assert_eq!(fakes.daemon.ledger.usage(&alice).await.unwrap().used_bytes, 0);
    });
}

#[test]
fn a_recovery_that_cannot_sync_the_file_system_stops_everybody() {
    run(|| async {
        let fakes = Fakes::start_on(StagingSync::Directory, |_| {}).await;
        fakes.add_user("bob").await;
        let (_client, worker, filer) = fakes.session().await;
        granted(&filer, 10).await;
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, .. } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::SyncFailed { op, reason: "I/O error".to_owned() });
        recoverer.crash();
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.ledger.pending(&user("alice")).await.unwrap().intents.len(), 1);
        assert_all_stopped(&fakes).await;
    });
}

#[test]
fn a_change_that_was_made_in_a_home_that_is_read_only_by_now_is_not_told_to_have_failed() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        let (_client, worker, filer) = fakes.session().await;
        let name = granted(&filer, 10).await;
        filer.send(&FilerToDaemon::Released { op: OP });
        while fakes.daemon.tickets.borrow().times().granted == 0 {
            tokio::task::yield_now().await;
        }
        fakes.daemon.make_read_only(&alice, "a test");
        filer.send(&placed(name));
        filer.ended_untold().await;
        worker.ended().await;
        fakes.no_sessions().await;
        let pending = fakes.daemon.ledger.pending(&alice).await.unwrap();
        assert_eq!(pending.intents.len(), 1, "for the replay of the next start");
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

#[test]
fn a_filer_that_cannot_make_a_change_durable_is_ended() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::StagingSyncFailed);
        filer.send(&FilerToDaemon::OutcomeUnknown);
        filer.ended_untold().await;
        worker.ended().await;
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

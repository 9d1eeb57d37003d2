//! What a filer tells without waiting: in order with what it asks, and few requests in the ledger's queue.

use berth_common::ledger_protocol::Finding;
use berth_common::limits::CHANGES_PER_MESSAGE;

use super::fakes::{run, run_beyond, user};
use super::outages::outage;
use super::*;

#[test]
fn what_is_asked_behind_a_note_finds_it_noted() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { name, .. } = filer.recv().await else { panic!() };
        for _ in 0..20 {
            // All of it at once. Were one of the claims to overtake the note before it, the next note or the drop
            // at the end would be of an upload that is nobody's.
            for op in 2..10 {
                filer.send(&FilerToDaemon::LetGo { name });
                filer.send(&FilerToDaemon::Usage { op: OpId(100 + op) });
                filer.send(&FilerToDaemon::Claim { op: OpId(op), name });
                let mut answers = [filer.recv().await, filer.recv().await];
                answers.sort_by_key(|answer| matches!(answer, DaemonToFiler::Done { .. }));
                assert!(matches!(answers[0], DaemonToFiler::Usage { .. }), "{answers:?}");
                assert_eq!(answers[1], DaemonToFiler::Done { op: OpId(op) });
            }
        }
        filer.send(&FilerToDaemon::LetGo { name });
        filer.send(&FilerToDaemon::Claim { op: OP, name });
        filer.send(&FilerToDaemon::Drop { op: OpId(2), name });
        assert_eq!(filer.recv().await, DaemonToFiler::Done { op: OP });
        assert_eq!(filer.recv().await, DaemonToFiler::Done { op: OpId(2) });
    });
}

#[test]
fn notes_that_come_while_the_ledger_is_held_up_are_few_requests() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let items = vec![IntentItem::Take; CHANGES_PER_MESSAGE];
        filer.send(&FilerToDaemon::Intent { op: OP, items, settle: None });
        let DaemonToFiler::Granted { names, .. } = filer.recv().await else { panic!() };
        filer.send(&FilerToDaemon::Released { op: OP });
        let outcome = Outcome::NotHappened;
        let items = names.iter().map(|name| SettleItem { name: *name, outcome }).collect();
        filer.send(&FilerToDaemon::Settle { op: OP, items });
        assert!(matches!(filer.recv().await, DaemonToFiler::Settled { .. }));

        let before = fakes.daemon.ledger.work().requests;
        let foreign = outage(&fakes);
        for name in &names {
            let gone = FilerToDaemon::Gone { names: vec![*name] };
            while filer.try_send(&gone).is_err() {
                tokio::task::yield_now().await;
            }
        }
        // The daemon has read all of them when it has read this.
        filer.send(&FilerToDaemon::Ticket { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Granted { .. }));
        foreign.execute_batch("ROLLBACK").unwrap();
        filer.send(&FilerToDaemon::Usage { op: OpId(2) });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }));
        fakes.daemon.ledger.until_it_works().await;
        let requests = fakes.daemon.ledger.work().requests - before;
        assert!((1..10).contains(&requests), "{requests} for {} notes", names.len());
    });
}

#[test]
fn what_is_noted_in_an_outage_comes_before_what_is_asked_after_it() {
    // SQLite waits five seconds for the lock before the ledger is seen to be out.
    run_beyond(Duration::from_secs(20), || async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { name, .. } = filer.recv().await else { panic!() };
        let foreign = outage(&fakes);
        // The ledger keeps it until the end of the outage, and refuses all that is asked meanwhile.
        filer.send(&FilerToDaemon::LetGo { name });
        for op in 2..40 {
            let op = OpId(op);
            filer.send(&FilerToDaemon::Claim { op, name });
            let refused = DaemonToFiler::Refused { op, error: ErrorCode::LedgerUnavailable };
            assert_eq!(filer.recv().await, refused);
        }
        foreign.execute_batch("ROLLBACK").unwrap();
        // Asked on and on, so that one of these is with the ledger as it comes to work again.
        let mut op = 40;
        loop {
            filer.send(&FilerToDaemon::Claim { op: OpId(op), name });
            match filer.recv().await {
                DaemonToFiler::Done { .. } => break,
                DaemonToFiler::Refused { error: ErrorCode::LedgerUnavailable, .. } => op += 1,
                other => panic!("{other:?}"),
            }
        }
        // Were the note told only now, the upload would be nobody's.
        fakes.daemon.ledger.until_it_works().await;
        filer.send(&FilerToDaemon::Usage { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }));
        filer.send(&FilerToDaemon::Drop { op: OP, name });
        assert_eq!(filer.recv().await, DaemonToFiler::Done { op: OP });
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

#[test]
fn what_a_dead_session_noted_in_an_outage_does_not_come_between_its_recovery() {
    // SQLite waits five seconds for the lock before the ledger is seen to be out.
    run_beyond(Duration::from_secs(20), || async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { name, .. } = filer.recv().await else { panic!() };
        let foreign = outage(&fakes);
        filer.send(&FilerToDaemon::Drop { op: OP, name });
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::LedgerUnavailable };
        assert_eq!(filer.recv().await, refused);
        filer.crash();
        worker.crash();

        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Look { op, .. } = recoverer.recv().await else { panic!() };
        foreign.execute_batch("ROLLBACK").unwrap();
        fakes.daemon.ledger.until_it_works().await;
        // It has seen the upload, and drops it now.
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![Finding::Missing] });
        recoverer.obey().await;
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.read_only_users(), []);
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (0, 0));
    });
}

#[test]
fn who_tells_of_a_name_that_it_does_not_have_is_ended() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_other_client, _other_worker, other) = fakes.session().await;
        let name = reserve(&other, 10).await;
        let told =
            |name| [FilerToDaemon::LetGo { name }, FilerToDaemon::Gone { names: vec![name] }];
        let of_another_and_of_nobody = told(name).into_iter().chain(told(StagingName(u64::MAX)));
        for (count, message) in of_another_and_of_nobody.enumerate() {
            let (_client, worker, filer) = fakes.session().await;
            filer.send(&message);
            filer.ended_untold().await;
            worker.ended().await;
            fakes.sessions(1).await;
            let incidents = fakes.daemon.incidents.told();
            assert_eq!(incidents.total(), 1 + count as u64);
            let what = &incidents.latest.last().unwrap().what;
            assert!(what.contains("a name that it does not have"), "{what}");
        }
        other.send(&FilerToDaemon::Drop { op: OP, name });
        assert_eq!(other.recv().await, DaemonToFiler::Done { op: OP });
    });
}

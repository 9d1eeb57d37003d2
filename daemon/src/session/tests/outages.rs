//! Sessions while the ledger cannot be written, and after it.

use berth_common::error_code::ErrorCode;
use berth_common::ids::OwedName;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding};
use rusqlite::Connection;

use super::fakes::{FakeFiler, Fakes, run, user};
use super::*;

/// Another program that writes the ledger and does not come to an end.
pub(super) fn outage(fakes: &Fakes) -> Connection {
    let path = fakes.daemon.settings().config.data_dir.join("ledger.sqlite");
    let foreign = Connection::open(path).unwrap();
    foreign.busy_timeout(Duration::from_secs(10)).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    foreign
}

fn take() -> FilerToDaemon {
    FilerToDaemon::Intent { op: OP, items: vec![IntentItem::Take], settle: None }
}

async fn owe(filer: &FakeFiler) -> OwedName {
    filer.send(&take());
    match filer.recv().await {
        DaemonToFiler::Owing { op: OP, name } => name,
        other => panic!("{other:?}"),
    }
}

/// A file of 10 bytes is in the home.
async fn put(filer: &FakeFiler) {
    let name = granted(filer, 10).await;
    filer.send(&FilerToDaemon::Released { op: OP });
    filer.send(&placed(name));
    assert!(matches!(filer.recv().await, DaemonToFiler::Settled { .. }));
    filer.send(&FilerToDaemon::Gone { names: vec![name] });
}

#[test]
fn a_change_that_cannot_be_settled_ends_its_session_and_is_replayed_after_the_outage() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let name = granted(&filer, 10).await;
        filer.send(&FilerToDaemon::Released { op: OP });
        let foreign = outage(&fakes);
        filer.send(&placed(name));
        filer.ended().await;
        worker.ended().await;

        // It is looked at, but cannot be settled.
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, .. } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![Finding::Missing] });
        recoverer.obey().await;
        assert_eq!(fakes.daemon.read_only_users(), [], "an outage passes");
        // Others go on meanwhile, and are refused what cannot be recorded.
        let (_client2, _worker2, filer2) = fakes.session().await;
        filer2.send(&FilerToDaemon::Reserve { op: OP, growth: 1, entries: 1, stages: Some(1) });
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::LedgerUnavailable };
        assert_eq!(filer2.recv().await, refused);
        filer2.send(&FilerToDaemon::Usage { op: OP });
        assert!(matches!(filer2.recv().await, DaemonToFiler::Usage { .. }));

        foreign.execute_batch("ROLLBACK").unwrap();
        let recoverer = fakes.recoverer().await;
        recoverer.find(&[name], vec![Finding::Missing]).await;
        fakes.sessions(1).await;
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (10, 0));
    });
}

#[test]
fn what_is_owed_is_taken_by_a_delete_of_its_own_after_the_outage() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        put(&filer).await;
        let foreign = outage(&fakes);
        let name = owe(&filer).await;
        foreign.execute_batch("ROLLBACK").unwrap();
        fakes.daemon.ledger.until_it_works().await;
        // Nothing is looked for before the filer has said that it is there.
        filer.send(&FilerToDaemon::Usage { op: OpId(2) });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }));
        filer.send(&FilerToDaemon::Released { op: OP });

        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::ListOwed { op } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::OwedNames { op, names: vec![name] });
        let DaemonToFiler::TakeOwed { op, pairs } = recoverer.recv().await else { panic!() };
        let [(owed, to)] = pairs[..] else { panic!("{pairs:?}") };
        assert_eq!(owed, name);
        let intents = fakes.daemon.ledger.pending(&user("alice")).await.unwrap().intents;
        assert_eq!(intents.iter().map(|row| row.name).collect::<Vec<_>>(), [to], "durable first");
        recoverer.send(&FilerToDaemon::Done { op });
        recoverer.find(&[to], vec![STAGED]).await;
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.used_entries), (0, 0));
        assert_eq!(fakes.daemon.read_only_users(), []);
    });
}

#[test]
fn what_a_dead_session_may_have_taken_is_looked_for() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let foreign = outage(&fakes);
        owe(&filer).await;
        filer.crash();
        worker.crash();
        // It has left nothing in the ledger, so that its end does not wait.
        fakes.no_sessions().await;
        foreign.execute_batch("ROLLBACK").unwrap();
        fakes.recoverer().await.obey().await;
        assert_eq!(fakes.daemon.read_only_users(), []);
    });
}

#[test]
fn more_than_one_removal_is_not_owed_at_once() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let _foreign = outage(&fakes);
        for items in [vec![IntentItem::Over], vec![IntentItem::Take, IntentItem::Over]] {
            filer.send(&FilerToDaemon::Intent { op: OP, items, settle: None });
            let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::LedgerUnavailable };
            assert_eq!(filer.recv().await, refused);
        }
        owe(&filer).await;
    });
}

/// A start that finds something owed by alice, who waits for the ledger then.
async fn start_in_an_outage(fakes: &Fakes) -> Connection {
    let foreign = outage(fakes);
    // Known to the ledger's thread.
    assert!(fakes.daemon.ledger.begin_removal(&user("nobody")).await.is_err());
    let daemon = fakes.daemon.clone();
    let start = tokio::task::spawn_local(async move { crate::recovery::at_start(&daemon).await });
    let recoverer = fakes.recoverer().await;
    let DaemonToFiler::ListOwed { op } = recoverer.recv().await else { panic!() };
    recoverer.send(&FilerToDaemon::OwedNames { op, names: vec![OwedName(900)] });
    recoverer.obey().await;
    start.await.unwrap().unwrap();
    assert!(fakes.daemon.is_unrecovered(&user("alice")));
    foreign
}

#[test]
fn users_who_wait_for_the_ledger_at_the_start_are_recovered_after_it() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        let foreign = start_in_an_outage(&fakes).await;
        assert!(fakes.daemon.read_only_users().is_empty());
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&take());
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::LedgerUnavailable };
        assert_eq!(filer.recv().await, refused, "nothing is owed before a sweep");
        filer.send(&FilerToDaemon::Ticket { op: OP });
        assert_eq!(filer.recv().await, refused);

        foreign.execute_batch("ROLLBACK").unwrap();
        fakes.recoverer().await.obey().await;
        while fakes.daemon.is_unrecovered(&alice) {
            tokio::task::yield_now().await;
        }
        reserve(&filer, 1).await;
    });
}

#[test]
fn who_comes_after_the_start_is_not_taken_for_one_who_waits_since_then() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        let foreign = start_in_an_outage(&fakes).await;

        let turn = fakes.daemon.turn(&alice);
        let turn = turn.lock().await;
        foreign.execute_batch("ROLLBACK").unwrap();
        fakes.daemon.ledger.until_it_works().await;
        fakes.daemon.ledger.begin_removal(&alice).await.unwrap();
        fakes.daemon.ledger.finish_removal(&alice).await.unwrap();
        fakes.daemon.forget_user(&alice);
        fakes.add_user("alice").await;
        drop(turn);
        let swept = tokio::time::timeout(Duration::from_millis(300), fakes.recoverer()).await;
        assert!(swept.is_err(), "what sessions have staged since would be swept");
        let removed = crate::recovery::finish_removal(&fakes.daemon, &alice).await;
        assert!(removed.is_err() && fakes.daemon.homes.open_home(&alice).is_ok(), "{removed:?}");
    });
}

#[test]
fn those_who_wait_behind_a_holder_that_is_not_replayed_are_refused() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (_client2, _worker2, filer2) = fakes.session().await;
        let (_client3, worker3, filer3) = fakes.session().await;
        granted(&filer, 10).await;
        filer2.send(&FilerToDaemon::Ticket { op: OP });
        let other = reserve(&filer3, 10).await;
        filer3.send(&stage(other, 10));
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let alice = user("alice");
        while fakes.daemon.ledger.pending(&alice).await.unwrap().intents.len() < 2 {
            tokio::task::yield_now().await;
        }
        // What `watch_tickets` does when it has taken long.
        while fakes.daemon.tickets.borrow_mut().stuck(Duration::ZERO, Instant::now()).is_empty() {
            tokio::task::yield_now().await;
        }
        fakes.daemon.turn_away_from(&alice);
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::Busy };
        assert_eq!(filer2.recv().await, refused);
        // Its intent is there, so that only replay may say what is true.
        filer3.ended().await;
        worker3.ended().await;
        drop(recoverer);
    });
}

//! A verification beside sessions, with a filer that the test plays.

use berth_common::admin_protocol::Verification;
use berth_common::ids::OwedName;
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, Finding, HomeReport, HomeSum, Role,
};
use tokio::task::JoinHandle;

use super::fakes::{FakeFiler, Fakes, run, user};
use super::*;
use crate::verify::{VerifyError, verify};

type Verifying = JoinHandle<Result<Verification, VerifyError>>;

fn begin(fakes: &Fakes, fix: bool) -> Verifying {
    let daemon = fakes.daemon.clone();
    tokio::task::spawn_local(async move { verify(&daemon, &user("alice"), fix).await })
}

/// The next filer to be spawned, which walks alice's home.
async fn walker(fakes: &Fakes) -> FakeFiler {
    let filer = fakes.filer().await;
    let received = filer.receive().await;
    assert_eq!(
        received.message,
        DaemonToFiler::Join(Role::Walk {
            user: user("alice"),
            sandbox: berth_common::sandbox_mode::SandboxMode::Require
        })
    );
    assert_eq!(received.descriptors.len(), 1);
    filer.send(&FilerToDaemon::Joined);
    filer
}

/// Has nothing to list, and is told what the test waits for; says the sum in the end.
async fn walk(filer: FakeFiler, sum: HomeSum) -> Vec<HomeReport> {
    let mut heard = Vec::new();
    loop {
        match filer.recv().await {
            DaemonToFiler::List { op } => filer.send(&FilerToDaemon::Listed { op, done: true }),
            DaemonToFiler::Reports { op, reports } => {
                heard.extend(reports);
                filer.send(&FilerToDaemon::Done { op });
            }
            DaemonToFiler::Sum { op } => {
                filer.send(&FilerToDaemon::Walked { op, sum });
                filer.crash();
                return heard;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn sum(bytes: u64, entries: u64) -> HomeSum {
    HomeSum { bytes, entries, ..HomeSum::default() }
}

/// Answers one order to list, so that the window is known to be open.
async fn first_list(filer: &FakeFiler) {
    let DaemonToFiler::List { op } = filer.recv().await else { panic!() };
    filer.send(&FilerToDaemon::Listed { op, done: false });
}

#[test]
fn a_difference_is_told_and_corrected_when_asked_for() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        for (fix, exact) in [(false, false), (true, false), (false, true)] {
            let verifying = begin(&fakes, fix);
            walk(walker(&fakes).await, sum(10, 2)).await;
            let found = verifying.await.unwrap().unwrap();
            assert_eq!((found.is_exact(), found.fixed), (exact, fix));
            assert_eq!((found.disk_bytes, found.disk_entries), (10, 2));
        }
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.used_entries), (10, 2));
        // The ticket is nobody's.
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Ticket { op: OP });
        let granted = DaemonToFiler::Granted { op: OP, names: vec![], reporting: false };
        assert_eq!(filer.recv().await, granted);
    });
}

#[test]
fn an_act_that_is_not_settled_is_waited_for_and_its_reports_are_heard_first() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let verifying = begin(&fakes, false);
        let walking = walker(&fakes).await;
        first_list(&walking).await;
        let name = reserve(&filer, 10).await;
        filer.send(&stage(name, 10));
        let granted = DaemonToFiler::Granted { op: OP, names: vec![name], reporting: true };
        assert_eq!(filer.recv().await, granted);
        let stands = HomeReport::Stands { inode: 77, bytes: 10 };
        filer.send(&FilerToDaemon::Reports { reports: vec![stands.clone()] });
        filer.send(&FilerToDaemon::Released { op: OP });
        let walked = tokio::task::spawn_local(walk(walking, sum(10, 1)));
        // It has the ticket by now, or soon; the settle needs none.
        filer.send(&placed(name));
        assert!(matches!(filer.recv().await, DaemonToFiler::Settled { .. }));
        let found = verifying.await.unwrap().unwrap();
        assert!(found.is_exact(), "{found:?}");
        assert_eq!(walked.await.unwrap(), [stands]);
    });
}

#[test]
fn a_holder_that_dies_in_the_window_has_the_home_walked_anew() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let verifying = begin(&fakes, false);
        let first = walker(&fakes).await;
        first_list(&first).await;
        // A rename to a free name has no row: only its report could tell of it, and that is lost.
        filer.send(&FilerToDaemon::Ticket { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Granted { reporting: true, .. }));
        filer.crash();
        worker.crash();
        fakes.no_sessions().await;
        while let Some(order) = first.next().await {
            let DaemonToFiler::List { op } = order else { panic!("{order:?}") };
            first.send(&FilerToDaemon::Listed { op, done: true });
        }
        first.crash();
        walk(walker(&fakes).await, sum(0, 0)).await;
        assert!(verifying.await.unwrap().unwrap().is_exact());
    });
}

#[test]
fn a_tree_that_a_dead_session_had_removed_has_the_home_walked_anew() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        fakes.daemon.ledger.correct(&user("alice"), 5, 3).await.unwrap();
        let (_client, worker, filer) = fakes.session().await;
        let verifying = begin(&fakes, false);
        let first = walker(&fakes).await;
        first_list(&first).await;
        filer.send(&FilerToDaemon::Intent { op: OP, items: vec![IntentItem::Take], settle: None });
        assert!(matches!(filer.recv().await, DaemonToFiler::Granted { reporting: true, .. }));
        filer.send(&FilerToDaemon::Released { op: OP });
        filer.crash();
        worker.crash();
        let recoverer = fakes.recoverer().await;
        let DaemonToFiler::Examine { op, .. } = recoverer.recv().await else { panic!() };
        let finding = Finding::Directory { inode: 9, bytes: 5, entries: 3 };
        recoverer.send(&FilerToDaemon::Findings { op, findings: vec![finding] });
        recoverer.obey().await;
        fakes.recoverer().await.obey().await;
        fakes.no_sessions().await;
        while let Some(order) = first.next().await {
            let DaemonToFiler::List { op } = order else { panic!("{order:?}") };
            first.send(&FilerToDaemon::Listed { op, done: true });
        }
        first.crash();
        walk(walker(&fakes).await, sum(0, 0)).await;
        let found = verifying.await.unwrap().unwrap();
        assert!(found.is_exact(), "{found:?}");
    });
}

#[test]
fn a_walk_that_fails_gives_its_reason_and_a_second_at_once_is_refused() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let verifying = begin(&fakes, true);
        let walking = walker(&fakes).await;
        let second = begin(&fakes, false).await.unwrap();
        assert!(matches!(second, Err(VerifyError::UnderWay)));
        let DaemonToFiler::List { op } = walking.recv().await else { panic!() };
        let reason = "cannot read \"/d\": Permission denied".to_owned();
        walking.send(&FilerToDaemon::Failed { op, reason: reason.clone() });
        walking.crash();
        assert_eq!(verifying.await.unwrap().unwrap_err().to_string(), reason);
        let third = begin(&fakes, false);
        walk(walker(&fakes).await, sum(0, 0)).await;
        assert!(third.await.unwrap().unwrap().is_exact());
    });
}

#[test]
fn a_read_only_home_and_a_user_who_is_not_there_are_refused() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let daemon = fakes.daemon.clone();
        let nobody = verify(&daemon, &user("nobody"), false).await;
        assert!(matches!(nobody, Err(VerifyError::Ledger(LedgerError::NoSuchUser))));
        daemon.make_read_only(&user("alice"), "a test");
        let read_only = verify(&daemon, &user("alice"), false).await;
        assert!(matches!(read_only, Err(VerifyError::ReadOnly)));
    });
}

#[test]
fn a_home_that_is_stopped_by_an_imbalance_is_replayed_corrected_and_writable_again() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let alice = user("alice");
        // More is removed than the ledger knows of.
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Intent { op: OP, items: vec![IntentItem::Take], settle: None });
        let DaemonToFiler::Granted { names, .. } = filer.recv().await else { panic!() };
        filer.send(&FilerToDaemon::Released { op: OP });
        let outcome = Outcome::Removed { bytes: 5, entries: 1 };
        filer.send(&FilerToDaemon::Settle {
            op: OP,
            items: vec![SettleItem { name: names[0], outcome }],
        });
        // Nobody is told that what has happened was refused.
        filer.ended_untold().await;
        worker.ended().await;
        assert_eq!(fakes.daemon.read_only_users(), std::slice::from_ref(&alice));
        assert!(matches!(begin(&fakes, false).await.unwrap(), Err(VerifyError::ReadOnly)));
        let verifying = begin(&fakes, true);
        walk(walker(&fakes).await, sum(3, 1)).await;
        let recoverer = fakes.recoverer().await;
        // What was deleted in an outage is in no walk, and is removed without a settle.
        let DaemonToFiler::ListOwed { op } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::OwedNames { op, names: vec![OwedName(7)] });
        let DaemonToFiler::TakeOwed { op, pairs } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::Done { op });
        let DaemonToFiler::Remove { op, names: removed } = recoverer.recv().await else { panic!() };
        assert_eq!(pairs, [(OwedName(7), removed[0])]);
        recoverer.send(&FilerToDaemon::Done { op });
        let DaemonToFiler::ListOwed { op } = recoverer.recv().await else { panic!() };
        recoverer.send(&FilerToDaemon::OwedNames { op, names: vec![] });
        recoverer.find(&names, vec![Finding::File { inode: 9, size: 5, links: 1 }]).await;
        let found = verifying.await.unwrap().unwrap();
        assert!(found.writable_again && found.fixed, "{found:?}");
        assert_eq!(fakes.daemon.read_only_users(), []);
        let usage = fakes.daemon.ledger.usage(&alice).await.unwrap();
        assert_eq!((usage.used_bytes, usage.used_entries), (3, 1));
        assert_eq!(fakes.daemon.ledger.pending(&alice).await.unwrap().intents, []);
    });
}

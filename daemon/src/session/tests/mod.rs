//! Sessions from end to end, with a real ledger, real processes to kill and reap, and helpers that the
//! test plays.

mod breaks;
mod displaced;
mod ends;
mod fakes;
mod heartbeats;
mod logins;
mod noting;
mod outages;
mod recovery;
mod reloads;
mod verifying;

use berth_common::broker_protocol::{CloseReason, WorkerToDaemon};
use berth_common::entry::SourceFingerprint;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, SessionId, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, Finding, IntentItem, Outcome, SettleItem, Settling,
};
use berth_common::limits::MAX_FILER_REQUESTS;
use berth_common::rel_path::RelPath;

use super::*;
use crate::ledger::LedgerError;
use fakes::{FakeFiler, Fakes, run, user};

const OP: OpId = OpId(1);

/// Reserves a small file of this size.
async fn reserve(filer: &FakeFiler, size: u64) -> StagingName {
    filer.send(&FilerToDaemon::Reserve { op: OP, growth: size, entries: 1, stages: Some(size) });
    match filer.recv().await {
        DaemonToFiler::Reserved { name, .. } => name,
        other => panic!("{other:?}"),
    }
}

fn stage(name: StagingName, size: u64) -> FilerToDaemon {
    let item = IntentItem::Stage { name, inode: 77, size, replaces: None };
    FilerToDaemon::Intent { op: OP, items: vec![item], settle: None }
}

/// The filer has staged so many bytes and its intent is durable, and it has the ticket.
async fn granted(filer: &FakeFiler, size: u64) -> StagingName {
    let name = reserve(filer, size).await;
    filer.send(&stage(name, size));
    assert!(matches!(filer.recv().await, DaemonToFiler::Granted { .. }));
    name
}

/// What is staged stands in the home now, where nothing was before.
fn placed(name: StagingName) -> FilerToDaemon {
    let outcome = Outcome::Placed { replaced: None };
    FilerToDaemon::Settle { op: OP, items: vec![SettleItem { name, outcome }] }
}

/// What a recovering filer finds of an upload that is there.
const STAGED: Finding = Finding::File { inode: 77, size: 10, links: 1 };

fn open_upload(token: u8, op: OpId) -> FilerToDaemon {
    open_upload_at("big", token, op)
}

fn open_upload_at(path: &str, token: u8, op: OpId) -> FilerToDaemon {
    FilerToDaemon::ReserveUpload {
        op,
        path: RelPath::new(path).unwrap(),
        source: SourceFingerprint { size: 500, mtime_ns: 1, ctime_ns: 1, inode: 1 },
        token: UploadToken([token; 16]),
        growth: 500,
        entries: 1,
    }
}

#[test]
fn a_session_puts_a_file_and_ends_without_a_replay() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let name = reserve(&filer, 10).await;
        filer.send(&stage(name, 10));
        assert_eq!(
            filer.recv().await,
            DaemonToFiler::Granted { op: OP, names: vec![name], reporting: false }
        );
        filer.send(&FilerToDaemon::Released { op: OP });
        filer.send(&placed(name));
        let DaemonToFiler::Settled { usage, .. } = filer.recv().await else { panic!() };
        assert_eq!((usage.used_bytes, usage.used_entries, usage.reserved_bytes), (10, 1, 0));
        filer.send(&FilerToDaemon::Gone { names: vec![name] });
        worker.send(&WorkerToDaemon::Closing { reason: CloseReason::ClientLeft });
        worker.crash();
        filer.crash();
        fakes.no_sessions().await;
    });
}

#[test]
fn a_settle_that_comes_with_an_intent_does_not_wait_for_the_ticket() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let (_other_client, _other_worker, other) = fakes.session().await;
        let (first, second) = (reserve(&filer, 10).await, reserve(&filer, 20).await);
        filer.send(&stage(first, 10));
        assert_eq!(
            filer.recv().await,
            DaemonToFiler::Granted { op: OP, names: vec![first], reporting: false }
        );
        filer.send(&FilerToDaemon::Released { op: OP });
        other.send(&FilerToDaemon::Ticket { op: OP });
        assert_eq!(
            other.recv().await,
            DaemonToFiler::Granted { op: OP, names: vec![], reporting: false }
        );

        let outcome = Outcome::Placed { replaced: None };
        let items = vec![SettleItem { name: first, outcome }];
        let FilerToDaemon::Intent { items: next, .. } = stage(second, 20) else { panic!() };
        let settle = Some(Settling { op: OpId(2), items });
        filer.send(&FilerToDaemon::Intent { op: OpId(3), items: next, settle });
        let DaemonToFiler::Settled { op, usage } = filer.recv().await else { panic!() };
        assert_eq!((op, usage.used_bytes, usage.reserved_bytes), (OpId(2), 10, 20));
        other.send(&FilerToDaemon::Released { op: OP });
        let granted = DaemonToFiler::Granted { op: OpId(3), names: vec![second], reporting: false };
        assert_eq!(filer.recv().await, granted);
    });
}

#[test]
fn over_quota_is_refused_with_the_numbers() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Reserve { op: OP, growth: 1001, entries: 1, stages: None });
        let DaemonToFiler::Refused { error, .. } = filer.recv().await else { panic!() };
        assert!(matches!(error, ErrorCode::QuotaExceeded { limit: 1000, requested: 1001, .. }));
    });
}

#[test]
fn nothing_is_reserved_below_the_floor_of_free_space() {
    run(|| async {
        let fakes = Fakes::start(|config| config.min_free_bytes = i64::MAX as u64).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Reserve { op: OP, growth: 1, entries: 1, stages: Some(1) });
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::DiskFull };
        assert_eq!(filer.recv().await, refused);
        filer.send(&FilerToDaemon::Reserve { op: OP, growth: 0, entries: 1, stages: Some(0) });
        assert_eq!(filer.recv().await, refused, "a directory takes a little too");
        filer.send(&FilerToDaemon::Lease { op: OP, entries: 1, replaces: 0 });
        assert_eq!(filer.recv().await, refused);
        filer.send(&open_upload(1, OP));
        assert_eq!(filer.recv().await, refused);
        filer.send(&FilerToDaemon::Room { op: OP });
        assert_eq!(filer.recv().await, DaemonToFiler::Room { op: OP, bytes: 0 });
        filer.send(&FilerToDaemon::Reserve { op: OP, growth: 1, entries: 1, stages: None });
        let answer = filer.recv().await;
        assert!(matches!(answer, DaemonToFiler::Reserved { .. }), "it stands there: {answer:?}");
    });
}

#[test]
fn what_does_not_grow_needs_room_on_the_disk_for_its_size_too() {
    // More than any disk has.
    const HUGE: u64 = 1 << 62;
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::DiskFull };
        filer.send(&FilerToDaemon::Reserve { op: OP, growth: 0, entries: 0, stages: Some(HUGE) });
        assert_eq!(filer.recv().await, refused);
        let FilerToDaemon::ReserveUpload { op, path, source, token, .. } = open_upload(1, OP)
        else {
            panic!()
        };
        let source = SourceFingerprint { size: HUGE, ..source };
        let (growth, entries) = (0, 0);
        filer.send(&FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries });
        assert_eq!(filer.recv().await, refused);
        filer.send(&FilerToDaemon::Room { op: OP });
        let DaemonToFiler::Room { bytes, .. } = filer.recv().await else { panic!() };
        assert!((1..HUGE).contains(&bytes));
        let pending = fakes.daemon.ledger.pending(&user("alice")).await.unwrap();
        assert_eq!(pending.uploads, [], "no row is left of a refusal");
    });
}

#[test]
fn a_lease_is_what_is_left_and_grows_by_what_comes_free() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let first = reserve(&filer, 400).await;
        filer.send(&FilerToDaemon::Lease { op: OP, entries: 1, replaces: 0 });
        let DaemonToFiler::Leased { name, bytes: 600, .. } = filer.recv().await else { panic!() };
        filer.send(&FilerToDaemon::Extend { op: OP, name, least: 601 });
        let DaemonToFiler::Refused { error, .. } = filer.recv().await else { panic!() };
        assert!(matches!(error, ErrorCode::QuotaExceeded { limit: 1000, requested: 1, .. }));
        filer.send(&FilerToDaemon::Drop { op: OP, name: first });
        assert_eq!(filer.recv().await, DaemonToFiler::Done { op: OP });
        filer.send(&FilerToDaemon::Extend { op: OP, name, least: 601 });
        assert_eq!(filer.recv().await, DaemonToFiler::Extended { op: OP, bytes: 1000 });
    });
}

#[test]
fn a_filer_that_extends_what_is_not_its_own_is_killed() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let (_client2, worker2, filer2) = fakes.session().await;
        let name = reserve(&filer, 10).await;
        filer2.send(&FilerToDaemon::Extend { op: OP, name, least: 20 });
        filer2.ended().await;
        worker2.ended().await;
        fakes.sessions(1).await;
    });
}

#[test]
fn a_worker_that_asks_out_of_phase_is_killed_and_no_other_session_is_touched() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        let (_other, broken, broken_filer) = fakes.session().await;
        broken.send(&WorkerToDaemon::Handshaken { exporter: [0; 32] });
        broken.ended().await;
        broken_filer.ended().await;
        fakes.sessions(1).await;
        reserve(&filer, 1).await;
    });
}

#[test]
fn a_filer_that_breaks_the_bounds_is_killed_with_its_worker() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Released { op: OP });
        filer.ended().await;
        worker.ended().await;
        fakes.no_sessions().await;
    });
}

#[test]
fn a_holder_past_the_deadline_is_killed() {
    run(|| async {
        let fakes = Fakes::start(|config| config.ticket = Duration::from_millis(100)).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Ticket { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Granted { .. }));
        filer.ended().await;
        worker.ended().await;
        fakes.no_sessions().await;
        assert!(
            fakes
                .daemon
                .tickets
                .borrow_mut()
                .slow(Duration::ZERO, Duration::ZERO, Instant::now())
                .is_empty()
        );
    });
}

#[test]
fn an_upload_is_taken_over_by_its_token_and_refused_to_another_client_while_bytes_come() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        filer.send(&open_upload(1, OP));
        let DaemonToFiler::UploadReserved { name, resumed: false, .. } = filer.recv().await else {
            panic!()
        };
        worker.send(&WorkerToDaemon::Progress { received: 1, sent: 0 });
        while !fakes.daemon.sessions.borrow().is_receiving(SessionId(1), Instant::now()) {
            tokio::task::yield_now().await;
        }
        let (_client2, _worker2, filer2) = fakes.session().await;
        filer2.send(&open_upload(2, OP));
        let refused = DaemonToFiler::Refused { op: OP, error: ErrorCode::UploadBusy };
        assert_eq!(filer2.recv().await, refused);
        filer2.send(&open_upload(1, OpId(2)));
        filer.ended().await;
        worker.ended().await;
        fakes.recoverer().await.find(&[name], vec![STAGED]).await;
        let DaemonToFiler::UploadReserved { name: same, resumed: true, .. } = filer2.recv().await
        else {
            panic!()
        };
        assert_eq!(same, name);
        fakes.sessions(1).await;
    });
}

#[test]
fn a_user_who_is_locked_loses_the_sessions_at_once() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let alice = user("alice");
        fakes.daemon.ledger.set_locked(&alice, true).await.unwrap();
        let daemon = fakes.daemon.clone();
        let ending = tokio::task::spawn_local(async move {
            daemon.end_sessions_of(&alice, &KillReason::Administrator).await;
        });
        worker.ended().await;
        filer.ended().await;
        ending.await.unwrap();
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

#[test]
fn a_disk_that_does_not_tell_its_free_space_holds_up_nobody_who_needs_none() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (open, gate) = std::sync::mpsc::channel();
        fakes.daemon.free_space.gate.replace(Some(gate));
        filer.send(&FilerToDaemon::Room { op: OP });
        filer.send(&FilerToDaemon::Lease { op: OpId(2), entries: 1, replaces: 0 });
        filer.send(&FilerToDaemon::Usage { op: OpId(3) });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { op: OpId(3), .. }));
        let (_other_client, _other_worker, other) = fakes.session().await;
        other.send(&FilerToDaemon::Usage { op: OP });
        assert!(matches!(other.recv().await, DaemonToFiler::Usage { .. }));
        // Nor does the end of a session that waits for it.
        worker.crash();
        filer.crash();
        fakes.sessions(1).await;

        other.send(&FilerToDaemon::Room { op: OP });
        drop(open);
        assert!(matches!(other.recv().await, DaemonToFiler::Room { bytes: 1.., .. }));
    });
}

#[test]
fn what_waits_for_the_disk_as_its_session_ends_is_no_refusal() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let serving = fakes.daemon.control(SessionId(1)).unwrap().serving.borrow().clone().unwrap();
        // So many refusals that further ones would be counted.
        while serving.refusals_left_out() == 0 {
            filer.send(&FilerToDaemon::Reserve { op: OP, growth: 1001, entries: 1, stages: None });
            assert!(matches!(filer.recv().await, DaemonToFiler::Refused { .. }));
        }
        let (_open, gate) = std::sync::mpsc::channel();
        fakes.daemon.free_space.gate.replace(Some(gate));
        for op in 2..MAX_FILER_REQUESTS as u32 {
            filer.send(&FilerToDaemon::Lease { op: OpId(op), entries: 1, replaces: 0 });
        }
        filer.send(&FilerToDaemon::Usage { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }));
        worker.crash();
        filer.crash();
        fakes.no_sessions().await;
        assert_eq!(serving.refusals_left_out(), 1);
    });
}

#[test]
fn a_home_that_becomes_read_only_while_the_disk_is_asked_refuses_what_asks() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, _worker, filer) = fakes.session().await;
        filer.send(&FilerToDaemon::Lease { op: OP, entries: 1, replaces: 0 });
        let DaemonToFiler::Leased { name, bytes, .. } = filer.recv().await else { panic!() };
        let (open, gate) = std::sync::mpsc::channel();
        fakes.daemon.free_space.gate.replace(Some(gate));
        filer.send(&FilerToDaemon::Reserve { op: OpId(2), growth: 1, entries: 1, stages: Some(1) });
        filer.send(&FilerToDaemon::Lease { op: OpId(3), entries: 1, replaces: 0 });
        filer.send(&FilerToDaemon::Extend { op: OpId(4), name, least: bytes });
        filer.send(&open_upload(1, OpId(5)));
        filer.send(&FilerToDaemon::Usage { op: OP });
        assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }), "all of them wait");
        fakes.daemon.make_read_only(&user("alice"), "for the test");
        drop(open);
        let mut ops = vec![2, 3, 4, 5];
        while !ops.is_empty() {
            let DaemonToFiler::Refused { op, error } = filer.recv().await else { panic!() };
            assert_eq!(error, ErrorCode::ReadOnly, "{op}");
            ops.retain(|left| *left != op.0);
        }
    });
}

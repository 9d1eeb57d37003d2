//! What the internal channels cost: the messages between worker and filer, and between filer and daemon, of one put
//! of a small file, from one end to the other, and of a batch of them.
//!
//! Both ends are in one thread, so that no time is a scheduler's: the figures are codec and system calls.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)] // `criterion_group!` makes public functions.

use std::os::fd::{AsFd as _, BorrowedFd};

use berth_common::channel::{Channel, Message};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, Limits, SourceFingerprint, Usage};
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ids::{Handle, OpId, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, IntentItem, Outcome, SettleItem,
};
use berth_common::limits::CHANGES_PER_MESSAGE;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};

const OP: OpId = OpId(70_000);
const HANDLE: Handle = Handle(3);
const NAME: StagingName = StagingName(1 << 33);

const USAGE: Usage = Usage {
    limits: Limits { bytes: Some(1 << 40), entries: Some(1 << 20) },
    used_bytes: 1 << 39,
    used_entries: 1 << 19,
    reserved_bytes: 4096,
    reserved_entries: 1,
};

/// A message from the one end to the other, with its descriptors.
fn passed<Tx: Message, Rx: Message>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    (near, far): (&Channel<Tx, Rx>, &Channel<Rx, Tx>),
    name: &str,
    message: &Tx,
    descriptors: &[BorrowedFd<'_>],
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            near.send(message, descriptors).unwrap();
            far.recv().unwrap()
        });
    });
}

fn worker_and_filer(criterion: &mut Criterion) {
    let (worker, filer) = Channel::<WorkerToFiler, FilerToWorker>::pair().unwrap();
    let (down, up) = ((&worker, &filer), (&filer, &worker));
    let file = tempfile::tempfile().unwrap();
    let mut group = criterion.benchmark_group("worker and filer");

    let upload = OpenUpload {
        path: RelPath::new("photos/2026/10/a picture of the harbour.jpg").unwrap(),
        source: SourceFingerprint { size: 4096, mtime_ns: 1 << 60, ctime_ns: 1 << 60, inode: 7 }
            .into(),
        token: UploadToken([7; 16]),
        mode: 0o644,
        existing: Existing::Keep,
        note: NoteChange::Keep,
    };
    passed(&mut group, down, "OpenUpload", &WorkerToFiler::OpenUpload { op: OP, upload }, &[]);
    let opened = FilerToWorker::UploadOpened {
        op: OP,
        handle: HANDLE,
        resumable: false,
        resumed: false,
        started_over: false,
        limit: None,
    };
    passed(&mut group, up, "UploadOpened, with its descriptor", &opened, &[file.as_fd()]);
    let commit = WorkerToFiler::Commit { op: OP, handle: HANDLE, digest: Md5::of(b"") };
    passed(&mut group, down, "Commit", &commit, &[]);
    let committed = FilerToWorker::Committed { op: OP, replaced: false, usage: USAGE };
    passed(&mut group, up, "Committed", &committed, &[]);
    group.finish();
}

fn filer_and_daemon(criterion: &mut Criterion) {
    let (filer, daemon) = Channel::<FilerToDaemon, DaemonToFiler>::pair().unwrap();
    let (up, down) = ((&filer, &daemon), (&daemon, &filer));
    let mut group = criterion.benchmark_group("filer and daemon");

    let reserve = FilerToDaemon::Reserve { op: OP, growth: 4096, entries: 1, stages: Some(4096) };
    passed(&mut group, up, "Reserve", &reserve, &[]);
    passed(&mut group, down, "Reserved", &DaemonToFiler::Reserved { op: OP, name: NAME }, &[]);
    for changes in [1, CHANGES_PER_MESSAGE] {
        let item = IntentItem::Stage { name: NAME, inode: 1_234_567, size: 4096, replaces: None };
        let items = vec![item; changes];
        let intent = FilerToDaemon::Intent { op: OP, items, settle: None };
        passed(&mut group, up, &format!("Intent of {changes}"), &intent, &[]);
        let names = vec![NAME; changes];
        let granted = DaemonToFiler::Granted { op: OP, names, reporting: false };
        passed(&mut group, down, &format!("Granted for {changes}"), &granted, &[]);
        let item = SettleItem { name: NAME, outcome: Outcome::Placed { replaced: None } };
        let settle = FilerToDaemon::Settle { op: OP, items: vec![item; changes] };
        passed(&mut group, up, &format!("Settle of {changes}"), &settle, &[]);
    }
    passed(&mut group, down, "Settled", &DaemonToFiler::Settled { op: OP, usage: USAGE }, &[]);
    group.finish();
}

criterion_group!(benches, worker_and_filer, filer_and_daemon);
criterion_main!(benches);

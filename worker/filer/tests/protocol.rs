//! How a filer ends: with its peers, and at the first word that breaks the protocol.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;

use berth_common::digest::Md5;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{MAX_OPERATIONS, WORKER_BROKE_EXIT, WorkerToFiler};
use berth_common::ids::{Handle, OpId};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};
use harness::{Bench, DaemonEnd, Process, process, rel, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

#[test]
fn it_ends_well_when_its_worker_or_the_daemon_goes() {
    let mut bench = bench();
    bench.worker = None;
    assert_eq!(bench.exit_code(), Some(0));
    let mut bench = self::bench();
    bench.daemon = None;
    assert_eq!(bench.exit_code(), Some(0));
}

#[test]
fn each_heartbeat_is_answered_once() {
    let mut bench = bench();
    let daemon = bench.daemon.as_ref().unwrap();
    for _ in 0..3 {
        daemon.send(&DaemonToFiler::Ping, &[]).unwrap();
        assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Alive);
    }
    bench.worker = None;
    assert_eq!(bench.exit_code(), Some(0));
}

#[test]
fn a_spare_that_is_not_needed_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, filer) = DaemonEnd::pair().unwrap();
    let mut running = process(FILER)(filer, directory.path());
    assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Ready);
    drop(daemon);
    let status = running.downcast_mut::<Process>().unwrap().0.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[test]
fn a_first_message_that_gives_no_role_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let (daemon, filer) = DaemonEnd::pair().unwrap();
    let mut running = process(FILER)(filer, directory.path());
    daemon.recv().unwrap();
    daemon.send(&DaemonToFiler::Done { op: OpId(1) }, &[]).unwrap();
    let status = running.downcast_mut::<Process>().unwrap().0.wait().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// What a worker does that it may not do.
type Break = Box<dyn Fn(&mut Bench)>;

#[test]
fn a_worker_that_breaks_the_protocol_ends_both() {
    let breaks: Vec<(&str, Break)> = vec![
        (
            "has no open upload",
            Box::new(|bench| {
                bench.begin(|op| WorkerToFiler::Commit {
                    op,
                    handle: Handle(9),
                    digest: Md5::of(b""),
                });
            }),
        ),
        (
            "has no open upload",
            Box::new(|bench| {
                bench.begin(|op| WorkerToFiler::CloseUpload { op, handle: Handle(9), keep: true });
            }),
        ),
        (
            "has no open file",
            Box::new(|bench| {
                bench.tell(WorkerToFiler::CloseRead { handle: Handle(9) });
            }),
        ),
        (
            "has no open file",
            Box::new(|bench| {
                bench.begin(|op| WorkerToFiler::KeepMd5 {
                    op,
                    handle: Handle(9),
                    md5: Md5::of(b""),
                });
            }),
        ),
        (
            "that it was not sent",
            Box::new(|bench| {
                bench.tell(WorkerToFiler::DescriptorsTaken { messages: 1 });
            }),
        ),
        (
            "is in use",
            Box::new(|bench| {
                bench.watch = Some(Box::new(|_| false));
                for _ in 0..2 {
                    bench.tell(WorkerToFiler::Usage { op: OpId(5) });
                }
            }),
        ),
        (
            "is no listing",
            Box::new(|bench| {
                bench.watch = Some(Box::new(|_| false));
                bench.tell(WorkerToFiler::Usage { op: OpId(5) });
                bench.tell(WorkerToFiler::ListStop { op: OpId(5) });
            }),
        ),
        (
            "operations at once",
            Box::new(|bench| {
                bench.watch = Some(Box::new(|_| false));
                for _ in 0..=MAX_OPERATIONS {
                    bench.begin(|op| WorkerToFiler::Usage { op });
                }
            }),
        ),
        (
            "not a valid message",
            Box::new(|bench| {
                let worker = bench.worker.as_ref().unwrap();
                rustix::net::send(worker, &[0xc1], rustix::net::SendFlags::NOSIGNAL).unwrap();
            }),
        ),
        (
            "truncated",
            Box::new(|bench| {
                // A descriptor, where none may come.
                let worker = bench.worker.as_ref().unwrap();
                let file = File::open("/dev/null").unwrap();
                let mut packet = Vec::new();
                let message = WorkerToFiler::DescriptorsTaken { messages: 0 };
                berth_common::codec::encode_into(&message, &mut packet).unwrap();
                let mut space =
                    [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
                let rights = [file.as_fd()];
                control.push(rustix::net::SendAncillaryMessage::ScmRights(&rights));
                let parts = [std::io::IoSlice::new(&packet)];
                let flags = rustix::net::SendFlags::empty();
                rustix::net::sendmsg(worker, &parts, &mut control, flags).unwrap();
            }),
        ),
    ];
    for (reason, break_it) in breaks {
        let mut bench = bench();
        break_it(&mut bench);
        assert_eq!(bench.ends(), Some(WORKER_BROKE_EXIT.into()), "{reason}");
        assert!(bench.log().contains(reason), "{reason}: {}", bench.log());
    }
}

#[test]
fn a_daemon_that_answers_what_was_not_asked_ends_it() {
    for answer in [
        DaemonToFiler::Done { op: OpId(99) },
        DaemonToFiler::Sweep { op: OpId(0) },
        DaemonToFiler::Granted { op: OpId(0), names: vec![], reporting: false },
    ] {
        let mut bench = bench();
        bench.watch = Some(Box::new(|_| false));
        bench.begin(|op| WorkerToFiler::Usage { op });
        bench.until("the question", |bench| bench.halted);
        bench.daemon.as_ref().unwrap().send(&answer, &[]).unwrap();
        assert_eq!(bench.ends(), Some(1), "{answer:?}");
    }
}

#[test]
fn every_refusal_of_the_daemons_reaches_the_worker_as_it_is() {
    let mut bench = bench();
    bench.ledger.limit_bytes = Some(0);
    let refused = bench.open(upload("a", source(2 * 1024 * 1024, 0), true)).unwrap_err();
    match refused {
        ErrorCode::QuotaExceeded { limit: 0, requested, .. } => {
            assert_eq!(requested, 2 * 1024 * 1024)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_reads_nothing_does_not_keep_the_ticket_from_others() {
    // Its channel fills up with listings while a rename waits for the ticket; the rename's release comes.
    let mut bench = bench();
    for n in 0..600 {
        std::fs::write(bench.home.join(format!("{n:0>200}")), b"").unwrap();
    }
    bench.watch = Some(Box::new(|message| !matches!(message, FilerToDaemon::Ticket { .. })));
    let (from, to) = (rel(&format!("{:0>200}", 1)), rel("renamed"));
    bench.begin(|op| WorkerToFiler::Rename { op, from, to, overwrite: false });
    bench.until("the question for the ticket", |bench| bench.halted);
    for _ in 0..20 {
        let op = bench.begin(|op| WorkerToFiler::List { op, path: rel(""), notes: false });
        for _ in 0..3 {
            bench.tell(WorkerToFiler::ListMore { op });
        }
    }
    let Some(FilerToDaemon::Ticket { op }) = bench.ledger.log.last().cloned() else { panic!() };
    let daemon = bench.daemon.as_ref().unwrap();
    daemon.send(&DaemonToFiler::Granted { op, names: vec![], reporting: false }, &[]).unwrap();
    assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Released { op });
}

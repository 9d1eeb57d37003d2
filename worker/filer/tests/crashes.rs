//! Kills the real filer at each step of a commit: what it leaves is what recovery reads from it.
//!
//! K0 before the intent, K1 between intent and act, K2 between act and settle, K3 after the settle. A filer
//! in the role *recover* is asked what stands at the row's name.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::io::Write as _;

use berth_common::entry::Existing;
use berth_common::filer_protocol::OpenUpload;
use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding, IntentItem};
use harness::{Bench, process, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

/// More than a small upload may have.
const LARGE: usize = 1024 * 1024 + 5;

/// Where the filer is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// K0: it asks for the intent and gets no answer.
    BeforeIntent,
    /// K1: the intent is durable, the ticket does not arrive.
    BeforeAct,
    /// K2: it has released the ticket.
    AfterAct,
    /// K2: it asks for the settle and gets no answer.
    BeforeSettle,
}

const ALL: [Kill; 4] = [Kill::BeforeIntent, Kill::BeforeAct, Kill::AfterAct, Kill::BeforeSettle];

/// Runs `operation` and kills the filer at `kill`; then what recovery finds at the last intent's name.
fn crash(bench: &mut Bench, kill: Kill, operation: impl FnOnce(&mut Bench)) -> Option<Finding> {
    bench.settle_down();
    bench.ledger.log.clear();
    bench.watch = Some(Box::new(move |message| match kill {
        Kill::BeforeIntent | Kill::BeforeAct => !matches!(message, FilerToDaemon::Intent { .. }),
        Kill::AfterAct => !matches!(message, FilerToDaemon::Released { .. }),
        Kill::BeforeSettle => !matches!(message, FilerToDaemon::Settle { .. }),
    }));
    operation(bench);
    bench.until("the point of the crash", |bench| bench.halted);
    if kill == Kill::BeforeAct {
        // The transaction was made, only its answer did not arrive.
        let intent = bench.ledger.log.pop().unwrap();
        bench.ledger.hear(intent);
    }
    bench.kill();
    bench.watch = None;
    let committing = bench.ledger.rows.iter().find(|(_, row)| row.intent.is_some());
    let name = committing.map(|(name, _)| *name)?;
    Some(examine(bench, name))
}

fn recovering(bench: &mut Bench, order: impl FnOnce(OpId) -> DaemonToFiler) -> FilerToDaemon {
    bench.recover_again(process(FILER));
    let daemon = bench.daemon.take().unwrap();
    daemon.send(&order(OpId(7)), &[]).unwrap();
    let answer = daemon.recv().unwrap().message;
    drop(daemon);
    assert_eq!(bench.exit_code(), Some(0));
    answer
}

fn examine(bench: &mut Bench, name: StagingName) -> Finding {
    match recovering(bench, |op| DaemonToFiler::Examine { op, names: vec![name] }) {
        FilerToDaemon::Findings { findings, .. } => findings[0],
        other => panic!("{other:?}"),
    }
}

/// The inode that the intent states.
fn stated_inode(bench: &Bench) -> u64 {
    let stated = bench.ledger.log.iter().find_map(|message| match message {
        FilerToDaemon::Intent { items, .. } => match &items[0] {
            IntentItem::Stage { inode, .. } => Some(*inode),
            other => panic!("{other:?}"),
        },
        _ => None,
    });
    let row = bench.ledger.rows.values().find_map(|row| match row.intent.as_ref()? {
        IntentItem::Stage { inode, .. } => Some(*inode),
        _ => None,
    });
    stated.or(row).unwrap()
}

fn begin_put(bytes: Vec<u8>) -> impl FnOnce(&mut Bench) {
    move |bench| {
        let mut opened = bench.open(upload("a", source(bytes.len(), 0), true)).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        bench.begin_commit(opened, &bytes);
    }
}

#[test]
fn a_put_that_was_cut_off_is_read_off_staging() {
    for size in [5, LARGE] {
        for kill in ALL {
            let mut bench = Bench::serving(process(FILER));
            let bytes = vec![b'x'; size];
            let found = crash(&mut bench, kill, begin_put(bytes.clone()));
            let happened = match (kill, found) {
                (Kill::BeforeIntent, None) => false,
                (Kill::BeforeAct, Some(Finding::File { inode, .. })) => {
                    assert_eq!(inode, stated_inode(&bench));
                    false
                }
                (Kill::AfterAct | Kill::BeforeSettle, Some(Finding::Missing)) => true,
                other => panic!("{other:?}"),
            };
            assert_eq!(bench.home.join("a").exists(), happened, "{kill:?}");
            if happened {
                assert_eq!(bench.read("a"), bytes);
            }
        }
    }
}

#[test]
fn an_overwrite_that_was_cut_off_is_read_off_staging() {
    for size in [5, LARGE] {
        for kill in ALL {
            let mut bench = Bench::serving(process(FILER));
            bench.put("a", b"old file", true).unwrap();
            let bytes = vec![b'x'; size];
            let found = crash(&mut bench, kill, begin_put(bytes.clone()));
            let happened = match (kill, found) {
                (Kill::BeforeIntent, None) => false,
                (Kill::BeforeAct, Some(Finding::File { inode, .. })) => {
                    assert_eq!(inode, stated_inode(&bench));
                    false
                }
                (
                    Kill::AfterAct | Kill::BeforeSettle,
                    Some(Finding::File { inode, size, links }),
                ) => {
                    assert_ne!(inode, stated_inode(&bench));
                    assert_eq!((size, links), (8, 1), "what was displaced");
                    true
                }
                other => panic!("{other:?}"),
            };
            let expected = if happened { &bytes[..] } else { b"old file" };
            assert_eq!(bench.read("a"), expected, "{kill:?}");
        }
    }
}

#[test]
fn an_append_that_was_cut_off_is_read_off_staging_and_never_resumed_from_a_joined_file() {
    for size in [5, LARGE] {
        for kill in ALL {
            let mut bench = Bench::serving(process(FILER));
            bench.put("a", b"old file", true).unwrap();
            let bytes = vec![b'x'; size];
            let request = || {
                let upload = upload("a", source(size, 0), true);
                OpenUpload { existing: Existing::Append, ..upload }
            };
            let found = crash(&mut bench, kill, |bench| {
                let mut opened = bench.open(request()).unwrap();
                opened.files[0].write_all(&bytes).unwrap();
                bench.begin_commit(opened, &bytes);
            });
            let happened = match (kill, found) {
                (Kill::BeforeIntent, None) => false,
                (Kill::BeforeAct, Some(Finding::File { inode, size: staged, .. })) => {
                    assert_eq!((inode, staged), (stated_inode(&bench), size as u64 + 8));
                    false
                }
                (
                    Kill::AfterAct | Kill::BeforeSettle,
                    Some(Finding::File { inode, size, links }),
                ) => {
                    assert_ne!(inode, stated_inode(&bench));
                    assert_eq!((size, links), (8, 1), "what was displaced");
                    true
                }
                other => panic!("{other:?}"),
            };
            let joined = [b"old file", &bytes[..]].concat();
            let expected = if happened { &joined[..] } else { b"old file" };
            assert_eq!(bench.read("a"), expected, "{kill:?}");
            if size == LARGE && !happened {
                // Replay has opened the row again; the joined file stands at its name.
                for row in bench.ledger.rows.values_mut() {
                    row.intent = None;
                }
                bench.serve_again(process(FILER));
                let opened = bench.open(request()).unwrap();
                assert!(!opened.resumed, "{kill:?}");
                assert_eq!(opened.files[0].metadata().unwrap().len(), 0);
            }
        }
    }
}

#[test]
fn a_removal_that_was_cut_off_is_read_off_staging() {
    for kill in ALL {
        let mut bench = Bench::serving(process(FILER));
        bench.make_directory("d/e", true).unwrap();
        bench.put("d/e/f", b"12345", true).unwrap();
        let found = crash(&mut bench, kill, |bench| {
            let path = harness::rel("d");
            bench.begin(|op| berth_common::filer_protocol::WorkerToFiler::Remove {
                op,
                path,
                recursive: true,
            });
        });
        let happened = match (kill, found) {
            (Kill::BeforeIntent, None) | (Kill::BeforeAct, Some(Finding::Missing)) => false,
            (
                Kill::AfterAct | Kill::BeforeSettle,
                Some(Finding::Directory { bytes, entries, .. }),
            ) => {
                assert_eq!((bytes, entries), (5, 3));
                true
            }
            other => panic!("{other:?}"),
        };
        assert_ne!(bench.home.join("d/e/f").exists(), happened, "{kill:?}");
    }
}

#[test]
fn a_rename_over_that_was_cut_off_is_read_off_staging() {
    for kill in ALL {
        let mut bench = Bench::serving(process(FILER));
        bench.put("a", b"1", true).unwrap();
        bench.put("b", b"12345", true).unwrap();
        let found = crash(&mut bench, kill, |bench| {
            let (from, to) = (harness::rel("a"), harness::rel("b"));
            bench.begin(|op| berth_common::filer_protocol::WorkerToFiler::Rename {
                op,
                from,
                to,
                overwrite: true,
            });
        });
        let happened = match (kill, found) {
            (Kill::BeforeIntent, None) | (Kill::BeforeAct, Some(Finding::Missing)) => false,
            (Kill::AfterAct | Kill::BeforeSettle, Some(Finding::File { size, links, .. })) => {
                assert_eq!((size, links), (5, 1));
                true
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(bench.read("b"), if happened { &b"1"[..] } else { b"12345" }, "{kill:?}");
        assert_ne!(bench.home.join("a").exists(), happened);
    }
}

#[test]
fn what_was_settled_and_not_cleared_is_swept() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"old file", true).unwrap();
    bench.settle_down();
    // K3: killed when the acknowledgement is here, wherever the clearing is.
    let mut opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    let bytes = vec![b'x'; LARGE];
    opened.files[0].write_all(&bytes).unwrap();
    assert_eq!(bench.commit(opened, &bytes), Ok(true));
    bench.kill();
    assert_eq!(bench.read("a"), bytes);
    let swept = recovering(&mut bench, |op| DaemonToFiler::Sweep { op });
    assert!(matches!(swept, FilerToDaemon::Done { .. }));
    assert_eq!(std::fs::read_dir(&bench.staging).unwrap().count(), 0);
    bench.check();
}

#[test]
fn an_upload_that_was_cut_off_is_resumed_by_the_next_session() {
    let mut bench = Bench::serving(process(FILER));
    let mut opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    opened.files[0].write_all(b"some").unwrap();
    opened.files[1].write_all(b"journal").unwrap();
    bench.kill();
    bench.serve_again(process(FILER));
    let opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    assert!(opened.resumed);
    assert_eq!(opened.files[0].metadata().unwrap().len(), 4);
    assert_eq!(opened.files[1].metadata().unwrap().len(), 7);
}

//! Appends against the real filer: the joined file, what is reserved for it, and who wins when two come at once.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::fs;
use std::io::Write as _;

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ledger_protocol::FilerToDaemon;
use harness::{Bench, Upload, process, rel, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

/// More than a small upload may have.
const LARGE: usize = 1024 * 1024 + 5;

fn append(path: &str, size: usize) -> OpenUpload {
    OpenUpload { existing: Existing::Append, ..upload(path, source(size, 0), true) }
}

fn open(bench: &mut Bench, bytes: &[u8]) -> Upload {
    let mut opened = bench.open(append("a", bytes.len())).unwrap();
    opened.files[0].write_all(bytes).unwrap();
    opened
}

#[test]
fn an_append_adds_to_the_end_and_reserves_what_it_adds() {
    for size in [0, 5, LARGE] {
        let mut bench = Bench::serving(process(FILER));
        bench.put("a", b"old ", true).unwrap();
        bench.settle_down();
        bench.ledger.limit_bytes = Some(4 + size as u64);
        let bytes = vec![b'n'; size];
        let opened = open(&mut bench, &bytes);
        assert_eq!(bench.ledger.usage().reserved_bytes, size as u64);
        assert_eq!(bench.ledger.usage().reserved_entries, 0);
        assert_eq!(bench.commit(opened, &bytes), Ok(true));
        assert_eq!(bench.read("a"), [b"old ", &bytes[..]].concat());
        let path = rel("a");
        match bench.ask(|op| WorkerToFiler::Stat { op, path }) {
            FilerToWorker::Entry { entry, .. } => {
                assert_eq!((entry.size, entry.mode), (4 + size as u64, 0o640));
                assert_eq!(entry.digest, None, "nobody has hashed the whole");
                assert_ne!(entry.mtime_ns, source(0, 0).mtime_ns);
            }
            other => panic!("{other:?}"),
        }
        bench.check();
        assert!(bench.ledger.rows.is_empty());
        assert_eq!(fs::read_dir(&bench.staging).unwrap().count(), 0);
    }
}

#[test]
fn an_append_needs_room_on_the_disk_for_what_it_copies() {
    for size in [3, LARGE] {
        let mut bench = Bench::serving(process(FILER));
        bench.put("a", b"old ", true).unwrap();
        bench.settle_down();
        let bytes = vec![b'n'; size];
        let opened = open(&mut bench, &bytes);
        let staged = fs::read_dir(&bench.staging).unwrap().count();
        // The upload stands in staging by now, and a file system that shares blocks copies it alone.
        let copied = if shares_blocks(&bench) { size } else { size + 4 } as u64;
        bench.ledger.room = copied - 1;
        assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::DiskFull), "{size}");
        assert_eq!(bench.read("a"), b"old ");
        bench.settle_down();
        let kept = if size == LARGE { staged } else { 0 };
        assert_eq!(fs::read_dir(&bench.staging).unwrap().count(), kept);

        bench.ledger.room = u64::MAX;
        let mut opened = bench.open(append("a", size)).unwrap();
        assert_eq!(opened.resumed, size == LARGE, "what was received is not lost");
        opened.files[0].write_all(&bytes).unwrap();
        bench.ledger.room = copied;
        assert_eq!(bench.commit(opened, &bytes), Ok(true));
        assert_eq!(bench.read("a"), [b"old ", &bytes[..]].concat());
        bench.check();
    }
}

/// Whether a copy of the file in the home takes no room.
fn shares_blocks(bench: &Bench) -> bool {
    let from = fs::File::open(bench.home.join("a")).unwrap();
    let to = tempfile::tempfile_in(&bench.home).unwrap();
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[test]
fn an_append_to_nothing_is_a_put_and_one_to_no_file_is_refused() {
    let mut bench = Bench::serving(process(FILER));
    let opened = open(&mut bench, b"first");
    assert_eq!(bench.commit(opened, b"first"), Ok(false));
    assert_eq!(bench.read("a"), b"first");
    bench.make_directory("d", false).unwrap();
    assert_eq!(bench.open(append("d", 1)).unwrap_err(), ErrorCode::IsADirectory);
    assert_eq!(bench.open(append("", 1)).unwrap_err(), ErrorCode::IsADirectory);
    fs::hard_link(bench.home.join("a"), bench.home.join("b")).unwrap();
    assert_eq!(bench.open(append("b", 1)).unwrap_err(), ErrorCode::NotServed);
    fs::remove_file(bench.home.join("b")).unwrap();
    bench.ledger.limit_bytes = Some(5);
    let refused = bench.open(append("a", 1)).unwrap_err();
    assert!(matches!(refused, ErrorCode::QuotaExceeded { requested: 1, .. }), "{refused:?}");
    assert_eq!(bench.read("a"), b"first");
    bench.check();
}

#[test]
fn an_append_whose_file_was_changed_before_the_ticket_is_joined_anew() {
    for size in [3, LARGE] {
        for gone in [false, true] {
            let mut bench = Bench::serving(process(FILER));
            bench.put("a", b"old ", true).unwrap();
            bench.settle_down();
            let bytes = vec![b'n'; size];
            let opened = open(&mut bench, &bytes);
            // After the copy, at the first intent: another session's change, which is settled already.
            let home = bench.home.clone();
            let mut first = true;
            bench.watch = Some(Box::new(move |message| {
                if matches!(message, FilerToDaemon::Intent { .. }) && std::mem::take(&mut first) {
                    fs::remove_file(home.join("a")).unwrap();
                    if !gone {
                        fs::write(home.join("a"), b"other than it was ").unwrap();
                    }
                }
                true
            }));
            let committed = bench.commit(opened, &bytes);
            let before: &[u8] = if gone { b"" } else { b"other than it was " };
            assert_eq!(committed, Ok(!gone), "{size} {gone}");
            assert_eq!(bench.read("a"), [before, &bytes[..]].concat());
            bench.settle_down();
            assert!(bench.ledger.rows.is_empty());
            assert_eq!(fs::read_dir(&bench.staging).unwrap().count(), 0);
        }
    }
}

#[test]
fn two_appends_at_once_both_land() {
    for size in [4, LARGE] {
        let mut bench = Bench::serving(process(FILER));
        bench.put("a", b"old ", true).unwrap();
        let first = vec![b'1'; size];
        let second = vec![b'2'; size + 1];
        let [one, two] = [&first, &second].map(|bytes| {
            let request = append("a", bytes.len());
            let token = berth_common::ids::UploadToken([bytes[0]; 16]);
            let mut opened = bench.open(OpenUpload { token, ..request }).unwrap();
            opened.files[0].write_all(bytes).unwrap();
            opened
        });
        let one = bench.begin_commit(one, &first);
        let two = bench.begin_commit(two, &second);
        assert_eq!((bench.committed(one), bench.committed(two)), (Ok(true), Ok(true)));
        let read = bench.read("a");
        let orders =
            [[&b"old "[..], &first, &second].concat(), [&b"old "[..], &second, &first].concat()];
        assert!(orders.contains(&read));
        bench.check();
    }
}

#[test]
fn an_upload_whose_journal_is_gone_is_begun_anew() {
    // What a crash leaves after the journal was removed: before the exchange the bytes, after it another file.
    for joined in [false, true] {
        let mut bench = Bench::serving(process(FILER));
        let bytes = vec![b'n'; LARGE];
        let opened = open(&mut bench, &bytes);
        drop(opened);
        bench.kill();
        let name = *bench.ledger.rows.keys().next().unwrap();
        fs::remove_file(bench.staging.join(name.journal_name())).unwrap();
        if joined {
            fs::write(bench.staging.join(name.file_name()), b"a joined file").unwrap();
        }
        bench.serve_again(process(FILER));
        let opened = bench.open(append("a", LARGE)).unwrap();
        assert!(!opened.resumed);
        assert!(opened.files.iter().all(|file| file.metadata().unwrap().len() == 0));
    }
}

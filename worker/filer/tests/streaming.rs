//! Uploads of unknown size against the real filer: what is leased, how far may be written, and what is left when it
//! is too much.

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

use berth_common::entry::{Existing, PutSource};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ledger_protocol::FilerToDaemon;
use berth_common::limits::LEASE_BYTES;
use harness::{Bench, Upload, process, rel, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

fn stream(path: &str, existing: Existing) -> OpenUpload {
    OpenUpload { source: PutSource::Stream, existing, ..upload(path, source(0, 0), true) }
}

fn open(bench: &mut Bench, existing: Existing) -> Upload {
    bench.open(stream("a", existing)).unwrap()
}

fn refused(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::QuotaExceeded { .. })
}

fn staged(bench: &Bench) -> usize {
    fs::read_dir(&bench.staging).unwrap().count()
}

#[test]
fn a_stream_has_a_lease_and_no_journal_and_gives_back_what_it_does_not_need() {
    for size in [0, 1, 1024 * 1024 + 5] {
        let mut bench = Bench::serving(process(FILER));
        let mut opened = open(&mut bench, Existing::Replace);
        assert_eq!((opened.files.len(), opened.limit), (1, Some(LEASE_BYTES)));
        assert_eq!(bench.ledger.usage().reserved_bytes, LEASE_BYTES);
        assert_eq!(bench.ledger.usage().reserved_entries, 1);
        let bytes = vec![b'n'; size];
        opened.files[0].write_all(&bytes).unwrap();
        let begun = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        assert_eq!(bench.commit(opened, &bytes), Ok(false));
        assert_eq!(bench.read("a"), bytes);
        let modified = bench.home.join("a").metadata().unwrap().modified().unwrap();
        assert!(modified > begun, "it has the time of its arrival");
        bench.check();
        assert_eq!((bench.ledger.rows.len(), staged(&bench)), (0, 0));
    }
}

#[test]
fn room_is_what_is_replaced_and_what_is_left_and_grows_by_leases() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"12345", true).unwrap();
    bench.settle_down();
    let limit = 5 + 2 * LEASE_BYTES + 3;
    bench.ledger.limit_bytes = Some(limit);
    let opened = open(&mut bench, Existing::Replace);
    let first = 5 + LEASE_BYTES;
    assert_eq!(opened.limit, Some(first));
    assert_eq!(bench.ledger.usage().reserved_entries, 0);
    assert_eq!(bench.extend(opened.handle, first), Ok(first + LEASE_BYTES), "asked ahead");
    assert_eq!(bench.extend(opened.handle, 0), Ok(limit));
    assert_eq!(bench.extend(opened.handle, limit), Ok(limit), "nothing is left");
    assert!(refused(bench.extend(opened.handle, limit + 1).unwrap_err()));
    assert!(refused(bench.extend(opened.handle, 1 << 60).unwrap_err()));
    drop(opened.files);
    bench.close(opened.handle, true);
    assert_eq!(bench.read("a"), b"12345");
    bench.check();
    assert_eq!((bench.ledger.rows.len(), staged(&bench)), (0, 0), "nothing is kept of a stream");
}

/// A bench with a file of so many bytes at `a`, of which the disk has none.
fn over_a_file_of(size: u64) -> Bench {
    let mut bench = Bench::serving(process(FILER));
    fs::File::create(bench.home.join("a")).unwrap().set_len(size).unwrap();
    bench.charge_home();
    bench
}

#[test]
fn a_stream_goes_over_a_large_file_by_steps_for_which_the_disk_has_room() {
    let mut bench = over_a_file_of(3 * LEASE_BYTES + 5);
    bench.ledger.limit_bytes = Some(3 * LEASE_BYTES + 5 + 7);
    let opened = open(&mut bench, Existing::Replace);
    assert_eq!(opened.limit, Some(LEASE_BYTES + 7), "what is reserved, and one step");
    bench.ledger.log.clear();
    let limit = bench.extend(opened.handle, LEASE_BYTES + 7);
    assert_eq!(limit, Ok(2 * LEASE_BYTES + 7), "asked ahead");
    bench.ledger.room = 10;
    assert_eq!(bench.extend(opened.handle, 2 * LEASE_BYTES), Ok(2 * LEASE_BYTES + 17));
    let more = bench.extend(opened.handle, 2 * LEASE_BYTES + 17 + 11);
    assert_eq!(more.unwrap_err(), ErrorCode::DiskFull);
    bench.ledger.room = 0;
    let ahead = bench.extend(opened.handle, 2 * LEASE_BYTES + 17);
    assert_eq!(ahead, Ok(2 * LEASE_BYTES + 17), "what it has is never refused");
    assert_eq!(bench.ledger.said(), ["Room"; 4]);

    bench.ledger.room = u64::MAX;
    let all = 3 * LEASE_BYTES + 5 + 7;
    assert!(refused(bench.extend(opened.handle, all + 1).unwrap_err()), "the quota's end");
    bench.ledger.limit_bytes = Some(all + 1);
    assert_eq!(bench.extend(opened.handle, all + 1), Ok(all + 1), "over both ends in one step");
    bench.ledger.limit_bytes = None;
    assert_eq!(bench.extend(opened.handle, 0), Ok(all + 1 + LEASE_BYTES));
    drop(opened.files);
    bench.close(opened.handle, true);
    bench.check();
}

#[test]
fn a_stream_that_is_written_beyond_what_the_disk_had_room_for_is_not_placed() {
    let mut bench = over_a_file_of(LEASE_BYTES);
    bench.ledger.room = 3;
    let mut opened = open(&mut bench, Existing::Replace);
    assert_eq!(opened.limit, Some(3));
    opened.files[0].write_all(b"1234").unwrap();
    assert_eq!(bench.commit(opened, b"1234"), Err(ErrorCode::Protocol));
    bench.check();
}

#[test]
fn a_full_home_still_takes_a_stream_over_a_file_and_an_empty_one() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"12345", true).unwrap();
    bench.settle_down();
    bench.ledger.limit_bytes = Some(5);
    let mut opened = open(&mut bench, Existing::Replace);
    assert_eq!(opened.limit, Some(5));
    opened.files[0].write_all(b"54321").unwrap();
    assert_eq!(bench.commit(opened, b"54321"), Ok(true));
    assert_eq!(bench.read("a"), b"54321");
    let opened = bench.open(stream("b", Existing::Keep)).unwrap();
    assert_eq!(opened.limit, Some(0));
    assert_eq!(bench.commit(opened, b""), Ok(false));
    let opened = open(&mut bench, Existing::Append);
    assert_eq!(opened.limit, Some(0), "the old bytes stay");
    assert_eq!(bench.commit(opened, b""), Ok(true));
    assert_eq!(bench.read("a"), b"54321");
    bench.check();
}

#[test]
fn a_stream_is_appended() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"old ", true).unwrap();
    bench.settle_down();
    bench.ledger.limit_bytes = Some(7);
    let mut opened = open(&mut bench, Existing::Append);
    assert_eq!(opened.limit, Some(3));
    opened.files[0].write_all(b"new").unwrap();
    assert_eq!(bench.commit(opened, b"new"), Ok(true));
    assert_eq!(bench.read("a"), b"old new");
    bench.check();
    assert_eq!((bench.ledger.rows.len(), staged(&bench)), (0, 0));
}

#[test]
fn a_worker_that_writes_beyond_its_room_gets_nothing_into_the_home() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"12345", true).unwrap();
    bench.settle_down();
    bench.ledger.limit_bytes = Some(8);
    let mut opened = open(&mut bench, Existing::Replace);
    assert_eq!(opened.limit, Some(8));
    opened.files[0].write_all(b"123456789").unwrap();
    assert_eq!(bench.commit(opened, b"123456789"), Err(ErrorCode::Protocol));
    assert_eq!(bench.read("a"), b"12345");
    bench.check();
    assert_eq!((bench.ledger.rows.len(), staged(&bench)), (0, 0));
}

#[test]
fn an_old_file_that_is_gone_at_the_end_has_to_be_admitted_again() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"12345", true).unwrap();
    bench.settle_down();
    bench.ledger.limit_bytes = Some(6);
    let mut opened = open(&mut bench, Existing::Replace);
    opened.files[0].write_all(b"123456").unwrap();
    bench.remove("a", false).unwrap();
    bench.put("b", b"other", true).unwrap();
    assert!(refused(bench.commit(opened, b"123456").unwrap_err()));
    bench.check();
    assert_eq!((bench.ledger.rows.len(), staged(&bench)), (0, 0));
}

#[test]
fn no_stream_is_opened_where_no_file_may_stand() {
    let mut bench = Bench::serving(process(FILER));
    bench.make_directory("d", false).unwrap();
    bench.put("a", b"x", true).unwrap();
    bench.settle_down();
    let table = [
        ("", Existing::Replace, ErrorCode::IsADirectory),
        ("d", Existing::Append, ErrorCode::IsADirectory),
        ("a", Existing::Keep, ErrorCode::AlreadyExists),
        ("nowhere/x", Existing::Replace, ErrorCode::NotFound),
    ];
    for (path, existing, error) in table {
        let request = OpenUpload { path: rel(path), ..stream("x", existing) };
        assert_eq!(bench.open(request).unwrap_err(), error, "{path}");
    }
    assert!(bench.ledger.rows.is_empty());
}

#[test]
fn who_extends_what_is_no_stream_or_ends_one_while_asking_is_ended() {
    let commands: [fn(&mut Bench, Upload); 4] = [
        |bench, opened| {
            let other = bench.open(upload("b", source(3, 0), true)).unwrap();
            drop(opened);
            bench.begin(|op| WorkerToFiler::Extend { op, handle: other.handle, least: 1 });
        },
        |bench, opened| {
            for _ in 0..2 {
                bench.begin(|op| WorkerToFiler::Extend { op, handle: opened.handle, least: 1 });
            }
        },
        |bench, opened| {
            bench.begin(|op| WorkerToFiler::Extend { op, handle: opened.handle, least: 1 });
            bench.begin_commit(opened, b"");
        },
        |bench, opened| {
            let handle = opened.handle;
            bench.begin(|op| WorkerToFiler::Extend { op, handle, least: 1 });
            bench.begin(|op| WorkerToFiler::CloseUpload { op, handle, keep: false });
        },
    ];
    for command in commands {
        let mut bench = Bench::serving(process(FILER));
        // The question is never answered, so that whatever comes next comes while it is open.
        bench.watch = Some(Box::new(|said| !matches!(said, FilerToDaemon::Extend { .. })));
        let opened = open(&mut bench, Existing::Replace);
        command(&mut bench, opened);
        assert_ne!(bench.ends(), Some(0), "{}", bench.log());
    }
}

#[test]
fn a_stream_is_not_listed_among_the_uploads() {
    let mut bench = Bench::serving(process(FILER));
    let opened = open(&mut bench, Existing::Replace);
    match bench.ask(|op| WorkerToFiler::Uploads { op }) {
        FilerToWorker::Uploads { uploads, last: true, .. } => assert_eq!(uploads, []),
        other => panic!("{other:?}"),
    }
    drop(opened);
}

//! Puts against the real filer: what reaches the home, what the ledger is told, and what is left.

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
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use berth_common::entry::{EntryKind, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, WORKER_BROKE_EXIT, WorkerToFiler};
use berth_common::ids::StagingName;
use berth_common::ledger_protocol::FilerToDaemon;
use harness::{Bench, process, rel, small, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

/// More than a small upload may have.
const LARGE: usize = 1024 * 1024 + 5;

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

#[test]
fn a_put_stands_whole_in_the_home_with_its_time_bits_and_digest() {
    let mut bench = bench();
    assert_eq!(bench.put("a", b"hello", true), Ok(false));
    assert_eq!(bench.read("a"), b"hello");
    let metadata = fs::metadata(bench.home.join("a")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_600_000_000, 123_456_789));
    let path = rel("a");
    match bench.ask(|op| WorkerToFiler::Stat { op, path }) {
        FilerToWorker::Entry { entry, .. } => {
            assert_eq!((entry.kind, entry.size, entry.mode), (EntryKind::File, 5, 0o640));
            assert_eq!(entry.mtime_ns, 1_600_000_000_123_456_789);
            assert_eq!(entry.digest.unwrap().to_string(), "5d41402abc4b2a76b9719d911017c592");
        }
        other => panic!("{other:?}"),
    }
    bench.check();
    let expected = ["Reserve", "Intent", "Released", "Settle"];
    assert_eq!(bench.ledger.said(), expected);
}

#[test]
fn an_empty_file_and_a_path_below_directories_can_be_put() {
    let mut bench = bench();
    bench.make_directory("d/e", true).unwrap();
    assert_eq!(bench.put("d/e/f", b"", true), Ok(false));
    assert_eq!(bench.read("d/e/f"), b"");
    assert_eq!(bench.put("d/e/spaces '\"\n*[]?", b"x", true), Ok(false));
    assert_eq!(bench.read("d/e/spaces '\"\n*[]?"), b"x");
    bench.check();
}

#[test]
fn an_overwrite_swaps_the_file_and_gives_back_what_it_displaced() {
    let mut bench = bench();
    bench.put("a", b"1234567", true).unwrap();
    for (bytes, growth) in [(&b"12"[..], 0), (b"123456789", 7)] {
        assert_eq!(bench.put("a", bytes, true), Ok(true));
        assert_eq!(bench.read("a"), bytes);
        let reserved = bench.ledger.log.iter().rev().find_map(|message| match message {
            FilerToDaemon::Reserve { growth, entries, .. } => Some((*growth, *entries)),
            _ => None,
        });
        assert_eq!(reserved, Some((growth, 0)), "only the growth is reserved");
        bench.check();
    }
}

#[test]
fn an_overwrite_needs_room_on_the_disk_for_all_that_it_stages() {
    let mut bench = bench();
    for size in [7, LARGE] {
        let bytes = vec![b'n'; size];
        bench.ledger.room = u64::MAX;
        bench.put("a", &bytes, true).unwrap();
        for (room, expected) in [(size - 1, Err(ErrorCode::DiskFull)), (size, Ok(true))] {
            bench.ledger.room = room as u64;
            assert_eq!(bench.put("a", &bytes, true), expected, "{size}");
            bench.check();
        }
    }
}

#[test]
fn a_resume_needs_room_on_the_disk_for_what_is_missing() {
    let mut bench = bench();
    let bytes = vec![b'n'; LARGE];
    let request = || upload("a", source(LARGE, 0), true);
    let mut opened = bench.open(request()).unwrap();
    opened.files[0].write_all(&bytes[5..]).unwrap();
    drop(opened.files);
    bench.close(opened.handle, true);
    bench.ledger.room = 4;
    assert_eq!(bench.open(request()).unwrap_err(), ErrorCode::DiskFull);
    bench.settle_down();
    assert_eq!(fs::read_dir(&bench.staging).unwrap().count(), 2, "it waits until there is room");
    bench.ledger.room = 5;
    let mut opened = bench.open(request()).unwrap();
    assert!(opened.resumed);
    opened.files[0].write_all(&bytes).unwrap();
    drop(opened.files);
    bench.close(opened.handle, true);
    bench.ledger.room = 0;
    let opened = bench.open(request()).unwrap();
    assert_eq!(bench.commit(opened, &bytes), Ok(false), "nothing is missing");
    bench.check();
}

#[test]
fn an_upload_that_lost_its_files_needs_room_for_all_of_it() {
    let mut bench = bench();
    let request = || upload("a", source(LARGE, 0), true);
    let opened = bench.open(request()).unwrap();
    drop(opened.files);
    bench.close(opened.handle, true);
    for entry in fs::read_dir(&bench.staging).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    bench.ledger.room = LARGE as u64 - 1;
    assert_eq!(bench.open(request()).unwrap_err(), ErrorCode::DiskFull);
    bench.ledger.room = LARGE as u64;
    assert!(!bench.open(request()).unwrap().resumed);
}

#[test]
fn a_put_that_may_not_overwrite_is_refused_before_data_and_at_the_commit() {
    let mut bench = bench();
    bench.put("a", b"old", true).unwrap();
    assert_eq!(bench.put("a", b"new", false), Err(ErrorCode::AlreadyExists));
    // Free when it is opened, taken when it is committed.
    for size in [4, LARGE] {
        let mut opened = bench.open(upload("b", source(size, 0), false)).unwrap();
        let bytes = vec![b'n'; size];
        opened.files[0].write_all(&bytes).unwrap();
        bench.put("b", b"faster", true).unwrap();
        assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::AlreadyExists));
        assert_eq!(bench.read("b"), b"faster");
        bench.check();
        bench.remove("b", false).unwrap();
    }
    assert_eq!(bench.read("a"), b"old");
    // The large one waits to be resumed, and owns nobody.
    assert_eq!(bench.ledger.rows.len(), 1);
    assert!(!bench.ledger.rows.values().next().unwrap().owned);
}

#[test]
fn targets_that_cannot_be_put_to_are_refused_before_data() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    bench.put("f", b"x", true).unwrap();
    fs::hard_link(bench.home.join("f"), bench.home.join("g")).unwrap();
    std::os::unix::fs::symlink("f", bench.home.join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.home.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let table = [
        ("d", ErrorCode::IsADirectory),
        ("", ErrorCode::IsADirectory),
        ("nowhere/x", ErrorCode::NotFound),
        ("fifo/x", ErrorCode::NotADirectory),
        ("g", ErrorCode::NotServed),
        ("link", ErrorCode::NotServed),
        ("link/x", ErrorCode::NotServed),
        ("fifo", ErrorCode::NotServed),
    ];
    for (path, error) in table {
        assert_eq!(bench.put(path, b"x", true), Err(error), "{path}");
    }
    let source = SourceFingerprint { size: u64::MAX, ..source(0, 0) };
    let request = upload("f2", source, true);
    assert_eq!(bench.open(request).unwrap_err(), ErrorCode::DiskFull);
}

#[test]
fn a_put_whose_old_file_got_smaller_is_admitted_again_and_then_made() {
    for size in [3, LARGE] {
        let mut bench = bench();
        bench.put("a", b"four", true).unwrap();
        let bytes = vec![b'x'; size];
        let mut opened = bench.open(upload("a", source(size, 0), true)).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        // Between intent and ticket somebody replaces the old file by a smaller one.
        let home = bench.home.clone();
        let mut smaller = Some(b"1");
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. })
                && let Some(bytes) = smaller.take()
            {
                fs::write(home.join("a"), bytes).unwrap();
            }
            true
        }));
        let op = bench.begin_commit(opened, &bytes);
        bench.until("the first settle", |bench| {
            bench.ledger.said().ends_with(&["Released", "Settle"])
        });
        bench.ledger.used_bytes -= 3;
        assert_eq!(bench.committed(op), Ok(true));
        assert_eq!(bench.read("a"), bytes);
        bench.check();
        let intents = bench.ledger.said().iter().filter(|kind| **kind == "Intent").count();
        assert_eq!(intents, 3, "one for the old file, two for the new");
    }
}

#[test]
fn a_put_that_is_stale_twice_is_refused_and_changes_nothing() {
    for size in [3, LARGE] {
        let mut bench = bench();
        fs::write(bench.home.join("a"), b"four").unwrap();
        let bytes = vec![b'x'; size];
        let mut opened = bench.open(upload("a", source(size, 0), true)).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        let home = bench.home.clone();
        let mut left = 4;
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. }) {
                left -= 1;
                fs::write(home.join("a"), vec![b'y'; left]).unwrap();
            }
            true
        }));
        assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::Busy));
        assert_eq!(bench.read("a"), b"yy");
        bench.charge_home();
        bench.check();
        assert_eq!(bench.ledger.rows.len(), usize::from(size == LARGE));
    }
}

#[test]
fn over_quota_is_refused_before_data_and_again_at_the_intent() {
    let mut bench = bench();
    bench.ledger.limit_bytes = Some(10);
    assert!(matches!(bench.put("a", b"12345678901", true), Err(ErrorCode::QuotaExceeded { .. })));
    assert!(bench.put("a", b"1234567890", true).is_ok());
    let mut opened = bench.open(upload("a", source(4, 0), true)).unwrap();
    opened.files[0].write_all(b"1234").unwrap();
    bench.remove("a", false).unwrap();
    bench.put("b", b"123456789", true).unwrap();
    // It counted on the ten bytes that are gone.
    assert!(matches!(bench.commit(opened, b"1234"), Err(ErrorCode::QuotaExceeded { .. })));
    bench.check();
    assert_eq!(bench.ledger.rows.len(), 0);
}

/// How an upload is ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Committed,
    Kept,
    Dropped,
}

#[test]
fn an_upload_that_is_ended_with_a_writer_left_ends_its_session() {
    for (size, file) in [(4, 0), (LARGE, 0), (LARGE, 1)] {
        for ended in [Ended::Committed, Ended::Kept, Ended::Dropped] {
            let mut bench = bench();
            let mut opened = bench.open(upload("a", source(size, 0), true)).unwrap();
            let bytes = vec![b'x'; size];
            opened.files[0].write_all(&bytes).unwrap();
            let kept = opened.files[file].try_clone().unwrap();
            let before = bench.ledger.log.len();
            let handle = opened.handle;
            match ended {
                Ended::Committed => {
                    bench.begin_commit(opened, &bytes);
                }
                Ended::Kept | Ended::Dropped => {
                    drop(opened);
                    let keep = matches!(ended, Ended::Kept);
                    bench.begin(|op| WorkerToFiler::CloseUpload { op, handle, keep });
                }
            }
            let case = format!("{size}, {file}, {ended:?}");
            assert_eq!(bench.ends(), Some(WORKER_BROKE_EXIT.into()), "{case}");
            assert!(bench.log().contains("can still write"), "{case}: {}", bench.log());
            // Nothing of it is released: the worker has to be dead first.
            assert_eq!(bench.ledger.said().len(), before, "{case}");
            let staged = fs::read_dir(&bench.staging).unwrap().count();
            assert_eq!(staged, if size == LARGE { 2 } else { 1 }, "{case}");
            assert!(!bench.home.join("a").exists(), "{case}");
            drop(kept);
        }
    }
}

#[test]
fn a_commit_of_another_size_than_promised_is_refused() {
    let mut bench = bench();
    for written in [&b"123"[..], b"12345"] {
        let mut opened = bench.open(upload("a", source(4, 0), true)).unwrap();
        opened.files[0].write_all(written).unwrap();
        assert_eq!(bench.commit(opened, written), Err(ErrorCode::Protocol));
    }
    bench.check();
    assert!(!bench.ledger.said().contains(&"Intent"));
}

#[test]
fn a_large_upload_is_resumed_with_its_bytes_and_its_journal() {
    let mut bench = bench();
    let bytes = vec![b'x'; LARGE];
    let mut opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    assert_eq!((opened.files.len(), opened.resumed), (2, false));
    opened.files[0].write_all(&bytes[..1000]).unwrap();
    opened.files[1].write_all(b"journal").unwrap();
    let handle = opened.handle;
    drop(opened);
    bench.close(handle, true);
    bench.until("the upload to be let go", |bench| bench.ledger.said().contains(&"LetGo"));

    let mut opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    assert!(opened.resumed && !opened.started_over);
    assert_eq!(opened.files[0].metadata().unwrap().len(), 1000);
    assert_eq!(opened.files[1].metadata().unwrap().len(), 7);
    std::io::Seek::seek(&mut opened.files[0], std::io::SeekFrom::Start(1000)).unwrap();
    opened.files[0].write_all(&bytes[1000..]).unwrap();
    assert_eq!(bench.commit(opened, &bytes), Ok(false));
    assert_eq!(bench.read("a"), bytes);
    bench.check();
    assert!(bench.ledger.rows.is_empty());
}

#[test]
fn an_upload_whose_data_or_journal_is_lost_begins_anew() {
    for lost in ["data", "journal", "both"] {
        let mut bench = bench();
        let mut opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
        opened.files[0].write_all(b"data").unwrap();
        opened.files[1].write_all(b"journal").unwrap();
        let handle = opened.handle;
        drop(opened);
        bench.close(handle, true);
        bench.until("the upload to be let go", |bench| bench.ledger.said().contains(&"LetGo"));
        let name = *bench.ledger.rows.keys().next().unwrap();
        if lost != "journal" {
            fs::remove_file(bench.staging.join(name.file_name())).unwrap();
        }
        if lost != "data" {
            fs::remove_file(bench.staging.join(name.journal_name())).unwrap();
        }
        let opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
        assert!(!opened.resumed, "{lost}");
        for file in &opened.files {
            assert_eq!(file.metadata().unwrap().len(), 0);
        }
        assert_eq!(bench.ledger.rows.keys().next(), Some(&name), "the row is the same");
    }
}

#[test]
fn an_upload_of_a_changed_source_starts_over_and_the_old_one_is_dropped() {
    let mut bench = bench();
    let opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    let handle = opened.handle;
    drop(opened);
    bench.close(handle, true);
    bench.until("the upload to be let go", |bench| bench.ledger.said().contains(&"LetGo"));
    let opened = bench.open(upload("a", source(LARGE, 1), true)).unwrap();
    assert!(opened.started_over && !opened.resumed);
    bench.until("the old one to be dropped", |bench| bench.ledger.said().contains(&"Drop"));
    assert_eq!(bench.ledger.rows.len(), 1);
}

#[test]
fn an_upload_that_is_closed_for_good_leaves_nothing_and_its_path_is_free_at_once() {
    for size in [5, LARGE] {
        let mut bench = bench();
        for _ in 0..5 {
            let opened = bench.open(upload("a", source(size, 0), true)).unwrap();
            assert!(!opened.resumed);
            let handle = opened.handle;
            drop(opened);
            bench.close(handle, size == 5);
            // The answer comes last of all.
            assert!(bench.ledger.rows.is_empty());
            assert_eq!(fs::read_dir(&bench.staging).unwrap().count(), 0);
        }
        bench.check();
    }
}

#[test]
fn uploads_are_listed_with_what_was_received_and_can_be_aborted() {
    let mut bench = bench();
    for n in 0..5 {
        let mut opened = bench.open(upload(&format!("a{n}"), source(LARGE, 0), true)).unwrap();
        // A header and two leaves; the rest of an entry counts for nothing.
        opened.files[1].write_all(&[0; 192 + 2 * 16 + 3]).unwrap();
        let handle = opened.handle;
        drop(opened);
        if n > 0 {
            bench.close(handle, true);
        }
    }
    bench.until("four to be let go", |bench| {
        bench.ledger.said().iter().filter(|kind| **kind == "LetGo").count() == 4
    });
    let op = bench.begin(|op| WorkerToFiler::Uploads { op });
    let mut all = Vec::new();
    loop {
        match bench.answer(op).0 {
            FilerToWorker::Uploads { uploads, last, .. } => {
                all.extend(uploads);
                if last {
                    break;
                }
                bench.tell(WorkerToFiler::ListMore { op });
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|upload| upload.received == 256 * 1024 && upload.size == LARGE as u64));
    let abort = |bench: &mut Bench, upload: StagingName| {
        bench.change(|op| WorkerToFiler::AbortUpload { op, upload })
    };
    assert_eq!(abort(&mut bench, all[0].upload), Err(ErrorCode::UploadBusy), "it is open here");
    assert_eq!(abort(&mut bench, all[1].upload), Ok(()));
    assert_eq!(abort(&mut bench, all[1].upload), Err(ErrorCode::NoSuchUpload));
    assert_eq!(bench.ledger.rows.len(), 4);
}

#[test]
fn a_part_of_the_list_of_uploads_comes_only_for_credit() {
    let mut bench = bench();
    for n in 0..5 {
        let opened = bench.open(upload(&format!("a{n}"), source(LARGE, 0), true));
        drop(opened.unwrap());
    }
    let op = bench.begin(|op| WorkerToFiler::Uploads { op });
    let (mut parts, mut all) = (0, 0);
    loop {
        let FilerToWorker::Uploads { uploads, last, .. } = bench.answer(op).0 else {
            panic!("no part of the list");
        };
        (parts, all) = (parts + 1, all + uploads.len());
        if last {
            break;
        }
        // An answer to a later question comes first, while the next part waits for its credit.
        assert!(matches!(bench.ask(|op| WorkerToFiler::Usage { op }), FilerToWorker::Usage { .. }));
        assert!(!bench.has_answer(op));
        bench.tell(WorkerToFiler::ListMore { op });
    }
    assert_eq!(all, 5);
    assert!(parts > 1, "the bench's ledger gives it in parts");
    let op = bench.begin(|op| WorkerToFiler::Uploads { op });
    bench.answer(op);
    bench.tell(WorkerToFiler::ListStop { op });
    bench.tell(WorkerToFiler::Usage { op });
    assert!(
        matches!(bench.answer(op).0, FilerToWorker::Usage { .. }),
        "a list that was stopped leaves its number free"
    );
}

#[test]
fn what_stands_at_a_minted_name_is_not_touched_and_ends_the_filer() {
    for (size, directory) in [(3, false), (LARGE, false), (0, true)] {
        let mut bench = bench();
        let next = bench.ledger.next_name().file_name();
        fs::write(bench.staging.join(&next), b"not the filer's").unwrap();
        if directory {
            let path = rel("d");
            bench.begin(|op| WorkerToFiler::MakeDirectory { op, path, parents: false });
        } else {
            let request = upload("a", source(size, 0), true);
            bench.begin(|op| WorkerToFiler::OpenUpload { op, upload: request });
        }
        assert_eq!(bench.ends(), Some(1));
        assert!(bench.log().contains("minted name"), "{}", bench.log());
        let there = fs::read(bench.staging.join(&next)).unwrap();
        assert_eq!(there, b"not the filer's");
        assert!(!bench.ledger.said().contains(&"Drop"));
    }
}

#[test]
fn what_stands_at_a_minted_name_of_a_batch_is_not_touched_and_ends_the_filer() {
    let mut bench = bench();
    let StagingName(next) = bench.ledger.next_name();
    let taken = bench.staging.join(StagingName(next + 1).file_name());
    fs::write(&taken, b"not the filer's").unwrap();
    let files = ["a", "b", "c"].map(|path| small(path, b"new", true)).to_vec();
    bench.begin(|op| WorkerToFiler::PutFiles { op, files });
    assert_eq!(bench.ends(), Some(1));
    assert!(bench.log().contains("minted name"), "{}", bench.log());
    assert_eq!(fs::read(&taken).unwrap(), b"not the filer's");
    assert!(!bench.ledger.said().contains(&"Drop"));
    assert!(!bench.ledger.said().contains(&"Intent"));
}

#[test]
fn an_upload_whose_data_is_gone_at_the_commit_is_dropped() {
    let mut bench = bench();
    let opened = bench.open(upload("a", source(LARGE, 0), true)).unwrap();
    let name = *bench.ledger.rows.keys().next().unwrap();
    fs::remove_file(bench.staging.join(name.file_name())).unwrap();
    assert_eq!(bench.commit(opened, b""), Err(ErrorCode::NoSuchUpload));
    bench.check();
    assert!(bench.ledger.rows.is_empty());
}

#[test]
fn many_puts_at_once_ask_for_one_ticket_at_a_time() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    let mut commits = Vec::new();
    for n in 0..100 {
        let bytes = vec![b'x'; n];
        let mut opened = bench.open(upload(&format!("d/{n}"), source(n, 0), true)).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        commits.push(bench.begin_commit(opened, &bytes));
    }
    for op in commits {
        assert_eq!(bench.committed(op), Ok(false));
    }
    bench.check();
    assert_eq!(bench.ledger.used_entries, 101);
}

#[test]
fn usage_is_what_the_ledger_says() {
    let mut bench = bench();
    bench.put("a", b"12345", true).unwrap();
    match bench.ask(|op| WorkerToFiler::Usage { op }) {
        FilerToWorker::Usage { usage, .. } => assert_eq!(usage.used_bytes, 5),
        other => panic!("{other:?}"),
    }
}

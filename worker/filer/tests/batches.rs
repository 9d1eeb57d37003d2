//! Small files that are put together against the real filer: what the ledger is told, what each may be refused for,
//! and what is left.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use berth_common::batch::{AT_ONCE, FILE_BYTES, FILES, PutResult, ReadResult, StatResult};
use berth_common::digest::Md5;
use berth_common::entry::EntryKind;
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::filer_protocol::{FilerToWorker, WORKER_BROKE_EXIT, WorkerToFiler};
use berth_common::ledger_protocol::FilerToDaemon;
use harness::{Bench, process, rel, small};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

fn read(bench: &mut Bench, paths: &[&str]) -> Vec<ReadResult> {
    let paths = paths.iter().copied().map(rel).collect();
    match bench.ask(|op| WorkerToFiler::ReadFiles { op, paths }) {
        FilerToWorker::FilesRead { files, .. } => files,
        other => panic!("{other:?}"),
    }
}

const NEW: PutResult = PutResult::Done { replaced: false };
const REPLACED: PutResult = PutResult::Done { replaced: true };

#[test]
fn a_batch_has_one_reservation_one_intent_one_ticket_and_one_settle() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    bench.ledger.log.clear();
    let names: Vec<String> = (0..FILES).map(|n| format!("d/{n}")).collect();
    let files = names.iter().map(|name| small(name, name.as_bytes(), false)).collect();
    assert_eq!(bench.put_together(files), vec![NEW; FILES]);
    bench.settle_down();
    let said = bench.ledger.said();
    assert_eq!(said, ["ReserveFiles", "Intent", "Released", "Settle"]);
    for name in &names {
        assert_eq!(bench.read(name), name.as_bytes());
    }
    let metadata = fs::metadata(bench.home.join("d/7")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_600_000_000, 123_456_789));
    match bench.ask(|op| WorkerToFiler::Stat { op, path: rel("d/7") }) {
        FilerToWorker::Entry { entry, .. } => {
            assert_eq!((entry.size, entry.mode, entry.digest), (3, 0o640, Some(Md5::of(b"d/7"))));
        }
        other => panic!("{other:?}"),
    }
    bench.check();
}

#[test]
fn a_few_files_go_the_same_way() {
    let mut bench = bench();
    let files = vec![small("a", b"one", false), small("b", b"", false)];
    assert_eq!(bench.put_together(files), [NEW, NEW]);
    assert_eq!((bench.read("a"), bench.read("b")), (b"one".to_vec(), vec![]));
    bench.check();
    assert_eq!(bench.ledger.said()[..2], ["ReserveFiles", "Intent"]);
}

#[test]
fn each_is_refused_by_itself() {
    let mut bench = bench();
    bench.put("old", b"1234567", true).unwrap();
    bench.put("kept", b"kept", true).unwrap();
    bench.make_directory("d", false).unwrap();
    symlink("old", bench.home.join("link")).unwrap();
    bench.ledger.used_entries += 1;
    let files = vec![
        small("new", b"new", false),
        small("old", b"12", true),
        small("kept", b"x", false),
        small("d", b"x", true),
        small("none/x", b"x", true),
        small("link", b"x", true),
        small("", b"x", true),
        small("kept", b"longer", true),
    ];
    let failed = PutResult::Failed;
    assert_eq!(
        bench.put_together(files),
        [
            NEW,
            REPLACED,
            failed(ErrorCode::AlreadyExists),
            failed(ErrorCode::IsADirectory),
            failed(ErrorCode::NotFound),
            failed(ErrorCode::NotServed),
            failed(ErrorCode::IsADirectory),
            REPLACED,
        ]
    );
    assert_eq!((bench.read("old"), bench.read("kept")), (b"12".to_vec(), b"longer".to_vec()));
    bench.check();
}

#[test]
fn what_another_session_puts_there_meanwhile_is_replaced_or_kept() {
    for (overwrite, expected, content) in [
        (true, REPLACED, &b"ours"[..]),
        (false, PutResult::Failed(ErrorCode::AlreadyExists), b"theirs"),
    ] {
        let mut bench = bench();
        let home = bench.home.clone();
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. }) && !home.join("a").exists() {
                fs::write(home.join("a"), b"theirs").unwrap();
            }
            true
        }));
        let results =
            bench.put_together(vec![small("a", b"ours", overwrite), small("b", b"", false)]);
        assert_eq!(results, [expected, NEW]);
        assert_eq!(bench.read("a"), content);
        bench.ledger.used_entries += 1;
        bench.ledger.used_bytes += 6;
        bench.check();
    }
}

#[test]
fn what_the_quota_has_no_room_for_is_refused_and_the_rest_is_put() {
    let mut bench = bench();
    bench.ledger.limit_bytes = Some(100);
    let files = [60, 50, 40].map(|size| small(&format!("f{size}"), &vec![1; size], false));
    let results = bench.put_together(files.to_vec());
    assert_eq!((&results[0], &results[2]), (&NEW, &NEW));
    assert!(
        matches!(
            &results[1],
            PutResult::Failed(ErrorCode::QuotaExceeded { resource: Resource::Bytes, .. })
        ),
        "{results:?}"
    );
    assert!(!bench.home.join("f50").exists());
    bench.check();
}

#[test]
fn a_file_that_cannot_be_put_takes_no_room_from_others_and_says_why() {
    let failed = PutResult::Failed;
    let exceeds =
        |result: &PutResult| matches!(result, PutResult::Failed(ErrorCode::QuotaExceeded { .. }));
    let mut bench = bench();
    bench.put("old", &[1; 10], true).unwrap();
    let files = [("old", 60), ("none/x", 30), ("new", 60), ("more", 50)];
    let files = files.map(|(path, size)| small(path, &vec![1; size], false)).to_vec();
    // The first two are refused for what they are, and what they reserved is had by the third.
    bench.ledger.limit_bytes = Some(100);
    bench.ledger.log.clear();
    let results = bench.put_together(files.clone());
    let expected = [failed(ErrorCode::AlreadyExists), failed(ErrorCode::NotFound), NEW];
    assert_eq!(results[..3], expected);
    assert!(exceeds(&results[3]), "{results:?}");
    bench.settle_down();
    let said = bench.ledger.said();
    let reserves_again = ["ReserveFiles", "Drop", "Drop", "ReserveFiles"];
    assert_eq!(said, [&reserves_again[..], &["Intent", "Released", "Settle"]].concat());
    bench.check();
    // Where none of them has room, too.
    bench.ledger.limit_bytes = Some(70);
    let results = bench.put_together(vec![
        small("new", b"x", false),
        small("none/x", b"x", false),
        small("other", b"x", false),
    ]);
    assert_eq!(results[..2], expected[..2]);
    assert!(exceeds(&results[2]), "{results:?}");
    assert!(!bench.home.join("other").exists());
    bench.check();
}

#[test]
fn without_room_on_the_disk_none_is_put() {
    let mut bench = bench();
    bench.ledger.room = 9;
    let files: Vec<_> = (0..10).map(|n| small(&format!("f{n}"), b"x", false)).collect();
    let refused = PutResult::Failed(ErrorCode::DiskFull);
    assert_eq!(bench.put_together(files.clone()), vec![refused; 10]);
    bench.check();
    bench.ledger.room = 10;
    assert_eq!(bench.put_together(files), vec![NEW; 10]);
    bench.check();
}

#[test]
fn two_files_for_one_name_leave_one_of_them_whole() {
    for count in [2, 12] {
        let mut bench = bench();
        let files = (0..count).map(|n| small("a", &[n; 100], true)).collect();
        let results = bench.put_together(files);
        let done = results.iter().filter(|result| matches!(result, PutResult::Done { .. }));
        assert!(done.count() >= 1, "{results:?}");
        let stored = bench.read("a");
        assert!(stored.len() == 100 && stored.iter().all(|byte| *byte == stored[0]));
        bench.check();
    }
}

#[test]
fn small_files_are_read_together_and_others_are_named() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    bench.put("d/a", b"content", true).unwrap();
    bench.put("d/empty", b"", true).unwrap();
    let large = vec![1; FILE_BYTES + 1];
    bench.put("large", &large, true).unwrap();
    let full = vec![2; FILE_BYTES];
    bench.put("full", &full, true).unwrap();
    let files = read(&mut bench, &["d/a", "d", "none", "large", "full", "full", "d/empty", ""]);
    let ReadResult::File { entry, content } = &files[0] else { panic!("{files:?}") };
    assert_eq!(
        (entry.name.as_str(), entry.kind, &content[..]),
        ("a", EntryKind::File, &b"content"[..])
    );
    assert_eq!((entry.size, entry.mode, entry.digest), (7, 0o640, Some(Md5::of(b"content"))));
    assert_eq!(files[1], ReadResult::Failed(ErrorCode::IsADirectory));
    assert_eq!(files[2], ReadResult::Failed(ErrorCode::NotFound));
    assert_eq!(files[3], ReadResult::TooLarge);
    assert!(matches!(&files[4], ReadResult::File { content, .. } if *content == full));
    assert_eq!(files[5], ReadResult::TooLarge, "the answer is full");
    assert!(matches!(&files[6], ReadResult::File { content, .. } if content.is_empty()));
    assert_eq!(files[7], ReadResult::Failed(ErrorCode::IsADirectory));
}

#[test]
fn what_stands_at_many_paths_is_told_of_each_and_links_are_not_followed() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    let put = vec![small("d/a", b"one", false), small("b", b"", false)];
    assert_eq!(bench.put_together(put), vec![NEW; 2]);
    symlink("d", bench.home.join("link")).unwrap();
    let asked = ["d/a", "d", "none", "b", "b/x", "link", "link/a", "d/none", ""];
    let paths = asked.map(rel).to_vec();
    let FilerToWorker::FilesStated { results, .. } =
        bench.ask(|op| WorkerToFiler::StatFiles { op, paths })
    else {
        panic!("no answer")
    };
    let told = |at: usize| match &results[at] {
        StatResult::Entry(entry) => Ok((&*entry.name, entry.kind, entry.size, entry.digest)),
        StatResult::Failed(error) => Err(error.clone()),
    };
    assert_eq!(results.len(), asked.len());
    assert_eq!(told(0), Ok(("a", EntryKind::File, 3, Some(Md5::of(b"one")))));
    assert!(matches!(told(1), Ok(("d", EntryKind::Directory, ..))));
    assert_eq!((told(2), told(7)), (Err(ErrorCode::NotFound), Err(ErrorCode::NotFound)));
    assert_eq!(told(3), Ok(("b", EntryKind::File, 0, Some(Md5::of(b"")))));
    assert!(told(4).is_err() && told(6).is_err(), "{results:?}");
    assert!(matches!(told(5), Ok((_, EntryKind::Symlink, ..))));
    assert!(matches!(told(8), Ok(("", EntryKind::Directory, ..))));
}

#[test]
fn a_worker_that_exceeds_the_bounds_is_ended() {
    type Ask = fn(&mut Bench);
    let table: [(&str, Ask); 5] = [
        ("of no files", |bench| {
            bench.begin(|op| WorkerToFiler::PutFiles { op, files: vec![] });
        }),
        ("for no files", |bench| {
            bench.begin(|op| WorkerToFiler::ReadFiles { op, paths: vec![] });
        }),
        ("about no paths", |bench| {
            bench.begin(|op| WorkerToFiler::StatFiles { op, paths: vec![] });
        }),
        ("about no paths, or about too many", |bench| {
            let paths = vec![rel("x"); FILES + 1];
            bench.begin(|op| WorkerToFiler::StatFiles { op, paths });
        }),
        ("batches at once", |bench| {
            for n in 0..=AT_ONCE {
                let files = vec![small(&format!("f{n}"), b"x", true)];
                bench.begin(|op| WorkerToFiler::PutFiles { op, files });
            }
        }),
    ];
    for (words, ask) in table {
        let mut bench = bench();
        ask(&mut bench);
        assert_eq!(bench.ends(), Some(WORKER_BROKE_EXIT.into()), "{words}");
        let log = bench.log();
        assert!(log.contains(words), "{log}");
    }
}

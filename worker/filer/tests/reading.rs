//! Listings, stats and opened files against the real filer.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use berth_common::digest::Md5;
use berth_common::entry::{Entry, EntryKind, HomeFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, MAX_UNTAKEN, WorkerToFiler};
use berth_common::ids::{Handle, OpId};
use harness::{Bench, process, rel};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

fn begin_list(bench: &mut Bench, path: &str) -> OpId {
    let path = rel(path);
    bench.begin(|op| WorkerToFiler::List { op, path, notes: false })
}

/// All entries, asking for one chunk after the other, and how many chunks there were.
fn list(bench: &mut Bench, path: &str) -> Result<(Vec<Entry>, usize), ErrorCode> {
    let op = begin_list(bench, path);
    let (mut all, mut chunks) = (Vec::new(), 0);
    loop {
        match bench.answer(op).0 {
            FilerToWorker::Entries { entries, last, .. } => {
                all.extend(entries);
                chunks += 1;
                if last {
                    return Ok((all, chunks));
                }
                bench.tell(WorkerToFiler::ListMore { op });
            }
            FilerToWorker::Failed { error, .. } => return Err(error),
            other => panic!("{other:?}"),
        }
    }
}

fn stat(bench: &mut Bench, path: &str) -> Result<Entry, ErrorCode> {
    let path = rel(path);
    match bench.ask(|op| WorkerToFiler::Stat { op, path }) {
        FilerToWorker::Entry { entry, .. } => Ok(entry),
        FilerToWorker::Failed { error, .. } => Err(error),
        other => panic!("{other:?}"),
    }
}

struct Opened {
    file: File,
    handle: Handle,
    entry: Entry,
    fingerprint: HomeFingerprint,
    md5: Option<Md5>,
}

fn open(bench: &mut Bench, path: &str) -> Result<Opened, ErrorCode> {
    let path = rel(path);
    let op = bench.begin(|op| WorkerToFiler::OpenRead { op, path });
    match bench.answer(op) {
        (FilerToWorker::Opened { handle, entry, fingerprint, md5, .. }, mut files) => {
            let file = files.remove(0).into();
            Ok(Opened { file, handle, entry, fingerprint, md5 })
        }
        (FilerToWorker::Failed { error, .. }, _) => Err(error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_large_directory_comes_in_chunks_each_name_once() {
    let mut bench = bench();
    let names: BTreeSet<String> = (0..3000).map(|n| format!("file number {n}")).collect();
    for name in &names {
        fs::write(bench.home.join(name), b"abc").unwrap();
    }
    let (entries, chunks) = list(&mut bench, "").unwrap();
    assert!(chunks >= 5, "{chunks}");
    assert_eq!(entries.len(), 3000);
    assert!(entries.iter().all(|entry| entry.kind == EntryKind::File && entry.size == 3));
    assert_eq!(entries.into_iter().map(|entry| entry.name).collect::<BTreeSet<_>>(), names);
}

#[test]
fn a_chunk_comes_only_for_credit_and_a_stopped_listing_is_silent() {
    let mut bench = bench();
    for n in 0..1200 {
        fs::write(bench.home.join(format!("{n}")), b"").unwrap();
    }
    let op = begin_list(&mut bench, "");
    bench.answer(op);
    // Without credit nothing more comes, while another question is answered.
    stat(&mut bench, "1").unwrap();
    assert!(!bench.has_answer(op));
    bench.tell(WorkerToFiler::ListMore { op });
    bench.answer(op);
    bench.tell(WorkerToFiler::ListStop { op });
    bench.tell(WorkerToFiler::ListMore { op });
    bench.tell(WorkerToFiler::ListStop { op });
    stat(&mut bench, "1").unwrap();
    assert!(!bench.has_answer(op));
    // Many at once share the loop.
    let all: Vec<OpId> = (0..50).map(|_| begin_list(&mut bench, "")).collect();
    for op in all {
        for _ in 0..10 {
            bench.tell(WorkerToFiler::ListMore { op });
        }
        let mut count = 0;
        loop {
            match bench.answer(op).0 {
                FilerToWorker::Entries { entries, last, .. } => {
                    count += entries.len();
                    if last {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(count, 1200);
    }
}

#[test]
fn the_longest_names_still_fit_a_packet() {
    let mut bench = bench();
    // Each byte is invalid, and shown as three.
    let longest = OsStr::from_bytes(&[0xff; 255]);
    fs::write(bench.home.join(longest), b"").unwrap();
    for n in 0..400 {
        fs::write(bench.home.join(format!("{n:0>255}")), b"").unwrap();
    }
    let (entries, _) = list(&mut bench, "").unwrap();
    assert_eq!(entries.len(), 401);
    assert!(entries.iter().any(|entry| entry.name == "\u{fffd}".repeat(255)));
}

#[test]
fn every_kind_of_entry_is_shown_and_none_is_followed() {
    let mut bench = bench();
    bench.put("file", b"12345", true).unwrap();
    fs::write(bench.home.join("several"), b"12").unwrap();
    fs::hard_link(bench.home.join("several"), bench.home.join("second")).unwrap();
    fs::create_dir(bench.home.join("directory")).unwrap();
    symlink("/etc/passwd", bench.home.join("link")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bench.home.join("fifo"), fifo, mode, 0).unwrap();
    let hidden = bench.home.join("hidden");
    fs::write(&hidden, b"x").unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o040)).unwrap();

    let (mut entries, _) = list(&mut bench, "").unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let shown: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.kind, e.size)).collect();
    let expected = [
        ("directory", EntryKind::Directory, 0),
        ("fifo", EntryKind::Other, 0),
        ("file", EntryKind::File, 5),
        ("hidden", EntryKind::File, 1),
        ("link", EntryKind::Symlink, 0),
        ("second", EntryKind::Other, 2),
        ("several", EntryKind::Other, 2),
    ];
    assert_eq!(shown, expected);
    let file = &entries[2];
    assert_eq!((file.mode, file.digest), (0o640, None), "listings leave the digest out");
    assert_eq!(entries[3].mode, 0o040);
    for entry in &entries {
        let alone = stat(&mut bench, &entry.name).unwrap();
        assert_eq!(Entry { digest: None, ..alone }, *entry);
    }
    let root = stat(&mut bench, "").unwrap();
    assert_eq!((root.name.as_str(), root.kind), ("", EntryKind::Directory));
    assert_eq!(list(&mut bench, "link").unwrap_err(), ErrorCode::NotServed);
    assert_eq!(list(&mut bench, "file").unwrap_err(), ErrorCode::NotADirectory);
    assert_eq!(list(&mut bench, "nothing").unwrap_err(), ErrorCode::NotFound);
    assert_eq!(stat(&mut bench, "nothing").unwrap_err(), ErrorCode::NotFound);
    assert_eq!(stat(&mut bench, "link/x").unwrap_err(), ErrorCode::NotServed);
}

#[test]
fn a_file_is_opened_for_reading_with_its_fingerprint_and_digest() {
    let mut bench = bench();
    bench.put("a", b"hello", true).unwrap();
    let mut opened = open(&mut bench, "a").unwrap();
    let mut text = String::new();
    opened.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(std::io::Write::write(&mut opened.file, b"x").is_err(), "it cannot be written");
    let digest = Some(Md5::of(b"hello"));
    assert_eq!((opened.entry.digest, opened.fingerprint.digest), (digest, digest));
    assert_eq!((opened.fingerprint.size, opened.md5), (5, None));

    // The plain MD5 is kept on it, and found by the next who opens it.
    let (handle, md5) = (opened.handle, Md5::of(b"hello"));
    assert_eq!(bench.change(|op| WorkerToFiler::KeepMd5 { op, handle, md5 }), Ok(()));
    let again = open(&mut bench, "a").unwrap();
    assert_eq!(again.md5, Some(md5));
    assert!(opened.fingerprint.continues_with(&again.fingerprint));

    // A change by hand makes both worthless.
    fs::write(bench.home.join("a"), b"HELLO").unwrap();
    let changed = open(&mut bench, "a").unwrap();
    assert_eq!((changed.md5, changed.fingerprint.digest), (None, None));
    assert_eq!(
        bench.change(|op| WorkerToFiler::KeepMd5 { op, handle, md5 }),
        Err(ErrorCode::SourceChanged)
    );
    for handle in [opened.handle, again.handle, changed.handle] {
        bench.tell(WorkerToFiler::CloseRead { handle });
    }
    stat(&mut bench, "a").unwrap();
}

#[test]
fn what_is_no_file_with_one_name_is_not_opened() {
    let mut bench = bench();
    fs::create_dir(bench.home.join("d")).unwrap();
    fs::write(bench.home.join("several"), b"12").unwrap();
    fs::hard_link(bench.home.join("several"), bench.home.join("second")).unwrap();
    symlink("several", bench.home.join("link")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bench.home.join("fifo"), fifo, mode, 0).unwrap();
    for (path, error) in [
        ("", ErrorCode::IsADirectory),
        ("d", ErrorCode::IsADirectory),
        ("several", ErrorCode::NotServed),
        ("link", ErrorCode::NotServed),
        ("fifo", ErrorCode::NotServed),
        ("nothing", ErrorCode::NotFound),
        ("several/x", ErrorCode::NotADirectory),
    ] {
        assert_eq!(open(&mut bench, path).err(), Some(error), "{path}");
    }
}

#[test]
fn a_worker_that_takes_no_descriptors_gets_no_more_of_them() {
    let mut bench = bench();
    bench.takes = false;
    bench.put("a", b"x", true).unwrap();
    let ops: Vec<OpId> =
        (0..20).map(|_| bench.begin(|op| WorkerToFiler::OpenRead { op, path: rel("a") })).collect();
    // One was sent for the put, and not taken either.
    let sent = |bench: &mut Bench| {
        stat(bench, "a").unwrap();
        stat(bench, "a").unwrap();
        ops.iter().filter(|op| bench.has_answer(**op)).count()
    };
    assert_eq!(sent(&mut bench), MAX_UNTAKEN - 1);
    bench.tell(WorkerToFiler::DescriptorsTaken { messages: 5 });
    assert_eq!(sent(&mut bench), MAX_UNTAKEN + 4);
    bench.tell(WorkerToFiler::DescriptorsTaken { messages: 8 });
    bench.until("the rest", |bench| ops.iter().all(|op| bench.has_answer(*op)));
}

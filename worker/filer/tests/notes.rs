//! Notes against the real filer: under which ticket they change, what carries them over, and what shows them.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::io::Write as _;

use berth_common::batch::{PutResult, SmallPut};
use berth_common::entry::{Entry, Existing, HomeFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::note::{Note, NoteChange};
use harness::{Bench, process, rel, small, source, upload};
use rustix::fs::XattrFlags;

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

/// More than a small upload has.
const LARGE: usize = (1 << 20) + 1;

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

fn note(text: &str) -> Note {
    Note::new(text).unwrap()
}

fn set(bench: &mut Bench, path: &str, text: Option<&str>) -> Result<(), ErrorCode> {
    let (path, note) = (rel(path), text.map(note));
    bench.change(|op| WorkerToFiler::SetNote { op, path, note })
}

fn shown(bench: &mut Bench, path: &str) -> Option<String> {
    let path = rel(path);
    match bench.ask(|op| WorkerToFiler::Stat { op, path }) {
        FilerToWorker::Entry { entry, .. } => entry.note.map(String::from),
        other => panic!("{other:?}"),
    }
}

fn listed(bench: &mut Bench, notes: bool) -> Vec<Entry> {
    match bench.ask(|op| WorkerToFiler::List { op, path: rel(""), notes }) {
        FilerToWorker::Entries { mut entries, last: true, .. } => {
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            entries
        }
        other => panic!("{other:?}"),
    }
}

fn put(bench: &mut Bench, request: OpenUpload, size: usize) -> Result<bool, ErrorCode> {
    let bytes = vec![b'x'; size];
    let mut opened = bench.open(request)?;
    opened.files[0].write_all(&bytes).unwrap();
    bench.commit(opened, &bytes)
}

fn by_hand(bench: &Bench, path: &str, value: &[u8]) {
    let path = bench.home.join(path);
    rustix::fs::setxattr(path, "user.berth.note", value, XattrFlags::empty()).unwrap();
}

#[test]
fn a_note_takes_the_ticket_and_writes_no_intent() {
    let mut bench = bench();
    bench.put("a", b"a", true).unwrap();
    bench.rename("a", "b", true).unwrap();
    bench.settle_down();
    bench.ledger.log.clear();
    bench.rename("b", "a", true).unwrap();
    let of_a_rename = bench.ledger.said();
    bench.ledger.log.clear();
    assert_eq!(set(&mut bench, "a", Some("first")), Ok(()));
    assert_eq!(bench.ledger.said(), of_a_rename, "as a rename to a free name");
    assert_eq!(shown(&mut bench, "a").as_deref(), Some("first"));
    set(&mut bench, "a", Some("second")).unwrap();
    assert_eq!(shown(&mut bench, "a").as_deref(), Some("second"));
    set(&mut bench, "a", None).unwrap();
    set(&mut bench, "a", None).unwrap();
    assert_eq!(shown(&mut bench, "a"), None);
    bench.check();
}

#[test]
fn only_files_have_notes() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    std::os::unix::fs::symlink("d", bench.home.join("link")).unwrap();
    std::fs::write(bench.home.join("one"), "").unwrap();
    std::fs::hard_link(bench.home.join("one"), bench.home.join("two")).unwrap();
    for (path, error) in [
        ("", ErrorCode::IsADirectory),
        ("d", ErrorCode::IsADirectory),
        ("link", ErrorCode::NotServed),
        ("one", ErrorCode::NotServed),
        ("nothing", ErrorCode::NotFound),
        ("one/x", ErrorCode::NotADirectory),
    ] {
        assert_eq!(set(&mut bench, path, Some("x")), Err(error), "{path:?}");
    }
}

#[test]
fn a_listing_has_notes_only_where_it_is_asked_for_them() {
    let mut bench = bench();
    bench.put("a", b"a", true).unwrap();
    bench.put("b", b"b", true).unwrap();
    bench.make_directory("c", false).unwrap();
    set(&mut bench, "b", Some("of b")).unwrap();
    let notes = |entries: Vec<Entry>| -> Vec<Option<String>> {
        entries.into_iter().map(|entry| entry.note.map(String::from)).collect()
    };
    assert_eq!(notes(listed(&mut bench, false)), [None, None, None]);
    assert_eq!(notes(listed(&mut bench, true)), [None, Some("of b".to_owned()), None]);
}

#[test]
fn what_stands_there_by_hand_and_is_no_note_is_none() {
    let mut bench = bench();
    bench.put("a", b"a", true).unwrap();
    for value in [&b""[..], b"\xff\xfe", b"two\nlines", &[b'n'; 1025]] {
        by_hand(&bench, "a", value);
        assert_eq!(shown(&mut bench, "a"), None, "{value:?}");
        assert_eq!(listed(&mut bench, true)[0].note, None);
        bench.put("a", b"b", true).unwrap();
        assert_eq!(shown(&mut bench, "a"), None);
    }
    by_hand(&bench, "a", b"x\xff");
    set(&mut bench, "a", Some("a note")).unwrap();
    assert_eq!(shown(&mut bench, "a").as_deref(), Some("a note"));
}

#[test]
fn a_put_keeps_the_note_of_what_it_replaces_unless_it_brings_another() {
    let mut bench = bench();
    for size in [3, LARGE] {
        for existing in [Existing::Replace, Existing::Append] {
            let mut change = 0;
            let mut request = |note: NoteChange| {
                change += 1;
                OpenUpload { existing, note, ..upload("a", source(size, change), true) }
            };
            let what = format!("{size} {existing:?}");
            // Nothing stands there.
            assert_eq!(put(&mut bench, request(NoteChange::Keep), size), Ok(false), "{what}");
            assert_eq!(shown(&mut bench, "a"), None, "{what}");
            set(&mut bench, "a", Some("kept")).unwrap();
            assert_eq!(put(&mut bench, request(NoteChange::Keep), size), Ok(true), "{what}");
            assert_eq!(shown(&mut bench, "a").as_deref(), Some("kept"), "{what}");
            let new = NoteChange::Set(note("new"));
            assert_eq!(put(&mut bench, request(new.clone()), size), Ok(true), "{what}");
            assert_eq!(shown(&mut bench, "a").as_deref(), Some("new"), "{what}");
            assert_eq!(put(&mut bench, request(NoteChange::Remove), size), Ok(true), "{what}");
            assert_eq!(shown(&mut bench, "a"), None, "{what}");
            bench.remove("a", false).unwrap();
            assert_eq!(put(&mut bench, request(new), size), Ok(false), "{what}");
            assert_eq!(shown(&mut bench, "a").as_deref(), Some("new"), "{what}");
            bench.remove("a", false).unwrap();
        }
    }
    bench.settle_down();
    bench.check();
}

#[test]
fn small_files_together_keep_and_bring_notes_each_for_itself() {
    let mut bench = bench();
    let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let files = |note: &dyn Fn(usize) -> NoteChange| -> Vec<SmallPut> {
        let files = names.iter().enumerate();
        files.map(|(at, name)| SmallPut { note: note(at), ..small(name, b"x", true) }).collect()
    };
    let own = |at: usize| match at % 2 {
        0 => NoteChange::Set(note(&format!("note {at}"))),
        _ => NoteChange::Keep,
    };
    let results = bench.put_together(files(&own));
    assert_eq!(results, vec![PutResult::Done { replaced: false }; names.len()]);
    let results = bench.put_together(files(&|_| NoteChange::Keep));
    assert_eq!(results, vec![PutResult::Done { replaced: true }; names.len()]);
    for (at, name) in names.iter().enumerate() {
        let expected = (at % 2 == 0).then(|| format!("note {at}"));
        assert_eq!(shown(&mut bench, name), expected);
    }
    bench.put_together(files(&|at| if at < 2 { NoteChange::Remove } else { NoteChange::Keep }));
    assert_eq!((shown(&mut bench, "0"), shown(&mut bench, "2").as_deref()), (None, Some("note 2")));
    bench.settle_down();
    bench.check();
}

#[test]
fn a_note_that_is_set_before_the_exchange_goes_over_with_it() {
    for existing in [Existing::Replace, Existing::Append] {
        let mut bench = bench();
        bench.put("a", b"old", true).unwrap();
        let request = OpenUpload { existing, ..upload("a", source(LARGE, 0), true) };
        let bytes = vec![b'n'; LARGE];
        let mut opened = bench.open(request).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        // Under way when the put looks at what it replaces, and acknowledged before the put is.
        let commit = bench.begin_commit(opened, &bytes);
        assert_eq!(set(&mut bench, "a", Some("late")), Ok(()));
        assert_eq!(bench.committed(commit), Ok(true));
        assert_eq!(shown(&mut bench, "a").as_deref(), Some("late"), "{existing:?}");
    }
}

#[test]
fn a_refused_put_leaves_the_note_where_it_is_and_none_on_what_was_sent() {
    let mut bench = bench();
    bench.put("a", b"old", true).unwrap();
    set(&mut bench, "a", Some("of the old one")).unwrap();
    let request = OpenUpload {
        note: NoteChange::Set(note("of the new one")),
        ..upload("a", source(LARGE, 0), false)
    };
    // Refused when it is opened, and for who comes first when it ends.
    assert_eq!(bench.open(request.clone()).err(), Some(ErrorCode::AlreadyExists));
    let elsewhere = OpenUpload { path: rel("b"), ..request };
    let bytes = vec![b'n'; LARGE];
    let mut opened = bench.open(elsewhere).unwrap();
    opened.files[0].write_all(&bytes).unwrap();
    bench.rename("a", "b", true).unwrap();
    assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::AlreadyExists));
    assert_eq!(shown(&mut bench, "b").as_deref(), Some("of the old one"));
    // The upload was kept, and is finished by a put that brings no note, in a place without one.
    bench.remove("b", false).unwrap();
    let again = bench.open(upload("b", source(LARGE, 0), true)).unwrap();
    assert!(again.resumed);
    assert_eq!(bench.commit(again, &bytes), Ok(false));
    assert_eq!(shown(&mut bench, "b"), None);
}

#[test]
fn a_note_leaves_digest_and_time_valid_and_a_get_goes_on() {
    let mut bench = bench();
    bench.put("a", b"abc", true).unwrap();
    let opened = |bench: &mut Bench| -> (Entry, HomeFingerprint) {
        match bench.ask(|op| WorkerToFiler::OpenRead { op, path: rel("a") }) {
            FilerToWorker::Opened { entry, fingerprint, .. } => (entry, fingerprint),
            other => panic!("{other:?}"),
        }
    };
    let (before, begun) = opened(&mut bench);
    set(&mut bench, "a", Some("a note")).unwrap();
    let (after, now) = opened(&mut bench);
    assert_eq!(before, after, "a get does not carry it");
    assert!(after.digest.is_some());
    assert_ne!(begun.ctime_ns, now.ctime_ns);
    assert!(begun.continues_with(&now));
}

//! Decisions about trees, without any.

use berth_common::entry::{Entry, Limits};

use super::*;

fn file(size: u64, mtime_ns: i64) -> Local {
    Local::File(SourceFingerprint { size, mtime_ns, ctime_ns: 9, inode: 9 })
}

fn there(kind: EntryKind, size: u64, digest: Option<Md5>) -> StatResult {
    let name = "a".to_owned();
    StatResult::Entry(Entry { name, kind, size, mtime_ns: 5, mode: 0o644, digest, note: None })
}

fn usage(bytes: Option<u64>, entries: Option<u64>, used_bytes: i64) -> Usage {
    Usage {
        limits: Limits { bytes, entries },
        used_bytes,
        used_entries: 3,
        reserved_bytes: 10,
        reserved_entries: 1,
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// Takes a piece in whose local path is that in the home.
fn take(plan: &mut Plan, path: &str, is: &Local, verdict: Verdict) -> Told {
    plan.take(Path::new(path), &rel(path), is, verdict)
}

#[test]
fn what_stands_there_decides() {
    use Comparing::{Content, Nothing, Times};
    let digest = Md5::of(b"x");
    let known = there(EntryKind::File, 7, Some(digest));
    let unknown = there(EntryKind::File, 7, None);
    let directory = there(EntryKind::Directory, 0, None);
    let link = there(EntryKind::Symlink, 0, None);
    let nothing = StatResult::Failed(ErrorCode::NotFound);
    let refused = StatResult::Failed(ErrorCode::NotADirectory);
    let table = [
        (file(7, 5), &nothing, Content, Verdict::New),
        (Local::Directory, &nothing, Times, Verdict::New),
        (file(7, 5), &refused, Content, Verdict::Refused(ErrorCode::NotADirectory)),
        // The same size and time prove nothing where contents are compared.
        (file(7, 5), &known, Content, Verdict::Compare(digest)),
        (file(7, 6), &known, Content, Verdict::Compare(digest)),
        (file(8, 5), &known, Content, Verdict::Replace(7)),
        (file(7, 5), &unknown, Content, Verdict::Replace(7)),
        (file(7, 5), &known, Nothing, Verdict::Replace(7)),
        (file(7, 5), &unknown, Times, Verdict::Same),
        (file(7, 6), &known, Times, Verdict::Replace(7)),
        (file(8, 5), &known, Times, Verdict::Replace(7)),
        (Local::Directory, &directory, Content, Verdict::Same),
        (Local::Directory, &known, Content, Verdict::Refused(ErrorCode::NotADirectory)),
        (file(7, 5), &directory, Content, Verdict::Refused(ErrorCode::IsADirectory)),
        (file(7, 5), &link, Times, Verdict::Refused(ErrorCode::NotServed)),
        (Local::Directory, &link, Content, Verdict::Refused(ErrorCode::NotServed)),
    ];
    for (local, there, comparing, expected) in table {
        assert_eq!(judge(&local, there, comparing), expected, "{local:?} {there:?} {comparing:?}");
    }
}

#[test]
fn what_is_the_same_or_refused_is_settled_and_what_is_beneath_is_not_told() {
    let mut plan = Plan::new([], false);
    assert_eq!(take(&mut plan, "d", &Local::Directory, Verdict::Same), Told::Same);
    assert_eq!(take(&mut plan, "d/a", &file(1, 1), Verdict::Same), Told::Same);
    assert_eq!(take(&mut plan, "d/b", &file(1, 1), Verdict::New), Told::Done { replaces: false });
    let refused = Verdict::Refused(ErrorCode::NotADirectory);
    let told = take(&mut plan, "f", &Local::Directory, refused.clone());
    assert_eq!(told, Told::Refused(ErrorCode::NotADirectory));
    for (path, verdict) in [("f/x", refused), ("f/y", Verdict::New)] {
        assert_eq!(take(&mut plan, path, &file(9, 9), verdict), Told::Beneath);
    }
    assert_eq!(plan.growth(), Growth { bytes: 1, entries: 1 });
    let settled = plan.into_settled();
    let is_settled = |path: &str| settled.contains(Path::new(path));
    assert!(is_settled("d/a") && is_settled("f"));
    assert!(!is_settled("d") && !is_settled("d/b"));
}

#[test]
fn where_nothing_may_be_replaced_what_differs_is_refused() {
    let mut plan = Plan::new([], true);
    for verdict in [Verdict::Replace(3), Verdict::Compare(Md5::of(b""))] {
        let told = take(&mut plan, "a", &file(3, 3), verdict);
        assert_eq!(told, Told::Refused(ErrorCode::AlreadyExists));
    }
    assert_eq!(take(&mut plan, "b", &file(3, 3), Verdict::Same), Told::Same);
    assert_eq!(plan.growth(), Growth::default());
}

#[test]
fn growth_counts_what_is_replaced_and_what_is_set_aside_already() {
    let mut plan = Plan::new([(rel("resumed"), 600), (rel("other"), 1)], false);
    take(&mut plan, "new", &file(100, 1), Verdict::New);
    take(&mut plan, "larger", &file(50, 1), Verdict::Replace(20));
    take(&mut plan, "smaller", &file(5, 1), Verdict::Replace(9));
    take(&mut plan, "resumed", &file(600, 1), Verdict::New);
    take(&mut plan, "other", &file(2, 1), Verdict::New);
    take(&mut plan, "d", &Local::Directory, Verdict::New);
    plan.makes_directory();
    assert_eq!(plan.growth(), Growth { bytes: 100 + 30 - 4 + (2 - 1), entries: 3 });
}

#[test]
fn a_limit_is_exceeded_by_one_and_not_by_none() {
    let growth = Growth { bytes: 20, entries: 2 };
    assert_eq!(growth.beyond(&usage(None, None, i64::MAX)), None);
    assert_eq!(growth.beyond(&usage(Some(100), None, 70)), None, "70 + 10 + 20");
    let beyond = growth.beyond(&usage(Some(100), None, 71));
    let expected = ErrorCode::QuotaExceeded {
        resource: Resource::Bytes,
        limit: 100,
        used: 71,
        reserved: 10,
        requested: 20,
    };
    assert_eq!(beyond, Some(expected));
    assert_eq!(growth.beyond(&usage(None, Some(6), 0)), None);
    let beyond = growth.beyond(&usage(None, Some(5), 0));
    assert!(matches!(beyond, Some(ErrorCode::QuotaExceeded { resource: Resource::Entries, .. })));
    // Who is over the limit already may still do what does not make it worse.
    let shrinks = Growth { bytes: -1, entries: 0 };
    assert_eq!(shrinks.beyond(&usage(Some(10), Some(1), 100)), None);
    assert_eq!(growth.beyond(&usage(Some(31), None, -5)), None, "below zero for a moment");
}

#[test]
fn the_directories_above_a_path_are_those_between_it_and_the_home() {
    let above: Vec<String> = ancestors(&rel("a/b/c")).map(|path| path.to_string()).collect();
    assert_eq!(above, ["/a/b", "/a"]);
    assert_eq!(ancestors(&rel("a")).count() + ancestors(&RelPath::root()).count(), 0);
}

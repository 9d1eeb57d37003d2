//! What a part promises about files that are not its own, and after a killed process.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use berth_common::digest;
use berth_common::entry::EntryKind;
use berth_common::limits::LEAF_SIZE;

use super::*;

const SIZE: u64 = 2 * BLOCK_SIZE as u64;

fn fingerprint(inode: u64) -> HomeFingerprint {
    HomeFingerprint { inode, ctime_ns: 1, size: SIZE, digest: None }
}

fn entry() -> Entry {
    Entry {
        name: "file".into(),
        kind: EntryKind::File,
        size: SIZE,
        mtime_ns: 1_234_567_890_123_456_789,
        mode: 0o640,
        digest: None,
        note: None,
    }
}

/// Receives the first leaves of a file of sevens.
fn receive(part: &mut Part, leaves: usize) -> Vec<Md5> {
    let bytes = vec![7; leaves * LEAF_SIZE];
    part.file().unwrap().write_all_at(&bytes, 0).unwrap();
    let leaves = digest::leaves(&bytes);
    part.journal_mut().unwrap().append(&leaves).unwrap();
    leaves
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_killed_get_goes_on_with_the_leaves_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let (mut part, earlier) = Part::find(&target).unwrap();
    assert!(earlier.is_none());
    part = part.start_over(&fingerprint(1)).unwrap();
    let leaves = receive(&mut part, 3);
    drop(part);
    assert_eq!(names_in(dir.path()), ["file.part", "file.part.journal", "file.part.meta"]);

    let (part, earlier) = Part::find(&target).unwrap();
    let earlier = earlier.unwrap();
    assert_eq!((earlier.fingerprint, earlier.leaves), (fingerprint(1), leaves));
    let committed = part.commit(&entry(), false).unwrap();
    assert_eq!((committed.replaced, committed.attributes_kept), (false, true));
    assert_eq!(names_in(dir.path()), ["file"]);
    let metadata = fs::metadata(&target).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_234_567_890, 123_456_789));
}

#[test]
fn another_file_in_the_home_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let (mut part, _) = Part::find(&target).unwrap();
    part = part.start_over(&fingerprint(1)).unwrap();
    receive(&mut part, 3);
    part = part.start_over(&fingerprint(2)).unwrap();
    assert_eq!(part.file().unwrap().metadata().unwrap().len(), 0);
    drop(part);
    let (part, earlier) = Part::find(&target).unwrap();
    assert!(earlier.is_none(), "nothing was received of the second");
    part.discard();
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn what_was_spoiled_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 5] = [
        ("file.part", |path| File::options().write(true).open(path).unwrap().set_len(9).unwrap()),
        ("file.part.journal", |path| fs::write(path, b"torn").unwrap()),
        ("file.part.journal", |path| fs::remove_file(path).unwrap()),
        ("file.part.meta", |path| fs::write(path, b"").unwrap()),
        ("file.part.meta", |path| write_meta(path, &fingerprint(9)).unwrap()),
    ];
    for (name, spoil) in spoil {
        let (mut part, _) = Part::find(&target).unwrap();
        part = part.start_over(&fingerprint(1)).unwrap();
        receive(&mut part, 3);
        drop(part);
        spoil(&dir.path().join(name));
        let (part, earlier) = Part::find(&target).unwrap();
        assert!(earlier.is_none(), "{name}");
        part.discard();
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let part = dir.path().join("file.part");
    fs::write(&part, b"mine").unwrap();
    assert!(matches!(Part::find(&target), Err(TransferError::ForeignPart { .. })));
    fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &part).unwrap();
    assert!(matches!(Part::find(&target), Err(TransferError::ForeignPart { .. })));
    fs::remove_file(&part).unwrap();

    let (ours, _) = Part::find(&target).unwrap();
    let ours = ours.start_over(&fingerprint(1)).unwrap();
    assert!(matches!(Part::find(&target), Err(TransferError::Busy { .. })), "one at a time");
    fs::write(&target, b"appeared meanwhile").unwrap();
    assert!(matches!(ours.commit(&entry(), false), Err(TransferError::Exists { .. })));
    let (ours, _) = Part::find(&target).unwrap();
    assert!(ours.commit(&entry(), true).unwrap().replaced, "by force");
}

#[test]
fn a_meta_file_or_journal_of_others_is_neither_overwritten_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let kept = dir.path().join("kept");
    fs::write(&kept, b"theirs").unwrap();
    type Make = fn(&Path, &Path);
    let table: [(&str, Make); 6] = [
        ("file.part.meta", |path, _| fs::write(path, b"theirs").unwrap()),
        ("file.part.journal", |path, _| fs::write(path, b"theirs").unwrap()),
        ("file.part.meta", |path, kept| std::os::unix::fs::symlink(kept, path).unwrap()),
        ("file.part.journal", |path, kept| std::os::unix::fs::symlink(kept, path).unwrap()),
        ("file.part.meta", |path, _| fifo(path)),
        ("file.part", |path, _| fifo(path)),
    ];
    for (name, make) in table {
        let path = dir.path().join(name);
        make(&path, &kept);
        let refused = Part::find(&target).unwrap_err();
        assert!(matches!(&refused, TransferError::ForeignPart { path: told } if *told == path));
        assert_eq!(names_in(dir.path()), [name, "kept"]);
        assert_eq!(fs::read(&kept).unwrap(), b"theirs");
        fs::remove_file(&path).unwrap();
    }
}

fn fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

#[test]
fn a_part_with_a_second_name_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    fs::write(dir.path().join("other"), b"").unwrap();
    fs::hard_link(dir.path().join("other"), dir.path().join("file.part")).unwrap();
    assert!(matches!(Part::find(&target), Err(TransferError::ForeignPart { .. })));
}

#[test]
fn what_a_power_cut_makes_of_a_meta_file_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    for torn in [&b""[..], b"berth get", &[0; 77]] {
        let part = Part::find(&target).unwrap().0;
        let mut part = part.start_over(&fingerprint(1)).unwrap();
        receive(&mut part, 3);
        drop(part);
        fs::write(dir.path().join("file.part.meta"), torn).unwrap();
        let (part, earlier) = Part::find(&target).unwrap();
        assert!(earlier.is_none(), "it is not known of which file");
        part.discard();
        assert!(names_in(dir.path()).is_empty());
    }
}

#[test]
fn a_read_only_file_that_could_not_be_placed_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let read_only = Entry { mode: 0, ..entry() };
    let part = Part::find(&target).unwrap().0;
    let mut part = part.start_over(&fingerprint(1)).unwrap();
    receive(&mut part, 16);
    fs::write(&target, b"appeared meanwhile").unwrap();
    assert!(part.commit(&read_only, false).is_err());
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("file.part"), 0o600);
    let (part, earlier) = Part::find(&target).unwrap();
    assert_eq!(earlier.unwrap().leaves.len(), 16);
    assert!(part.commit(&read_only, true).unwrap().replaced);
    assert_eq!((mode("file"), names_in(dir.path()).len()), (0, 1));
}

#[test]
fn a_part_that_was_replaced_meanwhile_does_not_become_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    for replacement in [Some(b"not verified"), None] {
        let part = Part::find(&target).unwrap().0;
        let mut part = part.start_over(&fingerprint(1)).unwrap();
        receive(&mut part, 16);
        let path = dir.path().join("file.part");
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = replacement {
            fs::write(&path, bytes).unwrap();
        }
        assert!(matches!(part.commit(&entry(), true), Err(TransferError::PartGone { .. })));
        assert!(!target.exists());
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn one_who_comes_too_late_leaves_the_files_of_the_first_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    // Both look before either begins.
    let (first, second) = (Part::find(&target).unwrap().0, Part::find(&target).unwrap().0);
    let mut first = first.start_over(&fingerprint(1)).unwrap();
    let leaves = receive(&mut first, 3);
    assert!(matches!(second.start_over(&fingerprint(2)), Err(TransferError::Busy { .. })));
    drop(first);
    let earlier = Part::find(&target).unwrap().1.unwrap();
    assert_eq!((earlier.fingerprint, earlier.leaves), (fingerprint(1), leaves));
}

#[test]
fn what_cannot_be_begun_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let part = Part::find(&target).unwrap().0;
    // A directory cannot be removed as a journal is.
    fs::create_dir(dir.path().join("file.part.journal")).unwrap();
    assert!(part.start_over(&fingerprint(1)).is_err());
    assert_eq!(names_in(dir.path()), ["file.part.journal"]);
}

#[test]
fn the_longest_names_have_parts_too() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["x".repeat(255), "ä".repeat(127), "x".repeat(243), "x".repeat(242)] {
        let target = dir.path().join(&name);
        let (part, _) = Part::find(&target).unwrap();
        let part = part.start_over(&fingerprint(1)).unwrap();
        assert!(names_in(dir.path()).iter().all(|name| !name.contains('\u{fffd}')));
        part.commit(&entry(), false).unwrap();
        assert_eq!(names_in(dir.path()), [name]);
        fs::remove_file(&target).unwrap();
    }
    let one = Names::beside(Path::new(&format!("{}1", "x".repeat(250))));
    let two = Names::beside(Path::new(&format!("{}2", "x".repeat(250))));
    assert_ne!(one.part, two.part);
}

#[test]
fn what_the_disk_cannot_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (part, _) = Part::find(&dir.path().join("file")).unwrap();
    part.check_room(1, true).unwrap();
    assert!(matches!(part.check_room(u64::MAX, true), Err(TransferError::NoRoom { .. })));
}

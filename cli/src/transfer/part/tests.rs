//! What a part promises about files that are not its own, and after a killed process.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use berth_common::digest;
use berth_common::entry::EntryKind;
use berth_common::limits::LEAF_SIZE;

use super::*;

const SIZE: u64 = 2 * BLOCK_SIZE as u64;

fn fingerprint(inode: u64) -> HomeFingerprint {
    HomeFingerprint {
        inode,
        ctime_ns: 1,
        size: SIZE,
        digest: None,
    }
}

fn entry() -> Entry {
    Entry {
        name: "file".into(),
        kind: EntryKind::File,
        size: SIZE,
        mtime_ns: 1_234_567_890_123_456_789,
        mode: 0o640,
        digest: None,
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
    part.start_over(&fingerprint(1)).unwrap();
    let leaves = receive(&mut part, 3);
    drop(part);
    assert_eq!(
        names_in(dir.path()),
        ["file.part", "file.part.journal", "file.part.meta"]
    );

    let (part, earlier) = Part::find(&target).unwrap();
    let earlier = earlier.unwrap();
    assert_eq!(
        (earlier.fingerprint, earlier.leaves),
        (fingerprint(1), leaves)
    );
    assert!(!part.commit(&entry(), false).unwrap());
    assert_eq!(names_in(dir.path()), ["file"]);
    let metadata = fs::metadata(&target).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (1_234_567_890, 123_456_789)
    );
}

#[test]
fn another_file_in_the_home_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("file");
    let (mut part, _) = Part::find(&target).unwrap();
    part.start_over(&fingerprint(1)).unwrap();
    receive(&mut part, 3);
    part.start_over(&fingerprint(2)).unwrap();
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
        ("file.part", |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(9)
                .unwrap()
        }),
        ("file.part.journal", |path| {
            fs::write(path, b"torn").unwrap()
        }),
        ("file.part.journal", |path| fs::remove_file(path).unwrap()),
        ("file.part.meta", |path| fs::write(path, b"").unwrap()),
        ("file.part.meta", |path| {
            write_meta(path, &fingerprint(9)).unwrap()
        }),
    ];
    for (name, spoil) in spoil {
        let (mut part, _) = Part::find(&target).unwrap();
        part.start_over(&fingerprint(1)).unwrap();
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
    assert!(matches!(
        Part::find(&target),
        Err(TransferError::ForeignPart { .. })
    ));
    fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &part).unwrap();
    assert!(matches!(
        Part::find(&target),
        Err(TransferError::ForeignPart { .. })
    ));
    fs::remove_file(&part).unwrap();

    let (mut ours, _) = Part::find(&target).unwrap();
    ours.start_over(&fingerprint(1)).unwrap();
    assert!(
        matches!(Part::find(&target), Err(TransferError::Busy { .. })),
        "one at a time"
    );
    fs::write(&target, b"appeared meanwhile").unwrap();
    assert!(matches!(
        ours.commit(&entry(), false),
        Err(TransferError::Exists { .. })
    ));
    let (ours, _) = Part::find(&target).unwrap();
    assert!(ours.commit(&entry(), true).unwrap(), "replaced by force");
}

#[test]
fn the_longest_names_have_parts_too() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "x".repeat(255),
        "ä".repeat(127),
        "x".repeat(243),
        "x".repeat(242),
    ] {
        let target = dir.path().join(&name);
        let (mut part, _) = Part::find(&target).unwrap();
        part.start_over(&fingerprint(1)).unwrap();
        assert!(
            names_in(dir.path())
                .iter()
                .all(|name| !name.contains('\u{fffd}'))
        );
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
    part.check_room(1).unwrap();
    assert!(matches!(
        part.check_room(u64::MAX),
        Err(TransferError::NoRoom { .. })
    ));
}

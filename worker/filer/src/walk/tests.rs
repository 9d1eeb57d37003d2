//! Trees of every shape, walked for real.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use berth_common::ledger_protocol::StagingSync;

use super::*;

fn staging(directory: &Path) -> Arc<Staging> {
    Arc::new(Staging::new(fs::File::open(directory).unwrap(), StagingSync::FileSystem).unwrap())
}

/// A chain of `depth` directories below `top`, each with a file of one byte, made from the bottom up so
/// that no path gets too long.
fn chain(directory: &Path, top: &str, depth: usize) {
    let (one, other) = (directory.join("one"), directory.join("other"));
    fs::create_dir(&one).unwrap();
    fs::write(one.join("file"), b"x").unwrap();
    for _ in 1..depth {
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), b"x").unwrap();
        fs::rename(&one, other.join("below")).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    fs::rename(&one, directory.join(top)).unwrap();
}

#[test]
fn a_tree_deeper_than_a_walk_has_directories_open_is_counted_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    for depth in [1, 2, MAX_LEVELS - 1, MAX_LEVELS, MAX_LEVELS + 1, 3 * MAX_LEVELS, 300] {
        chain(directory.path(), "tree", depth);
        // Names that a lifted directory could take, one of them a file.
        fs::create_dir(directory.path().join("tree/lifted-0")).unwrap();
        fs::write(directory.path().join("tree/lifted-2"), b"123").unwrap();
        let staging = staging(directory.path());
        let expected = Totals { bytes: depth as u64 + 3, entries: 2 * depth as u64 + 2 };
        for _ in 0..2 {
            // A second count finds some lifted already.
            let counted = Walk::counting(Arc::clone(&staging), "tree").finish(|| ()).unwrap();
            assert_eq!(counted, expected, "depth {depth}");
        }
        Walk::removing(Arc::clone(&staging), "tree").finish(|| ()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "depth {depth}");
    }
}

#[test]
fn a_deep_tree_can_be_removed_without_having_been_counted() {
    let directory = tempfile::tempdir().unwrap();
    chain(directory.path(), "tree", 150);
    Walk::removing(staging(directory.path()), "tree").finish(|| ()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_wide_directory_is_walked_in_slices() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("tree")).unwrap();
    for n in 0..2000 {
        fs::write(directory.path().join(format!("tree/{n}")), b"ab").unwrap();
    }
    let staging = staging(directory.path());
    let mut walk = Walk::counting(Arc::clone(&staging), "tree");
    let mut slices = 1;
    let counted = loop {
        match walk.slice() {
            Poll::Pending => slices += 1,
            Poll::Ready(result) => break result.unwrap(),
        }
    };
    assert_eq!(counted, Totals { bytes: 4000, entries: 2001 });
    assert!(slices >= 2000 / SLICE, "{slices}");
    Walk::removing(staging, "tree").finish(|| ()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn other_objects_are_one_entry_and_no_bytes_and_no_link_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), b"outside").unwrap();
    fs::create_dir(directory.path().join("tree")).unwrap();
    symlink(outside.path(), directory.path().join("tree/link")).unwrap();
    symlink(outside.path(), directory.path().join("alone")).unwrap();
    let staging = staging(directory.path());
    let count = |name| Walk::counting(Arc::clone(&staging), name).finish(|| ()).unwrap();
    assert_eq!(count("tree"), Totals { bytes: 0, entries: 2 });
    assert_eq!(count("alone"), Totals { bytes: 0, entries: 1 });
    assert_eq!(count("nothing"), Totals::default());
    for name in ["tree", "alone", "nothing"] {
        Walk::removing(Arc::clone(&staging), name).finish(|| ()).unwrap();
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(outside.path().join("file").exists());
}

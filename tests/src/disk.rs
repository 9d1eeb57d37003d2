//! What stands on the server's disk, seen from beside the server: homes, staging, journals.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a directory holds, itself not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// `st_size` of the regular files, once for each name.
    pub bytes: u64,
    /// Everything below it.
    pub entries: u64,
}

/// Walks a directory. Symbolic links count as entries and are not followed. What vanishes
/// meanwhile is not counted, so that a home can be watched while it changes.
#[must_use]
pub fn walk(directory: &Path) -> Sums {
    let mut sums = Sums::default();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(read) = fs::read_dir(&directory) else {
            continue;
        };
        for path in read.flatten().map(|entry| entry.path()) {
            let Ok(stat) = path.symlink_metadata() else {
                continue;
            };
            sums.entries += 1;
            if stat.is_file() {
                sums.bytes += stat.size();
            } else if stat.is_dir() {
                waiting.push(path);
            }
        }
    }
    sums
}

/// What stands directly in a directory, sorted.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let read =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The journals in a directory: those of staging, or of a directory with `.part` files.
#[must_use]
pub fn journals(directory: &Path) -> Vec<PathBuf> {
    let Ok(read) = fs::read_dir(directory) else {
        return Vec::new();
    };
    read.flatten().map(|entry| entry.path()).filter(|path| journal_leaves(path).is_some()).collect()
}

/// How many whole leaves a journal has; `None` when the file is no journal (any more).
#[must_use]
pub fn journal_leaves(path: &Path) -> Option<u64> {
    /// Bytes before the first leaf's MD5 (see `berth_common::journal`).
    const HEADER: u64 = 192;
    use std::io::Read;
    let mut file = fs::File::open(path).ok()?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic).ok()?;
    let size = file.metadata().ok()?.len();
    (&magic == b"berthjnl").then(|| size.saturating_sub(HEADER) / 16)
}

/// The leaves of the only journal in a directory, 0 while there is none.
///
/// # Panics
/// When there are several.
#[must_use]
pub fn only_journal_leaves(directory: &Path) -> u64 {
    let found = journals(directory);
    assert!(found.len() <= 1, "several journals: {found:?}");
    found.first().and_then(|path| journal_leaves(path)).unwrap_or(0)
}

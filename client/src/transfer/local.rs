//! Small things about local files that puts and gets share.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use berth_common::digest::{self, Md5, Md5Stream, TreeDigest};
use berth_common::entry::SourceFingerprint;
use berth_common::journal::read_up_to;
use berth_common::limits::BLOCK_SIZE;
use rustix::fs::OFlags;

use super::source::fingerprint;

/// Seconds and nanoseconds as one number; times beyond the year 2262 become the last one.
#[must_use]
pub fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Undoes [`nanoseconds`], also for times before 1970.
pub(super) fn timespec(nanoseconds: i64) -> rustix::fs::Timespec {
    rustix::fs::Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    }
}

/// Both digests of a local file: as a tree, and plain. Blocks for as long as reading takes.
pub(super) fn digests(path: &Path) -> io::Result<(Md5, Md5)> {
    let file = File::open(path)?;
    let mut block = vec![0; BLOCK_SIZE];
    let (mut tree, mut plain) = (TreeDigest::new(), Md5Stream::new());
    let mut offset = 0;
    loop {
        let read = read_up_to(&file, &mut block, offset)?;
        tree.extend(&digest::leaves(&block[..read]));
        plain.update(&block[..read]);
        offset += read as u64;
        if read < block.len() {
            return Ok((tree.finish(), plain.finish()));
        }
    }
}

/// The digest of a local file as a tree. Blocks for as long as reading takes.
///
/// # Errors
/// What the operating system says.
pub fn tree_digest(path: &Path) -> io::Result<Md5> {
    digests(path).map(|(tree, _)| tree)
}

/// Whether the file that was looked at is still the same and has this tree digest. Blocks for as long as reading takes;
/// what cannot be read has not.
#[must_use]
pub fn has_digest(path: &Path, looked_at: &SourceFingerprint, digest: Md5) -> bool {
    let is_unchanged = |file: &File| {
        file.metadata().is_ok_and(|found| found.is_file() && fingerprint(&found) == *looked_at)
    };
    let flags = OFlags::NONBLOCK.bits() as i32;
    let Ok(file) = File::options().read(true).custom_flags(flags).open(path) else {
        return false;
    };
    if !is_unchanged(&file) {
        return false;
    }
    let size = usize::try_from(looked_at.size).unwrap_or(usize::MAX).clamp(1, BLOCK_SIZE);
    let mut block = vec![0; size];
    let mut tree = TreeDigest::new();
    let mut offset = 0;
    while offset < looked_at.size {
        match read_up_to(&file, &mut block, offset) {
            Ok(read) if read > 0 => {
                tree.extend(&digest::leaves(&block[..read]));
                offset += read as u64;
            }
            Ok(_) | Err(_) => return false,
        }
    }
    tree.finish() == digest && is_unchanged(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_a_local_file_are_those_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, 2 * BLOCK_SIZE + 7] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let tree = TreeDigest::resume(&digest::leaves(&bytes)).finish();
            assert_eq!(digests(&path).unwrap(), (tree, Md5::of(&bytes)), "{len}");
            let looked_at = fingerprint(&path.metadata().unwrap());
            assert!(has_digest(&path, &looked_at, tree), "{len}");
            assert!(!has_digest(&path, &looked_at, Md5::from_bytes([7; 16])));
            let changed = SourceFingerprint { mtime_ns: 1, ..looked_at };
            assert!(!has_digest(&path, &changed, tree) && !has_digest(dir.path(), &changed, tree));
        }
    }

    #[test]
    fn times_before_1970_round_trip() {
        for ns in [0, -1, 1, -1_000_000_001, i64::MIN, i64::MAX] {
            let spec = timespec(ns);
            assert!((0..1_000_000_000).contains(&spec.tv_nsec));
            assert_eq!(
                i128::from(spec.tv_sec) * 1_000_000_000 + i128::from(spec.tv_nsec),
                ns.into()
            );
        }
    }
}

//! Makes files without a name durable together, and gives them their names.

use std::collections::HashMap;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::super::small_get::SmallGot;
use super::super::{GetReport, TransferError, Tried};
use super::Written;
use super::writing::{Piece, Unnamed};

/// So many files are synced each by itself; of more the whole file system is.
const FEW: usize = 4;

/// Places what was written and tells who waits.
pub(super) fn place(all: Vec<Written>) {
    let unnamed = all.iter().flat_map(|written| &written.pieces).filter_map(Piece::unnamed);
    let synced = sync(&unnamed.collect::<Vec<_>>());
    let mut groups = Vec::with_capacity(all.len());
    for Written { pieces, begun, stored } in all {
        let named = pieces.into_iter().map(|piece| match (piece, synced) {
            (Piece::Unnamed(unnamed), Ok(())) => name(unnamed),
            (Piece::Unnamed(unnamed), Err(error)) => {
                let failed = TransferError::local(Tried::Write, &unnamed.job.local)(error);
                Piece::failed(unnamed.job, failed)
            }
            (over @ Piece::Over(_), _) => over,
        });
        groups.push((named.collect::<Vec<_>>(), begun, stored));
    }
    // A name that may be gone after a power cut is not told to be there.
    let mut kept: HashMap<&Path, Result<(), Errno>> = HashMap::new();
    for unnamed in groups.iter().flat_map(|(pieces, ..)| pieces).filter_map(Piece::unnamed) {
        let directory = &unnamed.directory;
        kept.entry(&directory.path).or_insert_with(|| rustix::fs::fsync(&directory.file));
    }
    let kept: HashMap<_, _> =
        kept.into_iter().map(|(path, synced)| (path.to_owned(), synced)).collect();
    for (pieces, begun, stored) in groups {
        let ended = pieces.into_iter().map(|piece| match piece {
            Piece::Over(got) => got,
            Piece::Unnamed(Unnamed { job, directory, size, md5, .. }) => {
                let result = match kept.get(&directory.path) {
                    Some(Err(error)) => {
                        Err(TransferError::local(Tried::Write, &directory.path)(*error))
                    }
                    _ => Ok(GetReport {
                        size,
                        digest: Some(md5),
                        resumed_leaves: 0,
                        moved_leaves: u64::from(size > 0),
                        started_over: false,
                        replaced: false,
                        unchanged: false,
                        elapsed: begun.elapsed(),
                    }),
                };
                SmallGot::Ended(job, result)
            }
        });
        // Whoever asked may have gone.
        let _ = stored.send(ended.collect());
    }
}

/// Makes the files durable before they have a name.
fn sync(files: &[&Unnamed]) -> Result<(), Errno> {
    if files.len() <= FEW {
        return sync_each(files);
    }
    sync_many(files)
}

fn sync_each(files: &[&Unnamed]) -> Result<(), Errno> {
    files.iter().try_for_each(|unnamed| rustix::fs::fsync(&unnamed.file))
}

#[cfg(target_os = "linux")]
fn sync_many(files: &[&Unnamed]) -> Result<(), Errno> {
    if !syncfs_tells_of_failures() {
        return sync_each(files);
    }
    let file_systems: HashMap<_, &Unnamed> =
        files.iter().map(|unnamed| (unnamed.directory.device, *unnamed)).collect();
    file_systems.values().try_for_each(|unnamed| rustix::fs::syncfs(&unnamed.file))
}

#[cfg(not(target_os = "linux"))]
fn sync_many(files: &[&Unnamed]) -> Result<(), Errno> {
    sync_each(files)
}

/// Since Linux 5.8 (syncfs(2)).
#[cfg(target_os = "linux")]
fn syncfs_tells_of_failures() -> bool {
    let uname = rustix::system::uname();
    is_at_least(&uname.release().to_string_lossy(), (5, 8))
}

#[cfg(target_os = "linux")]
fn is_at_least(release: &str, least: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= least)
}

/// Gives a file its name, where nothing stands meanwhile.
fn name(unnamed: Unnamed) -> Piece {
    let own = format!("/proc/self/fd/{}", unnamed.file.as_raw_fd());
    let target = unnamed.job.local.file_name().unwrap_or_default();
    let directory = &unnamed.directory.file;
    match rustix::fs::linkat(CWD, own, directory, target, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Piece::Unnamed(unnamed),
        // What stands there now is looked at by a get of its own; and so is a system without /proc.
        Err(_) => Piece::Over(SmallGot::Alone(unnamed.job)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_kernel_is_told_from_an_older_one() {
        for (release, is_it) in [
            ("5.8.0", true),
            ("5.10-amd64", true),
            ("6.1.0-13-cloud", true),
            ("5.7.19", false),
            ("4.18.0-553.el8", false),
            ("strange", false),
        ] {
            assert_eq!(is_at_least(release, (5, 8)), is_it, "{release}");
        }
    }
}

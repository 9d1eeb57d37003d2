//! Checks small files that have come, and writes them to files without a name.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_common::batch::GetResult;
use berth_common::digest::{self, Md5};
use berth_common::entry::Entry;
use rustix::fs::{CWD, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::super::local::timespec;
use super::super::small_get::SmallGot;
use super::super::{GetJob, TransferError, Tried};

/// A file that is written and has no name yet.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) job: GetJob,
    pub(super) file: File,
    pub(super) directory: Arc<Directory>,
    pub(super) size: u64,
    pub(super) md5: Md5,
}

/// A file on its way to its place.
pub(super) enum Piece {
    Over(SmallGot),
    Unnamed(Unnamed),
}

impl Piece {
    pub(super) fn unnamed(&self) -> Option<&Unnamed> {
        match self {
            Self::Unnamed(unnamed) => Some(unnamed),
            Self::Over(_) => None,
        }
    }

    pub(super) fn failed(job: GetJob, error: TransferError) -> Self {
        Self::Over(SmallGot::Ended(job, Err(error)))
    }
}

/// A directory that files are to appear in.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) file: OwnedFd,
    /// Its file system, which is synced as a whole.
    #[cfg(target_os = "linux")]
    pub(super) device: rustix::fs::Dev,
}

/// The directories of files that have come together, each opened once.
#[derive(Default)]
struct Directories(HashMap<PathBuf, Arc<Directory>>);

impl Directories {
    fn of(&mut self, target: &Path) -> Result<Arc<Directory>, Errno> {
        let path = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if let Some(directory) = self.0.get(path) {
            return Ok(Arc::clone(directory));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let directory = Arc::new(Directory {
            path: path.to_owned(),
            #[cfg(target_os = "linux")]
            device: rustix::fs::fstat(&file)?.st_dev,
            file,
        });
        self.0.insert(path.to_owned(), Arc::clone(&directory));
        Ok(directory)
    }
}

/// Checks what has come and writes it to files without a name.
pub(super) fn written(files: Vec<(GetJob, GetResult)>, cannot: &AtomicBool) -> Vec<Piece> {
    let mut directories = Directories::default();
    let contents: Vec<&[u8]> = files
        .iter()
        .filter_map(|(_, got)| match got {
            GetResult::File { content, .. } => Some(&content[..]),
            GetResult::TooLarge | GetResult::Failed(_) => None,
        })
        .collect();
    let mut digests = digest::of_each(&contents).into_iter();
    let mut piece = |(job, got)| match got {
        GetResult::File { entry, content, md5 } => {
            // Damaged on the way, or cut off: it is asked for again.
            if digests.next() != Some(md5) || entry.size != content.len() as u64 {
                return Piece::Over(SmallGot::Alone(job));
            }
            write(job, &entry, &content, md5, &mut directories, cannot)
        }
        GetResult::TooLarge => Piece::Over(SmallGot::Alone(job)),
        GetResult::Failed(error) => Piece::failed(job, TransferError::Server(error)),
    };
    files.into_iter().map(&mut piece).collect()
}

fn write(
    job: GetJob,
    entry: &Entry,
    content: &[u8],
    md5: Md5,
    directories: &mut Directories,
    cannot: &AtomicBool,
) -> Piece {
    // Whatever it is that does not work here, a get of its own finds out and says.
    let Ok(directory) = directories.of(&job.local) else {
        return Piece::Over(SmallGot::Alone(job));
    };
    let file = match unnamed_in(&directory.file) {
        Ok(file) => file,
        Err(error) => {
            if matches!(error, Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) {
                cannot.store(true, Ordering::Relaxed);
            }
            return Piece::Over(SmallGot::Alone(job));
        }
    };
    let mut file = File::from(file);
    let filled = file.write_all(content).and_then(|()| {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: timespec(entry.mtime_ns),
        };
        rustix::fs::futimens(&file, &times)?;
        let mode = Mode::from_raw_mode(RawMode::from(entry.mode & 0o777));
        Ok(rustix::fs::fchmod(&file, mode)?)
    });
    match filled {
        Ok(()) => Piece::Unnamed(Unnamed { job, file, directory, size: entry.size, md5 }),
        Err(error) => {
            let failed = TransferError::local(Tried::Write, &job.local)(error);
            Piece::failed(job, failed)
        }
    }
}

/// A file without a name, in this directory's file system.
#[cfg(target_os = "linux")]
fn unnamed_in(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)
}

#[cfg(not(target_os = "linux"))]
fn unnamed_in(_: &OwnedFd) -> Result<OwnedFd, Errno> {
    Err(Errno::OPNOTSUPP)
}

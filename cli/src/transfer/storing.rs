//! Stores small files that have come together, with few syncs.
//!
//! Each is written to a file without a name, checked before, and gets its name when it is on the disk: so it
//! appears whole or not at all, and nothing is left of it when that is cut off. One thread stores what has come
//! meanwhile together. Where the system has no such files, or something stands at a name meanwhile, a file is left
//! to a get of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use berth_common::batch::GetResult;
use berth_common::digest::{self, Md5};
use berth_common::entry::Entry;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use super::local::timespec;
use super::small_get::SmallGot;
use super::{GetJob, GetReport, TransferError};

/// So many files are synced each by itself; of more the whole file system is.
const FEW: usize = 4;

/// Files after which no more are stored together.
const MOST_TOGETHER: usize = 256;

/// Files that have come together, and who waits until they are stored.
struct Come {
    files: Vec<(GetJob, GetResult)>,
    begun: Instant,
    stored: oneshot::Sender<Vec<SmallGot>>,
}

/// The thread that stores. It ends when this is dropped and all is stored.
#[derive(Debug)]
pub struct Storing {
    queue: mpsc::UnboundedSender<Come>,
    cannot: Arc<AtomicBool>,
}

impl Storing {
    /// Starts the thread. Needs a tokio runtime.
    #[must_use]
    pub fn start() -> Self {
        let (queue, mut come) = mpsc::unbounded_channel::<Come>();
        let cannot = Arc::<AtomicBool>::default();
        let own = Arc::clone(&cannot);
        tokio::task::spawn_blocking(move || {
            while let Some(first) = come.blocking_recv() {
                let mut all = vec![first];
                let mut files = all[0].files.len();
                while files < MOST_TOGETHER
                    && let Ok(more) = come.try_recv()
                {
                    files += more.files.len();
                    all.push(more);
                }
                store(all, &own);
            }
        });
        Self { queue, cannot }
    }

    /// Whether it has met a system that has no files without a name, so that nothing should be got for it.
    pub(super) fn cannot(&self) -> bool {
        self.cannot.load(Ordering::Relaxed)
    }

    pub(super) async fn store(
        &self,
        jobs: Vec<GetJob>,
        files: Vec<GetResult>,
        begun: Instant,
    ) -> Vec<SmallGot> {
        let (stored, result) = oneshot::channel();
        let files = jobs.into_iter().zip(files).collect();
        let _ = self.queue.send(Come { files, begun, stored });
        // Without an answer the runtime is going down.
        result.await.unwrap_or_default()
    }
}

/// A file that is written and has no name yet.
struct Unnamed {
    job: GetJob,
    file: File,
    directory: usize,
    size: u64,
    md5: Md5,
}

/// A file on its way to its place.
enum Piece {
    Over(SmallGot),
    Unnamed(Unnamed),
}

impl Piece {
    fn failed(job: GetJob, error: TransferError) -> Self {
        Self::Over(SmallGot::Ended(job, Err(error)))
    }
}

/// The directories of files that are stored together, each opened once.
#[derive(Default)]
struct Directories {
    open: Vec<Directory>,
    by_path: HashMap<PathBuf, usize>,
}

struct Directory {
    path: PathBuf,
    file: OwnedFd,
    /// Its file system.
    device: u64,
}

impl Directories {
    fn of(&mut self, target: &Path) -> Result<usize, Errno> {
        let path = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if let Some(index) = self.by_path.get(path) {
            return Ok(*index);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let device = rustix::fs::fstat(&file)?.st_dev;
        self.open.push(Directory { path: path.to_owned(), file, device });
        self.by_path.insert(path.to_owned(), self.open.len() - 1);
        Ok(self.open.len() - 1)
    }

    /// One directory of each file system.
    #[cfg(target_os = "linux")]
    fn file_systems(&self) -> impl Iterator<Item = &OwnedFd> {
        let is_first = |(index, directory): &(usize, &Directory)| {
            !self.open[..*index].iter().any(|before| before.device == directory.device)
        };
        self.open.iter().enumerate().filter(is_first).map(|(_, directory)| &directory.file)
    }
}

/// Stores what has come and tells who waits.
fn store(all: Vec<Come>, cannot: &AtomicBool) {
    let mut directories = Directories::default();
    let mut groups = Vec::with_capacity(all.len());
    for Come { files, begun, stored } in all {
        groups.push((written(files, &mut directories, cannot), begun, stored));
    }
    let unnamed = groups.iter().flat_map(|(pieces, ..)| pieces).filter_map(|piece| match piece {
        Piece::Unnamed(unnamed) => Some(&unnamed.file),
        Piece::Over(_) => None,
    });
    let synced = sync(&unnamed.collect::<Vec<_>>(), &directories);
    let named: Vec<_> = groups
        .into_iter()
        .map(|(pieces, begun, stored)| {
            let named = pieces.into_iter().map(|piece| match (piece, &synced) {
                (Piece::Unnamed(unnamed), Ok(())) => name(unnamed, &directories),
                (Piece::Unnamed(unnamed), Err(error)) => {
                    let failed = TransferError::local("cannot write", &unnamed.job.local)(*error);
                    Piece::failed(unnamed.job, failed)
                }
                (over @ Piece::Over(_), _) => over,
            });
            (named.collect::<Vec<_>>(), begun, stored)
        })
        .collect();
    // A name that may be gone after a power cut is not told to be there.
    let kept: Vec<Result<(), Errno>> =
        directories.open.iter().map(|directory| rustix::fs::fsync(&directory.file)).collect();
    for (pieces, begun, stored) in named {
        let ended = pieces.into_iter().map(|piece| match piece {
            Piece::Over(got) => got,
            Piece::Unnamed(Unnamed { job, directory, size, md5, .. }) => match kept[directory] {
                Ok(()) => {
                    let report = GetReport {
                        size,
                        digest: Some(md5),
                        resumed_leaves: 0,
                        moved_leaves: u64::from(size > 0),
                        started_over: false,
                        replaced: false,
                        unchanged: false,
                        elapsed: begun.elapsed(),
                    };
                    SmallGot::Ended(job, Ok(report))
                }
                Err(error) => {
                    let path = &directories.open[directory].path;
                    let failed = TransferError::local("cannot write", path)(error);
                    SmallGot::Ended(job, Err(failed))
                }
            },
        });
        // Whoever asked may have gone.
        let _ = stored.send(ended.collect());
    }
}

/// Checks what has come and writes it to files without a name.
fn written(
    files: Vec<(GetJob, GetResult)>,
    directories: &mut Directories,
    cannot: &AtomicBool,
) -> Vec<Piece> {
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
            write(job, &entry, &content, md5, directories, cannot)
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
    let file = match unnamed_in(&directories.open[directory].file) {
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
        let mode = Mode::from_raw_mode(u32::from(entry.mode & 0o777));
        Ok(rustix::fs::fchmod(&file, mode)?)
    });
    match filled {
        Ok(()) => Piece::Unnamed(Unnamed { job, file, directory, size: entry.size, md5 }),
        Err(error) => {
            let failed = TransferError::local("cannot write", &job.local)(error);
            Piece::failed(job, failed)
        }
    }
}

/// Makes the files durable before they have a name.
fn sync(files: &[&File], directories: &Directories) -> Result<(), Errno> {
    if files.len() <= FEW {
        return files.iter().try_for_each(rustix::fs::fsync);
    }
    sync_many(files, directories)
}

#[cfg(target_os = "linux")]
fn sync_many(files: &[&File], directories: &Directories) -> Result<(), Errno> {
    if !syncfs_tells_of_failures() {
        return files.iter().try_for_each(rustix::fs::fsync);
    }
    directories.file_systems().try_for_each(rustix::fs::syncfs)
}

#[cfg(not(target_os = "linux"))]
fn sync_many(files: &[&File], _: &Directories) -> Result<(), Errno> {
    files.iter().try_for_each(rustix::fs::fsync)
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

/// Gives a file its name, where nothing stands meanwhile.
fn name(unnamed: Unnamed, directories: &Directories) -> Piece {
    let directory = &directories.open[unnamed.directory].file;
    let own = format!("/proc/self/fd/{}", unnamed.file.as_raw_fd());
    let target = unnamed.job.local.file_name().unwrap_or_default();
    match rustix::fs::linkat(CWD, own, directory, target, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Piece::Unnamed(unnamed),
        // What stands there now is looked at by a get of its own; and so is a system without /proc.
        Err(_) => Piece::Over(SmallGot::Alone(unnamed.job)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use berth_common::entry::EntryKind;
    use berth_common::error_code::ErrorCode;
    use berth_common::rel_path::RelPath;

    use super::*;

    fn job(local: PathBuf) -> GetJob {
        GetJob { remote: RelPath::new("a").unwrap(), local, force: false }
    }

    fn file(content: &[u8]) -> GetResult {
        let entry = Entry {
            name: "a".into(),
            kind: EntryKind::File,
            size: content.len() as u64,
            mtime_ns: 1_600_000_000_000_000_123,
            mode: 0o640,
            digest: None,
        };
        GetResult::File { entry, content: content.to_vec(), md5: Md5::of(content) }
    }

    async fn stored(files: Vec<(GetJob, GetResult)>) -> Vec<SmallGot> {
        let (jobs, files) = files.into_iter().unzip();
        Storing::start().store(jobs, files, Instant::now()).await
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn files_appear_whole_with_their_time_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for count in [1, 3, 20] {
            let files = (0..count).map(|n| {
                let name =
                    if n % 2 == 0 { format!("{count}-{n}") } else { format!("d/{count}-{n}") };
                (job(dir.path().join(name)), file(&vec![n as u8; n * 100]))
            });
            for (n, got) in stored(files.collect()).await.into_iter().enumerate() {
                let SmallGot::Ended(job, Ok(report)) = got else { panic!("{got:?}") };
                let bytes = vec![n as u8; n * 100];
                assert_eq!(fs::read(&job.local).unwrap(), bytes);
                assert_eq!(
                    (report.size, report.digest),
                    (bytes.len() as u64, Some(Md5::of(&bytes)))
                );
                let found = fs::metadata(&job.local).unwrap();
                assert_eq!((found.mtime(), found.mtime_nsec()), (1_600_000_000, 123));
                assert_eq!((found.mode() & 0o7777, found.nlink()), (0o640, 1));
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_what_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("there"), b"mine").unwrap();
        let GetResult::File { entry, content, .. } = file(b"bytes") else { panic!() };
        let damaged = GetResult::File {
            entry: entry.clone(),
            content: b"bites".to_vec(),
            md5: Md5::of(&content),
        };
        let cut = GetResult::File { entry, content: b"b".to_vec(), md5: Md5::of(b"b") };
        let got = stored(vec![
            (job(path("damaged")), damaged),
            (job(path("cut")), cut),
            (job(path("large")), GetResult::TooLarge),
            (job(path("there")), file(b"other")),
            (job(path("gone")), GetResult::Failed(ErrorCode::NotFound)),
            (job(path("none/x")), file(b"x")),
            (job(path("good")), file(b"good")),
        ])
        .await;
        let words: Vec<&str> = got
            .iter()
            .map(|got| match got {
                SmallGot::Alone(_) => "alone",
                SmallGot::Ended(_, Ok(_)) => "stored",
                SmallGot::Ended(_, Err(_)) => "failed",
            })
            .collect();
        let expected = ["alone", "alone", "alone", "alone", "failed", "alone", "stored"];
        assert_eq!(words, expected);
        assert_eq!(names(dir.path()), ["good", "there"]);
        assert_eq!(fs::read(path("there")).unwrap(), b"mine");
    }

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

//! Stores small files that have come together, with few syncs.
//!
//! Each is written to a file without a name, checked before, and gets its name when it is on the disk: so it
//! appears whole or not at all, and nothing is left of it when that is cut off. One thread stores what has come
//! meanwhile together. Where the system has no such files, or something stands at a name meanwhile, a file is left
//! to a get of its own.

mod placing;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use berth_common::batch::GetResult;
use tokio::sync::{mpsc, oneshot};

use super::GetJob;
use super::small_get::SmallGot;
use writing::Piece;

/// Files after which no more are stored together.
const MOST_TOGETHER: usize = 256;

/// Files that have come together, and who waits until they are stored.
struct Come {
    files: Vec<(GetJob, GetResult)>,
    begun: Instant,
    stored: oneshot::Sender<Vec<SmallGot>>,
}

/// The same, written to files without a name.
struct Written {
    pieces: Vec<Piece>,
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
        let (queue, mut coming) = mpsc::unbounded_channel::<Come>();
        let cannot = Arc::<AtomicBool>::default();
        let own = Arc::clone(&cannot);
        tokio::task::spawn_blocking(move || {
            while let Some(first) = coming.blocking_recv() {
                let mut files = 0;
                let mut next = Some(first);
                let mut all = Vec::new();
                while let Some(Come { files: come, begun, stored }) = next {
                    files += come.len();
                    all.push(Written { pieces: writing::written(come, &own), begun, stored });
                    next = if files < MOST_TOGETHER { coming.try_recv().ok() } else { None };
                }
                placing::place(all);
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use berth_common::digest::Md5;
    use berth_common::entry::{Entry, EntryKind};
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
            note: None,
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
}

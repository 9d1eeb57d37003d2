//! Small files on their way to the home: read whole, and put many in one message.
//!
//! What stands in memory was the file at one moment: its fingerprint is the same before the first byte and after
//! the last. What changes meanwhile, or cannot be read, is left to a put of its own, which says why it fails.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use berth_common::batch::{FILE_BYTES, PutResult, Room, SmallPut};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::Usage;
use berth_common::error_code::ErrorCode;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;

use super::source::fingerprint;
use crate::connection::ConnectionError;
use crate::session::{RequestError, Session};

/// A small file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallFile {
    content: Vec<u8>,
    mtime_ns: i64,
    mode: u16,
}

impl SmallFile {
    /// Reads an open file, if it is a small regular one that holds still. Blocks for a moment.
    #[must_use]
    pub fn read(file: &File) -> Option<Self> {
        let before = file.metadata().ok()?;
        let size = usize::try_from(before.len()).ok().filter(|size| *size <= FILE_BYTES)?;
        if !before.is_file() {
            return None;
        }
        let mut content = vec![0; size];
        file.read_exact_at(&mut content, 0).ok()?;
        let fingerprint_before = fingerprint(&before);
        if fingerprint(&file.metadata().ok()?) != fingerprint_before {
            return None;
        }
        let mode = (before.mode() & 0o777) as u16;
        Some(Self { content, mtime_ns: fingerprint_before.mtime_ns, mode })
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len()
    }
}

/// What is known of the place where a file is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing was known to stand there a moment ago. The server need not look before it takes the file, and the file
    /// is sent again if something has come there since.
    Free,
    /// Anything.
    Unknown,
}

/// Files that are put in one message.
#[derive(Debug, Default)]
pub struct SmallPuts {
    files: Vec<(RelPath, SmallFile, Place)>,
    room: Room,
    note: NoteChange,
}

impl SmallPuts {
    /// None yet; what becomes of the notes of those that are added.
    #[must_use]
    pub fn noting(note: NoteChange) -> Self {
        Self { note, ..Self::default() }
    }

    /// Takes a file in; gives it back when there is no room for it beside the others. Where there are no others, there
    /// is.
    ///
    /// # Errors
    /// The file.
    pub fn add(
        &mut self,
        remote: RelPath,
        file: SmallFile,
        place: Place,
    ) -> Result<(), (RelPath, SmallFile)> {
        if !self.room.take_noted(remote.as_str(), file.content.len() as u64, &self.note) {
            return Err((remote, file));
        }
        self.files.push((remote, file, place));
        Ok(())
    }

    /// Whether it has no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Puts them. For each, in the order in which they were added, its digest and what came of it; and limits and
    /// usage afterwards, if any was put. What was damaged on its way is sent once more, and so is what may be
    /// overwritten where a place was not free.
    ///
    /// # Errors
    /// Why nothing is known of any of them.
    ///
    /// # Cancel safety
    /// Dropping it leaves open which of them are put; each is, whole, or is not.
    pub async fn put(
        self,
        session: &Session,
        overwrite: bool,
    ) -> Result<(Vec<(Md5, PutResult)>, Option<Usage>), RequestError> {
        let contents: Vec<&[u8]> =
            self.files.iter().map(|(_, file, _)| &file.content[..]).collect();
        let digests = digest::of_each(&contents);
        let files: Vec<SmallPut> = self
            .files
            .into_iter()
            .zip(&digests)
            .map(|((path, file, place), md5)| {
                let SmallFile { content, mtime_ns, mode } = file;
                let note = self.note.clone();
                let overwrite = overwrite && place == Place::Unknown;
                SmallPut { path, content, md5: *md5, mtime_ns, mode, overwrite, note }
            })
            .collect();
        let (files, mut results, mut usage) = send(session, files).await?;
        let again: Vec<usize> = (0..results.len())
            .filter(|index| is_sent_again(&files[*index], &results[*index], overwrite))
            .collect();
        if !again.is_empty() {
            let file = |index: &usize| SmallPut { overwrite, ..files[*index].clone() };
            let (_, second, now) = send(session, again.iter().map(file).collect()).await?;
            usage = now.or(usage);
            for (index, result) in again.into_iter().zip(second) {
                results[index] = result;
            }
        }
        Ok((digests.into_iter().zip(results).collect(), usage))
    }
}

/// Whether a second try may end better: the file was damaged on its way, or what stands there unexpectedly may be
/// overwritten.
fn is_sent_again(file: &SmallPut, result: &PutResult, overwrite: bool) -> bool {
    match result {
        PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 }) => true,
        PutResult::Failed(ErrorCode::AlreadyExists) => overwrite && !file.overwrite,
        PutResult::Failed(_) | PutResult::Done { .. } => false,
    }
}

/// What was sent, what came of each file, and the usage.
type Sent = (Vec<SmallPut>, Vec<PutResult>, Option<Usage>);

async fn send(session: &Session, files: Vec<SmallPut>) -> Result<Sent, RequestError> {
    let mut exchange = session.exchange();
    let message = ClientToWorker::PutFiles { id: exchange.id, files };
    exchange.send(&message).await?;
    match (exchange.message().await?, message) {
        (
            WorkerToClient::FilesPut { results, usage, .. },
            ClientToWorker::PutFiles { files, .. },
        ) if results.len() == files.len() => Ok((files, results, usage)),
        _ => Err(ConnectionError::unexpected("answer to a batch").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_read_whole_and_a_larger_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (size, is_small) in [(0, true), (5, true), (FILE_BYTES, true), (FILE_BYTES + 1, false)]
        {
            let bytes = vec![7; size];
            std::fs::write(&path, &bytes).unwrap();
            let read = SmallFile::read(&File::open(&path).unwrap());
            assert_eq!(read.is_some(), is_small, "{size}");
            assert!(read.is_none_or(|file| file.content == bytes && file.size() == size));
        }
        assert_eq!(SmallFile::read(&File::open(dir.path()).unwrap()), None);
        assert_eq!(SmallFile::read(&File::open("/dev/null").unwrap()), None);
    }

    #[test]
    fn what_does_not_fit_is_given_back() {
        let file = |size| SmallFile { content: vec![1; size], mtime_ns: 0, mode: 0o600 };
        let path = || RelPath::new("a").unwrap();
        let mut puts = SmallPuts::default();
        assert!(puts.is_empty());
        let mut add = |file| puts.add(path(), file, Place::Unknown);
        assert_eq!(add(file(FILE_BYTES)), Ok(()));
        assert_eq!(add(file(FILE_BYTES)), Err((path(), file(FILE_BYTES))));
        assert_eq!(add(file(1)), Ok(()));
        assert!(!puts.is_empty());
    }

    #[test]
    fn what_was_not_expected_is_overwritten_only_where_that_is_wanted() {
        let sent = |overwrite| SmallPut {
            path: RelPath::new("a").unwrap(),
            content: vec![],
            md5: Md5::of(b""),
            mtime_ns: 0,
            mode: 0o600,
            overwrite,
            note: NoteChange::Keep,
        };
        let exists = PutResult::Failed(ErrorCode::AlreadyExists);
        let damaged = PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 });
        assert!(is_sent_again(&sent(false), &exists, true));
        assert!(!is_sent_again(&sent(false), &exists, false), "it is to be kept");
        assert!(!is_sent_again(&sent(true), &exists, true), "it would fail again");
        for (file, overwrite) in [(sent(false), true), (sent(false), false), (sent(true), true)] {
            assert!(is_sent_again(&file, &damaged, overwrite));
            assert!(!is_sent_again(&file, &PutResult::Done { replaced: false }, overwrite));
            assert!(!is_sent_again(&file, &PutResult::Failed(ErrorCode::DiskFull), overwrite));
        }
    }
}

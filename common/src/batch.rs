//! Small files that travel many in one message, whole, between client, worker and filer, and questions what stands
//! at many paths.
//!
//! A file of at most [`FILE_BYTES`] needs no blocks, no journal and no descriptor of its own: it is verified as a
//! whole and put or got as a whole. What limits a batch is that it fits one packet between worker and filer, so
//! that a message of the client's is one operation there. Both ends of each channel hold to the same bounds.

use serde::{Deserialize, Serialize};

use crate::digest::Md5;
use crate::entry::Entry;
use crate::error_code::ErrorCode;
use crate::limits::{CHANGES_PER_MESSAGE, MAX_PACKET, MAX_PATH_BYTES};
use crate::note::{MAX_NOTE_BYTES, NoteChange};
use crate::rel_path::RelPath;

/// Most bytes of a file that travels in a batch: half a leaf.
pub const FILE_BYTES: usize = 64 * 1024;

/// Most files in a batch.
pub const FILES: usize = 128;

/// Most bytes of a batch, by [`weight`] of each file in it.
pub const BYTES: usize = 120 * 1024;

/// Batches that a session may have under way at once.
pub const AT_ONCE: usize = 64;

/// More than what stands around a file's bytes and path in a message.
const AROUND: usize = 160;

// A batch fits a packet, any file fits a batch, and the changes of one fit one intent.
const _: () = assert!(
    BYTES + 1024 <= MAX_PACKET
        && FILE_BYTES + AROUND + MAX_PATH_BYTES + MAX_NOTE_BYTES <= BYTES
        && FILES <= CHANGES_PER_MESSAGE
);

/// What a file takes of a batch: its bytes, with those of its note, its path or name, and what is said of it.
#[must_use]
pub fn weight(path: &str, size: usize) -> usize {
    size.saturating_add(path.len()).saturating_add(AROUND)
}

/// A file that is put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallPut {
    /// Where it is to appear; the parent must exist.
    pub path: RelPath,
    /// Its bytes.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
    /// Their MD5.
    pub md5: Md5,
    /// Time of its last change, in nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Permission bits to keep, without setuid, setgid and sticky.
    pub mode: u16,
    /// Whether a file that stands there may be replaced.
    pub overwrite: bool,
    /// What becomes of its note.
    #[serde(default)]
    pub note: NoteChange,
}

/// What came of a file that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutResult {
    /// It is in the home, whole and durable.
    Done {
        /// Whether it replaced a file.
        replaced: bool,
    },
    /// It is not, and nothing was changed.
    Failed(ErrorCode),
}

/// What came of a file that was asked for, as the client hears of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GetResult {
    /// The file.
    File {
        /// Its name, size and times, with the digest that is stored for it.
        entry: Entry,
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
        /// Their MD5, as they were read.
        md5: Md5,
    },
    /// It is no small file, or there was no room for it in this answer: it is to be got by itself.
    TooLarge,
    /// It cannot be had.
    Failed(ErrorCode),
}

/// What stands at a path that was asked about with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatResult {
    /// This, with the digest that is stored for it.
    Entry(Entry),
    /// Nothing, or nothing that may be looked at.
    Failed(ErrorCode),
}

/// What came of a file that was asked for, as the worker hears of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadResult {
    /// The file.
    File {
        /// Its name, size and times, with the digest that is stored for it.
        entry: Entry,
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        content: Vec<u8>,
    },
    /// See [`GetResult::TooLarge`].
    TooLarge,
    /// It cannot be had.
    Failed(ErrorCode),
}

/// Whether files may be put together in one message: one file at least, and no more than fit.
#[must_use]
pub fn is_put(files: &[SmallPut]) -> bool {
    let weight: usize = files
        .iter()
        .map(|file| weight(file.path.as_str(), file.content.len() + file.note.weight()))
        .sum();
    let sizes_fit = files.iter().all(|file| file.content.len() <= FILE_BYTES);
    (1..=FILES).contains(&files.len()) && sizes_fit && weight <= BYTES
}

/// Whether files may be asked for together in one message: one at least, and no more than fit.
#[must_use]
pub fn is_get(paths: &[RelPath]) -> bool {
    let weight: usize = paths.iter().map(|path| weight(path.as_str(), 0)).sum();
    (1..=FILES).contains(&paths.len()) && weight <= BYTES
}

/// Whether it may be asked in one message what stands at these paths: as many as files may be asked for.
#[must_use]
pub fn is_stat(paths: &[RelPath]) -> bool {
    is_get(paths)
}

/// What is left of a batch for files that are added one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    files: usize,
    bytes: usize,
}

impl Default for Room {
    /// That of an empty batch.
    fn default() -> Self {
        Self { files: FILES, bytes: BYTES }
    }
}

impl Room {
    /// Takes the room of a file, if there is enough; else the next batch has it, if it is a small file.
    #[must_use]
    pub fn take(&mut self, path: &str, size: u64) -> bool {
        self.take_noted(path, size, &NoteChange::Keep)
    }

    /// The same for a file that is put with a note.
    #[must_use]
    pub fn take_noted(&mut self, path: &str, size: u64, note: &NoteChange) -> bool {
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= FILE_BYTES) else {
            return false;
        };
        let weight = weight(path, size + note.weight());
        if self.files == 0 || weight > self.bytes {
            return false;
        }
        self.files -= 1;
        self.bytes -= weight;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_protocol::{ClientToWorker, WorkerToClient};
    use crate::codec;
    use crate::entry::{EntryKind, Limits, Usage};
    use crate::filer_protocol::{FilerToWorker, WorkerToFiler};
    use crate::ids::{OpId, RequestId};
    use crate::note::Note;

    fn put(path: &str, size: usize) -> SmallPut {
        SmallPut {
            path: RelPath::new(path).unwrap(),
            content: vec![0xff; size],
            md5: Md5::from_bytes([0xff; 16]),
            mtime_ns: i64::MIN,
            mode: u16::MAX,
            overwrite: true,
            note: NoteChange::Keep,
        }
    }

    /// As many files of this size as a batch takes.
    fn full(path: &str, size: usize, note: &NoteChange) -> Vec<SmallPut> {
        let mut room = Room::default();
        let mut files = Vec::new();
        while room.take_noted(path, size as u64, note) {
            files.push(SmallPut { note: note.clone(), ..put(path, size) });
        }
        files
    }

    fn packet<T: Serialize>(message: &T) -> usize {
        let mut bytes = Vec::new();
        codec::encode_into(message, &mut bytes).unwrap();
        bytes.len()
    }

    #[test]
    fn every_full_batch_fits_a_packet_each_way() {
        let long = format!("{}z", "directory/".repeat(400));
        let usage = Usage {
            limits: Limits { bytes: Some(u64::MAX), entries: Some(u64::MAX) },
            used_bytes: i64::MIN,
            used_entries: i64::MIN,
            reserved_bytes: u64::MAX,
            reserved_entries: u64::MAX,
        };
        let error = ErrorCode::QuotaExceeded {
            resource: crate::error_code::Resource::Entries,
            limit: u64::MAX,
            used: i64::MIN,
            reserved: u64::MAX,
            requested: u64::MAX,
        };
        for (path, size) in
            [("a", 0), ("a", 4096), ("a", FILE_BYTES), (long.as_str(), 0), (long.as_str(), 50_000)]
        {
            let files = full(path, size, &NoteChange::Keep);
            assert!(is_put(&files), "{size}");
            let count = files.len();
            let read = files
                .iter()
                .map(|file| ReadResult::File {
                    entry: Entry {
                        name: file.path.file_name().unwrap_or_default().to_owned(),
                        kind: EntryKind::Directory,
                        size: u64::MAX,
                        mtime_ns: i64::MIN,
                        mode: u16::MAX,
                        digest: Some(file.md5),
                        note: None,
                    },
                    content: file.content.clone(),
                })
                .collect();
            let stated = files.iter().map(|file| {
                StatResult::Entry(Entry {
                    name: file.path.file_name().unwrap_or_default().to_owned(),
                    kind: EntryKind::Directory,
                    size: u64::MAX,
                    mtime_ns: i64::MIN,
                    mode: u16::MAX,
                    digest: Some(file.md5),
                    note: None,
                })
            });
            let (op, results) = (OpId(u32::MAX), stated.collect());
            assert!(packet(&FilerToWorker::FilesStated { op, results }) <= MAX_PACKET);
            assert!(packet(&FilerToWorker::FilesRead { op, files: read }) <= MAX_PACKET);
            assert!(packet(&WorkerToFiler::PutFiles { op, files }) <= MAX_PACKET);
            let note = NoteChange::Set(Note::new(&"n".repeat(MAX_NOTE_BYTES)).unwrap());
            let files = full(path, size, &note);
            assert!(is_put(&files) && packet(&WorkerToFiler::PutFiles { op, files }) <= MAX_PACKET);
            let results = vec![PutResult::Failed(error.clone()); count];
            let usage = Some(usage);
            assert!(packet(&FilerToWorker::FilesPut { op, results, usage }) <= MAX_PACKET);
        }
        let results = vec![StatResult::Failed(error.clone()); FILES];
        let op = OpId(u32::MAX);
        assert!(packet(&FilerToWorker::FilesStated { op, results }) <= MAX_PACKET);
        let failed = vec![GetResult::Failed(error); FILES];
        let id = RequestId(u32::MAX);
        assert!(packet(&WorkerToClient::FilesGot { id, files: failed }) <= MAX_PACKET);
        let paths = vec![RelPath::new(&long).unwrap(); BYTES / weight(&long, 0)];
        assert!(is_get(&paths) && is_stat(&paths));
        assert!(packet(&ClientToWorker::GetFiles { id, paths }) <= MAX_PACKET);
    }

    #[test]
    fn what_is_too_much_is_no_batch() {
        assert!(!is_put(&[]) && !is_get(&[]) && !is_stat(&[]));
        assert!(!is_put(&[put("a", FILE_BYTES + 1)]));
        assert!(!is_put(&[put("a", FILE_BYTES), put("b", FILE_BYTES)]));
        assert!(!is_put(&vec![put("a", 0); FILES + 1]));
        assert!(!is_get(&vec![RelPath::new("a").unwrap(); FILES + 1]));
        let mut room = Room::default();
        assert!(!room.take("a", FILE_BYTES as u64 + 1) && !room.take("a", u64::MAX));
        assert!(room.take("a", FILE_BYTES as u64) && !room.take("a", FILE_BYTES as u64));
        assert!(room.take("a", 1), "a smaller one still fits");
        let note = NoteChange::Set(Note::new(&"n".repeat(MAX_NOTE_BYTES)).unwrap());
        let mut room = Room::default();
        assert!(room.take_noted(&"p".repeat(MAX_PATH_BYTES), FILE_BYTES as u64, &note));
        let left = BYTES - weight(&"p".repeat(MAX_PATH_BYTES), FILE_BYTES + MAX_NOTE_BYTES);
        let size = (left - weight("a", 0)) as u64;
        assert!(!room.take_noted("a", size, &note), "a note has a weight");
        assert!(room.take("a", size));
    }
}

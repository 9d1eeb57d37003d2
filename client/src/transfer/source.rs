//! The local file of a put: opened once, fingerprinted twice, read ahead on a helper thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_common::digest::{self, Md5};
use berth_common::entry::SourceFingerprint;
use berth_common::limits::LEAF_SIZE;
use rustix::fs::OFlags;
use tokio::sync::mpsc;

use super::local::nanoseconds;
use super::plan::block_len;
use super::{TransferError, Tried};
use crate::buffers::{Buffer, Pool};

/// Blocks that are read and hashed before they are asked for.
const READ_AHEAD: usize = 2;

/// A regular file that is open for reading.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: Arc<File>,
    pub(super) fingerprint: SourceFingerprint,
    pub(super) mode: u16,
}

/// A local file that was opened, and read if it is small, before its turn came: whoever walks a tree does so ahead
/// of the transfers.
#[derive(Debug)]
pub struct Opened {
    pub(super) source: Source,
    /// Its only block, of a file of at most one leaf.
    pub(super) whole: Option<SourceBlock>,
}

impl Opened {
    /// Looks at an open file, whose path is for messages only. Blocks for a moment.
    ///
    /// # Errors
    /// `SourceIsADirectory` and `SourceNotAFile` when it is no regular file, and `Local`.
    pub fn of(file: File, path: &Path) -> Result<Self, TransferError> {
        let mut opened = Self::from(Source::of(file, path)?);
        opened.whole = opened.source.small();
        Ok(opened)
    }

    /// Bytes that the file has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.source.fingerprint.size
    }
}

impl From<Source> for Opened {
    fn from(source: Source) -> Self {
        Self { source, whole: None }
    }
}

/// A block of the source with its leaves' digests.
#[derive(Debug)]
pub(super) struct SourceBlock {
    pub(super) offset: u64,
    pub(super) leaves: Vec<Md5>,
    pub(super) data: Buffer,
}

impl Source {
    /// Opens a regular file. Blocks; a FIFO is refused instead of waited for.
    pub(super) fn open(path: &Path) -> Result<Self, TransferError> {
        let file = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(TransferError::local(Tried::Open, path))?;
        Self::of(file, path)
    }

    /// A file that is open already, if it is a regular one. Blocks for a moment.
    fn of(file: File, path: &Path) -> Result<Self, TransferError> {
        let metadata = file.metadata().map_err(TransferError::local(Tried::Read, path))?;
        if metadata.is_dir() {
            return Err(TransferError::SourceIsADirectory);
        }
        if !metadata.is_file() {
            return Err(TransferError::SourceNotAFile);
        }
        Ok(Self {
            path: path.to_owned(),
            fingerprint: fingerprint(&metadata),
            mode: (metadata.mode() & 0o777) as u16,
            file: Arc::new(file),
        })
    }

    /// Takes the fingerprint again, of the file that is open, whatever its name leads to now.
    pub(super) fn check_unchanged(&self) -> Result<(), TransferError> {
        let metadata =
            self.file.metadata().map_err(TransferError::local(Tried::Read, &self.path))?;
        if fingerprint(&metadata) == self.fingerprint {
            Ok(())
        } else if metadata.nlink() == 0 {
            Err(TransferError::SourceVanished)
        } else {
            Err(TransferError::SourceChanged)
        }
    }

    /// Reads and hashes the blocks from `offset` on, ahead of whoever takes them; the first may have been read
    /// before. The thread ends after the last block, after an error, or when nobody takes them any more.
    pub(super) fn read_from(
        &self,
        offset: u64,
        read: Option<SourceBlock>,
        pool: &Pool,
    ) -> mpsc::Receiver<Result<SourceBlock, TransferError>> {
        let (blocks, taken) = mpsc::channel(READ_AHEAD);
        let offset = offset + read.as_ref().map_or(0, |block| block.data.len() as u64);
        if let Some(block) = read {
            // The channel is empty.
            let _ = blocks.try_send(Ok(block));
        }
        // No thread is needed for nothing.
        if block_len(offset, self.fingerprint.size) == 0 {
            return taken;
        }
        let (source, pool) = (self.clone(), pool.clone());
        tokio::task::spawn_blocking(move || {
            let mut offset = offset;
            while block_len(offset, source.fingerprint.size) > 0 {
                match source.two_blocks(offset, &pool) {
                    Ok(two) => {
                        for block in two {
                            offset += block.data.len() as u64;
                            if blocks.blocking_send(Ok(block)).is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => {
                        let _ = blocks.blocking_send(Err(error));
                        return;
                    }
                }
            }
        });
        taken
    }

    /// Reads the block at `offset` and the one behind it, if there is one. Both are hashed together, in
    /// hardly more time than one.
    fn two_blocks(&self, offset: u64, pool: &Pool) -> Result<Vec<SourceBlock>, TransferError> {
        let mut read = vec![(offset, self.read(offset, pool)?)];
        let behind = offset + read[0].1.len() as u64;
        if block_len(behind, self.fingerprint.size) > 0 {
            read.push((behind, self.read(behind, pool)?));
        }
        let data: Vec<&[u8]> = read.iter().map(|(_, data)| &**data).collect();
        let leaves = digest::leaves_of_blocks(&data);
        let blocks = read.into_iter().zip(leaves);
        Ok(blocks.map(|((offset, data), leaves)| SourceBlock { offset, leaves, data }).collect())
    }

    /// All of a file of at most one leaf. What cannot be read is read once more, and told, when its turn comes.
    fn small(&self) -> Option<SourceBlock> {
        let size = usize::try_from(self.fingerprint.size).ok();
        let size = size.filter(|size| (1..=LEAF_SIZE).contains(size))?;
        let mut data = vec![0; size];
        self.file.read_exact_at(&mut data, 0).ok()?;
        Some(SourceBlock { offset: 0, leaves: digest::leaves(&data), data: data.into() })
    }

    fn read(&self, offset: u64, pool: &Pool) -> Result<Buffer, TransferError> {
        let mut data = pool.take(block_len(offset, self.fingerprint.size));
        match self.file.read_exact_at(&mut data, offset) {
            Ok(()) => Ok(data),
            // The file is shorter than it was.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(TransferError::SourceChanged)
            }
            Err(error) => Err(TransferError::local(Tried::Read, &self.path)(error)),
        }
    }
}

/// What tells a local file apart from any other content it ever had.
#[must_use]
pub fn fingerprint(metadata: &std::fs::Metadata) -> SourceFingerprint {
    SourceFingerprint {
        size: metadata.size(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Source::open(path).unwrap_err().to_string();
        assert_eq!(refused(dir.path()), "is a directory");
        assert!(refused(Path::new("/dev/null")).contains("not a regular file"));
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        assert!(refused(&fifo).contains("not a regular file"));
        assert!(refused(&dir.path().join("none")).contains("no such file"));
    }

    #[test]
    fn a_small_file_is_read_when_it_is_opened_and_a_larger_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (size, ahead) in [(0, false), (1, true), (LEAF_SIZE, true), (LEAF_SIZE + 1, false)] {
            let bytes = vec![7; size];
            std::fs::write(&path, &bytes).unwrap();
            let opened = Opened::of(File::open(&path).unwrap(), &path).unwrap();
            assert_eq!(opened.size(), size as u64);
            assert_eq!(opened.whole.is_some(), ahead, "{size}");
            if let Some(block) = opened.whole {
                assert_eq!((&*block.data, block.leaves), (&bytes[..], digest::leaves(&bytes)));
            }
        }
        let not = Opened::of(File::open(dir.path()).unwrap(), dir.path());
        assert!(matches!(not, Err(TransferError::SourceIsADirectory)));
    }

    #[test]
    fn a_change_is_told_from_a_removal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        let source = Source::open(&path).unwrap();
        source.check_unchanged().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(source.check_unchanged(), Err(TransferError::SourceVanished)));
        std::fs::write(&path, b"content").unwrap();
        let source = Source::open(&path).unwrap();
        std::fs::write(&path, b"CONTENT and more").unwrap();
        assert!(matches!(source.check_unchanged(), Err(TransferError::SourceChanged)));
    }
}

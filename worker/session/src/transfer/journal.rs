//! The files of an upload, as the helpers use them: data, and the journal beside it.
//!
//! Everything here blocks and runs on a helper, never on the runtime's thread. The order is: compare,
//! write the data, append to the journal; flush the data, mark it durable. `berth_common::journal` says
//! why no step may come earlier.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_common::digest::{self, Md5};
use berth_common::entry::SourceFingerprint;
use berth_common::error_code::ErrorCode;
use berth_common::journal::{BootId, Journal, JournalError, reverify};
use berth_common::limits::LEAF_SIZE;

use super::pipeline::Block;
use super::plan::leaves_of;

/// The open files of an upload. All clones must be gone before it is committed.
#[derive(Clone, Debug)]
pub(crate) struct StagedFiles {
    data: Arc<File>,
    journal: Option<Arc<Mutex<Journal>>>,
}

/// Files that are ready for blocks.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The files.
    pub(crate) files: StagedFiles,
    /// The leaves that they hold already.
    pub(crate) leaves: Vec<Md5>,
}

/// What became of a block.
#[derive(Debug)]
pub(crate) enum Stored {
    /// It was compared and written, and its leaves are in the journal.
    Good,
    /// It differs from its MD5s; nothing was written.
    Differs,
}

impl StagedFiles {
    /// Opens or begins the journal of an upload and finds out what of it can be trusted. A journal that
    /// tells nothing about this source, or more than there is, means starting over.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn prepare(
        data: OwnedFd,
        journal: Option<OwnedFd>,
        resumed: bool,
        source: &SourceFingerprint,
        boot: BootId,
    ) -> Result<Prepared, JournalError> {
        let data = Arc::new(File::from(data));
        let Some(journal) = journal.map(File::from) else {
            return Ok(Prepared {
                files: Self {
                    data,
                    journal: None,
                },
                leaves: Vec::new(),
            });
        };
        let key = source.journal_key();
        let found = if resumed {
            trusted(&journal, &data, source, boot)?
        } else {
            None
        };
        let (journal, leaves) = match found {
            Some(found) => found,
            None => {
                // The data first: a journal must never speak of data that is not there.
                data.set_len(0)?;
                (Journal::create(journal, key, boot)?, Vec::new())
            }
        };
        let journal = Some(Arc::new(Mutex::new(journal)));
        Ok(Prepared {
            files: Self { data, journal },
            leaves,
        })
    }

    /// Compares a block with its MD5s, writes it, and appends to the journal.
    ///
    /// # Errors
    /// When it cannot be written; what the journal has is true all the same.
    pub(crate) fn store(&self, block: &Block) -> Result<Stored, JournalError> {
        if digest::leaves(&block.data) != block.header.leaves {
            return Ok(Stored::Differs);
        }
        self.data.write_all_at(&block.data, block.header.offset)?;
        if let Some(mut journal) = self.journal() {
            journal.append(&block.header.leaves)?;
        }
        Ok(Stored::Good)
    }

    /// Flushes the data and moves the durable mark up to what is verified now.
    ///
    /// # Errors
    /// When a flush fails, which is final: the upload cannot be trusted any more.
    pub(crate) fn mark_durable(&self) -> Result<(), JournalError> {
        let Some(verified) = self.journal().map(|journal| journal.verified()) else {
            return Ok(());
        };
        // Without the lock, so that blocks are written meanwhile.
        self.data.sync_data()?;
        match self.journal() {
            Some(mut journal) => journal.mark_durable(verified),
            None => Ok(()),
        }
    }

    /// Whether this upload has a journal.
    pub(crate) fn is_resumable(&self) -> bool {
        self.journal.is_some()
    }

    fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        // A helper that panicked with the lock has ended, and the session with it.
        self.journal
            .as_ref()
            .map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The journal and leaves of an earlier session; `None` means starting over.
fn trusted(
    journal: &File,
    data: &File,
    source: &SourceFingerprint,
    boot: BootId,
) -> Result<Option<(Journal, Vec<Md5>)>, JournalError> {
    let opened = match Journal::open(journal.try_clone()?, source.journal_key(), boot) {
        Err(error) if error.means_start_over() => return Ok(None),
        opened => opened?,
    };
    let (mut journal, mut leaves, unconfirmed) =
        (opened.journal, opened.leaves, opened.unconfirmed);
    if !unconfirmed.is_empty() {
        let first = leaves.len() as u64;
        let good = reverify(data, first, &unconfirmed, Some(source.size))?;
        journal.accept(good as u64)?;
        leaves.extend_from_slice(&unconfirmed[..good]);
    }
    let stat = rustix::fs::fstat(data).map_err(io::Error::from)?;
    let claimed = (leaves.len() as u64)
        .saturating_mul(LEAF_SIZE as u64)
        .min(source.size);
    let there = u64::try_from(stat.st_size).unwrap_or(0);
    let fits = leaves.len() as u64 <= leaves_of(source.size) && claimed <= there;
    Ok(fits.then_some((journal, leaves)))
}

/// What a client is told when a staged file fails.
pub(crate) fn error_code(error: &JournalError) -> ErrorCode {
    match error {
        JournalError::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
            _ => ErrorCode::Internal,
        },
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use berth_common::frame::BlockHeader;
    use berth_common::ids::RequestId;

    use super::*;
    use crate::connection::BufferPool;

    const BOOT: BootId = BootId::from_bytes([1; 16]);
    const OTHER_BOOT: BootId = BootId::from_bytes([2; 16]);

    fn source(size: u64) -> SourceFingerprint {
        SourceFingerprint {
            size,
            mtime_ns: 1,
            ctime_ns: 2,
            inode: 3,
        }
    }

    fn block(offset: u64, len: usize, fill: u8) -> Block {
        let mut data = BufferPool::default().take(len);
        data.fill(fill);
        let leaves = digest::leaves(&data);
        Block {
            header: BlockHeader {
                transfer: RequestId(1),
                offset,
                leaves,
            },
            data,
        }
    }

    struct Staged {
        data: File,
        journal: File,
    }

    impl Staged {
        fn new() -> Self {
            Self {
                data: tempfile::tempfile().unwrap(),
                journal: tempfile::tempfile().unwrap(),
            }
        }

        fn prepare(&self, resumed: bool, size: u64, boot: BootId) -> Prepared {
            let data = self.data.try_clone().unwrap().into();
            let journal = Some(self.journal.try_clone().unwrap().into());
            StagedFiles::prepare(data, journal, resumed, &source(size), boot).unwrap()
        }
    }

    #[test]
    fn what_was_stored_is_there_after_resuming_and_what_differs_is_not() {
        let staged = Staged::new();
        let size = 3 * LEAF_SIZE as u64;
        let Prepared { files, leaves } = staged.prepare(false, size, BOOT);
        assert!(leaves.is_empty() && files.is_resumable());
        assert!(matches!(
            files.store(&block(0, 2 * LEAF_SIZE, 7)),
            Ok(Stored::Good)
        ));
        let mut bad = block(2 * LEAF_SIZE as u64, LEAF_SIZE, 8);
        bad.data[5] ^= 1;
        assert!(matches!(files.store(&bad), Ok(Stored::Differs)));
        drop(files);
        assert_eq!(staged.prepare(true, size, BOOT).leaves.len(), 2);
        assert_eq!(
            staged.prepare(true, size, BOOT).leaves,
            digest::leaves(&vec![7; 2 * LEAF_SIZE])
        );
    }

    #[test]
    fn after_a_power_cut_only_the_marked_or_rehashed_leaves_count() {
        let staged = Staged::new();
        let size = 4 * LEAF_SIZE as u64;
        let Prepared { files, .. } = staged.prepare(false, size, BOOT);
        files.store(&block(0, LEAF_SIZE, 1)).unwrap();
        files.mark_durable().unwrap();
        files
            .store(&block(LEAF_SIZE as u64, 2 * LEAF_SIZE, 2))
            .unwrap();
        // The third leaf did not reach the disk.
        staged
            .data
            .write_all_at(&[0; 100], 2 * LEAF_SIZE as u64)
            .unwrap();
        assert_eq!(staged.prepare(true, size, OTHER_BOOT).leaves.len(), 2);
    }

    #[test]
    fn another_source_a_short_file_and_an_impossible_journal_start_over() {
        let staged = Staged::new();
        let size = 2 * LEAF_SIZE as u64;
        let fill = |size| {
            let Prepared { files, .. } = staged.prepare(false, size, BOOT);
            files.store(&block(0, 2 * LEAF_SIZE, 1)).unwrap();
        };
        fill(size);
        assert_eq!(staged.prepare(true, size + 1, BOOT).leaves.len(), 0);
        fill(size);
        staged.data.set_len(size - 1).unwrap();
        assert_eq!(staged.prepare(true, size, BOOT).leaves.len(), 0);
        assert_eq!(rustix::fs::fstat(&staged.data).unwrap().st_size, 0);
        fill(LEAF_SIZE as u64);
        assert_eq!(staged.prepare(true, LEAF_SIZE as u64, BOOT).leaves.len(), 0);
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        let full = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/full")
            .unwrap();
        let prepared = StagedFiles::prepare(full.into(), None, false, &source(1), BOOT).unwrap();
        let error = prepared.files.store(&block(0, 1, 1)).unwrap_err();
        assert_eq!(error_code(&error), ErrorCode::DiskFull);
        assert_eq!(error_code(&JournalError::FlushFailed), ErrorCode::Internal);
    }
}

//! The files of an upload, as the helpers use them: data, and the journal beside it.
//!
//! Everything here blocks and runs on a helper, never on the runtime's thread. The order is: compare,
//! write the data, append to the journal; flush the data, mark it durable. `berth_common::journal` says
//! why no step may come earlier.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_common::digest::{Md5, TreeDigest};
use berth_common::entry::SourceFingerprint;
use berth_common::error_code::ErrorCode;
use berth_common::journal::{BootId, Journal, JournalError, reverify};
use berth_common::limits::{LEAF_SIZE, LEAVES_PER_MESSAGE};

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
    /// The tree digest of the leaves that they hold already. Not the leaves: a file of 1 TiB has 128 MiB
    /// of them.
    pub(crate) tree: TreeDigest,
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
            return Ok(Prepared { files: Self { data, journal: None }, tree: TreeDigest::new() });
        };
        let found = if resumed { trusted(&journal, &data, source, boot)? } else { None };
        let journal = match found {
            Some(found) => found,
            None => {
                if resumed {
                    // The journal first, and on disk: after a power cut an old durable mark would speak of
                    // data that is new and not flushed.
                    journal.set_len(0)?;
                    journal.sync_data().map_err(|_| JournalError::FlushFailed)?;
                    data.set_len(0)?;
                }
                Journal::create(journal, source.journal_key(), boot)?
            }
        };
        let mut tree = TreeDigest::new();
        for part in parts(0..journal.verified()) {
            tree.extend(&journal.read_leaves(part)?);
        }
        let journal = Some(Arc::new(Mutex::new(journal)));
        Ok(Prepared { files: Self { data, journal }, tree })
    }

    /// The file of an upload whose source cannot be told from another: nothing of it is gone on with, and there
    /// is no journal.
    pub(crate) fn of_stream(data: OwnedFd) -> Prepared {
        let files = Self { data: Arc::new(File::from(data)), journal: None };
        Prepared { files, tree: TreeDigest::new() }
    }

    /// Reads the MD5s of verified leaves from the journal.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn leaves(&self, range: Range<u64>) -> Result<Vec<Md5>, JournalError> {
        self.journal().map_or(Ok(Vec::new()), |journal| journal.read_leaves(range))
    }

    /// Compares the MD5s that a block should have with those that it has, writes it, and appends to the journal.
    ///
    /// # Errors
    /// When it cannot be written; what the journal has is true all the same.
    pub(crate) fn store(&self, block: &Block, found: &[Md5]) -> Result<Stored, JournalError> {
        if found != block.header.leaves {
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
        if let Err(error) = self.data.sync_data() {
            if let Some(mut journal) = self.journal() {
                // At once, and not only by the filer on the way out.
                journal.give_up()?;
            }
            return Err(error.into());
        }
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
        self.journal.as_ref().map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The journal of an earlier session; `None` means starting over.
fn trusted(
    journal: &File,
    data: &File,
    source: &SourceFingerprint,
    boot: BootId,
) -> Result<Option<Journal>, JournalError> {
    let opened = Journal::open_unread(journal.try_clone()?, source.journal_key(), boot);
    let mut journal = match opened {
        Err(error) if error.means_start_over() => return Ok(None),
        opened => opened?,
    };
    confirm(&mut journal, data, source.size)?;
    let stat = rustix::fs::fstat(data).map_err(io::Error::from)?;
    let claimed = journal.verified().saturating_mul(LEAF_SIZE as u64).min(source.size);
    let there = u64::try_from(stat.st_size).unwrap_or(0);
    if journal.verified() > leaves_of(source.size) || claimed > there {
        return Ok(None);
    }
    if there > claimed {
        // What nothing vouches for. It would be overwritten, unless it reaches beyond the source's end.
        data.set_len(claimed)?;
    }
    Ok(Some(journal))
}

/// Hashes again what an earlier boot wrote and never marked durable, and accepts what is as it was.
fn confirm(journal: &mut Journal, data: &File, size: u64) -> Result<(), JournalError> {
    let first = journal.verified();
    let mut good = 0;
    for part in parts(first..first + journal.unconfirmed()) {
        let expected = journal.read_unconfirmed(part.clone())?;
        let found = reverify(data, part.start, &expected, Some(size))?;
        good += found as u64;
        if found < expected.len() {
            break;
        }
    }
    if journal.unconfirmed() > 0 {
        journal.accept(good)?;
    }
    Ok(())
}

/// A range of leaves in parts that one message, and any memory, has room for.
pub(super) fn parts(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(LEAVES_PER_MESSAGE)
        .map(move |start| start..end.min(start + LEAVES_PER_MESSAGE as u64))
}

/// What a client is told when a staged file fails.
pub(crate) fn error_code(error: &JournalError) -> ErrorCode {
    match error {
        JournalError::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorCode::DiskFull,
            _ => ErrorCode::Internal,
        },
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use berth_common::digest;
    use berth_common::frame::BlockHeader;
    use berth_common::ids::RequestId;

    use super::*;
    use crate::connection::BufferPool;

    const BOOT: BootId = BootId::from_bytes([1; 16]);
    const OTHER_BOOT: BootId = BootId::from_bytes([2; 16]);

    fn source(size: u64) -> SourceFingerprint {
        SourceFingerprint { size, mtime_ns: 1, ctime_ns: 2, inode: 3 }
    }

    fn block(offset: u64, len: usize, fill: u8) -> Block {
        let mut data = BufferPool::default().take(len);
        data.fill(fill);
        let leaves = digest::leaves(&data);
        Block { header: BlockHeader { transfer: RequestId(1), offset, leaves }, data }
    }

    fn store(files: &StagedFiles, block: &Block) -> Result<Stored, JournalError> {
        files.store(block, &digest::leaves(&block.data))
    }

    struct Staged {
        data: File,
        journal: File,
    }

    impl Staged {
        fn new() -> Self {
            Self { data: tempfile::tempfile().unwrap(), journal: tempfile::tempfile().unwrap() }
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
        let Prepared { files, tree } = staged.prepare(false, size, BOOT);
        assert!(tree.leaves() == 0 && files.is_resumable());
        assert!(matches!(store(&files, &block(0, 2 * LEAF_SIZE, 7)), Ok(Stored::Good)));
        let mut bad = block(2 * LEAF_SIZE as u64, LEAF_SIZE, 8);
        bad.data[5] ^= 1;
        assert!(matches!(store(&files, &bad), Ok(Stored::Differs)));
        drop(files);
        let expected = digest::leaves(&vec![7; 2 * LEAF_SIZE]);
        let Prepared { files, tree } = staged.prepare(true, size, BOOT);
        assert_eq!(tree.leaves(), 2);
        assert_eq!(tree.finish(), TreeDigest::resume(&expected).finish());
        assert_eq!(files.leaves(0..2).unwrap(), expected);
        assert!(files.leaves(0..3).is_err());
    }

    #[test]
    fn after_a_power_cut_only_the_marked_or_rehashed_leaves_count() {
        let staged = Staged::new();
        let size = 4 * LEAF_SIZE as u64;
        let Prepared { files, .. } = staged.prepare(false, size, BOOT);
        store(&files, &block(0, LEAF_SIZE, 1)).unwrap();
        files.mark_durable().unwrap();
        store(&files, &block(LEAF_SIZE as u64, 2 * LEAF_SIZE, 2)).unwrap();
        // The third leaf did not reach the disk.
        staged.data.write_all_at(&[0; 100], 2 * LEAF_SIZE as u64).unwrap();
        assert_eq!(staged.prepare(true, size, OTHER_BOOT).tree.leaves(), 2);
    }

    #[test]
    fn another_source_a_short_file_and_an_impossible_journal_start_over() {
        let staged = Staged::new();
        let size = 2 * LEAF_SIZE as u64;
        let fill = |size| {
            let Prepared { files, .. } = staged.prepare(false, size, BOOT);
            store(&files, &block(0, 2 * LEAF_SIZE, 1)).unwrap();
        };
        fill(size);
        assert_eq!(staged.prepare(true, size + 1, BOOT).tree.leaves(), 0);
        fill(size);
        staged.data.set_len(size - 1).unwrap();
        assert_eq!(staged.prepare(true, size, BOOT).tree.leaves(), 0);
        assert_eq!(rustix::fs::fstat(&staged.data).unwrap().st_size, 0);
        fill(LEAF_SIZE as u64);
        assert_eq!(staged.prepare(true, LEAF_SIZE as u64, BOOT).tree.leaves(), 0);
    }

    #[test]
    fn data_beyond_what_the_journal_vouches_for_is_cut_off() {
        let staged = Staged::new();
        let size = 3 * LEAF_SIZE as u64;
        let files = staged.prepare(false, size, BOOT).files;
        store(&files, &block(0, LEAF_SIZE, 1)).unwrap();
        // Written when the process died, before its leaves were in the journal; and damage.
        staged.data.write_all_at(&[2; 100], size + 5).unwrap();
        assert_eq!(staged.prepare(true, size, BOOT).tree.leaves(), 1);
        let length = || rustix::fs::fstat(&staged.data).unwrap().st_size;
        assert_eq!(length(), LEAF_SIZE as i64);
        // A last leaf that is short counts as far as it goes.
        let short = LEAF_SIZE as u64 + 7;
        let files = staged.prepare(true, short, BOOT).files;
        store(&files, &block(0, LEAF_SIZE + 7, 1)).unwrap();
        staged.data.set_len(short + 1).unwrap();
        assert_eq!(staged.prepare(true, short, BOOT).tree.leaves(), 2);
        assert_eq!(length(), short as i64);
    }

    #[test]
    fn a_journal_of_many_leaves_is_read_and_confirmed_part_by_part() {
        assert_eq!(parts(3..3).count(), 0);
        let two: Vec<_> = parts(5..4096 + 6).collect();
        assert_eq!(two, [5..4101, 4101..4102]);

        let staged = Staged::new();
        let count = LEAVES_PER_MESSAGE as u64 + 3;
        let size = count * LEAF_SIZE as u64;
        let zeros = Md5::of(&vec![0; LEAF_SIZE]);
        let key = source(size).journal_key();
        let mut journal =
            Journal::create(staged.journal.try_clone().unwrap(), key, OTHER_BOOT).unwrap();
        journal.append(&vec![zeros; count as usize]).unwrap();
        staged.data.set_len(size).unwrap();
        // Only the last but one leaf is not what it was.
        let at = (count - 2) * LEAF_SIZE as u64;
        staged.data.write_all_at(&[1], at).unwrap();
        let Prepared { files, tree } = staged.prepare(true, size, BOOT);
        assert_eq!(tree.leaves(), count - 2);
        assert_eq!(
            files.leaves(count - 3..count - 2).unwrap(),
            [zeros],
            "and they are verified from now on"
        );
    }

    #[test]
    fn data_that_could_not_be_flushed_is_never_gone_on_with() {
        let staged = Staged::new();
        let size = 3 * LEAF_SIZE as u64;
        store(&staged.prepare(false, size, BOOT).files, &block(0, LEAF_SIZE, 1)).unwrap();
        // A pipe cannot be flushed; it stands for a disk that has failed.
        let (_reader, pipe) = rustix::pipe::pipe().unwrap();
        let journal = staged.journal.try_clone().unwrap();
        let opened = Journal::open_unread(journal, source(size).journal_key(), BOOT).unwrap();
        let files = StagedFiles {
            data: Arc::new(File::from(pipe)),
            journal: Some(Arc::new(Mutex::new(opened))),
        };
        assert!(matches!(files.mark_durable(), Err(JournalError::Io(_))));
        assert!(matches!(
            files.mark_durable(),
            Err(JournalError::Io(_) | JournalError::FlushFailed)
        ));
        assert_eq!(staged.prepare(true, size, BOOT).tree.leaves(), 0);
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        let full = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let prepared = StagedFiles::prepare(full.into(), None, false, &source(1), BOOT).unwrap();
        let error = store(&prepared.files, &block(0, 1, 1)).unwrap_err();
        assert_eq!(error_code(&error), ErrorCode::DiskFull);
        assert_eq!(error_code(&JournalError::FlushFailed), ErrorCode::Internal);
    }
}

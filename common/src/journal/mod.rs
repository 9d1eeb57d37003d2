//! The journal of verified leaf MD5s that stands beside a staged upload or a `.part` file.
//!
//! It has two marks. The *verified* mark is the number of whole entries in the file: an entry is
//! appended after its leaf was compared and handed to the kernel, so in the same boot, where the
//! page cache outlives a killed process, every entry is true. The *durable* mark is a record that
//! is written and flushed only after the data was; it is what a resume trusts after another boot,
//! where the entries may have reached the disk and their data may not.
//!
//! A journal works on an open file by positioned reads and writes alone. It makes no path call
//! and no `statx`, never touches the data file (but see [`reverify`]) and never reads the clock.

mod boot;
mod layout;
mod policy;
mod reverify;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

pub use boot::BootId;
pub use policy::{DURABLE_EVERY_BYTES, DURABLE_EVERY_TIME, DurablePolicy};
pub use reverify::{read_up_to, reverify};

use crate::digest::Md5;
use layout::{ENTRY_SIZE, HEADER_SIZE, Record, entries_end};

/// Why a journal cannot be used, or not in this way.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file is shorter than its header, or than its own durable mark says.
    #[error("the journal is shorter than what it must hold")]
    Truncated,
    /// The file does not begin like a journal of a version that this program knows.
    #[error("the file is not a journal that this version can read")]
    NotAJournal,
    /// The journal was made for a source with another fingerprint.
    #[error("the journal belongs to another source")]
    OtherSource,
    /// Entries of another boot await [`Journal::accept`].
    #[error("{0} leaves of an earlier boot must be checked before the journal goes on")]
    Unconfirmed(u64),
    /// A count or range reaches beyond the entries that there are.
    #[error("leaf {leaf} is beyond the journal's {available}")]
    OutOfRange {
        /// The end of what was asked for.
        leaf: u64,
        /// The entries that there are.
        available: u64,
    },
    /// An earlier flush failed. What it left on the disk is unknown, and a second one may lie.
    #[error("the journal could not be flushed earlier and cannot be used any more")]
    FlushFailed,
    /// The operating system refused a read, a write or a flush.
    #[error("cannot read or write the journal")]
    Io(#[from] io::Error),
}

impl JournalError {
    /// Whether the file tells nothing about this source, so that the transfer starts over.
    #[must_use]
    pub fn means_start_over(&self) -> bool {
        matches!(self, Self::Truncated | Self::NotAJournal | Self::OtherSource)
    }
}

/// A journal found by [`Journal::open`].
#[derive(Debug)]
pub struct Opened {
    /// The journal, which goes on after `leaves`, or after `unconfirmed` once
    /// [`Journal::accept`] said how many of these are true.
    pub journal: Journal,
    /// The entries that may be trusted, from the file's first leaf on.
    pub leaves: Vec<Md5>,
    /// The entries after these, written in an earlier boot and never marked durable.
    pub unconfirmed: Vec<Md5>,
}

/// An open journal. 16 bytes on disk for each 128-KiB leaf, after a header of 192 bytes.
#[derive(Debug)]
pub struct Journal {
    file: File,
    fingerprint: [u8; 16],
    boot: BootId,
    /// The newest durable record; its boot is the one whose later entries may be trusted.
    record: Record,
    verified: u64,
    unconfirmed: u64,
    flush_failed: bool,
}

impl Journal {
    /// Makes `file`, open for reading and writing, the empty journal of the source with this
    /// fingerprint. What the file held is gone. Nothing is flushed: before the first
    /// [`Journal::mark_durable`] a power cut may leave no journal, which means starting over.
    ///
    /// # Errors
    /// `Io` only.
    pub fn create(file: File, fingerprint: [u8; 16], boot: BootId) -> Result<Self, JournalError> {
        let record = Record { sequence: 0, leaves: 0, boot };
        file.set_len(0)?;
        file.write_all_at(&layout::header(&fingerprint, &record), 0)?;
        Ok(Self {
            file,
            fingerprint,
            boot,
            record,
            verified: 0,
            unconfirmed: 0,
            flush_failed: false,
        })
    }

    /// Opens the journal of the source with this fingerprint, in the boot that is running.
    ///
    /// In the boot that wrote them all whole entries are trusted. In another one, or when either
    /// boot is [`BootId::UNKNOWN`], those that the durable mark covers are, and the others are
    /// `unconfirmed`: the caller hashes their leaves again ([`reverify`]) and calls
    /// [`Journal::accept`]. All entries are read: 8 MiB of memory for 64 GiB of file.
    ///
    /// # Errors
    /// `Truncated`, `NotAJournal` and `OtherSource` mean starting over; else `Io`.
    pub fn open(file: File, fingerprint: [u8; 16], boot: BootId) -> Result<Opened, JournalError> {
        let journal = Self::open_unread(file, fingerprint, boot)?;
        let (trusted, entries) = (journal.verified, journal.verified + journal.unconfirmed);
        let leaves = journal.read_entries(0..trusted)?;
        let unconfirmed = journal.read_entries(trusted..entries)?;
        Ok(Opened { journal, leaves, unconfirmed })
    }

    /// As [`Journal::open`], but reads the header alone, for a caller whose memory must not grow
    /// with the file: [`Journal::read_leaves`] and [`Journal::read_unconfirmed`] give the entries
    /// part by part.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_unread(
        file: File,
        fingerprint: [u8; 16],
        boot: BootId,
    ) -> Result<Self, JournalError> {
        let len = file_len(&file)?;
        if len < HEADER_SIZE as u64 {
            return Err(JournalError::Truncated);
        }
        let mut header = [0; HEADER_SIZE];
        file.read_exact_at(&mut header, 0)?;
        let record = layout::check(&header, &fingerprint)?;
        let entries = (len - HEADER_SIZE as u64) / ENTRY_SIZE;
        // Entries are flushed before the mark that counts them, so fewer means damage.
        if entries < record.leaves {
            return Err(JournalError::Truncated);
        }
        let trusted = if boot.is_same_boot(record.boot) { entries } else { record.leaves };
        let mut journal = Self {
            file,
            fingerprint,
            boot,
            record,
            verified: trusted,
            unconfirmed: entries - trusted,
            flush_failed: false,
        };
        if journal.unconfirmed == 0 {
            journal.adopt(trusted)?;
        }
        Ok(journal)
    }

    /// Says that the first `confirmed` of the unconfirmed leaves were hashed again and are true.
    /// The others are cut off. They are verified from now on, but not durable.
    ///
    /// # Errors
    /// `OutOfRange` when there are fewer unconfirmed leaves, else `Io`.
    pub fn accept(&mut self, confirmed: u64) -> Result<(), JournalError> {
        if confirmed > self.unconfirmed {
            return Err(self.out_of_range(self.verified.saturating_add(confirmed)));
        }
        let verified = self.verified + confirmed;
        self.adopt(verified)?;
        self.verified = verified;
        self.unconfirmed = 0;
        Ok(())
    }

    /// Appends the MD5s of the leaves that follow the verified ones.
    ///
    /// Only after the data of these leaves was compared with them **and** written to the data
    /// file (`pwrite` has returned). The other way round, a process killed between the two would
    /// leave an entry without data, and the next one would trust it. Not flushed; entries that
    /// reach the file before an error are true all the same.
    ///
    /// # Errors
    /// `Unconfirmed` before [`Journal::accept`], `FlushFailed` after a flush that failed, or `Io`,
    /// after which the same leaves may be appended again.
    pub fn append(&mut self, leaves: &[Md5]) -> Result<(), JournalError> {
        self.ready()?;
        self.file.write_all_at(&Md5::concat(leaves), entries_end(self.verified))?;
        self.verified += leaves.len() as u64;
        Ok(())
    }

    /// Leaves that are verified, from the file's first on.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verified
    }

    /// Leaves after the verified ones that await [`Journal::accept`].
    #[must_use]
    pub fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// Leaves that the durable mark covers, from the file's first on.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.record.leaves
    }

    /// Moves the durable mark up to `leaves`; a mark that is there already is kept.
    ///
    /// The order, each step of which the next relies on: the caller takes [`Journal::verified`]
    /// as `leaves`, *then* calls `fdatasync` on the data file (so that leaves written meanwhile
    /// are not counted), then this. It flushes the entries, so that the mark never counts an
    /// entry that is not on disk, and with them the previous mark, so that one whole mark is
    /// there if writing the next is torn; writes the mark into the older slot; and flushes that.
    ///
    /// # Errors
    /// `OutOfRange` beyond the verified leaves; `Unconfirmed` before [`Journal::accept`]; `Io`.
    /// A flush that fails is final: all that follows is `FlushFailed`.
    pub fn mark_durable(&mut self, leaves: u64) -> Result<(), JournalError> {
        self.ready()?;
        if leaves > self.verified {
            return Err(self.out_of_range(leaves));
        }
        if leaves <= self.record.leaves {
            return Ok(());
        }
        self.flush()?;
        self.write_record(leaves)?;
        self.flush()
    }

    /// Makes the journal vouch for nothing, after a flush of the *data* has failed: what the page cache
    /// shows from now on need not be what the disk has, so nobody may go on after these entries, also when
    /// this process is killed before the upload is dropped. Nothing is flushed: after a power cut the
    /// durable mark counts again, and speaks of flushes that did not fail.
    ///
    /// # Errors
    /// `Io` only; the journal cannot be used any more in any case.
    pub fn give_up(&mut self) -> Result<(), JournalError> {
        self.flush_failed = true;
        Ok(self.file.set_len(0)?)
    }

    /// Reads the MD5s of verified leaves.
    ///
    /// # Errors
    /// `OutOfRange` beyond the verified leaves, else `Io`.
    pub fn read_leaves(&self, range: Range<u64>) -> Result<Vec<Md5>, JournalError> {
        if range.end > self.verified {
            return Err(self.out_of_range(range.end));
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read_entries(range)
    }

    /// Reads the MD5s of unconfirmed leaves, numbered from the file's first leaf on.
    ///
    /// # Errors
    /// `OutOfRange` outside of them, else `Io`.
    pub fn read_unconfirmed(&self, range: Range<u64>) -> Result<Vec<Md5>, JournalError> {
        if range.start < self.verified || range.end > self.verified + self.unconfirmed {
            return Err(self.out_of_range(range.end));
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read_entries(range)
    }

    fn read_entries(&self, range: Range<u64>) -> Result<Vec<Md5>, JournalError> {
        let count = range.end - range.start;
        let bytes = usize::try_from(count.saturating_mul(ENTRY_SIZE)).map_err(io::Error::other)?;
        let mut entries = vec![0; bytes];
        self.file.read_exact_at(&mut entries, entries_end(range.start))?;
        Ok(entries.as_chunks::<16>().0.iter().copied().map(Md5::from_bytes).collect())
    }

    /// Makes the file end after `verified` entries and belong to this boot. In this order: once
    /// the record names this boot, all entries are trusted, so the others must be gone before.
    /// Neither needs a flush, because after a power cut it is another boot again.
    fn adopt(&mut self, verified: u64) -> Result<(), JournalError> {
        if file_len(&self.file)? != entries_end(verified) {
            self.file.set_len(entries_end(verified))?;
        }
        if !self.boot.is_same_boot(self.record.boot) {
            self.write_record(self.record.leaves)?;
        }
        Ok(())
    }

    fn write_record(&mut self, leaves: u64) -> Result<(), JournalError> {
        let record = Record { sequence: self.record.sequence + 1, leaves, boot: self.boot };
        self.file.write_all_at(&record.encode(&self.fingerprint), record.offset())?;
        self.record = record;
        Ok(())
    }

    fn ready(&self) -> Result<(), JournalError> {
        match self.unconfirmed {
            _ if self.flush_failed => Err(JournalError::FlushFailed),
            0 => Ok(()),
            waiting => Err(JournalError::Unconfirmed(waiting)),
        }
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        let flushed = self.file.sync_data();
        self.flush_failed = flushed.is_err();
        Ok(flushed?)
    }

    fn out_of_range(&self, leaf: u64) -> JournalError {
        JournalError::OutOfRange { leaf, available: self.verified + self.unconfirmed }
    }
}

/// Most bytes of the journal of a file of so many.
#[must_use]
pub fn size_for(data_bytes: u64) -> u64 {
    layout::entries_end(data_bytes.div_ceil(crate::limits::LEAF_SIZE as u64))
}

/// Whole entries in a journal file of so many bytes, for one who lists uploads without opening them.
#[must_use]
pub fn entries_in(journal_bytes: u64) -> u64 {
    journal_bytes.saturating_sub(HEADER_SIZE as u64) / ENTRY_SIZE
}

/// By `fstat`, since `File::metadata` is a `statx`, which the filer's sandbox refuses.
fn file_len(file: &File) -> Result<u64, JournalError> {
    let stat = rustix::fs::fstat(file).map_err(io::Error::from)?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests;

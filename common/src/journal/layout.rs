//! A journal's bytes: a header, two slots for the durable record in turn, then the entries.
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 8 | `berthjnl` |
//! | 8 | 4 | version, 1 |
//! | 16 | 16 | fingerprint of the source |
//! | 64 | 48 | slot for the even records: sequence, leaves, boot, checksum |
//! | 128 | 48 | slot for the odd ones |
//! | 192 + 16 i | 16 | MD5 of leaf i |
//!
//! Numbers are little-endian. A record's checksum is the MD5 of the fingerprint and the record.

use super::{BootId, JournalError};
use crate::digest::Md5;

/// Bytes before the first entry.
pub(super) const HEADER_SIZE: usize = 192;

/// Bytes in an entry.
pub(super) const ENTRY_SIZE: u64 = Md5::SIZE as u64;

const MAGIC: &[u8; 8] = b"berthjnl";
const VERSION: u32 = 1;
const FINGERPRINT_AT: usize = 16;
const FIRST_SLOT_AT: usize = 64;
const SLOT_SPACING: usize = 64;
const RECORD_SIZE: usize = 48;

/// A durable mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Counts up by one with each record; its parity is the slot.
    pub(super) sequence: u64,
    /// Leaves whose data and entries were flushed before this record was written.
    pub(super) leaves: u64,
    /// The boot in which the entries beyond `leaves`, if any, are appended.
    pub(super) boot: BootId,
}

impl Record {
    /// What a journal without a whole record is read as: it vouches for nothing.
    const NONE: Self = Self { sequence: 0, leaves: 0, boot: BootId::UNKNOWN };

    /// No journal gets that far; a slot that claims more is damaged.
    const MAX_SEQUENCE: u64 = u64::MAX / 2;

    /// Where this record stands in the file. It overwrites the one before the previous one.
    pub(super) fn offset(&self) -> u64 {
        slot_at(self.sequence % 2) as u64
    }

    pub(super) fn encode(&self, fingerprint: &[u8; 16]) -> [u8; RECORD_SIZE] {
        let mut bytes = [0; RECORD_SIZE];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.leaves.to_le_bytes());
        bytes[16..32].copy_from_slice(self.boot.as_bytes());
        let checksum = checksum(fingerprint, &bytes[..32]);
        bytes[32..].copy_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads the record in a slot; `None` when it was never written, or is torn.
    fn decode(header: &[u8; HEADER_SIZE], slot: u64, fingerprint: &[u8; 16]) -> Option<Self> {
        let bytes = header.get(slot_at(slot)..)?.first_chunk::<RECORD_SIZE>()?;
        let (body, sum) = bytes.split_at(32);
        if checksum(fingerprint, body).as_bytes() != sum {
            return None;
        }
        let record = Self {
            sequence: u64::from_le_bytes(*body.first_chunk()?),
            leaves: u64::from_le_bytes(*body.get(8..)?.first_chunk()?),
            boot: BootId::from_bytes(*body.get(16..)?.first_chunk()?),
        };
        (record.sequence % 2 == slot && record.sequence <= Self::MAX_SEQUENCE).then_some(record)
    }
}

/// Where `entries` entries end, and the next one begins.
pub(super) fn entries_end(entries: u64) -> u64 {
    HEADER_SIZE as u64 + entries * ENTRY_SIZE
}

/// The header of a new journal, with its first record.
pub(super) fn header(fingerprint: &[u8; 16], record: &Record) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[FINGERPRINT_AT..FINGERPRINT_AT + 16].copy_from_slice(fingerprint);
    let slot = slot_at(record.sequence % 2);
    header[slot..slot + RECORD_SIZE].copy_from_slice(&record.encode(fingerprint));
    header
}

/// Checks a header and returns its newest whole record.
pub(super) fn check(
    header: &[u8; HEADER_SIZE],
    fingerprint: &[u8; 16],
) -> Result<Record, JournalError> {
    if header[..8] != *MAGIC || header[8..12] != VERSION.to_le_bytes() {
        return Err(JournalError::NotAJournal);
    }
    if header[FINGERPRINT_AT..FINGERPRINT_AT + 16] != *fingerprint {
        return Err(JournalError::OtherSource);
    }
    let whole = [0, 1].into_iter().filter_map(|slot| Record::decode(header, slot, fingerprint));
    Ok(whole.max_by_key(|record| record.sequence).unwrap_or(Record::NONE))
}

fn slot_at(slot: u64) -> usize {
    if slot == 0 { FIRST_SLOT_AT } else { FIRST_SLOT_AT + SLOT_SPACING }
}

fn checksum(fingerprint: &[u8; 16], body: &[u8]) -> Md5 {
    Md5::of(&[fingerprint, body].concat())
}

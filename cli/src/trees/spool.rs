//! Entries of directories that wait for their turn: a stack of records, the first megabyte in memory, more of it in a
//! file without a name in the directory for temporary files. So a directory of any size is taken off the line as fast
//! as it comes, which the other transfers of the session wait for, in constant memory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use berth_common::codec;
use berth_common::entry::Entry;
/// Bytes that are kept in memory.
const IN_MEMORY: usize = 1 << 20;

/// Bytes before a record that say how long it is.
const LENGTH: usize = size_of::<u32>();

/// The records, from the first that waits to the last.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    /// Has all of it once the memory is full.
    file: Option<File>,
    end: u64,
}

impl Spool {
    /// Where the next record will be.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds entries at the end.
    pub(super) fn push(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut records = Vec::new();
        for entry in entries {
            let start = records.len();
            records.extend_from_slice(&[0; LENGTH]);
            codec::encode_into(entry, &mut records).map_err(io::Error::other)?;
            let length = u32::try_from(records.len() - start - LENGTH).map_err(io::Error::other)?;
            records[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
        }
        if self.file.is_none() && self.memory.len() + records.len() > IN_MEMORY {
            let file = without_a_name()?;
            file.write_all_at(&self.memory, 0)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => file.write_all_at(&records, self.end)?,
            None => self.memory.extend_from_slice(&records),
        }
        self.end += records.len() as u64;
        Ok(())
    }

    /// The entry at this place, and the place behind it.
    pub(super) fn entry(&self, at: u64) -> io::Result<(Entry, u64)> {
        let mut length = [0; LENGTH];
        self.read(&mut length, at)?;
        let start = at + LENGTH as u64;
        let mut record = vec![0; u32::from_be_bytes(length) as usize];
        self.read(&mut record, start)?;
        let entry = codec::decode(&record).map_err(io::Error::other)?;
        Ok((entry, start + record.len() as u64))
    }

    /// Forgets what is there from this place on.
    pub(super) fn cut(&mut self, end: u64) {
        self.end = self.end.min(end);
        self.memory.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        if let Some(file) = &self.file {
            return file.read_exact_at(bytes, at);
        }
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = self.memory.get(start..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file that nobody else can open, and that is gone with this process.
fn without_a_name() -> io::Result<File> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("berth-{:016x}", u64::from_be_bytes(random));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use berth_common::entry::EntryKind;

    use super::*;

    fn entry(number: usize) -> Entry {
        Entry {
            name: format!("{number:0200}"),
            kind: EntryKind::File,
            size: number as u64,
            mtime_ns: -1,
            mode: 0o644,
            digest: None,
            note: None,
        }
    }

    #[test]
    fn entries_come_back_whether_they_are_in_memory_or_not() {
        let mut spool = Spool::default();
        let all: Vec<_> = (0..10_000).map(entry).collect();
        for part in all.chunks(100) {
            spool.push(part).unwrap();
        }
        assert!(spool.file.is_some() && spool.memory.is_empty());
        let mut at = 0;
        for expected in &all {
            let (entry, behind) = spool.entry(at).unwrap();
            assert_eq!(entry, *expected);
            at = behind;
        }
        assert_eq!(at, spool.end());
        assert!(spool.entry(at).is_err());
    }

    #[test]
    fn what_is_cut_off_is_written_over() {
        for many in [1, 10_000] {
            let mut spool = Spool::default();
            spool.push(&(0..many).map(entry).collect::<Vec<_>>()).unwrap();
            let end = spool.end();
            spool.push(&[entry(7), entry(8)]).unwrap();
            spool.cut(end);
            spool.push(&[entry(9)]).unwrap();
            let (last, behind) = spool.entry(end).unwrap();
            assert_eq!((last, behind), (entry(9), spool.end()));
        }
    }
}

//! Journals: files that a worker reads back from the disk, after a kill, a power cut or damage.
//!
//! An input beginning with `=` is a file, to be opened as it is. Any other is a row of operations on a journal,
//! each a letter and a digit (or any bytes: of each the low five or four bits count), compared with a plain model
//! of what it must vouch for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::MemfdFlags;

use crate::digest::Md5;
use crate::journal::{BootId, Journal, JournalError};

const FINGERPRINT: [u8; 16] = [7; 16];

/// Bytes before the first entry.
const HEADER: u64 = 192;

/// Bytes in an entry.
const ENTRY: u64 = 16;

/// Runs one input.
pub fn journals(data: &[u8]) {
    // Without memory for a file there is nothing to try.
    let Some(file) = file() else { return };
    match data.split_first() {
        Some((b'=', content)) => read_back(file, content),
        _ => Trial::new(file).run(data),
    }
}

fn file() -> Option<File> {
    rustix::fs::memfd_create("journal", MemfdFlags::CLOEXEC).ok().map(File::from)
}

fn again(file: &File) -> File {
    match file.try_clone() {
        Ok(file) => file,
        Err(error) => panic!("no more descriptors: {error}"),
    }
}

/// A file with any content, in a boot that it may name and in one that it cannot.
fn read_back(file: File, content: &[u8]) {
    assert!(file.write_all_at(content, 0).is_ok());
    let fingerprint = *content.get(16..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 16]);
    let entries = (content.len() as u64).saturating_sub(HEADER) / ENTRY;
    for boot in [[1; 16], [0; 16]] {
        match Journal::open(again(&file), fingerprint, BootId::from_bytes(boot)) {
            Ok(opened) => {
                let found = opened.leaves.len() + opened.unconfirmed.len();
                assert!(found as u64 <= entries, "{found} of {entries}");
                assert!(opened.journal.durable() <= entries);
            }
            Err(error) => assert!(error.means_start_over(), "{error}"),
        }
    }
}

/// A journal, and what it must know.
struct Trial {
    file: File,
    journal: Journal,
    boot: u8,
    /// The boot in which the last entries were appended or accepted.
    owner: u8,
    leaves: Vec<Md5>,
    unconfirmed: Vec<Md5>,
    durable: usize,
    appended: u32,
}

impl Trial {
    fn new(file: File) -> Self {
        let journal = create(&file, 1);
        Self {
            file,
            journal,
            boot: 1,
            owner: 1,
            leaves: vec![],
            unconfirmed: vec![],
            durable: 0,
            appended: 0,
        }
    }

    fn run(mut self, data: &[u8]) {
        for operation in data.chunks_exact(2).take(200) {
            let count = usize::from(operation[1] & 15);
            match operation[0] & 31 {
                // a: append, m: mark durable, c: confirm
                1 => self.append(count),
                13 => self.mark(count),
                3 => self.accept(count),
                // k: the process is killed, p: the power is cut
                11 => self.reopen(),
                16 if self.boot < u8::MAX => {
                    self.boot += 1;
                    self.reopen();
                }
                // t: the end is torn off, x: the header is damaged, g: a flush of the data fails
                20 => self.tear(count),
                24 => self.damage(count, operation[1]),
                7 => self.give_up(),
                _ => continue,
            }
            self.check();
        }
    }

    fn check(&self) {
        assert_eq!(self.journal.verified(), self.leaves.len() as u64);
        assert_eq!(self.journal.unconfirmed(), self.unconfirmed.len() as u64);
        assert_eq!(self.journal.durable(), self.durable as u64);
        let beyond = self.leaves.len() as u64 + 1;
        assert!(self.journal.read_leaves(0..beyond).is_err());
        assert_eq!(self.journal.read_leaves(0..beyond - 1).ok().as_ref(), Some(&self.leaves));
    }

    fn append(&mut self, count: usize) {
        let first = self.appended;
        self.appended += count as u32;
        let new: Vec<Md5> = (first..self.appended).map(|n| Md5::of(&n.to_be_bytes())).collect();
        let appended = self.journal.append(&new);
        assert_eq!(appended.is_ok(), self.unconfirmed.is_empty(), "{appended:?}");
        if appended.is_ok() {
            self.leaves.extend(new);
        }
    }

    fn mark(&mut self, count: usize) {
        let mark = self.durable + count;
        let marked = self.journal.mark_durable(mark as u64);
        let allowed = self.unconfirmed.is_empty() && mark <= self.leaves.len();
        assert_eq!(marked.is_ok(), allowed, "{marked:?}");
        if allowed {
            self.durable = mark;
        }
    }

    fn accept(&mut self, count: usize) {
        let accepted = self.journal.accept(count as u64);
        assert_eq!(accepted.is_ok(), count <= self.unconfirmed.len(), "{accepted:?}");
        if accepted.is_ok() {
            self.leaves.extend(self.unconfirmed.drain(..).take(count));
            self.owner = self.boot;
        }
    }

    /// What the model says of the file is what is read back.
    fn reopen(&mut self) {
        let mut all = std::mem::take(&mut self.leaves);
        all.append(&mut self.unconfirmed);
        if all.len() < self.durable {
            let error = self.open().err();
            assert!(matches!(error, Some(JournalError::Truncated)), "{error:?}");
            return self.start_over();
        }
        if self.owner != self.boot {
            self.unconfirmed = all.split_off(self.durable);
        }
        self.leaves = all;
        match self.open() {
            Ok((journal, leaves, unconfirmed)) => {
                assert_eq!((&leaves, &unconfirmed), (&self.leaves, &self.unconfirmed));
                self.journal = journal;
            }
            Err(error) => panic!("{error}"),
        }
        if self.unconfirmed.is_empty() {
            self.owner = self.boot;
        }
    }

    fn tear(&mut self, bytes: usize) {
        let all = self.leaves.len() + self.unconfirmed.len();
        let len = (HEADER + ENTRY * all as u64).saturating_sub(bytes as u64);
        assert!(self.file.set_len(len).is_ok());
        if len < HEADER {
            assert!(matches!(self.open().err(), Some(JournalError::Truncated)));
            return self.start_over();
        }
        let left = ((len - HEADER) / ENTRY) as usize;
        if left < self.leaves.len() {
            self.leaves.truncate(left);
            self.unconfirmed.clear();
        } else {
            self.unconfirmed.truncate(left - self.leaves.len());
        }
        self.reopen();
    }

    /// A damaged header may be refused; it never vouches for more than a whole one would.
    fn damage(&mut self, slot: usize, value: u8) {
        let at = (slot as u64 * 29 + u64::from(value)) % HEADER;
        let all = (self.leaves.len() + self.unconfirmed.len()) as u64;
        assert!(self.file.write_all_at(&[value], at).is_ok());
        let unknown = Journal::open(again(&self.file), FINGERPRINT, BootId::UNKNOWN);
        match unknown {
            Ok(opened) => {
                assert!(opened.leaves.len() <= self.durable, "damage at {at} made it durable");
                assert!(opened.leaves.len() as u64 + opened.unconfirmed.len() as u64 <= all);
            }
            Err(error) => assert!(error.means_start_over(), "{error}"),
        }
        self.start_over();
    }

    fn give_up(&mut self) {
        assert!(self.journal.give_up().is_ok());
        let after = self.journal.append(&[Md5::of(b"")]);
        assert!(matches!(after, Err(JournalError::FlushFailed)), "{after:?}");
        assert!(matches!(self.open().err(), Some(JournalError::Truncated)));
        self.start_over();
    }

    fn start_over(&mut self) {
        self.journal = create(&self.file, self.boot);
        self.owner = self.boot;
        self.leaves.clear();
        self.unconfirmed.clear();
        self.durable = 0;
    }

    fn open(&self) -> Result<(Journal, Vec<Md5>, Vec<Md5>), JournalError> {
        let opened = Journal::open(again(&self.file), FINGERPRINT, boot(self.boot))?;
        Ok((opened.journal, opened.leaves, opened.unconfirmed))
    }
}

fn boot(number: u8) -> BootId {
    BootId::from_bytes([number; 16])
}

fn create(file: &File, number: u8) -> Journal {
    match Journal::create(again(file), FINGERPRINT, boot(number)) {
        Ok(journal) => journal,
        Err(error) => panic!("{error}"),
    }
}

//! Stores what a get receives in its part, with a journal, and gives the file its name at the end.

use std::os::unix::fs::FileExt as _;

use berth_common::digest::Md5;
use berth_common::entry::Entry;

use super::durable::{DurableMarks, MarkError};
use super::part::Part;
use super::sink::Store;
use super::{TransferError, Tried};
use crate::progress::{Event, Reporter};

/// A get's part while it is being filled.
pub(super) struct PartStore {
    part: Part,
    entry: Entry,
    force: bool,
    marks: DurableMarks,
    /// A flush has failed: nothing of the part can be trusted, so it must not be resumed.
    spoilt: bool,
}

impl PartStore {
    pub(super) fn new(part: Part, entry: Entry, force: bool) -> Self {
        Self { part, entry, force, marks: DurableMarks::new(), spoilt: false }
    }
}

impl Store for PartStore {
    fn write(&mut self, offset: u64, data: &[u8], leaves: &[Md5]) -> Result<(), TransferError> {
        let file = self.part.file()?.clone();
        file.write_all_at(data, offset)
            .map_err(TransferError::local(Tried::Write, self.part.path()))?;
        let Some(journal) = self.part.journal_mut() else {
            return Ok(());
        };
        // The entries come after the data, see `Journal::append`.
        let kept = journal.append(leaves).map_err(MarkError::Journal);
        match kept.and_then(|()| self.marks.written(data.len() as u64, &file, journal)) {
            Ok(()) => Ok(()),
            Err(MarkError::Journal(error)) => Err(self.part.journal_error(error)),
            Err(MarkError::Data(error)) => {
                self.spoilt = true;
                Err(TransferError::local(Tried::Write, self.part.path())(error))
            }
        }
    }

    fn finish(self, progress: &Reporter) -> Result<bool, TransferError> {
        progress.tell(Event::Storing);
        let committed = self.part.commit(&self.entry, self.force)?;
        if !committed.attributes_kept {
            progress.tell(Event::AttributesNotKept);
        }
        Ok(committed.replaced)
    }

    /// A part without a journal, or without a leaf, is nothing to go on from.
    fn leave(mut self, verified: u64) {
        if verified == 0 || self.spoilt || self.part.journal_mut().is_none() {
            self.part.discard();
        }
    }

    fn discard(self) {
        self.part.discard();
    }
}

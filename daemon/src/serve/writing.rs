//! How large a file a session's worker may write: pure. The daemon bounds it by the worker's `RLIMIT_FSIZE`.
//!
//! A worker writes to the uploads that it has open and to their journals. Each has a size that was granted
//! before the worker was handed a file: stated by its filer, admitted and found to fit on the disk by the
//! daemon. The limit is one for all files of a process, so it is the largest of these; none are left when
//! the last upload is about to be committed, which the worker has closed by then.

use std::collections::{BTreeMap, HashMap};

use berth_common::ids::StagingName;
use berth_common::journal;

/// What a worker may write.
#[derive(Debug, Default)]
pub(super) struct Writing {
    uploads: HashMap<StagingName, Upload>,
    /// How many uploads have each size, so that the largest is at hand.
    sizes: BTreeMap<u64, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Upload {
    size: u64,
    /// Bytes of the file that it replaces, which count as room and are reserved by nobody.
    replaced: u64,
}

impl Writing {
    /// An upload of this size. One that can be resumed has a journal, which is smaller but for tiny files.
    pub(super) fn open(&mut self, name: StagingName, size: u64, resumable: bool) {
        let journal = if resumable { journal::size_for(size) } else { 0 };
        self.put(name, Upload { size: size.max(journal), replaced: 0 });
    }

    /// An upload of unknown size, which may replace so many bytes and has reserved so many.
    pub(super) fn lease(&mut self, name: StagingName, replaced: u64, reserved: u64) {
        self.put(name, Upload { size: replaced.saturating_add(reserved), replaced });
    }

    /// It has reserved so many by now.
    pub(super) fn extend(&mut self, name: StagingName, reserved: u64) {
        if let Some(Upload { replaced, .. }) = self.uploads.get(&name).copied() {
            self.lease(name, replaced, reserved);
        }
    }

    /// The worker writes to it no more.
    pub(super) fn close(&mut self, name: StagingName) {
        let Some(Upload { size, .. }) = self.uploads.remove(&name) else {
            return;
        };
        if let Some(count) = self.sizes.get_mut(&size) {
            *count -= 1;
            if *count == 0 {
                self.sizes.remove(&size);
            }
        }
    }

    /// The largest file that it may make.
    pub(super) fn limit(&self) -> u64 {
        self.sizes.last_key_value().map_or(0, |(size, _)| *size)
    }

    fn put(&mut self, name: StagingName, upload: Upload) {
        self.close(name);
        self.uploads.insert(name, upload);
        *self.sizes.entry(upload.size).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StagingName = StagingName(1);
    const B: StagingName = StagingName(2);

    #[test]
    fn the_limit_is_the_largest_that_is_open() {
        let mut writing = Writing::default();
        assert_eq!(writing.limit(), 0);
        writing.open(A, 100, false);
        writing.open(B, 70, false);
        assert_eq!(writing.limit(), 100);
        writing.close(A);
        writing.close(A);
        assert_eq!(writing.limit(), 70);
        writing.open(A, 70, false);
        writing.close(B);
        assert_eq!(writing.limit(), 70);
        writing.close(A);
        assert_eq!(writing.limit(), 0);
    }

    #[test]
    fn a_journal_and_what_is_replaced_count() {
        let mut writing = Writing::default();
        writing.open(A, 1, true);
        assert_eq!(writing.limit(), journal::size_for(1));
        writing.open(A, 1 << 40, true);
        assert_eq!(writing.limit(), 1 << 40);
        writing.lease(A, 10, 5);
        assert_eq!(writing.limit(), 15);
        writing.extend(A, 7);
        assert_eq!(writing.limit(), 17);
        writing.extend(B, 1000);
        assert_eq!(writing.limit(), 17, "of what it is not known to have");
        writing.lease(A, u64::MAX, 1);
        assert_eq!(writing.limit(), u64::MAX);
    }
}

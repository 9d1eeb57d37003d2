//! The files that the worker has open, by the numbers it knows them by.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;

use berth_common::entry::Existing;
use berth_common::filer_protocol::MAX_HANDLES;
use berth_common::ids::{Handle, StagingName};
use berth_common::rel_path::RelPath;

use crate::home::Seen;

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The file, to keep an MD5 on it.
    pub(crate) file: OwnedFd,
    /// As it was when it was opened.
    pub(crate) seen: Seen,
}

/// An open upload. Its descriptors are the worker's alone.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) name: StagingName,
    pub(crate) path: RelPath,
    /// Bytes that it must have at the end.
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) mode: u16,
    pub(crate) existing: Existing,
    /// Whether it has a journal and a row that outlives the session.
    pub(crate) resumable: bool,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    next: u32,
    readings: HashMap<Handle, Reading>,
    uploads: HashMap<Handle, Upload>,
    /// Uploads that are open, being committed or being dropped: nobody else here may touch them.
    in_use: HashSet<StagingName>,
}

impl Handles {
    /// Whether the worker has as many open as it may have.
    pub(crate) fn is_full(&self) -> bool {
        self.readings.len() + self.uploads.len() >= MAX_HANDLES
    }

    pub(crate) fn add_reading(&mut self, reading: Reading) -> Handle {
        let handle = self.mint();
        self.readings.insert(handle, reading);
        handle
    }

    pub(crate) fn add_upload(&mut self, upload: Upload) -> Handle {
        let handle = self.mint();
        self.in_use.insert(upload.name);
        self.uploads.insert(handle, upload);
        handle
    }

    pub(crate) fn reading(&self, handle: Handle) -> Option<&Reading> {
        self.readings.get(&handle)
    }

    pub(crate) fn take_reading(&mut self, handle: Handle) -> Option<Reading> {
        self.readings.remove(&handle)
    }

    pub(crate) fn take_upload(&mut self, handle: Handle) -> Option<Upload> {
        self.uploads.remove(&handle)
    }

    /// Begins to work on an upload; `false` when an operation of this session does already.
    pub(crate) fn use_upload(&mut self, name: StagingName) -> bool {
        self.in_use.insert(name)
    }

    /// Ends what [`Handles::use_upload`] or [`Handles::add_upload`] began.
    pub(crate) fn end_use(&mut self, name: StagingName) {
        self.in_use.remove(&name);
    }

    fn mint(&mut self) -> Handle {
        loop {
            let handle = Handle(self.next);
            self.next = self.next.wrapping_add(1);
            if !self.readings.contains_key(&handle) && !self.uploads.contains_key(&handle) {
                return handle;
            }
        }
    }
}

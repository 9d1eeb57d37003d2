//! The files that the worker has open, by the numbers it knows them by.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::MAX_HANDLES;
use berth_common::ids::{Handle, StagingName};
use berth_common::limits::LEASE_BYTES;
use berth_common::note::NoteChange;
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
    pub(crate) extent: Extent,
    /// That of the source; a stream has none.
    pub(crate) mtime_ns: Option<i64>,
    pub(crate) mode: u16,
    pub(crate) existing: Existing,
    /// What becomes of the file's note.
    pub(crate) note: NoteChange,
    /// Whether it has a journal and a row that outlives the session.
    pub(crate) resumable: bool,
}

/// How many bytes an upload may have at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// These.
    Exactly(u64),
    /// Any number within what was granted: the size is not known.
    Within(Room),
}

/// The room of an upload of unknown size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes of the file that it will replace, which nobody has to reserve.
    pub(crate) replaced: u64,
    /// Bytes that are reserved.
    pub(crate) granted: u64,
    /// Bytes for which the disk had room when it was asked: a file that is replaced gives none before the end.
    pub(crate) fits: u64,
    /// The daemon has been asked for more, and has not answered.
    pub(crate) asking: bool,
}

impl Room {
    /// As it begins: so much is granted, for which the disk has room, and it has `free` bytes in all.
    pub(crate) fn new(replaced: u64, granted: u64, free: u64) -> Self {
        let ahead = LEASE_BYTES.min(free.saturating_sub(granted));
        Self { replaced, granted, fits: granted.saturating_add(ahead), asking: false }
    }

    /// Bytes that may be written.
    pub(crate) fn limit(self) -> u64 {
        self.admitted().min(self.fits)
    }

    /// Bytes that the quota allows.
    fn admitted(self) -> u64 {
        self.replaced.saturating_add(self.granted)
    }

    /// Whether only the disk has to be asked before more may be written.
    pub(crate) fn is_short_of_disk(self) -> bool {
        self.fits < self.admitted()
    }

    /// Goes further within what the quota allows, as far as `least` and by a lease where the disk has as much.
    ///
    /// # Errors
    /// `DiskFull` when it has not got what is needed for `least`.
    pub(crate) fn go_on(self, least: u64, free: u64) -> Result<Self, ErrorCode> {
        let missing = least.min(self.admitted()).saturating_sub(self.limit());
        if missing > free {
            return Err(ErrorCode::DiskFull);
        }
        let more = LEASE_BYTES.max(missing).min(free);
        Ok(Self { fits: self.limit().saturating_add(more), ..self })
    }

    /// So many bytes are reserved by now, after the disk was looked at.
    pub(crate) fn grow(self, granted: u64) -> Self {
        let grown = Self { granted, ..self };
        Self { fits: grown.admitted(), ..grown }
    }
}

impl Extent {
    /// Whether a file of `size` bytes is what was announced.
    pub(crate) fn allows(self, size: u64) -> bool {
        match self {
            Self::Exactly(exact) => size == exact,
            Self::Within(room) => size <= room.limit(),
        }
    }
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

    /// `None` also while the daemon is being asked for more room: who ends an upload has waited for that.
    pub(crate) fn take_upload(&mut self, handle: Handle) -> Option<Upload> {
        match self.uploads.get(&handle)?.extent {
            Extent::Within(Room { asking: true, .. }) => None,
            Extent::Exactly(_) | Extent::Within(_) => self.uploads.remove(&handle),
        }
    }

    /// Begins to ask for more room for an upload of unknown size: its name, and the room that it has.
    /// `None` for any other, and while it is being asked already.
    pub(crate) fn begin_extend(&mut self, handle: Handle) -> Option<(StagingName, Room)> {
        let upload = self.uploads.get_mut(&handle)?;
        match &mut upload.extent {
            Extent::Within(room) if !room.asking => {
                room.asking = true;
                Some((upload.name, *room))
            }
            Extent::Exactly(_) | Extent::Within(_) => None,
        }
    }

    /// The daemon has answered: the room is this.
    pub(crate) fn end_extend(&mut self, handle: Handle, now: Room) {
        if let Some(Upload { extent: Extent::Within(room), .. }) = self.uploads.get_mut(&handle) {
            *room = Room { asking: false, ..now };
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_quota_and_disk_allow_both() {
        let room = Room::new(100, 20, 30);
        assert_eq!((room.limit(), room.is_short_of_disk()), (30, true));
        assert_eq!(Room::new(0, 20, 0).limit(), 20, "a lease fits on the disk");
        assert!(!Room::new(0, 20, 0).is_short_of_disk());
        assert_eq!(Room::new(5, 20, 1 << 40).limit(), 25);
        let room = Room::new(10 * LEASE_BYTES, 0, u64::MAX);
        assert_eq!(room.limit(), LEASE_BYTES, "by steps, however much is free");
        assert_eq!(room.go_on(0, u64::MAX).unwrap().limit(), 2 * LEASE_BYTES);
        let far = room.go_on(5 * LEASE_BYTES, 4 * LEASE_BYTES).unwrap();
        assert_eq!(far.limit(), 5 * LEASE_BYTES);
        let short = room.go_on(5 * LEASE_BYTES, 4 * LEASE_BYTES - 1);
        assert_eq!(short, Err(ErrorCode::DiskFull));
    }

    #[test]
    fn more_than_is_admitted_is_the_ledgers_to_give() {
        let room = Room::new(100, 20, 30).go_on(u64::MAX, 90).unwrap();
        assert_eq!((room.limit(), room.is_short_of_disk()), (120, false));
        assert_eq!(Room::new(100, 20, 30).go_on(u64::MAX, 89), Err(ErrorCode::DiskFull));
        let grown = room.grow(21);
        assert_eq!((grown.limit(), grown.is_short_of_disk()), (121, false));
    }
}

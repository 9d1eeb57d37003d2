//! What a client is shown of an object in its home.

use std::os::fd::OwnedFd;

use berth_common::entry::{Entry, EntryKind, HomeFingerprint};

use crate::attributes;
use crate::home::{Seen, What};

/// What is read for an entry beside what every entry has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) digest: bool,
    pub(crate) note: bool,
}

impl Wanted {
    /// The digest, and no note.
    pub(crate) const DIGEST: Self = Self { digest: true, note: false };
    /// All there is.
    pub(crate) const ALL: Self = Self { digest: true, note: true };
}

/// The entry of an object. `file` is the object opened for reading, where it is a regular file that could
/// be opened; without it the bits on disk are shown and nothing of what is wanted.
pub(crate) fn entry(name: String, seen: &Seen, file: Option<&OwnedFd>, wanted: Wanted) -> Entry {
    let kind = match seen.what {
        What::File if seen.links == 1 => EntryKind::File,
        What::Directory => EntryKind::Directory,
        What::Symlink => EntryKind::Symlink,
        What::File | What::Special => EntryKind::Other,
    };
    let stored = file.map(|file| attributes::stored(file, seen)).unwrap_or_default();
    Entry {
        name,
        kind,
        size: seen.size,
        mtime_ns: seen.mtime_ns,
        mode: stored.mode.unwrap_or(seen.permissions),
        digest: stored.digest.filter(|_| wanted.digest),
        // One that cannot be read is not shown, and fails no listing.
        note: file.filter(|_| wanted.note).and_then(|file| attributes::note(file).ok().flatten()),
    }
}

/// The fingerprint of a file that is shown as `entry`, with its digest.
pub(crate) fn fingerprint(seen: &Seen, entry: &Entry) -> HomeFingerprint {
    HomeFingerprint {
        inode: seen.inode,
        ctime_ns: seen.ctime_ns,
        size: seen.size,
        digest: entry.digest,
    }
}

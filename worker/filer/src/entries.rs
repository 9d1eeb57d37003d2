//! What a client is shown of an object in its home.

use std::os::fd::OwnedFd;

use berth_common::entry::{Entry, EntryKind, HomeFingerprint};

use crate::attributes;
use crate::home::{Seen, What};

/// The entry of an object. `file` is the object opened for reading, where it is a regular file that could
/// be opened; without it the bits on disk are shown and no digest.
pub(crate) fn entry(name: String, seen: &Seen, file: Option<&OwnedFd>, digest: bool) -> Entry {
    let kind = match seen.what {
        What::File if seen.links == 1 => EntryKind::File,
        What::Directory => EntryKind::Directory,
        What::Symlink => EntryKind::Symlink,
        What::File | What::Special => EntryKind::Other,
    };
    Entry {
        name,
        kind,
        size: seen.size,
        mtime_ns: seen.mtime_ns,
        mode: file.and_then(attributes::mode).unwrap_or(seen.permissions),
        digest: file.filter(|_| digest).and_then(|file| attributes::digest(file, seen)),
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

//! What more than one protocol says of files, quotas and uploads.

use serde::{Deserialize, Serialize};

use crate::digest::Md5;
use crate::ids::StagingName;
use crate::note::Note;
use crate::rel_path::RelPath;

/// What an entry of a home is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, made by an administrator: listed, never followed.
    Symlink,
    /// Any other object, or a regular file with several links: listed, not served.
    Other,
}

/// One entry of a home, as `stat` and `ls` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Last component of its path; empty for the home itself.
    /// A name that is not UTF-8 is shown with U+FFFD and cannot be addressed.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// `st_size` in bytes of a regular file, else 0.
    pub size: u64,
    /// Time of the last change in nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Permission bits, without setuid, setgid and sticky: what the client sent, else what is on disk.
    pub mode: u16,
    /// The tree digest, when one is stored that was made for this size and mtime.
    /// Listings leave it out.
    pub digest: Option<Md5>,
    /// The note that is kept with a file. It is told where a single entry is asked for, and in listings that ask
    /// for notes.
    pub note: Option<Note>,
}

/// Tells a client's local file apart from any other content it ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceFingerprint {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Nanoseconds since the epoch.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

/// What a put sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PutSource {
    /// A file, which can be read again.
    File(SourceFingerprint),
    /// What comes to its end only once, such as a pipe: of unknown size, and never gone on with.
    Stream,
}

impl From<SourceFingerprint> for PutSource {
    fn from(file: SourceFingerprint) -> Self {
        Self::File(file)
    }
}

/// What was sent, said after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceEnd {
    /// The file's fingerprint, taken again.
    File(SourceFingerprint),
    /// The end of a stream.
    Stream {
        /// Bytes that were sent.
        size: u64,
    },
}

impl From<SourceFingerprint> for SourceEnd {
    fn from(file: SourceFingerprint) -> Self {
        Self::File(file)
    }
}

/// What a put does with a file that stands at its path. A directory there refuses every put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Existing {
    /// Leaves it alone: the put is refused.
    Keep,
    /// Replaces it.
    Replace,
    /// Adds to its end; where nothing stands, the bytes become the file. Putting twice adds twice.
    Append,
}

/// Tells a file in a home apart from any other content at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HomeFingerprint {
    /// Inode number.
    pub inode: u64,
    /// Nanoseconds since the epoch.
    pub ctime_ns: i64,
    /// Bytes.
    pub size: u64,
    /// The stored tree digest, if it is valid.
    pub digest: Option<Md5>,
}

impl HomeFingerprint {
    /// Whether a transfer begun for `self` may go on with the file that `now` describes:
    /// the same valid digest and size, or else the same unchanged inode.
    #[must_use]
    pub fn continues_with(&self, now: &Self) -> bool {
        let same_content = self.digest.is_some() && self.digest == now.digest;
        let same_inode = (self.inode, self.ctime_ns) == (now.inode, now.ctime_ns);
        self.size == now.size && (same_content || same_inode)
    }

    /// 16 bytes that stand for this fingerprint in a journal: those of the digest where there is one.
    #[must_use]
    pub fn journal_key(&self) -> [u8; 16] {
        let mut text = Vec::with_capacity(64);
        text.extend_from_slice(b"home");
        text.extend_from_slice(&self.size.to_be_bytes());
        match self.digest {
            Some(digest) => text.extend_from_slice(digest.as_bytes()),
            None => {
                text.extend_from_slice(&self.inode.to_be_bytes());
                text.extend_from_slice(&self.ctime_ns.to_be_bytes());
            }
        }
        *Md5::of(&text).as_bytes()
    }
}

impl SourceFingerprint {
    /// 16 bytes that stand for this fingerprint in a journal.
    #[must_use]
    pub fn journal_key(&self) -> [u8; 16] {
        let mut text = Vec::with_capacity(64);
        text.extend_from_slice(b"source");
        text.extend_from_slice(&self.size.to_be_bytes());
        text.extend_from_slice(&self.mtime_ns.to_be_bytes());
        text.extend_from_slice(&self.ctime_ns.to_be_bytes());
        text.extend_from_slice(&self.inode.to_be_bytes());
        *Md5::of(&text).as_bytes()
    }
}

/// A user's limits; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most bytes in the home and reserved.
    pub bytes: Option<u64>,
    /// Most entries in the home and reserved.
    pub entries: Option<u64>,
}

/// What a user has and may have. `used` may be below zero for a moment (see `docs/LEDGER.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The limits.
    pub limits: Limits,
    /// Bytes of regular files in the home.
    pub used_bytes: i64,
    /// Entries in the home.
    pub used_entries: i64,
    /// Bytes set aside for uploads that are open.
    pub reserved_bytes: u64,
    /// Entries set aside for uploads that are open.
    pub reserved_entries: u64,
}

/// An open, resumable upload, as `berth uploads` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSummary {
    /// What `berth uploads --abort` names it by.
    pub upload: StagingName,
    /// Where it is to appear.
    pub path: RelPath,
    /// Bytes that it will have.
    pub size: u64,
    /// Bytes that have been received and verified.
    pub received: u64,
    /// When it was begun, in seconds since the epoch.
    pub opened_s: i64,
    /// When it expires if nothing happens, in seconds since the epoch.
    pub expires_s: i64,
    /// Whether a session is working on it.
    pub active: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_goes_on_with_the_same_content_or_the_same_inode_only() {
        let digest = |byte| Some(Md5::from_bytes([byte; 16]));
        let begun = HomeFingerprint { inode: 1, ctime_ns: 2, size: 3, digest: digest(4) };
        assert!(begun.continues_with(&begun));
        assert!(begun.continues_with(&HomeFingerprint { inode: 9, ctime_ns: 9, ..begun }));
        assert!(begun.continues_with(&HomeFingerprint { digest: None, ..begun }));
        assert!(!begun.continues_with(&HomeFingerprint { size: 4, ..begun }));
        assert!(!begun.continues_with(&HomeFingerprint { inode: 9, digest: None, ..begun }));
        assert!(!begun.continues_with(&HomeFingerprint {
            ctime_ns: 9,
            digest: digest(5),
            ..begun
        }));
    }
}

//! What is to be done with each piece of a local tree, by what stands in its place in the home: plain decisions, before
//! any data moves.
//!
//! Whoever walks the tree and asks the server gives one piece after the other, directories before what is in them, and
//! the answers. What stays are sums, and a digest for each path that is settled: it is not touched when the tree is
//! walked again to be put.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use berth_common::batch::StatResult;
use berth_common::digest::Md5;
use berth_common::entry::{EntryKind, SourceFingerprint, Usage};
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::rel_path::RelPath;

/// What a piece of a tree is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// A directory.
    Directory,
    /// A file, as it was looked at.
    File(SourceFingerprint),
}

/// How a file that stands there is found to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparing {
    /// It never is: all are put.
    Nothing,
    /// Size and digest are the same.
    Content,
    /// Size and time of the last change are the same.
    Times,
}

/// What is to be done with a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing stands there: it is put, or made.
    New,
    /// A file of so many bytes stands there and is replaced.
    Replace(u64),
    /// A file of the same size stands there: whether it has this digest decides.
    Compare(Md5),
    /// It is there already.
    Same,
    /// It cannot be put.
    Refused(ErrorCode),
}

/// What is to be done with a piece where this stands.
#[must_use]
pub fn judge(local: &Local, there: &StatResult, comparing: Comparing) -> Verdict {
    let there = match there {
        StatResult::Entry(entry) => entry,
        StatResult::Failed(ErrorCode::NotFound) => return Verdict::New,
        StatResult::Failed(error) => return Verdict::Refused(error.clone()),
    };
    let file = match (local, there.kind) {
        (Local::Directory, EntryKind::Directory) => return Verdict::Same,
        (Local::File(file), EntryKind::File) => file,
        (Local::Directory, EntryKind::File) => {
            return Verdict::Refused(ErrorCode::NotADirectory);
        }
        (Local::File(_), EntryKind::Directory) => return Verdict::Refused(ErrorCode::IsADirectory),
        (_, EntryKind::Symlink | EntryKind::Other) => {
            return Verdict::Refused(ErrorCode::NotServed);
        }
    };
    let same_size = file.size == there.size;
    match (comparing, there.digest) {
        (Comparing::Content, Some(digest)) if same_size => Verdict::Compare(digest),
        (Comparing::Times, _) if same_size && file.mtime_ns == there.mtime_ns => Verdict::Same,
        _ => Verdict::Replace(there.size),
    }
}

/// What the home grows by. Files that become smaller count against it, so that what is found too much is certainly so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    bytes: i128,
    entries: u64,
}

impl Growth {
    /// The first limit that would be exceeded, as the server would say it.
    #[must_use]
    pub fn beyond(&self, usage: &Usage) -> Option<ErrorCode> {
        let resources = [
            (
                Resource::Bytes,
                usage.limits.bytes,
                usage.used_bytes,
                usage.reserved_bytes,
                self.bytes,
            ),
            (
                Resource::Entries,
                usage.limits.entries,
                usage.used_entries,
                usage.reserved_entries,
                self.entries.into(),
            ),
        ];
        resources.into_iter().find_map(|(resource, limit, used, reserved, growth)| {
            let limit = limit?;
            let then = i128::from(used) + i128::from(reserved) + growth;
            let exceeds = growth > 0 && then > i128::from(limit);
            let requested = u64::try_from(growth).unwrap_or(u64::MAX);
            exceeds.then_some(ErrorCode::QuotaExceeded {
                resource,
                limit,
                used,
                reserved,
                requested,
            })
        })
    }
}

/// Local paths, of each only a digest. It is salted, so that nobody can choose two names that are taken for one.
#[derive(Clone, Debug)]
pub struct Paths {
    salt: [u64; 2],
    digests: HashSet<Md5>,
}

impl Default for Paths {
    fn default() -> Self {
        let random = RandomState::new();
        Self { salt: [0, 1].map(|part| random.hash_one(part)), digests: HashSet::new() }
    }
}

impl Paths {
    /// Adds one.
    pub fn insert(&mut self, path: &Path) {
        self.digests.insert(self.digest_of(path));
    }

    /// Whether it is there.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        !self.digests.is_empty() && self.digests.contains(&self.digest_of(path))
    }

    fn digest_of(&self, path: &Path) -> Md5 {
        let [one, two] = self.salt.map(u64::to_ne_bytes);
        Md5::of(&[&one, &two, path.as_os_str().as_bytes()].concat())
    }
}

/// What is to be done with a whole tree.
#[derive(Debug, Default)]
pub struct Plan {
    growth: Growth,
    /// Neither put nor made: the same already, or refused.
    settled: Paths,
    refused: HashSet<RelPath>,
    /// Uploads for which the server has set their bytes aside.
    uploads: HashMap<RelPath, u64>,
    keeps: bool,
}

/// What is said of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is put or made.
    Done {
        /// Whether something that stands there is replaced.
        replaces: bool,
    },
    /// It is there already.
    Same,
    /// It cannot be put.
    Refused(ErrorCode),
    /// It is in a directory of which that was said.
    Beneath,
}

impl Plan {
    /// One for a home with these open uploads. `keeps` says that no file is replaced.
    #[must_use]
    pub fn new(uploads: impl IntoIterator<Item = (RelPath, u64)>, keeps: bool) -> Self {
        Self { uploads: uploads.into_iter().collect(), keeps, ..Self::default() }
    }

    /// A directory above the trees is made too.
    pub fn makes_directory(&mut self) {
        self.growth.entries += 1;
    }

    /// Takes a piece in. What was to be compared was, and came out as another verdict.
    pub fn take(&mut self, local: &Path, remote: &RelPath, is: &Local, verdict: Verdict) -> Told {
        if !self.refused.is_empty() && ancestors(remote).any(|above| self.refused.contains(&above))
        {
            return Told::Beneath;
        }
        let size = match is {
            Local::Directory => 0,
            Local::File(file) => file.size,
        };
        match verdict {
            Verdict::New => {
                self.growth.bytes += i128::from(size);
                self.growth.entries += 1;
                // What an open upload has set aside is used for this one, or given back for it.
                if let Some(reserved) = self.reserved(remote, is) {
                    self.growth.bytes -= i128::from(reserved);
                    self.growth.entries -= 1;
                }
                Told::Done { replaces: false }
            }
            Verdict::Replace(_) | Verdict::Compare(_) if self.keeps => {
                self.settled.insert(local);
                Told::Refused(ErrorCode::AlreadyExists)
            }
            Verdict::Replace(before) => {
                self.growth.bytes += i128::from(size) - i128::from(before);
                if let Some(reserved) = self.reserved(remote, is) {
                    // No more than it grew by was set aside.
                    let reserved = i128::from(reserved) - i128::from(before);
                    self.growth.bytes -= reserved.max(0);
                }
                Told::Done { replaces: true }
            }
            Verdict::Compare(_) => Told::Done { replaces: true },
            Verdict::Same => {
                // A directory is entered all the same.
                if matches!(is, Local::File(_)) {
                    self.settled.insert(local);
                }
                Told::Same
            }
            Verdict::Refused(error) => {
                self.settled.insert(local);
                if matches!(is, Local::Directory) {
                    self.refused.insert(remote.clone());
                }
                Told::Refused(error)
            }
        }
    }

    /// What an open upload of this file is to have, in bytes.
    fn reserved(&self, remote: &RelPath, is: &Local) -> Option<u64> {
        self.uploads.get(remote).copied().filter(|_| matches!(is, Local::File(_)))
    }

    /// What the home grows by.
    #[must_use]
    pub fn growth(&self) -> Growth {
        self.growth
    }

    /// A path that was told of and is not touched.
    pub fn settle(&mut self, local: &Path) {
        self.settled.insert(local);
    }

    /// What is not touched when the tree is put.
    #[must_use]
    pub fn into_settled(self) -> Paths {
        self.settled
    }
}

/// The directories that a path is in, the nearest first, without the home itself.
pub fn ancestors(path: &RelPath) -> impl Iterator<Item = RelPath> {
    let above = |path: &RelPath| {
        path.split_last().map(|(parent, _)| parent).filter(|parent| !parent.is_root())
    };
    std::iter::successors(above(path), move |path| above(path))
}

#[cfg(test)]
mod tests;

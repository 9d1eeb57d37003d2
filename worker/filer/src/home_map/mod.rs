//! What a verification knows of a home: what its walk saw, corrected by what sessions report. Pure.
//!
//! The walk takes no lock, so it may see a thing twice, or not at all, while names change under it. Things
//! are therefore kept by inode number, and for each the last report counts, whatever was seen. What nobody
//! reports was in the home all the time, and stood still but for directories above it that moved, which
//! are listed again at their new place.

mod places;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use berth_common::ledger_protocol::HomeReport;

pub(crate) use places::Directory;

/// Why a home cannot be summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    /// The memory that a filer may use does not suffice.
    #[error("more than {0} entries do not fit the memory that a verification may use")]
    TooMany(usize),
    /// More bytes than there can be.
    #[error("the sizes of the files add up to more than 2^63 bytes")]
    TooLarge,
}

/// What the map has found so far, or at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// One thing, in the 8 bytes that a home of millions can afford: its size, and whether a session has
/// reported it, which no later sight of it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known(u64);

impl Known {
    const LEFT: Self = Self(u64::MAX);

    fn new(bytes: u64, reported: bool) -> Result<Self, MapError> {
        // One less than the largest file of any file system, whose mark would be that of `LEFT`.
        if bytes >= i64::MAX as u64 {
            return Err(MapError::TooLarge);
        }
        Ok(Self(bytes << 1 | u64::from(reported)))
    }

    fn is_reported(self) -> bool {
        self.0 & 1 == 1
    }

    fn bytes(self) -> Option<u64> {
        (self != Self::LEFT).then_some(self.0 >> 1)
    }
}

/// A thing with several links: each name of it counts.
#[derive(Debug)]
struct Linked {
    bytes: u64,
    names: HashSet<(u64, Box<[u8]>)>,
    is_file: bool,
    place: Directory,
}

/// The map, and the directories that are still to be listed.
#[derive(Debug)]
pub(crate) struct HomeMap {
    known: HashMap<u64, Known>,
    linked: HashMap<u64, Linked>,
    unlisted: Vec<Directory>,
}

impl HomeMap {
    /// Of a home of which nothing is known: its root is to be listed.
    pub(crate) fn new() -> Self {
        let (known, linked) = Default::default();
        Self { known, linked, unlisted: vec![Directory::root()] }
    }

    /// A thing with one link, or a directory.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn saw(&mut self, inode: u64, bytes: u64) -> Result<(), MapError> {
        if !self.linked.is_empty() {
            // It had another link when it was seen before: that of a rename over it, which is undone.
            self.linked.remove(&inode);
        }
        let known = Known::new(bytes, false)?;
        self.room()?;
        match self.known.entry(inode) {
            Entry::Occupied(mut entry) if !entry.get().is_reported() => drop(entry.insert(known)),
            Entry::Occupied(_) => {}
            Entry::Vacant(entry) => drop(entry.insert(known)),
        }
        Ok(())
    }

    /// One name, in the directory of this inode number, of a thing with several links.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn saw_link(
        &mut self,
        inode: u64,
        bytes: u64,
        is_file: bool,
        (parent, place): (u64, Directory),
    ) -> Result<(), MapError> {
        if self.known.get(&inode).is_some_and(|known| known.is_reported()) {
            return Ok(());
        }
        self.known.remove(&inode);
        let entries = self.len();
        self.linked.try_reserve(1).map_err(|_| MapError::TooMany(entries))?;
        let name = (parent, place.name().into());
        let linked = self.linked.entry(inode).or_insert_with(|| Linked {
            bytes,
            names: HashSet::new(),
            is_file,
            place,
        });
        linked.bytes = bytes;
        linked.names.try_reserve(1).map_err(|_| MapError::TooMany(entries))?;
        linked.names.insert(name);
        Ok(())
    }

    /// A directory that is to be listed in its turn.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn add_unlisted(&mut self, directory: Directory) -> Result<(), MapError> {
        self.unlisted.try_reserve(1).map_err(|_| MapError::TooMany(self.known.len()))?;
        self.unlisted.push(directory);
        Ok(())
    }

    /// The next directory to list; `None` when nothing is left.
    pub(crate) fn next_directory(&mut self) -> Option<Directory> {
        self.unlisted.pop()
    }

    /// Whether directories are still to be listed.
    pub(crate) fn has_unlisted(&self) -> bool {
        !self.unlisted.is_empty()
    }

    /// What a session did, in the order in which sessions did it. `Unclear` is the daemon's to deal with:
    /// it begins anew.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn report(&mut self, report: &HomeReport) -> Result<(), MapError> {
        let (inode, known) = match report {
            HomeReport::Stands { inode, bytes } => (*inode, Known::new(*bytes, true)?),
            HomeReport::Moved { inode, place } => {
                self.add_unlisted(Directory::at(place))?;
                (*inode, Known::new(0, true)?)
            }
            HomeReport::Left { inode } => (*inode, Known::LEFT),
            HomeReport::Unclear => return Ok(()),
        };
        self.room()?;
        self.linked.remove(&inode);
        self.known.insert(inode, known);
        Ok(())
    }

    /// What the home holds at this instant, when nothing is left to list and no report is on its way.
    ///
    /// # Errors
    /// When the sizes do not add up to a number.
    pub(crate) fn sum(&self) -> Result<Sum, MapError> {
        let mut sum = Sum::default();
        let mut add = |bytes: u64, names: u64| {
            let more = bytes.checked_mul(names).and_then(|more| sum.bytes.checked_add(more));
            sum.bytes = more.filter(|sum| *sum <= i64::MAX as u64).ok_or(MapError::TooLarge)?;
            sum.entries += names;
            Ok(())
        };
        for bytes in self.known.values().filter_map(|known| known.bytes()) {
            add(bytes, 1)?;
        }
        for linked in self.linked.values() {
            add(linked.bytes, linked.names.len() as u64)?;
        }
        Ok(sum)
    }

    /// Regular files that were seen with several links, each with a place of it.
    pub(crate) fn linked_files(&self) -> impl Iterator<Item = &Directory> {
        self.linked.values().filter(|linked| linked.is_file).map(|linked| &linked.place)
    }

    fn len(&self) -> usize {
        self.known.len() + self.linked.len()
    }

    /// Makes room for one more, or says that there is none, where the allocator would end the process.
    fn room(&mut self) -> Result<(), MapError> {
        let entries = self.len();
        self.known.try_reserve(1).map_err(|_| MapError::TooMany(entries))
    }
}

#[cfg(test)]
mod tests;

//! Walks a tree of the home for `tree` and `du`, entry by entry, in constant memory.
//!
//! Listings are asked for ahead, as in a `get -r`. A directory is sorted by name like that of `ls`, as long as it has no
//! more entries than are sorted there. Whoever walks decides what is entered and what is kept.

use std::io;

use berth::session::{RequestError, Session};
use berth_common::entry::{Entry, EntryKind};
use berth_common::rel_path::{RelPath, RelPathError};
use rust_i18n::t;

use super::get_tree::ahead::{Ahead, Behind};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::order::{Gathered, Order};
use crate::trees::Stack;

/// A walk. `T` is what the command notes of each directory that it is in.
pub(super) struct Descent<T> {
    session: Session,
    stack: Stack<Inside<T>>,
    ahead: Ahead,
}

struct Inside<T> {
    path: RelPath,
    note: T,
}

/// What comes next.
pub(super) enum Visit<T> {
    /// An entry that was kept.
    Entry {
        entry: Entry,
        /// Its path, if it has a name that may be one.
        path: Result<RelPath, RelPathError>,
        /// Of its directory; 0 for the one where the walk began.
        depth: usize,
        /// Whether it is the last in its directory.
        last: bool,
    },
    /// Nothing is left in the directory that was entered last.
    Left { path: RelPath, note: T },
}

/// Why a directory's entries are not all there.
pub(super) enum DescentError {
    Request(RequestError),
    /// They cannot be kept here.
    Spool(io::Error),
}

impl From<RequestError> for DescentError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<io::Error> for DescentError {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

impl<T> Descent<T> {
    pub(super) fn new(session: Session) -> Self {
        let ahead = Ahead::new(session.clone());
        Self { session, stack: Stack::default(), ahead }
    }

    /// Enters a directory and asks what is in it, of which that is kept which `keep` says. With `deeper` its
    /// directories will be entered too.
    ///
    /// # Errors
    /// When its entries cannot be had or kept; it is not entered then, or with those that could be kept.
    pub(super) async fn enter(
        &mut self,
        path: RelPath,
        note: T,
        deeper: bool,
        mut keep: impl FnMut(&Entry) -> bool,
    ) -> Result<(), DescentError> {
        let came = self.ahead.take(&path).await;
        let behind = deeper.then(|| self.ahead.enter());
        self.stack.enter(Inside { path: path.clone(), note });
        let mut gathered = Gathered::default();
        let mut take = |mut part: Vec<Entry>| {
            part.retain(&mut keep);
            gathered.add(part)
        };
        if let Some(all) = came {
            let unsorted = take(all);
            self.add(&path, behind.as_ref(), &unsorted)?;
        } else {
            let listed: Result<(), DescentError> = async {
                let mut listing = self.session.list(&path).await?;
                while let Some(part) = listing.next_part().await? {
                    let unsorted = take(part);
                    self.add(&path, behind.as_ref(), &unsorted)?;
                }
                Ok(())
            }
            .await;
            if let Err(error) = listed {
                if matches!(error, DescentError::Request(_)) {
                    self.stack.leave();
                }
                return Err(error);
            }
        }
        let sorted = gathered.sorted(Order::default());
        self.add(&path, behind.as_ref(), &sorted)
    }

    fn add(
        &mut self,
        path: &RelPath,
        behind: Option<&Behind>,
        entries: &[Entry],
    ) -> Result<(), DescentError> {
        if let Some(behind) = behind {
            self.ahead.found(behind, path, entries);
        }
        Ok(self.stack.add(entries)?)
    }

    /// What the command notes of the directory that was entered last.
    pub(super) fn note(&mut self) -> Option<&mut T> {
        self.stack.top().map(|inside| &mut inside.note)
    }

    /// What comes next; `None` when the walk is over.
    ///
    /// # Errors
    /// When what was kept cannot be read again; the directory counts as left then.
    pub(super) fn next(&mut self) -> io::Result<Option<Visit<T>>> {
        let depth = self.stack.depth();
        let next = self.stack.next_entry();
        if let (Ok(Some(_)), Some(inside)) = (&next, self.stack.top()) {
            let within = inside.path.clone();
            return Ok(next?.map(|entry| Visit::Entry {
                path: within.join(&entry.name),
                depth: depth - 1,
                last: self.stack.is_at_end(),
                entry,
            }));
        }
        let left = self.stack.leave();
        next?;
        Ok(left.map(|Inside { path, note }| Visit::Left { path, note }))
    }
}

/// Whether an entry is a directory.
pub(super) fn is_directory(entry: &Entry) -> bool {
    entry.kind == EntryKind::Directory
}

/// Entries cannot be kept, or not be read again.
pub(super) fn spool_failure(error: &io::Error) -> Failure {
    let directory = std::env::temp_dir();
    let reason = human::reason(error);
    let sentence = t!(
        "cannot keep the listing in %{directory}: %{reason}",
        directory = directory.display(),
        reason = reason
    );
    Failure::new(Exit::Failure, sentence)
}

#[cfg(test)]
mod tests;

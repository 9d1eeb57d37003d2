//! Listings that are asked for before their turn, so that a long line costs a tree less than a round trip for each
//! directory.
//!
//! A directory's subdirectories are entered in the order in which they were listed, before what follows it. Those
//! that come next are asked for now. What comes is kept where it is short; of a long listing what has come is
//! dropped, and it is asked for again in its turn, when it is taken off the line as fast as it comes.

use std::collections::HashMap;

use berth::session::Session;
use berth_common::entry::{Entry, EntryKind};
use berth_common::rel_path::RelPath;
use tokio::task::JoinHandle;

/// Listings that are asked for, or are kept until their turn.
const AT_ONCE: usize = 16;

/// Parts of a listing that are kept, of at most 32 KiB each.
const PARTS: usize = 4;

/// Directories that are remembered. Of the others each is asked for in its turn.
const NOTED: usize = 4096;

/// What is asked for ahead.
pub(in crate::commands) struct Ahead {
    session: Session,
    /// Directories that will be entered, the next one last.
    coming: Vec<RelPath>,
    asked: HashMap<RelPath, JoinHandle<Option<Vec<Entry>>>>,
}

/// How many directories come behind one that is being listed.
pub(in crate::commands) struct Behind(usize);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.asked.values().for_each(JoinHandle::abort);
    }
}

impl Ahead {
    pub(in crate::commands) fn new(session: Session) -> Self {
        Self { session, coming: Vec::new(), asked: HashMap::new() }
    }

    /// A directory is entered. What is behind it is entered after all that is in it.
    pub(in crate::commands) fn enter(&self) -> Behind {
        Behind(self.coming.len())
    }

    /// The next part of what is in the directory `within`, whose subdirectories are entered before what is `behind`.
    pub(in crate::commands) fn found(
        &mut self,
        behind: &Behind,
        within: &RelPath,
        entries: &[Entry],
    ) {
        let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        // A name that is none is told of in its turn.
        let mut paths: Vec<RelPath> =
            directories.filter_map(|entry| within.join(&entry.name).ok()).collect();
        paths.truncate(NOTED.saturating_sub(self.coming.len()));
        // Beneath those of the parts before.
        self.coming.splice(behind.0..behind.0, paths.into_iter().rev());
        self.ask();
    }

    /// What is in a directory that is entered now, if that has come ahead and is all of it.
    pub(in crate::commands) async fn take(&mut self, remote: &RelPath) -> Option<Vec<Entry>> {
        if let Some(place) = self.coming.iter().rposition(|coming| coming == remote) {
            self.coming.remove(place);
        }
        let asked = self.asked.remove(remote)?;
        let entries = asked.await.ok().flatten();
        self.ask();
        entries
    }

    fn ask(&mut self) {
        let room = AT_ONCE.saturating_sub(self.asked.len());
        let next = self.coming.iter().rev().take(AT_ONCE);
        let next: Vec<RelPath> =
            next.filter(|path| !self.asked.contains_key(path)).take(room).cloned().collect();
        for path in next {
            let listing = tokio::spawn(list(self.session.clone(), path.clone()));
            self.asked.insert(path, listing);
        }
    }
}

/// A short directory's entries. What is wrong with it is found out again in its turn.
async fn list(session: Session, path: RelPath) -> Option<Vec<Entry>> {
    let mut listing = session.list(&path).await.ok()?;
    let mut all = Vec::new();
    for _ in 0..PARTS {
        match listing.next_part().await.ok()? {
            Some(entries) => all.extend(entries),
            None => return Some(all),
        }
    }
    listing.has_ended().then_some(all)
}

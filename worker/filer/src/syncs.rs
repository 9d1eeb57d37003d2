//! When staging is synced, and for whom: all who ask before a sync begins share it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::helper::Helper;
use crate::staging::{Staging, Synced};
use crate::tasks::{Filler, Slot, lock, slot};

/// Changes for which a sync begins though small files are being written that are to be durable, too: each sync writes
/// blocks of directories and inodes that the next writes again. It is what ten messages hold at 4 KiB a file, so that
/// others are written and placed meanwhile.
const TOGETHER: usize = 256;

/// So long a change waits for such files at most: those that cannot be written never come.
const AT_MOST: Duration = Duration::from_millis(20);

/// The syncs of a session.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    next: Arc<Mutex<Next>>,
    writing: Rc<Cell<usize>>,
}

/// The next one.
#[derive(Debug, Default)]
struct Next {
    /// Operations that wait for it.
    waiters: Vec<Filler<Synced>>,
    /// Since when the first of them does.
    since: Option<Instant>,
    /// Files and names that these have changed.
    changes: usize,
    /// One of them has staged files that are to be durable, too.
    with_files: bool,
    /// It is among the helper's jobs, and has not begun.
    queued: bool,
}

impl Next {
    /// Whether it is to be handed to the helper, while so many messages of small files are being written.
    fn is_due(&self, writing: usize, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let is_late = now.saturating_duration_since(since) >= AT_MOST;
        !self.queued && (writing == 0 || self.changes >= TOGETHER || is_late)
    }
}

/// Small files are being written that are to be durable with what waits.
#[derive(Debug)]
pub(crate) struct Writing(Rc<Cell<usize>>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Syncs {
    /// Waits for the next, which is to make so many changes durable, and the bytes of staged files if asked.
    pub(crate) fn wait(&self, changes: usize, with_files: bool) -> Slot<Synced> {
        let (filler, slot) = slot();
        let mut next = lock(&self.next);
        next.waiters.push(filler);
        next.since.get_or_insert_with(Instant::now);
        next.changes += changes;
        next.with_files |= with_files;
        slot
    }

    /// Small files are handed to the threads that write them, which only the disk holds up: the next sync may wait for
    /// them.
    pub(crate) fn writing(&self) -> Writing {
        self.writing.set(self.writing.get() + 1);
        Writing(Rc::clone(&self.writing))
    }

    /// Hands the next to the helper if it is due.
    pub(crate) fn begin(&self, staging: &Arc<Staging>, helper: &Helper) {
        {
            let mut next = lock(&self.next);
            if !next.is_due(self.writing.get(), Instant::now()) {
                return;
            }
            next.queued = true;
        }
        let (next, staging) = (Arc::clone(&self.next), Arc::clone(staging));
        // Its own answer is not awaited: the waiters get theirs.
        drop(helper.run_once(move || {
            let Next { waiters, with_files, .. } = std::mem::take(&mut *lock(&next));
            let synced = match with_files {
                true => staging.sync_with_files(),
                false => Synced { names: staging.sync(), files: Ok(()) },
            };
            for waiter in waiters {
                waiter.fill(synced);
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_waits_for_files_that_are_being_written_until_it_is_for_enough() {
        let syncs = Syncs::default();
        let begun = Instant::now();
        let is_due = |writing| lock(&syncs.next).is_due(writing, begun);
        assert!(!is_due(0), "for nobody");
        drop(syncs.wait(1, false));
        assert!(is_due(0) && !is_due(1));
        drop(syncs.wait(TOGETHER - 2, true));
        assert!(!is_due(1));
        drop(syncs.wait(1, true));
        assert!(is_due(1) && is_due(64));
        lock(&syncs.next).queued = true;
        assert!(!is_due(0) && !is_due(1), "it will be for those who ask until it begins");
    }

    #[test]
    fn a_sync_does_not_wait_long() {
        let syncs = Syncs::default();
        drop(syncs.wait(1, false));
        let next = lock(&syncs.next);
        let since = next.since.unwrap();
        assert!(!next.is_due(1, since + AT_MOST / 2) && next.is_due(1, since + AT_MOST));
    }

    #[test]
    fn what_is_no_longer_written_is_not_waited_for() {
        let syncs = Syncs::default();
        let (one, other) = (syncs.writing(), syncs.writing());
        drop(one);
        assert_eq!(syncs.writing.get(), 1);
        drop(other);
        assert_eq!(syncs.writing.get(), 0);
    }
}

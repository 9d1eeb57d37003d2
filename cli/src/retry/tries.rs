//! What the tries of one command share: what is finished, what was told, and what was lost.
//!
//! The commands take note here; the loop in `retry` reads it. A path is kept as 8 bytes, whatever its length. Where
//! nothing is tried again, nothing is kept and all is told at once.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use berth_common::error_code::ErrorCode;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::trees::Tally;

/// The record of a command. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tries(Option<Arc<Mutex<Record>>>);

#[derive(Debug)]
struct Record {
    /// Of a hash that a server with chosen names cannot foresee.
    keys: RandomState,
    done: HashSet<u64>,
    into: Option<bool>,
    first: Option<Exit>,
    trees: Option<(Tally, Instant)>,
    loss: Option<Loss>,
    under_way: Vec<(String, String)>,
    /// Whether this is not the first try.
    again: bool,
    /// Whether this try has finished anything.
    moved: bool,
}

/// What was lost in a try.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// The first failure that a try may mend.
    pub(crate) failure: Failure,
    /// How many there were.
    pub(crate) held: u64,
}

impl Tries {
    /// For a command that is tried again.
    pub(crate) fn new() -> Self {
        let record = Record {
            keys: RandomState::new(),
            done: HashSet::new(),
            into: None,
            first: None,
            trees: None,
            loss: None,
            under_way: Vec::new(),
            again: false,
            moved: false,
        };
        Self(Some(Arc::new(Mutex::new(record))))
    }

    /// For a command whose first try is its last.
    pub(crate) fn only_one() -> Self {
        Self(None)
    }

    /// Whether what is lost is tried again.
    pub(crate) fn are_more(&self) -> bool {
        self.0.is_some()
    }

    fn record(&self) -> Option<MutexGuard<'_, Record>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This is finished, well or with a failure that was told. Whether it was not before.
    pub(crate) fn done(&self, what: &impl Hash) -> bool {
        let Some(mut record) = self.record() else {
            return true;
        };
        let key = record.keys.hash_one(what);
        let newly = record.done.insert(key);
        record.moved |= newly;
        newly
    }

    /// Whether this was finished by an earlier try.
    pub(crate) fn is_done(&self, what: &impl Hash) -> bool {
        self.record().is_some_and(|record| record.done.contains(&record.keys.hash_one(what)))
    }

    /// Whether the command's files go into a directory, as the first try has found: that may have made it.
    pub(crate) fn went_into(&self) -> Option<bool> {
        self.record()?.into
    }

    /// The first try has found it.
    pub(crate) fn goes_into(&self, into: bool) {
        if let Some(mut record) = self.record() {
            record.into = Some(into);
        }
    }

    /// Takes a failure that the next try may mend. Every other one is to be told, unless it was: then it is taken too.
    pub(crate) fn takes(&self, failure: &Failure) -> bool {
        let Some(mut record) = self.record() else {
            return false;
        };
        // The server may not have noticed yet that we have left.
        let lingers = matches!(failure.code, Some(ErrorCode::UploadBusy | ErrorCode::Busy));
        let passes = failure.lost || (record.again && lingers);
        if !passes {
            let key = record.keys.hash_one(&failure.sentence);
            record.first.get_or_insert(failure.exit);
            return !record.done.insert(key);
        }
        if let (Some(path), Some(local)) = (&failure.path, &failure.local) {
            record.under_way.push((path.clone(), local.clone()));
        }
        let loss = record.loss.get_or_insert_with(|| Loss { failure: failure.clone(), held: 0 });
        loss.held += 1;
        true
    }

    /// Whether this try has lost something.
    pub(crate) fn has_lost(&self) -> bool {
        self.record().is_some_and(|record| record.loss.is_some())
    }

    /// How the tries before this one would have ended.
    pub(crate) fn first_exit(&self) -> Option<Exit> {
        self.record()?.first
    }

    /// What came of the command's trees in the tries before.
    pub(crate) fn trees(&self) -> Option<(Tally, Instant)> {
        self.record()?.trees
    }

    /// What has come of them now.
    pub(crate) fn keep_trees(&self, tally: Tally, started: Instant) {
        if let Some(mut record) = self.record() {
            record.trees = Some((tally, started));
        }
    }

    /// A file of so many bytes was finished by the try before, without an answer.
    pub(crate) fn arrived(&self, size: u64) {
        if let Some((tally, _)) = self.record().as_mut().and_then(|record| record.trees.as_mut()) {
            (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + size);
        }
    }

    /// What the try before had under way, in the home and here.
    pub(crate) fn take_under_way(&self) -> Vec<(String, String)> {
        self.record().map(|mut record| std::mem::take(&mut record.under_way)).unwrap_or_default()
    }

    /// A try is over: what it lost, and whether it has finished anything.
    pub(crate) fn end(&self) -> (Option<Loss>, bool) {
        let Some(mut record) = self.record() else {
            return (None, false);
        };
        record.again = true;
        (record.loss.take(), std::mem::take(&mut record.moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Failure {
        Failure { lost: true, ..Failure::new(Exit::Connect, "cable") }
    }

    #[test]
    fn what_is_finished_stays_so() {
        let tries = Tries::new();
        assert!(!tries.is_done(&"a") && tries.done(&"a") && !tries.done(&"a"));
        assert!(tries.end().1 && !tries.end().1);
        assert!(tries.is_done(&"a") && !tries.is_done(&"b"));
        let one = Tries::only_one();
        assert!(one.done(&"a") && !one.is_done(&"a") && !one.takes(&lost()));
    }

    #[test]
    fn a_loss_is_kept_and_other_failures_are_told_once_and_decide() {
        let tries = Tries::new();
        let refused = Failure::new(Exit::NoRoom, "put a: over quota");
        assert!(!tries.takes(&refused) && tries.takes(&refused));
        assert!(tries.takes(&lost().at("/a").locally("a")) && tries.takes(&lost()));
        assert!(tries.has_lost());
        assert_eq!(tries.end().0.unwrap().held, 2);
        assert!(!tries.has_lost());
        assert_eq!(tries.take_under_way(), [("/a".to_owned(), "a".to_owned())]);
        assert_eq!(tries.first_exit(), Some(Exit::NoRoom));
    }

    #[test]
    fn an_upload_is_busy_for_ever_only_when_nothing_was_lost_before() {
        let busy = Failure::of_server(&ErrorCode::UploadBusy);
        let tries = Tries::new();
        assert!(!tries.takes(&busy));
        tries.end();
        assert!(tries.takes(&busy) && tries.has_lost());
    }
}

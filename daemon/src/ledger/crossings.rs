//! Thresholds of quotas that a transaction crosses, logged when it is committed.
//!
//! Every change of a sum and of a limit notes them ([`Crossings::note`]); the ledger's thread drops
//! those of a request that is taken back, and logs the rest. No memory of them is needed: what was
//! used before and after is in the transaction.

use std::cell::RefCell;

use berth_common::error_code::Resource;
use berth_common::thresholds::{crossed, percent, reached};

/// One resource of a user, as used and as limited.
pub(super) type UsedOf = (i64, Option<u64>);

#[derive(Debug, PartialEq, Eq)]
struct Crossing {
    user: String,
    resource: Resource,
    threshold: u64,
    used: i64,
    limit: Option<u64>,
}

/// What a transaction has crossed so far.
#[derive(Debug, Default)]
pub(super) struct Crossings(RefCell<Vec<Crossing>>);

impl Crossings {
    /// Notes it if a resource has reached a threshold from below; only then is the name asked for.
    pub(super) fn note<E>(
        &self,
        resource: Resource,
        before: UsedOf,
        after: UsedOf,
        user: impl FnOnce() -> Result<String, E>,
    ) -> Result<(), E> {
        let (used, limit) = after;
        if let Some(threshold) = crossed(reached(before.0, before.1), reached(used, limit)) {
            let crossing = Crossing { user: user()?, resource, threshold, used, limit };
            self.0.borrow_mut().push(crossing);
        }
        Ok(())
    }

    /// How many there are, for [`Crossings::take_back`].
    pub(super) fn mark(&self) -> usize {
        self.0.borrow().len()
    }

    /// Forgets those after the mark: their request was refused.
    pub(super) fn take_back(&self, mark: usize) {
        self.0.borrow_mut().truncate(mark);
    }

    /// The transaction is committed.
    pub(super) fn log(self) {
        for Crossing { user, resource, threshold, used, limit } in self.0.into_inner() {
            let percent = percent(used, limit).unwrap_or_default();
            tracing::warn!(
                %user,
                ?resource,
                threshold,
                percent,
                used,
                limit,
                "a quota has reached a threshold"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_was_not_crossed() {
        let crossings = Crossings::default();
        let alice = || Ok::<_, ()>("alice".to_owned());
        let note = |before, after| {
            let of = |used| (used, Some(100));
            crossings.note(Resource::Bytes, of(before), of(after), alice).unwrap();
        };
        note(10, 79);
        assert_eq!(crossings.mark(), 0);
        note(79, 80);
        note(80, 81);
        let mark = crossings.mark();
        assert_eq!(mark, 1);
        note(80, 95);
        crossings.take_back(mark);
        assert_eq!(crossings.mark(), 1);
        let unknown = crossings.note(Resource::Entries, (0, None), (5, Some(5)), || Err(7));
        assert_eq!(unknown, Err(7), "a limit may be what changes");
    }
}

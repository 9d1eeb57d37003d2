//! How much a filer may say that carries out orders, one that recovers or walks: pure.
//!
//! Its phase says what it may send ([`crate::asked`]), and an answer is one to the last order. Bounded here is what one
//! that was taken over may do besides: list without end, say often that it goes on, or much at once. Each bound is far
//! above what any honest one says; past it the filer is ended. For how long it goes on is not bounded, since a tree may
//! have millions of entries: it may say so for ever, at that rate.

use std::time::Instant;

use berth_common::ledger_protocol::FilerToDaemon;
use berth_common::limits::{LINKED_NAMES, MAX_PATH_BYTES};

use crate::bucket::{Bucket, GOES_ON};

/// Owed names that one recovery may list. An outage leaves at most 2048, over all users, and each is accounted for
/// before the next; this is room for many whose accounting was cut off.
const MOST_OWED: usize = 1 << 16;

/// Slices of a home that one walk may list between two reports. A slice has thousands of entries, and no file
/// system as many as these have together.
const MOST_SLICES: u32 = 1 << 20;

/// Bytes of a failure's reason that are kept for the log, as the protocol has it.
const REASON_BYTES: usize = 1024;

/// What it has said so far.
#[derive(Debug)]
pub(crate) struct Answers {
    goes_on: Bucket,
    owed: usize,
    slices: u32,
}

/// How a filer exceeded the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaidTooMuch {
    /// That it still works.
    #[error("it says that it goes on more often than any honest one does")]
    GoesOn,
    /// What is owed.
    #[error("it lists more than can be owed")]
    Owed,
    /// Of a home.
    #[error("it lists more than any file system has")]
    Slices,
    /// In one answer.
    #[error("it names more files than were asked for")]
    Names,
}

impl Answers {
    /// Nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { goes_on: Bucket::new(GOES_ON, now), owed: 0, slices: 0 }
    }

    /// One more message that its phase allows.
    pub(crate) fn hear(
        &mut self,
        message: &FilerToDaemon,
        now: Instant,
    ) -> Result<(), SaidTooMuch> {
        let (within, otherwise) = match message {
            FilerToDaemon::Alive => (self.goes_on.take(1, now), SaidTooMuch::GoesOn),
            FilerToDaemon::OwedNames { names, .. } => {
                self.owed += names.len();
                (self.owed <= MOST_OWED, SaidTooMuch::Owed)
            }
            FilerToDaemon::Listed { .. } => {
                self.slices += 1;
                (self.slices <= MOST_SLICES, SaidTooMuch::Slices)
            }
            FilerToDaemon::Walked { sum, .. } => {
                let names = &sum.linked_names;
                let short = names.iter().all(|name| name.len() <= MAX_PATH_BYTES);
                (short && names.len() <= LINKED_NAMES, SaidTooMuch::Names)
            }
            FilerToDaemon::Done { .. } => {
                // A report may put a whole tree on the list again.
                self.slices = 0;
                return Ok(());
            }
            // One for each order, and as large as it asked for.
            FilerToDaemon::Findings { .. }
            | FilerToDaemon::Failed { .. }
            | FilerToDaemon::SyncFailed { .. }
            // Their phase refuses these.
            | FilerToDaemon::Ready
            | FilerToDaemon::Joined
            | FilerToDaemon::ReserveUpload { .. }
            | FilerToDaemon::Reserve { .. }
            | FilerToDaemon::ReserveFiles { .. }
            | FilerToDaemon::Lease { .. }
            | FilerToDaemon::Extend { .. }
            | FilerToDaemon::Room { .. }
            | FilerToDaemon::Claim { .. }
            | FilerToDaemon::Drop { .. }
            | FilerToDaemon::LetGo { .. }
            | FilerToDaemon::Intent { .. }
            | FilerToDaemon::Ticket { .. }
            | FilerToDaemon::Reports { .. }
            | FilerToDaemon::Released { .. }
            | FilerToDaemon::Settle { .. }
            | FilerToDaemon::Gone { .. }
            | FilerToDaemon::Usage { .. }
            | FilerToDaemon::Uploads { .. }
            | FilerToDaemon::StagingSyncFailed
            | FilerToDaemon::OutcomeUnknown => return Ok(()),
        };
        if within { Ok(()) } else { Err(otherwise) }
    }
}

/// A failure's reason, cut to what a log line may have of it.
pub(crate) fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    reason
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use berth_common::ids::{OpId, OwedName};
    use berth_common::ledger_protocol::HomeSum;
    use berth_common::limits::FINDINGS_PER_MESSAGE;

    use super::*;

    const OP: OpId = OpId(1);

    fn answers() -> (Answers, Instant) {
        let now = Instant::now();
        (Answers::new(now), now)
    }

    #[test]
    fn what_is_owed_comes_to_an_end() {
        let (mut answers, now) = answers();
        let names = vec![OwedName(1); FINDINGS_PER_MESSAGE];
        let listed = FilerToDaemon::OwedNames { op: OP, names };
        for _ in 0..MOST_OWED / FINDINGS_PER_MESSAGE {
            answers.hear(&listed, now).unwrap();
        }
        assert_eq!(answers.hear(&listed, now), Err(SaidTooMuch::Owed));
    }

    #[test]
    fn a_walk_comes_to_an_end_but_for_what_is_reported_meanwhile() {
        let (mut answers, now) = answers();
        let listed = FilerToDaemon::Listed { op: OP, done: false };
        for _ in 0..2 {
            for _ in 0..MOST_SLICES {
                answers.hear(&listed, now).unwrap();
            }
            answers.hear(&FilerToDaemon::Done { op: OP }, now).unwrap();
        }
        for _ in 0..MOST_SLICES {
            answers.hear(&listed, now).unwrap();
        }
        assert_eq!(answers.hear(&listed, now), Err(SaidTooMuch::Slices));
    }

    #[test]
    fn it_goes_on_for_as_long_as_it_takes_and_does_not_say_so_all_the_time() {
        let (mut answers, mut now) = answers();
        for _ in 0..10_000 {
            answers.hear(&FilerToDaemon::Alive, now).unwrap();
            now += Duration::from_secs(30);
        }
        // The daemon alone was stopped for a day, and hears all of it at once.
        now += Duration::from_secs(86_400);
        for _ in 0..86_400 / 30 {
            answers.hear(&FilerToDaemon::Alive, now).unwrap();
        }
        let said = (0..GOES_ON.at_once).map(|_| answers.hear(&FilerToDaemon::Alive, now));
        assert_eq!(said.last(), Some(Err(SaidTooMuch::GoesOn)));
    }

    #[test]
    fn names_in_a_sum_are_few_and_short_and_so_is_a_reason() {
        let (mut answers, now) = answers();
        let sum = |names: usize, bytes: usize| FilerToDaemon::Walked {
            op: OP,
            sum: HomeSum { linked_names: vec!["x".repeat(bytes); names], ..HomeSum::default() },
        };
        answers.hear(&sum(LINKED_NAMES, MAX_PATH_BYTES), now).unwrap();
        assert_eq!(answers.hear(&sum(LINKED_NAMES + 1, 1), now), Err(SaidTooMuch::Names));
        assert_eq!(answers.hear(&sum(1, MAX_PATH_BYTES + 1), now), Err(SaidTooMuch::Names));
        assert_eq!(short("ä".repeat(100_000)), "ä".repeat(REASON_BYTES / 2));
        assert_eq!(short("short".to_owned()), "short");
    }
}

//! The room of an upload of unknown size: how far it may be written, and when more is asked for.
//!
//! More is asked for ahead, when half a lease is left, so that blocks do not wait for the ledger; a block that has no
//! room waits until there is. Only what a block needs ends the upload when it is refused.

use berth_common::error_code::ErrorCode;
use berth_common::limits::LEASE_BYTES;

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// There is room.
    Nothing,
    /// More is being asked for already: look again after the answer.
    Wait,
    /// Ask for so many bytes in all, and look again after the answer.
    Ask {
        /// Bytes in all.
        least: u64,
    },
}

/// The room of one upload.
#[derive(Debug)]
pub(crate) struct Room {
    limit: u64,
    asking: Option<Asking>,
    /// Whether asking ahead promises anything.
    ahead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Ahead,
    Needed,
}

impl Room {
    /// So many bytes may be written.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, asking: None, ahead: true }
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// What a block that ends at `end` needs.
    pub(crate) fn need(&mut self, end: u64) -> Need {
        if end <= self.limit {
            return Need::Nothing;
        }
        if self.asking.is_some() {
            return Need::Wait;
        }
        self.asking = Some(Asking::Needed);
        Need::Ask { least: end }
    }

    /// How many bytes in all to ask for ahead, if it is time for that: those that are granted, which is never
    /// refused, and gives more where there is more.
    pub(crate) fn ask_ahead(&mut self, written: u64) -> Option<u64> {
        let low = self.limit.saturating_sub(written) <= LEASE_BYTES / 2;
        if !low || !self.ahead || self.asking.is_some() {
            return None;
        }
        self.asking = Some(Asking::Ahead);
        Some(self.limit)
    }

    /// The answer has come.
    ///
    /// # Errors
    /// That of a question that a block needed. What was asked ahead may be refused: it is asked again in need.
    pub(crate) fn answered(&mut self, answer: Result<u64, ErrorCode>) -> Result<(), ErrorCode> {
        match (self.asking.take(), answer) {
            (_, Ok(limit)) => {
                // What is short of a lease was all that there is.
                self.ahead = limit >= self.limit.saturating_add(LEASE_BYTES);
                self.limit = self.limit.max(limit);
                Ok(())
            }
            (Some(Asking::Needed), Err(error)) => Err(error),
            (Some(Asking::Ahead) | None, Err(_)) => {
                self.ahead = false;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn more_is_asked_for_when_half_a_lease_is_left_and_once() {
        let mut room = Room::new(LEASE_BYTES);
        assert_eq!(room.ask_ahead(LEASE_BYTES / 2 - 1), None);
        assert_eq!(room.ask_ahead(LEASE_BYTES / 2), Some(LEASE_BYTES));
        assert_eq!(room.ask_ahead(LEASE_BYTES), None, "the answer is awaited");
        assert_eq!(room.need(LEASE_BYTES), Need::Nothing);
        assert_eq!(room.need(LEASE_BYTES + 1), Need::Wait);
        room.answered(Ok(2 * LEASE_BYTES)).unwrap();
        assert_eq!(room.need(LEASE_BYTES + 1), Need::Nothing);
        assert_eq!(room.ask_ahead(LEASE_BYTES), None);
        assert_eq!(room.ask_ahead(LEASE_BYTES + LEASE_BYTES / 2), Some(2 * LEASE_BYTES));
    }

    #[test]
    fn a_refusal_counts_only_when_a_block_needs_it() {
        let mut room = Room::new(MIB);
        assert_eq!(room.ask_ahead(0), Some(MIB));
        assert_eq!(room.answered(Err(ErrorCode::LedgerUnavailable)), Ok(()));
        assert_eq!(room.ask_ahead(MIB), None, "not again");
        assert_eq!(room.need(MIB + 5), Need::Ask { least: MIB + 5 });
        assert!(room.is_asking());
        assert_eq!(room.answered(Err(ErrorCode::DiskFull)), Err(ErrorCode::DiskFull));
        assert!(!room.is_asking());
    }

    #[test]
    fn what_is_short_of_a_lease_is_the_last_that_is_asked_ahead_until_a_block_gets_more() {
        let mut room = Room::new(0);
        assert_eq!(room.ask_ahead(0), Some(0));
        room.answered(Ok(5)).unwrap();
        assert_eq!(room.ask_ahead(0), None);
        assert_eq!(room.need(5), Need::Nothing);
        assert_eq!(room.need(MIB), Need::Ask { least: MIB });
        room.answered(Ok(5 + LEASE_BYTES)).unwrap();
        assert_eq!(room.need(MIB), Need::Nothing);
        assert_eq!(room.ask_ahead(LEASE_BYTES), Some(5 + LEASE_BYTES));
    }

    #[test]
    fn an_answer_that_is_no_more_leads_to_no_circle() {
        let mut room = Room::new(MIB);
        assert_eq!(room.need(2 * MIB), Need::Ask { least: 2 * MIB });
        room.answered(Ok(MIB)).unwrap();
        // Whoever asks in circles is a filer that lies; each circle takes its answer.
        assert_eq!(room.need(2 * MIB), Need::Ask { least: 2 * MIB });
    }
}

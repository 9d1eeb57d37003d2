//! How much a serving filer may have asked that is not answered, or noted that is not dealt with: pure.
//!
//! The bounds here are those by which answers always fit a filer's socket buffer, and by which the daemon's memory
//! does not fill with what is not answered at all.

use std::collections::HashSet;

use berth_common::ids::OpId;
use berth_common::limits::{CHANGES_PER_MESSAGE, MAX_FILER_REQUESTS, NAMES_PER_MESSAGE};

/// Names in messages that are not answered, and that the ledger has not dealt with yet. An honest filer
/// has no more than the ledger lets it have of left-overs, with a batch, and than it may have open files.
const MAX_NOTED: usize = 32_768;

/// What a serving filer has asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    open: HashSet<OpId>,
    noted: usize,
    ticket: Option<OpId>,
}

/// How a filer broke the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskedTooMuch {
    /// Of all.
    #[error("it has more than {MAX_FILER_REQUESTS} requests outstanding")]
    Requests,
    /// Of those that are not answered.
    #[error("it tells of names faster than the ledger can take note")]
    Notes,
    /// The number is another request's.
    #[error("it used an operation's number twice")]
    Number,
    /// For the ticket.
    #[error("it asked for the ticket while it has it, or waits for it")]
    Ticket,
    /// It has no ticket for this operation.
    #[error("it released a ticket that it does not hold")]
    Release,
    /// Of its heart.
    #[error("it answered what was not asked")]
    Beat,
    /// In one message.
    #[error("it sent an empty message, or one of too many items")]
    Items,
    /// Of a name.
    #[error("it tells of a name that it does not have")]
    Name,
}

impl Asked {
    /// A request that will be answered.
    pub(crate) fn ask(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.open.len() >= MAX_FILER_REQUESTS {
            return Err(AskedTooMuch::Requests);
        }
        if self.open.insert(op) { Ok(()) } else { Err(AskedTooMuch::Number) }
    }

    /// A request that will be answered by the ticket.
    pub(crate) fn ask_ticket(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.ticket.is_some() {
            return Err(AskedTooMuch::Ticket);
        }
        self.ask(op)?;
        self.ticket = Some(op);
        Ok(())
    }

    /// It was answered; with the ticket, if it asked for that.
    pub(crate) fn answered(&mut self, op: OpId) {
        self.open.remove(&op);
    }

    /// It was refused, and what it asked for is not granted.
    pub(crate) fn refused(&mut self, op: OpId) {
        self.open.remove(&op);
        if self.ticket == Some(op) {
            self.ticket = None;
        }
    }

    /// A message about so many names that is not answered, but takes memory until it is dealt with.
    pub(crate) fn note(&mut self, names: usize) -> Result<(), AskedTooMuch> {
        self.noted += names;
        if self.noted > MAX_NOTED {
            return Err(AskedTooMuch::Notes);
        }
        Ok(())
    }

    /// It was dealt with.
    pub(crate) fn noted(&mut self, names: usize) {
        self.noted = self.noted.saturating_sub(names);
    }

    /// The ticket was given back.
    pub(crate) fn released(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.ticket != Some(op) || self.open.contains(&op) {
            return Err(AskedTooMuch::Release);
        }
        self.ticket = None;
        Ok(())
    }
}

/// Whether a message has a sensible number of names.
pub(crate) fn check_names(count: usize) -> Result<(), AskedTooMuch> {
    if (1..=NAMES_PER_MESSAGE).contains(&count) { Ok(()) } else { Err(AskedTooMuch::Items) }
}

/// Whether an intent or a settle has a sensible number of changes: the ledger's thread is everybody's.
pub(crate) fn check_changes(count: usize) -> Result<(), AskedTooMuch> {
    if (1..=CHANGES_PER_MESSAGE).contains(&count) { Ok(()) } else { Err(AskedTooMuch::Items) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_and_their_numbers_single() {
        let mut asked = Asked::default();
        for n in 0..MAX_FILER_REQUESTS as u32 {
            asked.ask(OpId(n)).unwrap();
        }
        assert_eq!(asked.ask(OpId(99)), Err(AskedTooMuch::Requests));
        asked.answered(OpId(5));
        assert_eq!(asked.ask(OpId(6)), Err(AskedTooMuch::Number));
        asked.ask(OpId(5)).unwrap();
    }

    #[test]
    fn one_ticket_is_asked_for_at_a_time_and_its_release_precedes_the_next() {
        let mut asked = Asked::default();
        asked.ask_ticket(OpId(1)).unwrap();
        assert_eq!(asked.ask_ticket(OpId(2)), Err(AskedTooMuch::Ticket));
        assert_eq!(asked.released(OpId(1)), Err(AskedTooMuch::Release), "not granted yet");
        asked.answered(OpId(1));
        assert_eq!(asked.ask_ticket(OpId(2)), Err(AskedTooMuch::Ticket));
        assert_eq!(asked.released(OpId(2)), Err(AskedTooMuch::Release));
        asked.released(OpId(1)).unwrap();
        assert_eq!(asked.released(OpId(1)), Err(AskedTooMuch::Release), "only once");
        asked.ask_ticket(OpId(2)).unwrap();
        asked.refused(OpId(2));
        asked.ask_ticket(OpId(3)).unwrap();
    }

    #[test]
    fn what_is_not_answered_is_bounded_too() {
        let mut asked = Asked::default();
        asked.note(MAX_NOTED).unwrap();
        assert_eq!(asked.note(1), Err(AskedTooMuch::Notes));
        let mut asked = Asked::default();
        for _ in 0..3 {
            asked.note(MAX_NOTED).unwrap();
            asked.noted(MAX_NOTED);
        }
    }

    #[test]
    fn empty_and_endless_messages_are_refused() {
        for (check, most) in [
            (check_names as fn(usize) -> _, NAMES_PER_MESSAGE),
            (check_changes, CHANGES_PER_MESSAGE),
        ] {
            assert_eq!(check(0), Err(AskedTooMuch::Items));
            assert_eq!(check(most), Ok(()));
            assert_eq!(check(most + 1), Err(AskedTooMuch::Items));
        }
    }
}

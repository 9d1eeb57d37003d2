//! Which questions to the daemon are outstanding and which wait, decided without a channel.
//!
//! At most [`MAX_FILER_REQUESTS`] are outstanding, and one of them for the ticket. The next one for the
//! ticket is asked when the one before was refused or its ticket released: so a filer never waits for a
//! ticket that it holds itself.

use std::collections::{HashMap, VecDeque};

use berth_common::ids::OpId;
use berth_common::limits::MAX_FILER_REQUESTS;

/// Reservations may wait at the daemon until bytes that were settled are unlinked. They leave room for the
/// questions that get there.
const MAX_RESERVING: usize = MAX_FILER_REQUESTS / 2;

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An intent or a ticket alone.
    Ticket,
    /// A reservation.
    Reserving,
    /// Any other.
    Other,
}

/// The table of questions. `Q` is a question with all that belongs to it, `A` what waits for its answer.
#[derive(Debug)]
pub(crate) struct Questions<Q, A> {
    next: u32,
    outstanding: HashMap<OpId, (Purpose, A)>,
    /// The operation that has asked for the ticket, or holds it.
    ticket: Option<OpId>,
    reserving: usize,
    tickets: VecDeque<(Q, A)>,
    reservations: VecDeque<(Q, A)>,
    others: VecDeque<(Q, A)>,
}

impl<Q, A> Default for Questions<Q, A> {
    fn default() -> Self {
        Self {
            next: 0,
            outstanding: HashMap::new(),
            ticket: None,
            reserving: 0,
            tickets: VecDeque::new(),
            reservations: VecDeque::new(),
            others: VecDeque::new(),
        }
    }
}

impl<Q, A> Questions<Q, A> {
    /// Takes a question in; [`Questions::next`] says when it may be sent.
    pub(crate) fn ask(&mut self, purpose: Purpose, question: Q, waiting: A) {
        let queue = match purpose {
            Purpose::Ticket => &mut self.tickets,
            Purpose::Reserving => &mut self.reservations,
            Purpose::Other => &mut self.others,
        };
        queue.push_back((question, waiting));
    }

    /// A question that is to be sent now, with its number.
    pub(crate) fn next(&mut self) -> Option<(OpId, Q)> {
        if self.outstanding.len() >= MAX_FILER_REQUESTS {
            return None;
        }
        // Those that end something before those that begin something.
        let purpose = if !self.others.is_empty() {
            Purpose::Other
        } else if self.ticket.is_none() && !self.tickets.is_empty() {
            Purpose::Ticket
        } else if self.reserving < MAX_RESERVING && !self.reservations.is_empty() {
            Purpose::Reserving
        } else {
            return None;
        };
        let (question, waiting) = match purpose {
            Purpose::Other => self.others.pop_front(),
            Purpose::Ticket => self.tickets.pop_front(),
            Purpose::Reserving => self.reservations.pop_front(),
        }?;
        let op = self.mint();
        match purpose {
            Purpose::Ticket => self.ticket = Some(op),
            Purpose::Reserving => self.reserving += 1,
            Purpose::Other => {}
        }
        self.outstanding.insert(op, (purpose, waiting));
        Some((op, question))
    }

    /// An answer has come; who waits for it. A ticket that was granted stays held.
    pub(crate) fn answered(&mut self, op: OpId, granted: bool) -> Option<A> {
        let (purpose, waiting) = self.outstanding.remove(&op)?;
        match purpose {
            Purpose::Ticket if !granted => self.ticket = None,
            Purpose::Reserving => self.reserving -= 1,
            Purpose::Ticket | Purpose::Other => {}
        }
        Some(waiting)
    }

    /// The ticket was released; the operation that held it.
    pub(crate) fn release(&mut self) -> Option<OpId> {
        self.ticket.take()
    }

    fn mint(&mut self) -> OpId {
        loop {
            let op = OpId(self.next);
            self.next = self.next.wrapping_add(1);
            if !self.outstanding.contains_key(&op) && self.ticket != Some(op) {
                return op;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(questions: &mut Questions<u32, u32>) -> Vec<(OpId, u32)> {
        std::iter::from_fn(|| questions.next()).collect()
    }

    #[test]
    fn one_question_for_the_ticket_is_outstanding_until_its_release() {
        let mut questions = Questions::default();
        for n in 0..3 {
            questions.ask(Purpose::Ticket, n, n);
        }
        let sent = drain(&mut questions);
        assert_eq!(sent.len(), 1);
        assert_eq!(questions.answered(sent[0].0, true), Some(0));
        assert_eq!(drain(&mut questions), [], "it is held");
        assert_eq!(questions.release(), Some(sent[0].0));
        let sent = drain(&mut questions);
        assert_eq!(sent.len(), 1);
        // A refusal grants nothing.
        assert_eq!(questions.answered(sent[0].0, false), Some(1));
        assert_eq!(drain(&mut questions).len(), 1);
        assert_eq!(questions.answered(OpId(99), false), None);
    }

    #[test]
    fn no_more_are_outstanding_than_may_be() {
        let mut questions = Questions::default();
        for n in 0..100 {
            questions.ask(Purpose::Other, n, n);
        }
        let sent = drain(&mut questions);
        assert_eq!(sent.len(), MAX_FILER_REQUESTS);
        for (op, n) in &sent[..3] {
            assert_eq!(questions.answered(*op, false), Some(*n));
        }
        assert_eq!(drain(&mut questions).len(), 3);
    }

    #[test]
    fn reservations_that_wait_leave_room_for_what_ends_their_waiting() {
        let mut questions = Questions::default();
        for n in 0..100 {
            questions.ask(Purpose::Reserving, n, n);
        }
        assert_eq!(drain(&mut questions).len(), MAX_RESERVING);
        questions.ask(Purpose::Ticket, 1000, 1000);
        questions.ask(Purpose::Other, 1001, 1001);
        assert_eq!(
            drain(&mut questions).iter().map(|sent| sent.1).collect::<Vec<_>>(),
            [1001, 1000]
        );
    }
}

//! Which questions to the daemon are outstanding and which wait, decided without a channel.
//!
//! At most [`MAX_FILER_REQUESTS`] are outstanding, and one of them for the ticket. The next one for the
//! ticket is asked when the one before was refused or its ticket released: so a filer never waits for a
//! ticket that it holds itself. What the ticket is asked for, and what is settled, is put together when it
//! can be sent ([`Questions::begin`]); other questions wait here.

use std::collections::{HashMap, VecDeque};

use berth_common::ids::OpId;
use berth_common::limits::MAX_FILER_REQUESTS;

/// Reservations leave room for the questions that end something: a settle and the next intent do not wait
/// until a burst of new uploads is answered.
const MAX_RESERVING: usize = MAX_FILER_REQUESTS / 2;

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An intent or a ticket alone.
    Ticket,
    /// A settle.
    Settle,
    /// A reservation.
    Reserving,
    /// Any other.
    Other,
}

/// What a question is for that waits until it may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// A reservation.
    Reserving,
    /// Any other that is neither for the ticket nor settles.
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
            reservations: VecDeque::new(),
            others: VecDeque::new(),
        }
    }
}

impl<Q, A> Questions<Q, A> {
    /// Takes a question in; [`Questions::next`] says when it may be sent.
    pub(crate) fn ask(&mut self, queue: Queue, question: Q, waiting: A) {
        let queue = match queue {
            Queue::Reserving => &mut self.reservations,
            Queue::Other => &mut self.others,
        };
        queue.push_back((question, waiting));
    }

    /// How many more questions may be outstanding.
    pub(crate) fn room(&self) -> usize {
        MAX_FILER_REQUESTS - self.outstanding.len()
    }

    /// Whether the ticket is neither asked for nor held.
    pub(crate) fn may_ask_for_ticket(&self) -> bool {
        self.ticket.is_none()
    }

    /// Notes a question that is sent now, for which there is room; its number.
    pub(crate) fn begin(&mut self, purpose: Purpose, waiting: A) -> OpId {
        let op = self.mint();
        match purpose {
            Purpose::Ticket => self.ticket = Some(op),
            Purpose::Reserving => self.reserving += 1,
            Purpose::Settle | Purpose::Other => {}
        }
        self.outstanding.insert(op, (purpose, waiting));
        op
    }

    /// A question that is to be sent now, with its number.
    pub(crate) fn next(&mut self) -> Option<(OpId, Q)> {
        if self.room() == 0 {
            return None;
        }
        // Those that end something before those that begin something.
        let (purpose, (question, waiting)) = if let Some(next) = self.others.pop_front() {
            (Purpose::Other, next)
        } else if self.reserving < MAX_RESERVING {
            (Purpose::Reserving, self.reservations.pop_front()?)
        } else {
            return None;
        };
        Some((self.begin(purpose, waiting), question))
    }

    /// An answer has come; who waits for it. A ticket that was granted stays held.
    pub(crate) fn answered(&mut self, op: OpId, granted: bool) -> Option<A> {
        let (purpose, waiting) = self.outstanding.remove(&op)?;
        match purpose {
            Purpose::Ticket if !granted => self.ticket = None,
            Purpose::Reserving => self.reserving -= 1,
            Purpose::Ticket | Purpose::Settle | Purpose::Other => {}
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
        let mut questions = Questions::<u32, u32>::default();
        assert!(questions.may_ask_for_ticket());
        let op = questions.begin(Purpose::Ticket, 0);
        assert!(!questions.may_ask_for_ticket());
        assert_eq!(questions.answered(op, true), Some(0));
        assert!(!questions.may_ask_for_ticket(), "it is held");
        assert_eq!(questions.release(), Some(op));
        assert!(questions.may_ask_for_ticket());
        // A refusal grants nothing.
        let op = questions.begin(Purpose::Ticket, 1);
        assert_eq!(questions.answered(op, false), Some(1));
        assert!(questions.may_ask_for_ticket());
        assert_eq!(questions.answered(OpId(99), false), None);
    }

    #[test]
    fn no_more_are_outstanding_than_may_be() {
        let mut questions = Questions::default();
        for n in 0..100 {
            questions.ask(Queue::Other, n, n);
        }
        let sent = drain(&mut questions);
        assert_eq!((sent.len(), questions.room()), (MAX_FILER_REQUESTS, 0));
        for (op, n) in &sent[..3] {
            assert_eq!(questions.answered(*op, false), Some(*n));
        }
        assert_eq!(questions.room(), 3);
        assert_eq!(drain(&mut questions).len(), 3);
    }

    #[test]
    fn reservations_that_wait_leave_room_for_what_ends_their_waiting() {
        let mut questions = Questions::default();
        for n in 0..100 {
            questions.ask(Queue::Reserving, n, n);
        }
        assert_eq!(drain(&mut questions).len(), MAX_RESERVING);
        assert!(questions.room() >= 2, "for a settle and the ticket");
        questions.ask(Queue::Other, 1001, 1001);
        assert_eq!(drain(&mut questions).iter().map(|sent| sent.1).collect::<Vec<_>>(), [1001]);
    }
}

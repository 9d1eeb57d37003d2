//! What a serving filer tells and no answer is owed for, on its way to the ledger: pure.
//!
//! Notes wait here and not in the ledger's queue, which is everybody's and served in order: while some are with the
//! ledger the next ones gather, and go as one request. Where a question comes, what has gathered goes before it, so
//! that the ledger hears everything in the order in which the filer has said it. So in the ledger's queue one filer has
//! at most its [`MAX_FILER_REQUESTS`] questions, a request of notes before each and one besides. Their memory is bounded
//! by [`super::Asked`]; nothing here makes the daemon stop reading a channel, since a filer whose messages are not read
//! would hang, also with a ticket, for as long as the ledger cannot be written.
//!
//! What the ledger refuses in an outage comes back here, to where it was in the order, so that what goes next, or
//! before a question, begins with it. One task of the filer's waits for the end of the outage.

use std::sync::Arc;

use berth_common::limits::MAX_FILER_REQUESTS;

use crate::ledger::{Note, Numbered};

/// A request of notes, which the ledger and the filer's task share: what comes back is not copied.
pub(crate) type Telling = Arc<Vec<Numbered>>;

/// What waits, and how much is on its way.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// By their numbers.
    waiting: Vec<Numbered>,
    /// The number of the last one that was told.
    last: u64,
    /// Requests that the ledger has not answered.
    under_way: usize,
    /// A task waits for the end of an outage.
    held: bool,
}

impl Notes {
    /// Something was told.
    pub(crate) fn add(&mut self, note: Note) {
        self.last += 1;
        self.waiting.push((self.last, note));
    }

    /// What is to be told to the ledger, if nothing is under way and no outage is waited for. [`Notes::done`] or
    /// [`Notes::put_back`] is due for it.
    pub(crate) fn next(&mut self) -> Option<Telling> {
        if self.held { None } else { self.begin_below(1) }
    }

    /// What is to be told to it before a question. [`Notes::done`] or [`Notes::put_back`] is due for it.
    pub(crate) fn before_a_question(&mut self) -> Option<Telling> {
        // One for each question, and the one that goes by itself.
        self.begin_below(MAX_FILER_REQUESTS + 1)
    }

    /// A request was answered.
    pub(crate) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A request was refused in an outage: its notes wait again, before those that were told later. Whether the caller
    /// is the one who is to wait for its end, and to call [`Notes::resume`] then.
    pub(crate) fn put_back(&mut self, refused: Telling) -> bool {
        self.done();
        let later = std::mem::replace(&mut self.waiting, Arc::unwrap_or_clone(refused));
        self.waiting.extend(later);
        // Only what two requests were refused of is out of order.
        if !self.waiting.is_sorted_by_key(|(number, _)| *number) {
            self.waiting.sort_by_key(|(number, _)| *number);
        }
        !std::mem::replace(&mut self.held, true)
    }

    /// The outage is over, or the session is.
    pub(crate) fn resume(&mut self) {
        self.held = false;
    }

    fn begin_below(&mut self, most: usize) -> Option<Telling> {
        if self.waiting.is_empty() || self.under_way >= most {
            return None;
        }
        self.under_way += 1;
        Some(Arc::new(std::mem::take(&mut self.waiting)))
    }
}

#[cfg(test)]
mod tests {
    use berth_common::ids::StagingName;

    use super::*;

    fn note(name: u64) -> Note {
        Note::LetGo(StagingName(name))
    }

    fn told(telling: Option<Telling>) -> Option<Vec<Note>> {
        telling.map(|notes| notes.iter().map(|(_, note)| note.clone()).collect())
    }

    #[test]
    fn those_who_come_meanwhile_go_together_and_in_order() {
        let mut notes = Notes::default();
        assert_eq!(notes.next(), None);
        notes.add(note(0));
        assert_eq!(told(notes.next()), Some(vec![note(0)]));
        for name in 1..10_000 {
            notes.add(note(name));
            assert_eq!(notes.next(), None, "one request is with the ledger");
        }
        notes.done();
        assert_eq!(told(notes.next()), Some((1..10_000).map(note).collect()));
        notes.done();
        assert_eq!(notes.next(), None);
    }

    #[test]
    fn a_question_comes_behind_what_was_noted_before_it() {
        let mut notes = Notes::default();
        assert_eq!(notes.before_a_question(), None);
        notes.add(note(0));
        assert!(notes.next().is_some());
        notes.add(note(1));
        assert_eq!(told(notes.before_a_question()), Some(vec![note(1)]));
        assert_eq!(notes.before_a_question(), None);
    }

    #[test]
    fn what_an_outage_refuses_goes_first_again_and_before_a_question() {
        let mut notes = Notes::default();
        let mut begin = |name| {
            notes.add(note(name));
            notes.before_a_question().unwrap()
        };
        let (first, second) = (begin(0), begin(1));
        assert!(notes.put_back(first), "it is the one to wait");
        notes.add(note(2));
        assert_eq!(notes.next(), None, "it is waited for");
        let with_a_question = notes.before_a_question();
        assert_eq!(told(with_a_question.clone()), Some(vec![note(0), note(2)]));
        assert!(!notes.put_back(second), "another one waits");
        assert!(!notes.put_back(with_a_question.unwrap()));
        notes.resume();
        let all = notes.next();
        assert_eq!(told(all.clone()), Some((0..3).map(note).collect()), "as they were told");
        assert!(notes.put_back(all.unwrap()));
        notes.resume();
        assert!(notes.next().is_some());
        notes.done();
        assert_eq!(notes.next(), None);
    }

    #[test]
    fn each_of_as_many_questions_as_may_be_open_comes_behind_what_was_noted_before_it() {
        let mut notes = Notes::default();
        notes.add(note(0));
        assert!(notes.next().is_some(), "by itself");
        for name in 1..=MAX_FILER_REQUESTS as u64 {
            notes.add(note(name));
            assert_eq!(told(notes.before_a_question()), Some(vec![note(name)]));
        }
    }

    #[test]
    fn a_filer_has_few_requests_of_notes_with_the_ledger() {
        let mut notes = Notes::default();
        let mut begun = 0;
        for name in 0..10_000 {
            notes.add(note(name));
            begun += usize::from(notes.next().is_some());
            begun += usize::from(notes.before_a_question().is_some());
        }
        assert_eq!(begun, MAX_FILER_REQUESTS + 1);
        for _ in 0..begun {
            assert_eq!(notes.next(), None);
            notes.done();
        }
        assert_eq!(notes.next().map(|rest| rest.len()), Some(10_000 - begun));
    }
}

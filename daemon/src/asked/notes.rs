//! What a serving filer tells and no answer is owed for, on its way to the ledger: pure.
//!
//! Notes wait here and not in the ledger's queue, which is everybody's and served in order: while some are with the
//! ledger the next ones gather, and go as one request. Where a question comes, what has gathered goes before it, so
//! that the ledger hears everything in the order in which the filer has said it. So in the ledger's queue one filer has
//! at most its questions, a request of notes before each and one besides; more where questions are refused at once and
//! notes are not, as in an outage of the ledger, which keeps them. Their number is bounded here, their memory by
//! [`super::Asked`]; nothing here makes the daemon stop reading a channel, since a filer whose messages are not read
//! would hang, also with a ticket, for as long as the ledger cannot be written.

use berth_common::filer_protocol::MAX_OPERATIONS;

use super::AskedTooMuch;
use crate::ledger::Note;

/// Requests of notes with the ledger. In an outage an honest filer tells of names that it was given before, of which
/// an operation has a few at most.
const MAX_UNDER_WAY: usize = 4 * MAX_OPERATIONS;

/// What waits, and how much is on its way.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: Vec<Note>,
    /// Requests that the ledger has not answered.
    under_way: usize,
}

impl Notes {
    /// Something was told.
    pub(crate) fn add(&mut self, note: Note) {
        self.waiting.push(note);
    }

    /// What is to be told to the ledger, if nothing is under way. [`Notes::done`] is due for it.
    pub(crate) fn next(&mut self) -> Option<Vec<Note>> {
        self.begin_below(1)
    }

    /// What is to be told to it before a question. [`Notes::done`] is due for it.
    ///
    /// # Errors
    /// When the filer tells and asks on and on in an outage.
    pub(crate) fn before_a_question(&mut self) -> Result<Option<Vec<Note>>, AskedTooMuch> {
        let notes = self.begin_below(MAX_UNDER_WAY);
        if self.waiting.is_empty() { Ok(notes) } else { Err(AskedTooMuch::Notes) }
    }

    /// A request was answered.
    pub(crate) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn begin_below(&mut self, most: usize) -> Option<Vec<Note>> {
        if self.waiting.is_empty() || self.under_way >= most {
            return None;
        }
        self.under_way += 1;
        Some(std::mem::take(&mut self.waiting))
    }
}

#[cfg(test)]
mod tests {
    use berth_common::ids::StagingName;

    use super::*;

    fn note(name: u64) -> Note {
        Note::LetGo(StagingName(name))
    }

    #[test]
    fn those_who_come_meanwhile_go_together_and_in_order() {
        let mut notes = Notes::default();
        assert_eq!(notes.next(), None);
        notes.add(note(0));
        assert_eq!(notes.next(), Some(vec![note(0)]));
        for name in 1..10_000 {
            notes.add(note(name));
            assert_eq!(notes.next(), None, "one request is with the ledger");
        }
        notes.done();
        assert_eq!(notes.next(), Some((1..10_000).map(note).collect()));
        notes.done();
        assert_eq!(notes.next(), None);
    }

    #[test]
    fn a_question_comes_behind_what_was_noted_before_it() {
        let mut notes = Notes::default();
        assert_eq!(notes.before_a_question(), Ok(None));
        notes.add(note(0));
        assert!(notes.next().is_some());
        notes.add(note(1));
        assert_eq!(notes.before_a_question(), Ok(Some(vec![note(1)])));
        assert_eq!(notes.before_a_question(), Ok(None));
    }

    #[test]
    fn who_tells_and_asks_on_and_on_in_an_outage_is_ended() {
        let mut notes = Notes::default();
        for name in 0..MAX_UNDER_WAY as u64 {
            notes.add(note(name));
            assert_eq!(notes.before_a_question(), Ok(Some(vec![note(name)])));
        }
        assert_eq!(notes.before_a_question(), Ok(None), "nothing is to be told before it");
        notes.add(note(0));
        assert_eq!(notes.next(), None);
        assert_eq!(notes.before_a_question(), Err(AskedTooMuch::Notes));
        notes.done();
        assert_eq!(notes.before_a_question(), Ok(Some(vec![note(0)])));
    }
}

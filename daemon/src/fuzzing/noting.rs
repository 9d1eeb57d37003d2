//! What one filer tells without waiting, between its questions: its names compared with a plain set, and its notes
//! with a ledger that hears one request after the other, or is out, refuses questions and keeps notes.

use std::collections::{BTreeSet, VecDeque};

use berth_common::ids::StagingName;
use berth_common::limits::MAX_FILER_REQUESTS;

use crate::asked::{AskedTooMuch, Names, Notes};
use crate::ledger::Note;

/// A filer's names and notes, and the ledger.
#[derive(Default)]
pub(super) struct Noting {
    names: Names,
    has: BTreeSet<StagingName>,
    notes: Notes,
    /// Notes that were told, each with the next name.
    told: u64,
    /// Those that the ledger has heard.
    heard: u64,
    queue: VecDeque<Request>,
    /// What the ledger keeps in an outage.
    kept: VecDeque<Vec<Note>>,
    ledger_is_out: bool,
}

enum Request {
    Notes(Vec<Note>),
    /// With how many notes were told before it.
    Question(u64),
}

impl Noting {
    /// The filer tells or asks something, or the ledger answers.
    ///
    /// # Errors
    /// When it is to be ended.
    pub(super) fn happens(&mut self, letter: u8, variant: u8) -> Result<(), AskedTooMuch> {
        match letter {
            // {: it tells of a name that it was given, or of any
            27 => return self.tell(variant),
            // |: a question, }: the ledger's answer to the oldest request
            28 => return self.ask(),
            29 => self.answer(),
            // ~: an outage of the ledger begins, or ends
            30 if !self.ledger_is_out => self.ledger_is_out = true,
            30 => self.works_again(),
            _ => {}
        }
        Ok(())
    }

    fn tell(&mut self, variant: u8) -> Result<(), AskedTooMuch> {
        let name = StagingName(self.told + 1);
        if variant < 3 {
            self.names.give([name]);
            self.has.insert(name);
        }
        let result = self.names.take_back(&[name]);
        assert_eq!(result.is_ok(), self.has.remove(&name), "{name}");
        result?;
        assert_eq!(self.names.take_back(&[name]), Err(AskedTooMuch::Name), "told of twice");
        self.told += 1;
        self.notes.add(Note::LetGo(name));
        self.go_on();
        Ok(())
    }

    fn ask(&mut self) -> Result<(), AskedTooMuch> {
        let questions = self.queue.iter().filter(|it| matches!(it, Request::Question(_))).count();
        if questions < MAX_FILER_REQUESTS {
            self.queue.extend(self.notes.before_a_question()?.map(Request::Notes));
            self.queue.push_back(Request::Question(self.told));
        }
        Ok(())
    }

    fn answer(&mut self) {
        match self.queue.pop_front() {
            Some(Request::Notes(notes)) if self.ledger_is_out => self.kept.push_back(notes),
            Some(Request::Notes(notes)) => self.hear(&notes),
            Some(Request::Question(told_before)) => {
                let in_order = self.ledger_is_out || self.heard == told_before;
                assert!(in_order, "{} of {told_before} notes before a question", self.heard);
            }
            None => {}
        }
    }

    fn hear(&mut self, notes: &[Note]) {
        for note in notes {
            self.heard += 1;
            assert_eq!(*note, Note::LetGo(StagingName(self.heard)), "out of order");
        }
        self.notes.done();
        self.go_on();
    }

    fn works_again(&mut self) {
        self.ledger_is_out = false;
        while let Some(notes) = self.kept.pop_front() {
            self.hear(&notes);
        }
    }

    fn go_on(&mut self) {
        self.queue.extend(self.notes.next().map(Request::Notes));
    }

    /// The session ends: everything is answered, and nothing may have been left behind.
    pub(super) fn end(mut self) {
        while !self.queue.is_empty() {
            self.answer();
        }
        self.works_again();
        while !self.queue.is_empty() {
            self.answer();
        }
        assert_eq!(self.heard, self.told, "a note is lost");
    }
}

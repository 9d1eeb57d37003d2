//! What a filer tells and does not wait for, told to the ledger in order with what it asks.
//!
//! [`crate::asked::Notes`] decides what goes when. What is told is not lost in an outage of the ledger, and keeps its
//! place before what is told or asked after it. A question that is with the ledger already when a note before it is
//! refused is refused as well, unless the outage ends between the two.

use std::rc::Rc;

use berth_common::ids::StagingName;

use super::Serving;
use crate::asked::{AskedTooMuch, Telling};
use crate::ledger::{LedgerError, Note};

impl Serving {
    /// The filer has these names from now on. Call it before it is told so.
    pub(super) fn give(&self, names: impl IntoIterator<Item = StagingName>) {
        self.names.borrow_mut().give(names);
    }

    /// Begins to answer a question, for which the ledger may be asked: behind what was noted before it.
    pub(super) fn question(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) {
        let notes = self.notes.borrow_mut().before_a_question();
        self.tell(notes);
        self.tasks.spawn(work);
    }

    /// Takes a note for the ledger, which takes memory until it is dealt with.
    pub(super) fn note(self: &Rc<Self>, note: Note) -> Result<(), AskedTooMuch> {
        self.asked.borrow_mut().note(note.names())?;
        let mut notes = self.notes.borrow_mut();
        notes.add(note);
        let next = notes.next();
        drop(notes);
        self.tell(next);
        Ok(())
    }

    /// Tells the ledger these notes, and then what has gathered meanwhile; in an outage, when the ledger works again. It
    /// goes on when the session is over, whose end waits for it and sees to what is refused then: so what a filer has
    /// told before it ended counts.
    fn tell(self: &Rc<Self>, notes: Option<Telling>) {
        let Some(mut notes) = notes else {
            return;
        };
        let this = self.clone();
        self.tasks.spawn(async move {
            loop {
                let ledger = &this.daemon.ledger;
                let told = ledger.note(&this.user, this.session, notes.clone()).await;
                if told == Err(LedgerError::Unavailable) && !this.over.is_up() {
                    if !this.notes.borrow_mut().put_back(notes) {
                        return;
                    }
                    tokio::select! {
                        () = this.over.up() => {}
                        () = ledger.until_it_works() => {}
                    }
                    this.notes.borrow_mut().resume();
                } else {
                    this.dealt_with(&notes, told);
                }
                let Some(next) = this.notes.borrow_mut().next() else { return };
                notes = next;
            }
        });
    }

    fn dealt_with(&self, notes: &Telling, told: Result<(), LedgerError>) {
        self.notes.borrow_mut().done();
        let names = notes.iter().map(|(_, note)| note.names()).sum();
        self.asked.borrow_mut().noted(names);
        if let Err(error) = told {
            self.look_at(&error);
        }
    }
}

//! What a filer tells and does not wait for, told to the ledger in order with what it asks.
//!
//! [`crate::asked::Notes`] decides what goes when. The ledger keeps what it is told in an outage, and hears it before
//! whatever was asked after it and changes something.

use std::rc::Rc;

use berth_common::ids::StagingName;

use super::Serving;
use crate::asked::AskedTooMuch;
use crate::exit::KillReason;
use crate::ledger::{LedgerError, Note};

impl Serving {
    /// The filer has these names from now on. Call it before it is told so.
    pub(super) fn give(&self, names: impl IntoIterator<Item = StagingName>) {
        self.names.borrow_mut().give(names);
    }

    /// Begins to answer a question, for which the ledger may be asked: behind what was noted before it.
    pub(super) fn question(
        self: &Rc<Self>,
        work: impl Future<Output = ()> + 'static,
    ) -> Result<(), AskedTooMuch> {
        let notes = self.notes.borrow_mut().before_a_question()?;
        self.tell(notes);
        self.tasks.spawn(work);
        Ok(())
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

    /// Tells the ledger these notes, and then what has gathered meanwhile. It goes on when the session is over, whose
    /// end waits for it: so what a filer has told before it ended counts. In an outage it is the recovery that finds
    /// out what became of the names.
    fn tell(self: &Rc<Self>, notes: Option<Vec<Note>>) {
        let Some(mut notes) = notes else {
            return;
        };
        let this = self.clone();
        self.tasks.spawn(async move {
            loop {
                let names = notes.iter().map(Note::names).sum();
                let ledger = &this.daemon.ledger;
                tokio::select! {
                    biased;
                    told = ledger.note(&this.user, this.session, notes) => this.dealt_with(names, told),
                    () = this.over_in_an_outage() => this.dealt_with(names, Ok(())),
                }
                let Some(next) = this.notes.borrow_mut().next() else { return };
                notes = next;
            }
        });
    }

    async fn over_in_an_outage(&self) {
        self.over.up().await;
        self.daemon.ledger.until_it_fails().await;
    }

    fn dealt_with(&self, names: usize, told: Result<(), LedgerError>) {
        self.notes.borrow_mut().done();
        self.asked.borrow_mut().noted(names);
        match told {
            Ok(()) => {}
            // Nothing may build on what the ledger has not heard.
            Err(LedgerError::Unavailable) if self.daemon.ledger.works() => {
                let reason = "the ledger could not take note of a name";
                self.kill(KillReason::Internal(reason.to_owned()));
            }
            Err(error) => self.look_at(&error),
        }
    }
}

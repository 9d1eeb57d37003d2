//! What a filer tells and does not wait for, told to the ledger in order with what it asks.
//!
//! [`crate::asked::Notes`] decides what goes when. What is told is not lost in an outage of the ledger.

use std::rc::Rc;

use berth_common::ids::StagingName;

use super::Serving;
use crate::asked::AskedTooMuch;
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

    /// Tells the ledger these notes, and then what has gathered meanwhile. It goes on when the session is over, whose
    /// end waits for it: so what a filer has told before it ended counts.
    fn tell(self: &Rc<Self>, notes: Option<Vec<Note>>) {
        let Some(mut notes) = notes else {
            return;
        };
        let this = self.clone();
        self.tasks.spawn(async move {
            loop {
                this.tell_at_once(notes).await;
                let mut waiting = this.notes.borrow_mut();
                waiting.done();
                let Some(next) = waiting.next() else { return };
                notes = next;
            }
        });
    }

    async fn tell_at_once(&self, notes: Vec<Note>) {
        let ledger = &self.daemon.ledger;
        let told = async || ledger.note(&self.user, self.session, notes.clone()).await;
        let told = self.persistently(told).await;
        let mut asked = self.asked.borrow_mut();
        notes.iter().for_each(|note| asked.noted(note.names()));
        drop(asked);
        if let Err(error) = told {
            self.look_at(&error);
        }
    }

    /// Tells the ledger what must not be lost in an outage: again when it works, unless the session is over by
    /// then, whose end sees to it.
    async fn persistently(
        &self,
        tell: impl AsyncFn() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        // One more try, since the outage may have ended between the refusal and this look.
        let mut tries = 2;
        loop {
            let told = tell().await;
            let unavailable = matches!(told, Err(LedgerError::Unavailable));
            if self.daemon.ledger.works() {
                tries -= 1;
            }
            if !unavailable || tries == 0 || self.over.is_up() {
                return told;
            }
            tokio::select! {
                () = self.over.up() => {}
                () = self.daemon.ledger.until_it_works() => {}
            }
        }
    }
}

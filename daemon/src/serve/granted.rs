//! The ticket as it comes to a session's filer, or does not, and what the filer owes since it came with an owed name.

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, OwedName, StagingName};
use berth_common::ledger_protocol::DaemonToFiler;

use super::Serving;
use crate::exit::KillReason;

/// What comes with the ticket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// The names of intents; none for a change that moves no sum.
    Names(Vec<StagingName>),
    /// A name to take something to without an intent, because the ledger cannot be written.
    Owed(OwedName),
}

impl Given {
    /// The intents' names.
    pub(crate) fn names(&self) -> &[StagingName] {
        match self {
            Self::Names(names) => names,
            Self::Owed(_) => &[],
        }
    }
}

impl Serving {
    /// The ticket is this session's.
    pub(crate) fn granted(&self, op: OpId, given: Given) {
        self.asked.borrow_mut().answered(op);
        let answer = match given {
            Given::Names(names) => {
                self.give(names.iter().copied());
                let reporting = self.daemon.windows.borrow().is_open(&self.user);
                DaemonToFiler::Granted { op, names, reporting }
            }
            Given::Owed(name) => {
                self.owes.set(true);
                DaemonToFiler::Owing { op, name }
            }
        };
        self.filer.send(&answer, &[]);
    }

    /// The ticket does not come: its holder hangs.
    pub(crate) fn turned_away(&self, op: OpId, given: &Given) {
        match given {
            Given::Names(names) if !names.is_empty() => {
                // The rows are there. A refusal would let the filer unlink what they speak of.
                self.kill(KillReason::Internal("another session's change hangs".to_owned()));
            }
            Given::Names(_) | Given::Owed(_) => self.refuse(op, ErrorCode::Busy),
        }
    }

    /// Whether something may stand at an owed name that nobody was told of.
    pub(crate) fn owes(&self) -> bool {
        self.owes.get()
    }

    /// What the filer has taken to an owed name is there by now, or will never be: it has said so, or is
    /// reaped.
    pub(crate) fn note_what_is_owed(&self) {
        if self.owes.take() {
            self.daemon.owes(&self.user);
        }
    }
}

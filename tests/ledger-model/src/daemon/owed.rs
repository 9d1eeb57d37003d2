//! What was deleted while the ledger could not be written is taken when it can: under a fresh name, with the
//! ordinary protocol of a delete. It needs no ticket, for nobody else can reach either name.

use crate::disk::{NONE, Name, OPERATIONS, STAGING};
use crate::operation::Path;
use crate::power::Power;
use crate::state::{ADOPTED, Intent, RETAKER, Row, State, Step, is_owed};
use crate::world::{Move, World};

impl World {
    pub(super) fn retake(&self, state: &State, out: &mut Vec<Move>) {
        match state.retaking {
            None => self.retake_begins(state, out),
            Some((owed, Step::Act)) => {
                let mut after = state.clone();
                after.disk.rename((STAGING, owed), (STAGING, owed + OPERATIONS));
                let synced = self.rules.power != Power::Off && self.rules.sync_retaken;
                after.retaking = Some((owed, if synced { Step::SyncAct } else { Step::Settle }));
                out.push(("owed: rename to the fresh name", owed, after));
            }
            Some((owed, Step::SyncAct)) => {
                let mut after = state.clone();
                after.disk.sync(&[STAGING], &[]);
                after.retaking = Some((owed, Step::Settle));
                out.push(("owed: fsync staging", owed, after));
            }
            Some((owed, _)) => self.retake_settles(state, owed, out),
        }
    }

    fn retake_begins(&self, state: &State, out: &mut Vec<Move>) {
        let untaken = |owed: Name| state.row(owed + OPERATIONS).is_none();
        let waits = |entry: &&_| is_owed(entry) && !state.is_left_over(entry.1);
        let mut waiting = state.disk.entries.iter().filter(waits).map(|entry| entry.1);
        let Some(owed) = waiting.find(|owed| !state.unwritable && untaken(*owed)) else {
            return;
        };
        let mut after = state.clone();
        if !self.rules.retake_owed {
            let walked = state.disk.staged(owed).map(|it| state.disk.walk(it));
            after.used = after.used - walked.unwrap_or_default();
            after.leave_over(owed, true);
            out.push(("owed: settle it where it stands (txn)", owed, after));
            return;
        }
        let fresh = owed + OPERATIONS;
        after.add_row(Row::intent(fresh, Intent::Take, RETAKER, Path([NONE, NONE])));
        after.retaking = Some((owed, Step::Act));
        out.push(("owed: intent for a fresh name (txn)", owed, after));
    }

    fn retake_settles(&self, state: &State, owed: Name, out: &mut Vec<Move>) {
        let fresh = owed + OPERATIONS;
        let Some(row) = state.row(fresh).filter(|_| !state.unwritable) else { return };
        let mut after = state.clone();
        after.used += self.examine(&state.disk, row, None).sums;
        after.drop_row(fresh);
        after.leave_over(fresh, true);
        after.retaking = None;
        out.push(("owed: walk it, settle (txn)", owed, after));
    }

    /// The recovering filer is gone: its row is replayed like any other.
    pub(super) fn retaker_dies(&self, state: &mut State) {
        state.retaking = None;
        for row in state.rows.iter_mut().filter(|row| row.owner == RETAKER) {
            row.owner = ADOPTED;
        }
    }
}

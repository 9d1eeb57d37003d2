//! Replay: a dead owner's rows are settled by what stands at their names in staging.
//!
//! Looking needs no ledger: while it cannot be written, replay looks once, unlinks a pin, and settles later.

use crate::disk::{NONE, Object, STAGING};
use crate::power::Power;
use crate::state::{Daemon, Finding, Intent, Phase, Row, State};
use crate::world::{Move, World};

impl World {
    pub(super) fn replay_begins(&self, state: &State, out: &mut Vec<Move>) {
        for row in &state.rows {
            let there = state.disk.staged(row.name).is_some();
            let recovering = state.daemon == Daemon::Recovering && self.rules.drop_lost_uploads;
            if row.owner == NONE && recovering && !there && !state.unwritable {
                let mut after = state.clone();
                after.drop_row(row.name);
                out.push(("the open upload's file is gone, drop its row (txn)", row.name, after));
            } else if self.is_orphan(state, row.owner) {
                match row.phase {
                    Phase::Committing => self.replay_looks(state, row, out),
                    Phase::Open => self.replay_open(state, row, there, out),
                }
            }
        }
    }

    fn replay_open(&self, state: &State, row: &Row, there: bool, out: &mut Vec<Move>) {
        let mut after = state.clone();
        if row.resumable && there {
            if let Some(row) = after.row_mut(row.name) {
                row.owner = NONE;
            }
            out.push(("replay: the upload waits to be resumed", row.name, after));
        } else if row.in_memory || !state.unwritable {
            after.drop_row(row.name);
            after.leave_over(row.name, there);
            out.push(("replay: drop the reservation", row.name, after));
        }
    }

    fn replay_looks(&self, state: &State, row: &Row, out: &mut Vec<Move>) {
        if state.unwritable && !self.rules.look_while_unwritable {
            return;
        }
        if state.unwritable && row.looked_at {
            return;
        }
        let mut after = state.clone();
        if self.rules.power != Power::Off && self.rules.sync_in_replay {
            let pinned: Vec<Object> = state.disk.staged(row.name).into_iter().collect();
            after.disk.sync(&[STAGING], &pinned);
        }
        let finding = self.examine(&after.disk, row, None);
        after.replay = Some((row.name, finding));
        out.push(("replay: look at staging", row.name, after));
    }

    pub(super) fn replay_ends(
        &self,
        state: &State,
        name: u8,
        finding: Finding,
        out: &mut Vec<Move>,
    ) {
        let Some(row) = state.row(name) else { return };
        let there = state.disk.staged(name).is_some();
        let mut after = state.clone();
        after.replay = None;
        let is_pin = row.intent == Intent::Over && self.rules.unpin_before_drop && there;
        let unlinked = Some((name, Finding { left: false, ..finding }));
        if !finding.happened && is_pin {
            // A left-over pin would spoil the link count for the next rename over the same file (R16).
            after.disk.remove(name);
            after.replay = unlinked;
            out.push(("replay: unlink the pin before its row is dropped", name, after));
        } else if state.unwritable {
            if let Some(row) = after.row_mut(name) {
                row.looked_at = true;
            }
            out.push(("replay: settled later, the ledger is unavailable", name, after));
        } else if finding.happened {
            after.used += finding.sums;
            after.drop_row(name);
            after.leave_over(name, finding.left);
            out.push(("replay: it had happened, settle (txn)", name, after));
        } else if row.intent == Intent::StageFile && row.resumable {
            if let Some(row) = after.row_mut(name) {
                row.phase = Phase::Open;
                row.owner = NONE;
                row.looked_at = false;
            }
            out.push(("replay: it had not happened, the upload is open (txn)", name, after));
        } else if self.rules.drop_before_unlink || !there {
            after.drop_row(name);
            after.leave_over(name, finding.left && there);
            out.push(("replay: it had not happened (txn)", name, after));
        } else {
            after.disk.remove(name);
            after.replay = unlinked;
            out.push(("replay: unlink the staged file before its row is dropped", name, after));
        }
    }
}

//! What the daemon does by itself: its start, the sweep, expiry, left-overs, and passing tickets on. Replay
//! and what is owed have files of their own.

mod faults;
mod owed;
mod replay;

use crate::disk::{MINTED, NONE, STAGING};
use crate::state::{ADOPTED, Daemon, Life, MINTED_NAMES, Phase, RETAKER, State, is_owed};
use crate::world::{Move, World};

impl World {
    /// Whether what this owner had may be replayed.
    pub(crate) fn is_orphan(&self, state: &State, owner: u8) -> bool {
        match owner {
            ADOPTED => true,
            NONE | RETAKER => false,
            session => match state.sessions[usize::from(session)].life {
                Life::Dead => true,
                Life::Dying => !self.rules.reap,
                Life::Alive | Life::Done => false,
            },
        }
    }

    pub(crate) fn daemon_moves(&self, state: &State, out: &mut Vec<Move>) {
        if state.daemon == Daemon::Down {
            self.start(state, out);
        } else if let Some((name, finding)) = state.replay {
            self.replay_ends(state, name, finding, out);
        } else {
            self.replay_begins(state, out);
            self.clear_left_overs(state, out);
            self.retake(state, out);
            self.pass_ticket_on(state, out);
            if state.daemon == Daemon::Recovering {
                self.serve(state, out);
            } else if self.rules.expiry {
                self.expire(state, out);
            }
        }
    }

    /// It leases names from the ledger, and waits for the processes of an earlier daemon (R10).
    fn start(&self, state: &State, out: &mut Vec<Move>) {
        let dying = state.sessions.iter().any(|session| session.life == Life::Dying);
        let must_wait = state.unwritable || (self.rules.reap && dying);
        if !must_wait {
            let mut after = state.clone();
            after.daemon = Daemon::Recovering;
            out.push(("the daemon starts", NONE, after));
        }
    }

    fn clear_left_overs(&self, state: &State, out: &mut Vec<Move>) {
        for name in MINTED_NAMES.filter(|name| state.is_left_over(*name)) {
            // A session clears up behind itself, while it is at that operation.
            let number = name - MINTED;
            let session = state.sessions.get(usize::from(number / 4));
            let cleared_by_session = session.is_some_and(|session| {
                matches!(session.life, Life::Alive | Life::Dying) && session.op <= number % 4
            });
            if !cleared_by_session {
                let mut after = state.clone();
                after.clear(name);
                out.push(("unlink a left-over", name, after));
            }
        }
    }

    /// R11: after the dead holder's rows are replayed, or at least looked at.
    fn pass_ticket_on(&self, state: &State, out: &mut Vec<Move>) {
        if state.ticket == NONE || !self.is_orphan(state, state.ticket) {
            return;
        }
        let looked_at = |row: &crate::state::Row| {
            row.owner != state.ticket || row.phase == Phase::Open || row.looked_at
        };
        if state.rows.iter().all(looked_at) {
            let mut after = state.clone();
            after.ticket = NONE;
            out.push(("a dead holder's ticket passes on", NONE, after));
        }
    }

    /// The sweep (R12), which spares what is owed (R20).
    fn serve(&self, state: &State, out: &mut Vec<Move>) {
        let kept_without_file =
            |name| self.rules.drop_lost_uploads && state.disk.staged(name).is_none();
        if state.rows.iter().any(|row| row.owner != NONE || kept_without_file(row.name)) {
            return;
        }
        let mut after = state.clone();
        after.daemon = Daemon::Serving;
        if self.rules.sweep {
            for entry in state.disk.list(STAGING) {
                let spared = self.rules.spare_owed && is_owed(&entry);
                if !spared && state.row(entry.1).is_none() {
                    after.disk.remove(entry.1);
                }
            }
            after.left_over = 0;
        }
        out.push(("sweep staging, and serve", NONE, after));
    }

    fn expire(&self, state: &State, out: &mut Vec<Move>) {
        let abandoned = |row: &&crate::state::Row| row.owner == NONE && row.phase == Phase::Open;
        for row in state.rows.iter().filter(abandoned) {
            let mut after = state.clone();
            if state.disk.staged(row.name).is_some() {
                after.disk.remove(row.name);
                out.push(("expiry: unlink the staged file", row.name, after));
            } else if !state.unwritable {
                after.drop_row(row.name);
                out.push(("expiry: drop the row (txn)", row.name, after));
            }
        }
    }
}

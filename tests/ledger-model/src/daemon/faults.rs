//! Faults: kills, power cuts, and a ledger that cannot be written for a while.

use crate::disk::NONE;
use crate::operation::Op;
use crate::state::{Daemon, Life, Session, State, Step, Verify};
use crate::world::{Move, World};

impl World {
    pub(crate) fn faults(&self, state: &State, out: &mut Vec<Move>) {
        if state.faults.session_kills > 0 {
            self.session_kills(state, out);
        }
        self.outages(state, out);
        if state.faults.session_kills > 0 && state.retaking.is_some() {
            let mut after = state.clone();
            after.faults.session_kills -= 1;
            self.retaker_dies(&mut after);
            out.push(("SIGKILL the filer that takes what is owed", NONE, after));
        }
        if state.faults.daemon_kills > 0 && state.daemon != Daemon::Down {
            let mut after = state.clone();
            after.faults.daemon_kills -= 1;
            for index in 0..after.sessions.len() {
                if is_killable(&after.sessions[index], Life::Alive) {
                    self.kill(&mut after, index);
                }
            }
            self.daemon_dies(&mut after);
            out.push(("SIGKILL the daemon; all sessions die", NONE, after));
        }
        if state.faults.power_cuts > 0 {
            self.power_cuts(state, out);
        }
    }

    fn session_kills(&self, state: &State, out: &mut Vec<Move>) {
        for (number, session) in (0..).zip(&state.sessions) {
            let index = usize::from(number);
            if is_killable(session, Life::Alive) && !matches!(self.op(state, index), Op::Limit(_)) {
                let mut after = state.clone();
                after.faults.session_kills -= 1;
                self.kill(&mut after, index);
                if after.ticket == number && !self.rules.replay_before_passing_on {
                    after.ticket = NONE;
                }
                out.push(("SIGKILL worker and filer", number, after));
            }
        }
    }

    fn outages(&self, state: &State, out: &mut Vec<Move>) {
        let mut after = state.clone();
        after.unwritable = !state.unwritable;
        if state.unwritable {
            out.push(("the ledger can be written again", NONE, after));
        } else if state.faults.outages > 0 {
            after.faults.outages -= 1;
            out.push(("the ledger cannot be written", NONE, after));
        }
    }

    fn power_cuts(&self, state: &State, out: &mut Vec<Move>) {
        for disk in state.disk.after_power_cut() {
            let mut after = state.clone();
            after.faults.power_cuts -= 1;
            after.disk = disk;
            for session in &mut after.sessions {
                if session.life == Life::Dying || is_killable(session, Life::Alive) {
                    *session = Session::at(session.op, Life::Dead);
                }
            }
            self.daemon_dies(&mut after);
            out.push(("POWER CUT", NONE, after));
        }
    }

    fn daemon_dies(&self, state: &mut State) {
        state.daemon = Daemon::Down;
        state.ticket = NONE;
        state.replay = None;
        state.left_over = 0;
        state.verify = Verify::default();
        state.rows.retain(|row| !row.in_memory);
        for row in &mut state.rows {
            row.looked_at = false;
        }
        self.retaker_dies(state);
    }

    fn kill(&self, state: &mut State, index: usize) {
        let op = self.op(state, index);
        if matches!(op, Op::Verify) {
            state.verify = Verify::default();
        }
        let session = &mut state.sessions[index];
        if !self.rules.reap && self.is_on_disk(op, session.step) {
            session.life = Life::Dying;
        } else {
            *session = Session::at(session.op, Life::Dead);
        }
    }
}

/// A session that has not begun is as good as one that is not there.
fn is_killable(session: &Session, life: Life) -> bool {
    session.life == life && (session.op > 0 || session.step != Step::Begin)
}

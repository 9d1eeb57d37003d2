//! The invariants: of every step, and of every state of rest.

use crate::disk::{Amount, HOME, Kind, STAGING};
use crate::operation::Op;
use crate::power::Power;
use crate::search::Model as _;
use crate::spec;
use crate::state::{Phase, State, Told};
use crate::world::{World, staged_object};

impl World {
    pub(crate) fn wrong_step(&self, before: &State, after: &State) -> Option<&'static str> {
        if after.alarm.is_some() {
            return after.alarm;
        }
        let (was, is) = (before.charged(), after.charged());
        if is.bytes > was.bytes && is.bytes > i16::from(after.limit) {
            return Some("I2: used + reserved grew beyond the limit");
        }
        if is.entries > was.entries && is.entries > i16::from(self.entry_limit) {
            return Some("I2: used + reserved entries grew beyond the limit");
        }
        if self.rules.check_used && (after.used.bytes < 0 || after.used.entries < 0) {
            return Some("R17: used is below zero, a CHECK (used >= 0) would refuse the settle");
        }
        if is.bytes < 0 || is.entries < 0 {
            return Some("I1: used + reserved below zero");
        }
        // What is owed still takes space, and is still charged.
        let there = after.disk.walk(HOME) + after.owed();
        if !self.any_op(|op| matches!(op, Op::Limit(_))) && there.bytes > i16::from(after.limit) {
            return Some("I2: the home holds more than the limit");
        }
        if there.entries > i16::from(self.entry_limit) {
            return Some("I2: the home holds more entries than the limit");
        }
        if self.rules.ticket && (there.bytes > is.bytes || there.entries > is.entries) {
            return Some("I2: the home holds more than used + reserved");
        }
        if self.rules.faults.outages > 0 && self.told_by_rows(after) != there {
            return Some("I1: used and what the rows tell is not what stands there");
        }
        let partial = |object| {
            let inode = after.disk.inode(object);
            inode.kind == Kind::File && !inode.whole
        };
        if after.disk.below(HOME).into_iter().any(|entry| partial(entry.2)) {
            return Some("I4: a partial file is visible");
        }
        None
    }

    /// What `used` will be when all that has happened is settled.
    pub(crate) fn told_by_rows(&self, state: &State) -> Amount {
        let committing = state.rows.iter().filter(|row| row.phase == Phase::Committing);
        let findings = committing.map(|row| self.examine(&state.disk, row, None));
        state.used + findings.filter(|it| it.happened).map(|it| it.sums).sum()
    }

    pub(crate) fn wrong_rest(&self, state: &State) -> Option<&'static str> {
        let there = state.disk.walk(HOME);
        if there.bytes != state.used.bytes {
            return Some("I1: used bytes are not what a walk finds");
        }
        if there.entries != state.used.entries {
            return Some("I1: used entries are not what a walk finds");
        }
        for row in &state.rows {
            if row.phase == Phase::Committing {
                return Some("I6: an intent is left over");
            }
            if state.disk.staged(row.name).is_none() && !self.rules.expiry {
                return Some("I6: a row without its file in staging");
            }
        }
        if state.disk.list(STAGING).any(|entry| state.row(entry.1).is_none()) {
            return Some("I6: a name in staging without a row");
        }
        let start = spec::tree(&self.init().disk);
        let end = spec::tree(&state.disk);
        let explained =
            spec::explains(&start, &end, &self.done(state), self.rules.power == Power::Weak);
        (!explained).then_some("I3/I5: the home is not explained by the acknowledged operations")
    }

    /// The operations that have, or may have, happened.
    fn done(&self, state: &State) -> Vec<spec::Done> {
        let mut done = vec![];
        for (session, program) in self.programs.iter().enumerate() {
            for (place, op) in program.iter().enumerate() {
                if matches!(op, Op::Limit(_) | Op::Verify) {
                    continue;
                }
                for (part, op) in op.parts().into_iter().enumerate() {
                    let index = session * 4 + place + part;
                    let told = state.told[index];
                    if matches!(told, Told::Acknowledged | Told::Nothing) {
                        done.push(spec::Done {
                            op,
                            content: staged_object(crate::disk::MINTED) + index as u8,
                            acknowledged: told == Told::Acknowledged,
                            before: state.before[index],
                            index,
                        });
                    }
                }
            }
        }
        done
    }
}

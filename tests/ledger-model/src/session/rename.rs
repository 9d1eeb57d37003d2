//! Rename to a free name: it moves no sum, so that it takes the ticket and writes no intent. It goes on also
//! while the ledger cannot be written.

use super::{Taken, Turn};
use crate::disk::NONE;
use crate::operation::Path;
use crate::state::Step;

impl Turn<'_> {
    pub(super) fn rename(self, from: Path, to: Path) -> Option<Taken> {
        match self.me().step {
            Step::Ticket => self.take_ticket(Step::Act),
            Step::Act => self.rename_act(from, to),
            Step::Release => self.rename_release(),
            Step::SyncAct => self.rename_sync(),
            _ => None,
        }
    }

    fn rename_act(mut self, from: Path, to: Path) -> Option<Taken> {
        let disk = &self.before.disk;
        let (source, target) = self.both(from, to);
        let moved = source.and_then(|it| disk.get(it, from.leaf()));
        let found = match (source, target, moved) {
            (Some(source), Some(target), Some(moved)) => {
                let inside = moved == target || disk.below(moved).iter().any(|it| it.2 == target);
                let free = disk.get(target, to.leaf()).is_none();
                (!inside && free).then_some((source, target, moved))
            }
            _ => None,
        };
        let Some((source, target, moved)) = found else {
            self.drop_ticket();
            return self.refuse("act: rename refused; release");
        };
        self.state.disk.rename((source, from.leaf()), (target, to.leaf()));
        self.state.report(moved, true);
        if self.before.verify.running && self.before.disk.is_directory(moved) {
            self.state.verify.waiting.push((target, to.leaf()));
        }
        let me = self.me_mut();
        (me.from, me.to) = (source, target);
        let what = "act: rename to a free name";
        if self.world.rules.ticket {
            return self.go(what, Step::Release);
        }
        self.synced_or_acknowledged(what)
    }

    fn rename_release(mut self) -> Option<Taken> {
        self.state.ticket = NONE;
        self.synced_or_acknowledged("release the ticket")
    }

    fn synced_or_acknowledged(self, what: &'static str) -> Option<Taken> {
        match self.has_power_cuts() && self.world.rules.sync_act {
            true => self.go(what, Step::SyncAct),
            false => self.acknowledge(what),
        }
    }

    fn rename_sync(mut self) -> Option<Taken> {
        let (from, to) = (self.me().from, self.me().to);
        self.sync(&[from, to]);
        self.acknowledge("fsync directories, acknowledge")
    }
}

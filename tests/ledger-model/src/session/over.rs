//! Rename over a file: the old file is pinned in staging by a link while its name changes hands.

use super::{Taken, Turn};
use crate::disk::{Object, STAGING};
use crate::operation::Path;
use crate::rules::Pin;
use crate::state::{Intent, Row, Step, Told};
use crate::world::parent;

impl Turn<'_> {
    pub(super) fn rename_over(self, from: Path, to: Path) -> Option<Taken> {
        let unwritable = self.before.unwritable;
        match self.me().step {
            Step::EarlyPin => self.early_pin(to),
            Step::Intent if unwritable => self.refuse("intent: ledger unavailable, refused"),
            Step::Intent => self.over_intent(to),
            Step::Ticket => self.take_ticket(Step::Act),
            Step::Act => self.over_act(from, to),
            Step::ActOver => self.over_second_call(from, to),
            Step::Release => self.release(Step::Settle),
            Step::SyncAct => self.over_sync(),
            Step::Settle | Step::Drop if unwritable => self.unsettled(),
            Step::Settle => self.over_settle(),
            Step::Clean => self.clean(),
            Step::Drop => self.over_nothing(),
            _ => None,
        }
    }

    fn early_pin(mut self, to: Path) -> Option<Taken> {
        let disk = &self.before.disk;
        let directory = parent(disk, to);
        let old = directory.and_then(|it| disk.get(it, to.leaf()));
        if let (Some(directory), Some(old)) = (directory, old)
            && !disk.is_directory(old)
        {
            self.state.disk.link((directory, to.leaf()), self.name);
        }
        self.go("link the old file into staging", Step::Intent)
    }

    fn over_intent(mut self, to: Path) -> Option<Taken> {
        self.state.add_row(Row::intent(self.name, Intent::Over, self.owner(), to));
        let ticket = self.world.rules.ticket;
        self.go("intent (txn)", if ticket { Step::Ticket } else { Step::Act })
    }

    /// Both directories and what stands in them, if the rename is possible.
    fn over_found(&self, from: Path, to: Path) -> Option<(Object, Object, Object, Option<Object>)> {
        let disk = &self.before.disk;
        let (Some(source), Some(target)) = self.both(from, to) else { return None };
        let moved = disk.get(source, from.leaf())?;
        let old = disk.get(target, to.leaf());
        let is_directory = |object| disk.is_directory(object);
        let possible = Some(moved) != old
            && (!self.world.rules.ticket
                || (!is_directory(moved) && !old.is_some_and(is_directory)))
            && (self.world.rules.pin != Pin::EarlyLink || old == disk.staged(self.name));
        possible.then_some((source, target, moved, old))
    }

    fn over_act(mut self, from: Path, to: Path) -> Option<Taken> {
        let Some((source, target, moved, old)) = self.over_found(from, to) else {
            self.drop_ticket();
            return self.go("act: rename refused; release", Step::Drop);
        };
        let me = self.me_mut();
        (me.from, me.to) = (source, target);
        let (source, target) = ((source, from.leaf()), (target, to.leaf()));
        let renamed = self.after_act(Step::Settle);
        let disk = &mut self.state.disk;
        match (old, self.world.rules.pin) {
            (None, _) => {
                disk.rename(source, target);
                self.state.report(moved, true);
                self.go("act: rename to a free name", renamed)
            }
            (Some(_), Pin::Exchange) => {
                disk.exchange(source, target);
                self.go("act: exchange the two names", Step::ActOver)
            }
            (Some(_), Pin::Link) => {
                disk.link(target, self.name);
                self.go("act: link the old file into staging", Step::ActOver)
            }
            (Some(old), Pin::EarlyLink) => {
                disk.rename(source, target);
                self.state.report(moved, true);
                self.state.report(old, false);
                self.go("act: rename over the old file", renamed)
            }
        }
    }

    fn over_second_call(mut self, from: Path, to: Path) -> Option<Taken> {
        let (source, target) = ((self.me().from, from.leaf()), (self.me().to, to.leaf()));
        let disk = &self.before.disk;
        let moved = disk.get(source.0, source.1);
        let next = self.after_act(Step::Settle);
        if self.world.rules.pin == Pin::Exchange {
            if disk.is_alive(source.0) && moved.is_some() {
                self.state.disk.rename(source, (STAGING, self.name));
            }
            return self.go("act: move the old file into staging", next);
        }
        let (Some(moved), Some(old)) = (moved, disk.get(target.0, target.1)) else {
            // It cannot be while paths are resolved under the ticket.
            self.drop_ticket();
            return self.go("act: the name has gone; release", Step::Drop);
        };
        self.state.disk.rename(source, target);
        self.state.report(moved, true);
        self.state.report(old, false);
        self.go("act: rename over the old file", next)
    }

    fn over_sync(mut self) -> Option<Taken> {
        let (from, to) = (self.me().from, self.me().to);
        self.sync(&[STAGING, from, to]);
        self.go("fsync directories", Step::Settle)
    }

    fn over_settle(mut self) -> Option<Taken> {
        let row = *self.before.row(self.name)?;
        let found = self.world.examine(&self.before.disk, &row, None);
        self.state.used += found.sums;
        self.state.drop_row(self.name);
        let index = self.index(0);
        self.state.told[index] = Told::Acknowledged;
        let what = "settle (txn), acknowledge";
        if !found.left {
            return self.acknowledge(what);
        }
        self.state.leave_over(self.name, true);
        self.go(what, Step::Clean)
    }

    fn over_nothing(mut self) -> Option<Taken> {
        self.state.drop_row(self.name);
        let is_there = self.before.disk.staged(self.name).is_some();
        self.state.leave_over(self.name, is_there);
        self.refuse("drop the intent (txn), refuse")
    }
}

//! Delete, rmdir, recursive delete: moved into staging, measured there, credited, removed.

use super::{Taken, Turn};
use crate::disk::{Object, STAGING};
use crate::operation::{Op, Path};
use crate::state::{Intent, Row, Step, Told};

impl Turn<'_> {
    pub(super) fn take(self, op: Op, path: Path) -> Option<Taken> {
        let rules = &self.world.rules;
        let (settles_first, unwritable) = (rules.settle_before_unlink, self.before.unwritable);
        match self.me().step {
            Step::Intent if unwritable && rules.ticket => {
                self.go("intent: ledger unavailable, to be owed", Step::OwedTicket)
            }
            Step::OwedTicket => self.take_ticket(Step::OwedAct),
            Step::OwedAct => self.owed_act(op, path),
            Step::OwedRelease => self.owed_release(),
            Step::OwedSync => self.owed_sync(),
            Step::Intent => self.take_intent(path),
            Step::Ticket => self.take_ticket(Step::Act),
            Step::Act => self.take_act(op, path),
            Step::Release => self.release(Step::Measure),
            Step::SyncAct => self.take_sync(),
            Step::Measure => self.measure(),
            Step::Settle | Step::Drop if unwritable => self.unsettled(),
            Step::Settle => self.take_settle(),
            Step::Clean if !settles_first => self.unlink_first(),
            Step::Clean => self.clean(),
            Step::Drop => self.take_nothing(),
            _ => None,
        }
    }

    fn take_intent(mut self, path: Path) -> Option<Taken> {
        self.state.add_row(Row::intent(self.name, Intent::Take, self.owner(), path));
        let ticket = self.world.rules.ticket;
        self.go("intent (txn)", if ticket { Step::Ticket } else { Step::Act })
    }

    /// What is to be taken, with its directory, if it is what the operation takes.
    pub(super) fn taken(&self, op: Op, path: Path) -> Option<(Object, Object)> {
        let disk = &self.before.disk;
        let directory = self.resolved(path, self.me().from)?;
        let object = disk.get(directory, path.leaf())?;
        let fits = match op {
            _ if !self.world.rules.ticket => true,
            Op::Delete(_) => !disk.is_directory(object),
            Op::Rmdir(_) => disk.is_directory(object) && disk.is_empty(object),
            _ => disk.is_directory(object),
        };
        fits.then_some((directory, object))
    }

    fn take_act(mut self, op: Op, path: Path) -> Option<Taken> {
        let Some((directory, object)) = self.taken(op, path) else {
            self.drop_ticket();
            return self.go("act: nothing to take; release", Step::Drop);
        };
        self.state.report_tree_gone(object);
        self.state.disk.rename((directory, path.leaf()), (STAGING, self.name));
        self.me_mut().to = directory;
        let next = self.after_act(Step::Measure);
        self.go("act: move into staging", next)
    }

    fn take_sync(mut self) -> Option<Taken> {
        self.sync(&[STAGING]);
        self.go("fsync directories", Step::Measure)
    }

    fn measure(mut self) -> Option<Taken> {
        let row = *self.before.row(self.name)?;
        self.me_mut().walked = self.world.examine(&self.before.disk, &row, None).sums;
        let settles_first = self.world.rules.settle_before_unlink;
        let next = if settles_first { Step::Settle } else { Step::Clean };
        self.go("measure what stands in staging", next)
    }

    fn take_settle(mut self) -> Option<Taken> {
        let walked = self.me().walked;
        self.state.used += walked;
        self.state.drop_row(self.name);
        let what = "settle (txn), acknowledge";
        if !self.world.rules.settle_before_unlink {
            return self.acknowledge(what);
        }
        let index = self.index(0);
        self.state.told[index] = Told::Acknowledged;
        self.state.leave_over(self.name, true);
        self.go(what, Step::Clean)
    }

    fn unlink_first(mut self) -> Option<Taken> {
        self.state.disk.remove(self.name);
        self.go("unlink before the settle", Step::Settle)
    }

    fn take_nothing(mut self) -> Option<Taken> {
        self.state.drop_row(self.name);
        self.refuse("drop the intent (txn), refuse")
    }
}

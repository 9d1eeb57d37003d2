//! A batch: two puts and a delete with one intent transaction, one ticket and one settle transaction. A part
//! that is refused does not hold up the others; its bit is in `tries`.

use super::{Taken, Turn};
use crate::disk::{Amount, Kind, Object, STAGING};
use crate::operation::Path;
use crate::state::{Intent, Phase, Row, Step, Told};
use crate::world::{at_path, parent};

/// The parts: two puts, and the delete.
const PARTS: u8 = 3;
const DELETE: u8 = 2;

impl Turn<'_> {
    pub(super) fn batch(self, puts: [(Path, u8); 2], delete: Path) -> Option<Taken> {
        let unwritable = self.before.unwritable;
        match self.me().step {
            Step::Reserve => self.reserve_batch(puts),
            Step::Create => self.create_part(0, puts[0].1, Step::CreateSecond),
            Step::CreateSecond if self.has_power_cuts() => {
                self.create_part(1, puts[1].1, Step::SyncStaging)
            }
            Step::CreateSecond => self.create_part(1, puts[1].1, Step::Intent),
            Step::SyncStaging => self.sync_batch(),
            Step::Intent if unwritable => {
                self.go("intents: ledger unavailable, refused", Step::Unlink)
            }
            Step::Intent => self.batch_intents(puts, delete),
            Step::Ticket => self.take_ticket(Step::Act),
            Step::Act => self.act_part(0, puts[0], Step::ActSecond),
            Step::ActSecond => self.act_part(1, puts[1], Step::ActDelete),
            Step::ActDelete => self.act_delete(delete),
            Step::Release => self.release(Step::Settle),
            Step::SyncAct => self.sync_batch_act(),
            Step::Settle if unwritable => self.unsettled(),
            Step::Settle => self.settle_batch(),
            Step::Clean => self.clean_batch(),
            Step::Unlink => self.unlink_batch(),
            Step::Drop if unwritable && self.before.is_durable(self.name) => self.unsettled(),
            Step::Drop => self.drop_batch(),
            _ => None,
        }
    }

    /// By how much a put would make the home grow.
    fn growth_of(&self, (path, size): (Path, u8)) -> Amount {
        let old = at_path(&self.before.disk, path);
        let old_size = old.map_or(0, |it| self.before.disk.inode(it).size);
        let bytes = i16::from(size) - i16::from(old_size);
        Amount::of(bytes.max(0), i16::from(old.is_none()))
    }

    fn reserve_batch(mut self, puts: [(Path, u8); 2]) -> Option<Taken> {
        let growths = puts.map(|put| self.growth_of(put));
        let in_memory = self.world.rules.reserve_in_memory;
        let refused = self.before.unwritable && !in_memory;
        if refused || !self.world.admits(self.before, growths[0] + growths[1]) {
            return self.refuse_batch("reserve the batch: refused");
        }
        for (part, ((path, size), reserved)) in (0..).zip(puts.into_iter().zip(growths)) {
            let intent = Intent::StageFile;
            self.state.add_row(Row {
                phase: Phase::Open,
                in_memory,
                reserved,
                size,
                ..Row::intent(self.name + part, intent, self.owner(), path)
            });
        }
        self.go("reserve the batch", Step::Create)
    }

    fn refuse_batch(mut self, what: &'static str) -> Option<Taken> {
        for part in 0..usize::from(PARTS) {
            let index = self.index(part);
            self.state.told[index] = Told::Refused;
        }
        self.refuse(what)
    }

    fn create_part(mut self, part: u8, size: u8, next: Step) -> Option<Taken> {
        let synced = !self.has_power_cuts();
        self.state.disk.create(self.name + part, self.object + part, Kind::File);
        let inode = self.state.disk.inode_mut(self.object + part);
        inode.size = size;
        inode.whole = true;
        inode.synced = synced;
        self.go("create and write in staging", next)
    }

    fn sync_batch(mut self) -> Option<Taken> {
        for part in 0..DELETE {
            self.state.disk.inode_mut(self.object + part).synced = true;
        }
        self.state.disk.sync(&[STAGING], &[]);
        self.go("fsync both files and staging", Step::Intent)
    }

    fn is_refused(&self, part: u8) -> bool {
        self.me().tries >> part & 1 == 1
    }

    fn batch_intents(mut self, puts: [(Path, u8); 2], delete: Path) -> Option<Taken> {
        for (part, put) in (0..).zip(puts) {
            let needed = self.growth_of(put);
            let reserved = self.before.row(self.name + part)?.reserved;
            if !self.world.admits(&self.state, needed - reserved) {
                self.me_mut().tries |= 1 << part;
                continue;
            }
            let inode = self.before.disk.inode(self.object + part).number;
            if let Some(row) = self.state.row_mut(self.name + part) {
                *row = Row {
                    phase: Phase::Committing,
                    inode,
                    reserved: needed,
                    in_memory: false,
                    ..*row
                };
            }
        }
        let (name, owner) = (self.name + DELETE, self.owner());
        self.state.add_row(Row::intent(name, Intent::Take, owner, delete));
        self.go("intents of the batch (one txn)", Step::Ticket)
    }

    fn act_part(mut self, part: u8, (path, size): (Path, u8), next: Step) -> Option<Taken> {
        let disk = &self.before.disk;
        let directory = parent(disk, path);
        let old = directory.and_then(|it| disk.get(it, path.leaf()));
        let old_size = old.map_or(0, |it| disk.inode(it).size);
        let needed = Amount::of(i16::from(size) - i16::from(old_size), i16::from(old.is_none()));
        let reserved =
            self.before.row(self.name + part).map_or(Amount::default(), |it| it.reserved);
        let stale = needed.bytes > reserved.bytes || needed.entries > reserved.entries;
        let possible =
            !stale && !self.is_refused(part) && !old.is_some_and(|it| disk.is_directory(it));
        let Some(directory) = directory.filter(|_| possible) else {
            self.me_mut().tries |= 1 << part;
            return self.go("act: this file is refused", next);
        };
        let (from, to) = ((STAGING, self.name + part), (directory, path.leaf()));
        match old {
            None => self.state.disk.rename(from, to),
            Some(_) => self.state.disk.exchange(from, to),
        }
        self.state.report(self.object + part, true);
        if let Some(old) = old {
            self.state.report(old, false);
        }
        self.go("act: commit a file of the batch", next)
    }

    fn act_delete(mut self, path: Path) -> Option<Taken> {
        let disk = &self.before.disk;
        let directory = parent(disk, path);
        let old: Option<Object> = directory.and_then(|it| disk.get(it, path.leaf()));
        let old = old.filter(|it| !disk.is_directory(*it));
        let (Some(directory), Some(old)) = (directory, old) else {
            self.me_mut().tries |= 1 << DELETE;
            return self.go("act: nothing to delete", Step::Release);
        };
        self.state.report(old, false);
        self.state.disk.rename((directory, path.leaf()), (STAGING, self.name + DELETE));
        self.go("act: move into staging", Step::Release)
    }

    fn sync_batch_act(mut self) -> Option<Taken> {
        self.sync(&[STAGING]);
        self.go("fsync staging", Step::Settle)
    }

    fn settle_batch(mut self) -> Option<Taken> {
        for part in 0..PARTS {
            let name = self.name + part;
            let refused = self.is_refused(part);
            if let Some(row) = self.before.row(name) {
                let found = self.world.examine(&self.before.disk, row, Some(self.object + part));
                if !refused {
                    self.state.used += found.sums;
                }
                self.state.drop_row(name);
            }
            let is_there = self.before.disk.staged(name).is_some();
            self.state.leave_over(name, is_there);
            let index = self.index(usize::from(part));
            self.state.told[index] = if refused { Told::Refused } else { Told::Acknowledged };
        }
        self.go("settle the batch (one txn), acknowledge", Step::Clean)
    }

    fn clean_batch(mut self) -> Option<Taken> {
        for part in 0..PARTS {
            self.state.clear(self.name + part);
        }
        let told = self.before.told[self.index(0)];
        self.end("unlink what is left in staging", told)
    }

    fn unlink_batch(mut self) -> Option<Taken> {
        for part in 0..DELETE {
            self.state.disk.remove(self.name + part);
        }
        self.go("abort: unlink the staged files", Step::Drop)
    }

    fn drop_batch(mut self) -> Option<Taken> {
        for part in 0..DELETE {
            self.state.drop_row(self.name + part);
        }
        self.refuse_batch("abort: drop the reservations")
    }
}

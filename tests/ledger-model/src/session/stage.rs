//! Put, append, mkdir: made in staging, then moved into the home, or exchanged with what stands there. What
//! an append does in between has a file of its own.

use super::{Taken, Turn};
use crate::disk::{Amount, Kind, NONE, STAGING};
use crate::operation::{Op, Path, Put};
use crate::rules::Rules;
use crate::state::{ADOPTED, Intent, Life, Phase, Row, Step, Told};
use crate::world::{LEASE, at_path};

/// What is staged, the same for all three operations.
struct Staged {
    path: Path,
    size: u8,
    is_directory: bool,
    overwrite: bool,
    unknown_size: bool,
    resumable: bool,
    aborted: bool,
}

impl Turn<'_> {
    pub(super) fn stage(mut self, op: Op) -> Option<Taken> {
        let staged = self.staged(op);
        let unwritable = self.before.unwritable;
        match self.me().step {
            Step::Reserve => self.reserve(&staged),
            Step::Create => self.create(&staged),
            Step::Write => self.write(op, &staged),
            Step::Lease => self.lease(),
            Step::SyncData => self.sync_data(op),
            Step::SyncStaging => self.sync_staging(),
            Step::LookAgain => self.look_again(op, &staged),
            Step::Intent => self.intent(op, &staged),
            Step::Ticket => self.take_ticket(Step::Act),
            Step::Act => self.act(op, &staged),
            Step::Release => self.release(Step::Settle),
            Step::SyncAct => self.sync_act(),
            Step::Settle if unwritable => self.unsettled(),
            Step::Settle => self.settle(op),
            Step::Clean if self.has_spare() => {
                self.state.clear(self.name);
                self.go("unlink what is left in staging", Step::CleanSpare)
            }
            Step::Clean => self.clean(),
            Step::Reopen if unwritable => self.unsettled(),
            Step::Reopen => self.reopen(),
            Step::Unlink => self.unlink(),
            Step::Drop if unwritable && self.before.is_durable(self.name) => self.unsettled(),
            Step::Drop => self.drop(),
            _ => None,
        }
    }

    fn staged(&self, op: Op) -> Staged {
        let path = op.paths().map_or(Path([NONE, NONE]), |(path, _)| path);
        let mut staged = Staged {
            path,
            size: 0,
            is_directory: false,
            overwrite: true,
            unknown_size: false,
            resumable: false,
            aborted: false,
        };
        match op {
            Op::Put(Put { size, overwrite, unknown_size, resumable, aborted, .. }) => {
                staged = Staged { size, overwrite, unknown_size, resumable, aborted, ..staged };
            }
            Op::Append { more, .. } if self.me().step == Step::Reserve => {
                staged.size = self.me().old_size + more;
            }
            Op::Append { more, .. } if self.me().step == Step::Write => staged.size = more,
            Op::Append { .. } => {
                staged.size = self.before.row(self.name).map_or(0, |row| row.size);
            }
            _ => {
                staged.is_directory = true;
                staged.overwrite = false;
            }
        }
        staged
    }

    /// Whether the row is not this session's any more: the upload has expired.
    fn is_lost(&self) -> bool {
        self.before.row(self.name).is_none_or(|row| row.owner != self.owner())
    }

    /// By how much the home would grow.
    fn growth(&self, staged: &Staged) -> Amount {
        let old = if self.world.rules.reserve_whole_size { 0 } else { self.me().old_size };
        let bytes = i16::from(staged.size) - i16::from(old);
        Amount::of(bytes.max(0), i16::from(self.me().old == NONE))
    }

    fn reserve(mut self, staged: &Staged) -> Option<Taken> {
        if staged.resumable {
            let same =
                |row: &&Row| row.resumable && row.path == staged.path && row.size == staged.size;
            if let Some(row) = self.before.rows.iter().find(same).copied() {
                return self.resume(row);
            }
        }
        let mut growth = self.growth(staged);
        if staged.unknown_size {
            growth.bytes = if staged.size == 0 { 0 } else { LEASE.into() };
        }
        let in_memory = self.world.rules.reserve_in_memory && !staged.resumable;
        if self.before.unwritable && !in_memory {
            return self.refuse("reserve: ledger unavailable, refused");
        }
        if !self.world.admits(self.before, growth) {
            return self.refuse("reserve: over quota, refused");
        }
        let intent = if staged.is_directory { Intent::StageDirectory } else { Intent::StageFile };
        self.state.add_row(Row {
            phase: Phase::Open,
            in_memory,
            reserved: growth,
            size: staged.size,
            resumable: staged.resumable,
            ..Row::intent(self.name, intent, self.owner(), staged.path)
        });
        self.go("reserve (row open)", Step::Create)
    }

    /// Somebody's upload of the same file is there: it is taken over once nobody works on it.
    fn resume(mut self, row: Row) -> Option<Taken> {
        let rules = &self.world.rules;
        let open = row.phase == Phase::Open;
        if row.owner == NONE && open {
            return self.take_over(row, "resume: take the upload over");
        }
        let holder = usize::from(row.owner);
        let alive = self.before.sessions.get(holder).is_some_and(|it| it.life == Life::Alive);
        if !alive {
            if !rules.reap && row.owner != NONE && row.owner != ADOPTED && open {
                return self.take_over(row, "resume: take over from one that is not reaped");
            }
            return None; // Replay comes first.
        }
        let life = if rules.reap { Life::Dead } else { Life::Dying };
        self.state.sessions[holder].life = life;
        if self.state.ticket == row.owner && !rules.replay_before_passing_on {
            self.state.ticket = NONE;
        }
        Some(("resume: the daemon ends the old holder", self.state))
    }

    fn take_over(mut self, row: Row, what: &'static str) -> Option<Taken> {
        let me = self.owner();
        if let Some(row) = self.state.row_mut(row.name) {
            row.owner = me;
        }
        self.me_mut().row = row.name;
        let there = self.before.disk.staged(row.name).is_some();
        self.go(what, if there { Step::Write } else { Step::Create })
    }

    fn create(mut self, staged: &Staged) -> Option<Taken> {
        if self.me().life == Life::Alive && self.is_lost() {
            return self.refuse("the upload has expired, refused");
        }
        let kind = if staged.is_directory { Kind::Directory } else { Kind::File };
        self.state.disk.create(self.name, self.object, kind);
        let next = match staged.is_directory {
            true => self.before_intent(),
            false => Step::Write,
        };
        self.go("create in staging", next)
    }

    /// What comes when the data is there.
    fn after_data(&self, op: Op) -> Step {
        match op {
            Op::Append { .. } => Step::Join,
            _ => self.before_intent(),
        }
    }

    /// What makes staging durable (R5), or the intent.
    pub(super) fn before_intent(&self) -> Step {
        match self.has_power_cuts() && self.world.rules.sync_staging {
            true => Step::SyncStaging,
            false => Step::Intent,
        }
    }

    /// Through the descriptor: a dying worker's write arrives too.
    fn write(mut self, op: Op, staged: &Staged) -> Option<Taken> {
        let Staged { size, .. } = *staged;
        let had = self.before.disk.inode(self.object).size;
        let reserved = self.before.row(self.name).map_or(0, |row| row.reserved.bytes);
        let written =
            if staged.unknown_size { size.min(reserved.unsigned_abs() as u8) } else { size };
        // What an old holder writes late damages what is there.
        let damages = had > 0 && had == size && self.me().life == Life::Dying;
        let synced = !self.has_power_cuts();
        let inode = self.state.disk.inode_mut(self.object);
        inode.whole = written == size && !damages;
        inode.size = written;
        inode.synced = synced;
        let next = if written < size {
            Step::Lease
        } else if staged.aborted {
            Step::Unlink
        } else if self.has_power_cuts() && self.world.rules.sync_data {
            Step::SyncData
        } else {
            self.after_data(op)
        };
        self.go("write data", next)
    }

    fn lease(mut self) -> Option<Taken> {
        let more = Amount::of(LEASE.into(), 0);
        let refused = self.before.unwritable && self.before.is_durable(self.name);
        if self.is_lost() || refused || !self.world.admits(self.before, more) {
            return self.go("lease refused", Step::Unlink);
        }
        if let Some(row) = self.state.row_mut(self.name) {
            row.reserved += more;
        }
        self.go("lease grows", Step::Write)
    }

    fn sync_data(mut self, op: Op) -> Option<Taken> {
        self.state.disk.inode_mut(self.object).synced = true;
        let next = self.after_data(op);
        self.go("fsync data", next)
    }

    fn sync_staging(mut self) -> Option<Taken> {
        self.state.disk.sync(&[STAGING], &[]);
        self.go("fsync staging", Step::Intent)
    }

    fn look_again(mut self, op: Op, staged: &Staged) -> Option<Taken> {
        self.remember(op, at_path(&self.before.disk, staged.path));
        self.go("look again", Step::Intent)
    }

    pub(super) fn after_intent(&self) -> Step {
        if self.world.rules.ticket { Step::Ticket } else { Step::Act }
    }

    fn intent(mut self, op: Op, staged: &Staged) -> Option<Taken> {
        if self.is_lost() {
            return self.refuse("the upload has expired, refused");
        }
        let row = *self.before.row(self.name)?;
        if self.before.unwritable {
            return self.intent_unavailable(row);
        }
        let mut reserved = row.reserved;
        if self.world.rules.admit_again {
            let needed = self.growth(staged);
            if !self.world.admits(self.before, needed - reserved) {
                return self.go("intent: over quota, refused", Step::Reopen);
            }
            reserved = needed;
        }
        let inode = self.before.disk.inode(self.placed(op)).number;
        if let Some(row) = self.state.row_mut(self.name) {
            *row = Row { phase: Phase::Committing, inode, reserved, in_memory: false, ..*row };
        }
        let late = self.has_spare() && !self.world.rules.join_before_intent;
        let next = if late { Step::Swap } else { self.after_intent() };
        self.go("intent (txn)", next)
    }

    fn intent_unavailable(mut self, row: Row) -> Option<Taken> {
        if row.phase == Phase::Committing {
            // From an earlier try: nothing may be unlinked that the row speaks of.
            return self.unsettled();
        }
        if !row.resumable {
            return self.go("intent: ledger unavailable, refused", Step::Unlink);
        }
        if let Some(row) = self.state.row_mut(self.name) {
            row.owner = NONE;
        }
        self.end("intent: ledger unavailable, the upload waits", Told::Nothing)
    }

    fn act(mut self, op: Op, staged: &Staged) -> Option<Taken> {
        let Rules { ticket, admit_again, .. } = self.world.rules;
        let disk = &self.before.disk;
        let me = self.me().clone();
        let directory = self.resolved(staged.path, me.from);
        let old = directory.and_then(|it| disk.get(it, staged.path.leaf()));
        let appends = matches!(op, Op::Append { .. });
        // An append is to what it has copied, or to nothing.
        let copied = Some(me.old).filter(|it| *it != NONE);
        let other = if ticket { old != copied } else { old.is_some() != copied.is_some() };
        let refused = (old.is_some() && !staged.overwrite)
            || (ticket && old.is_some_and(|it| disk.is_directory(it)))
            || (appends && other);
        let Some(directory) = directory.filter(|_| !refused) else {
            self.drop_ticket();
            return self.go("act: refused by what is there; release", Step::Reopen);
        };
        let old_size = old.map_or(0, |it| disk.inode(it).size);
        // What would need more than was reserved for it.
        let stale = old_size < me.old_size || (old.is_none() && me.old != NONE);
        if stale && ticket && admit_again {
            self.drop_ticket();
            if me.tries == 0 {
                self.me_mut().tries = 1;
                return self.go("act: stale; release, try again", Step::LookAgain);
            }
            return self.go("act: stale again; release", Step::Reopen);
        }
        let (from, to) = ((STAGING, self.name), (directory, staged.path.leaf()));
        let what = match old {
            None => {
                self.state.disk.rename(from, to);
                "act: RENAME_NOREPLACE"
            }
            Some(_) => {
                self.state.disk.exchange(from, to);
                "act: RENAME_EXCHANGE"
            }
        };
        let placed = self.placed(op);
        self.state.report(placed, true);
        if let Some(old) = old {
            self.state.report(old, false);
        }
        self.me_mut().to = directory;
        let next = self.after_act(Step::Settle);
        self.go(what, next)
    }

    fn sync_act(mut self) -> Option<Taken> {
        self.sync(&[STAGING]);
        self.go("fsync directories", Step::Settle)
    }

    fn settle(mut self, op: Op) -> Option<Taken> {
        let row = *self.before.row(self.name)?;
        let found = self.world.examine(&self.before.disk, &row, Some(self.placed(op)));
        self.state.used += found.sums;
        self.state.drop_row(self.name);
        let what = "settle (txn), acknowledge";
        if !found.left {
            return self.acknowledge(what);
        }
        self.state.leave_over(self.name, true);
        let index = self.index(0);
        self.state.told[index] = Told::Acknowledged;
        self.go(what, Step::Clean)
    }

    /// A refused commit is an open upload first (R9), and then goes.
    fn reopen(mut self) -> Option<Taken> {
        if self.world.rules.drop_before_unlink {
            let in_memory = self.world.rules.reserve_in_memory;
            if let Some(row) = self.state.row_mut(self.name) {
                row.phase = Phase::Open;
                row.in_memory = in_memory && !row.resumable;
            }
        }
        self.go("commit refused: row open again (txn)", Step::Unlink)
    }

    fn unlink(mut self) -> Option<Taken> {
        if !self.is_lost() || self.me().life == Life::Dying {
            self.state.disk.remove(self.name);
        }
        self.go("abort: unlink the staged file", Step::Drop)
    }

    fn drop(mut self) -> Option<Taken> {
        if !self.is_lost() {
            self.state.drop_row(self.name);
        }
        if self.has_spare() {
            return self.go("abort: drop the row", Step::CleanSpare);
        }
        self.refuse("abort: drop the row")
    }
}

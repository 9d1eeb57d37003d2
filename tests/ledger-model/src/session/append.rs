//! Append: the file in the home and the upload's bytes are joined in a second file in staging, which then
//! gets the upload's own name by an exchange there; so intent, act and replay are those of a put.
//!
//! The second name is a reservation of nothing, in the daemon's memory, so that nobody sees whether it is made
//! before its file or with it, and given up after its file or with it: each pair is one step here. Only uploads
//! that end with their session are modelled, and a join is made once: what has changed under it refuses the
//! append.

use super::{Taken, Turn};
use crate::disk::{Kind, NONE, Name, Object, STAGING};
use crate::operation::{Op, Path};
use crate::spec;
use crate::state::{Intent, Life, Phase, Row, Step, Told};
use crate::world::{parent, staged_object};

/// From an operation's number to that of its second name; a session has two operations at most.
const SPARE: u8 = 2;

impl Turn<'_> {
    pub(super) fn append(self, op: Op, path: Path) -> Option<Taken> {
        match self.me().step {
            Step::Join => self.join(op, path),
            Step::Swap => self.swap(),
            Step::CleanSpare => self.clean_spare(),
            _ => self.stage(op),
        }
    }

    fn spare(&self) -> Name {
        self.name + SPARE
    }

    pub(super) fn has_spare(&self) -> bool {
        self.before.row(self.spare()).is_some_and(|row| row.owner == self.owner())
    }

    /// What is placed: what was staged, or of an append the joined file.
    pub(super) fn placed(&self, op: Op) -> Object {
        let joined = matches!(op, Op::Append { .. }) && self.me().old != NONE;
        if joined { staged_object(self.spare()) } else { self.object }
    }

    /// Makes the joined file, whole and durable; until it is exchanged nothing looks at it. Where there is
    /// nothing to add to, the upload's bytes are the whole file.
    fn join(mut self, op: Op, path: Path) -> Option<Taken> {
        let disk = &self.before.disk;
        let directory = parent(disk, path);
        let old = directory.and_then(|it| disk.get(it, path.leaf()));
        if directory.is_none() || old.is_some_and(|it| disk.is_directory(it)) {
            return self.go("append: refused by what is there", Step::Unlink);
        }
        let new = *disk.inode(self.object);
        let copied = old.map(|it| *disk.inode(it));
        self.remember(op, old);
        if let Some(row) = self.state.row_mut(self.name) {
            row.size = new.size + copied.map_or(0, |it| it.size);
        }
        let Some(copied) = copied else {
            let next = self.before_intent();
            return self.go("append: nothing is there to add to", next);
        };
        let (name, object) = (self.spare(), staged_object(self.spare()));
        let synced = !self.has_power_cuts() || self.world.rules.sync_data;
        self.state.add_row(Row {
            phase: Phase::Open,
            in_memory: true,
            ..Row::intent(name, Intent::StageFile, self.owner(), path)
        });
        self.state.disk.create(name, object, Kind::File);
        let joined = self.state.disk.inode_mut(object);
        joined.size = copied.size + new.size;
        joined.content = spec::appended(copied.content, new.content);
        joined.whole = copied.whole && new.whole;
        joined.synced = synced;
        let next = match self.world.rules.join_before_intent {
            true => Step::Swap,
            false => self.before_intent(),
        };
        self.go("join the old file and the new bytes under a second name in staging", next)
    }

    fn swap(mut self) -> Option<Taken> {
        let (own, spare) = ((STAGING, self.name), (STAGING, self.spare()));
        self.state.disk.exchange(own, spare);
        let next = match self.world.rules.join_before_intent {
            true => self.before_intent(),
            false => self.after_intent(),
        };
        self.go("the joined file gets the upload's name (RENAME_EXCHANGE)", next)
    }

    fn clean_spare(mut self) -> Option<Taken> {
        let spare = self.spare();
        self.state.clear(spare);
        // Not when it is the last call of a killed filer.
        if self.me().life == Life::Alive {
            self.state.drop_row(spare);
        }
        let told = match self.before.told[self.index(0)] {
            Told::Acknowledged => Told::Acknowledged,
            Told::NotBegun | Told::Refused | Told::Nothing => Told::Refused,
        };
        self.end("unlink what stands at the second name, and give it up", told)
    }
}

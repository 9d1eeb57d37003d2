//! A delete while the ledger cannot be written: no intent, a name that the sweep spares, no settle. `used`
//! still has it; the daemon takes it with an ordinary intent later (`daemon/owed.rs`).

use super::{Taken, Turn};
use crate::disk::{NONE, OPERATIONS, STAGING};
use crate::operation::{Op, Path};
use crate::state::Step;

impl Turn<'_> {
    pub(super) fn owed_act(mut self, op: Op, path: Path) -> Option<Taken> {
        let Some((directory, object)) = self.taken(op, path) else {
            self.drop_ticket();
            return self.refuse("act: nothing to take; release");
        };
        self.state.report_tree_gone(object);
        let owed = self.name + OPERATIONS;
        self.state.disk.rename((directory, path.leaf()), (STAGING, owed));
        self.me_mut().to = directory;
        self.go("act: move to an owed name in staging", Step::OwedRelease)
    }

    pub(super) fn owed_release(mut self) -> Option<Taken> {
        self.state.ticket = NONE;
        match self.has_power_cuts() && self.world.rules.sync_owed {
            true => self.go("release the ticket", Step::OwedSync),
            false => self.acknowledge("release the ticket, acknowledge"),
        }
    }

    pub(super) fn owed_sync(mut self) -> Option<Taken> {
        self.sync(&[STAGING]);
        self.acknowledge("fsync directories, acknowledge")
    }
}

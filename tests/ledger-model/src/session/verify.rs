//! `quota verify`: a walk without a lock, corrected by what filers report, compared under the ticket.

use super::{Taken, Turn};
use crate::disk::{Amount, HOME, Kind, NONE};
use crate::state::Verify;

impl Turn<'_> {
    pub(super) fn verify(mut self) -> Option<Taken> {
        if let Some((above, name)) = self.state.verify.waiting.pop() {
            self.list(above, name);
            return Some(("verify lists a directory", self.state));
        }
        // Dead holders are replayed first.
        let rules = &self.world.rules;
        let calm = self.before.replay.is_none() || !rules.replay_before_passing_on;
        if self.before.ticket != NONE || !calm {
            return None;
        }
        let walked = self.sum();
        let mut expected = self.world.told_by_rows(self.before);
        if rules.verify_owed {
            expected = expected - self.before.owed();
        }
        if walked != self.before.disk.walk(HOME) {
            self.state.alarm = Some("verify: the walk's sum is not the home's true content");
        } else if expected != walked {
            self.state.alarm = Some("verify: false alarm, ledger and walk differ");
        }
        self.state.verify = Verify::default();
        self.acknowledge("verify compares under the ticket")
    }

    fn list(&mut self, above: u8, name: u8) {
        let disk = &self.before.disk;
        let directory = match above {
            NONE => Some(HOME),
            above => disk.get(above, name).filter(|it| disk.is_directory(*it)),
        };
        let verify = &mut self.state.verify;
        for entry in directory.into_iter().flat_map(|it| disk.list(it)) {
            let inode = disk.inode(entry.2);
            verify.seen.retain(|seen| seen.0 != inode.number);
            verify.seen.push((inode.number, inode.size));
            if inode.kind == Kind::Directory {
                verify.waiting.push((entry.0, entry.1));
            }
        }
        verify.seen.sort();
    }

    /// The last report decides; what was never reported was in the home all the time.
    fn sum(&self) -> Amount {
        let Verify { seen, reports, .. } = &self.before.verify;
        let reports: &[_] = if self.world.rules.reports_to_verify { reports } else { &[] };
        let unreported = seen.iter().filter(|seen| !reports.iter().any(|it| it.0 == seen.0));
        let sizes = unreported.map(|seen| seen.1).chain(reports.iter().filter_map(|it| it.1));
        sizes.map(|size| Amount::of(i16::from(size), 1)).sum()
    }
}

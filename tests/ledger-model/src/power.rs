//! Power cuts: what an fsync makes durable, and which disks a cut may leave.

use crate::disk::{Change, Disk, Inode, Kind, Object};

/// How a disk loses what no fsync has made durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Power {
    /// No power cuts in this run.
    Off,
    /// From the end only: one ordered journal, as of ext4 and xfs.
    Ordered,
    /// Operations without a common directory or inode are lost independently.
    Weak,
}

fn depends(later: &Change, earlier: &Change) -> bool {
    later.directories & earlier.directories != 0 || later.objects & earlier.objects != 0
}

impl Disk {
    /// Makes durable what touches these directories or objects, and what that depends on.
    pub(crate) fn sync(&mut self, directories: &[Object], objects: &[Object]) {
        let bits = |some: &[Object]| some.iter().fold(0_u32, |bits, one| bits | 1 << one);
        let (directories, objects) = (bits(directories), bits(objects));
        let mut kept = vec![false; self.pending.len()];
        for later in (0..kept.len()).rev() {
            let change = &self.pending[later];
            kept[later] |= change.directories & directories != 0 || change.objects & objects != 0;
            if kept[later] {
                for (earlier, kept) in kept.iter_mut().enumerate().take(later) {
                    *kept |=
                        self.power == Power::Ordered || depends(change, &self.pending[earlier]);
                }
            }
        }
        for (change, kept) in std::mem::take(&mut self.pending).into_iter().zip(kept) {
            match kept {
                true => change.apply_to(&mut self.durable),
                false => self.pending.push(change),
            }
        }
    }

    /// All disks that a power cut may leave at this moment.
    pub(crate) fn after_power_cut(&self) -> Vec<Self> {
        let count = self.pending.len();
        let mut disks: Vec<Self> = vec![];
        for survivors in 0_u32..1 << count {
            if !self.may_survive(survivors) {
                continue;
            }
            let mut disk = self.clone();
            disk.entries = self.durable.clone();
            for change in (0..count).filter(|index| survivors >> index & 1 == 1) {
                self.pending[change].apply_to(&mut disk.entries);
            }
            disk.pending.clear();
            disk.durable = disk.entries.clone();
            for torn in [true, false] {
                let mut disk = disk.clone();
                let any = disk.settle_data(torn);
                if (any || !torn) && !disks.contains(&disk) {
                    disks.push(disk);
                }
            }
        }
        disks
    }

    /// Whether exactly these pending changes may be left.
    fn may_survive(&self, survivors: u32) -> bool {
        let survives = |index: usize| survivors >> index & 1 == 1;
        match self.power {
            Power::Ordered => survivors & (survivors + 1) == 0,
            Power::Off | Power::Weak => {
                (0..self.pending.len()).filter(|it| survives(*it)).all(|later| {
                    (0..later).all(|earlier| {
                        survives(earlier) || !depends(&self.pending[later], &self.pending[earlier])
                    })
                })
            }
        }
    }

    /// Data that no fsync has made durable is lost if `torn`. Whether there was any.
    fn settle_data(&mut self, torn: bool) -> bool {
        let unsynced = |inode: &&mut Inode| inode.kind == Kind::File && !inode.synced;
        let mut any = false;
        for inode in self.inodes.iter_mut().filter(unsynced) {
            any = true;
            inode.synced = true;
            if torn {
                inode.whole = false;
                inode.size = 0;
            }
        }
        any
    }
}

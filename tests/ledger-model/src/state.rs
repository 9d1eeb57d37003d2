//! One state of everything: disk, ledger, daemon, sessions, and the faults that may still come.

use crate::disk::{Amount, Disk, END_OF_NAMES, Entry, NONE, Name, OWED, Object, RETAKEN, STAGING};
use crate::operation::Path;
use crate::rules::Faults;

/// Owner of rows that the daemon has taken from a living session, to replay them.
pub(crate) const ADOPTED: u8 = 254;
/// Owner of the row under which a recovering filer takes what is owed.
pub(crate) const RETAKER: u8 = 253;
/// Operations that are numbered: three sessions with four each.
pub(crate) const RESULTS: usize = 12;

/// Whether a session's processes live.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Life {
    Alive,
    /// Killed, but a system call that had begun may still take effect.
    Dying,
    /// Reaped.
    Dead,
    /// It has done its whole program.
    Done,
}

/// What a session does next. Not every operation has every step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Step {
    Begin,
    Reserve,
    Create,
    Write,
    Lease,
    SyncData,
    SyncStaging,
    /// The path is looked at again after the old size had changed.
    LookAgain,
    /// The pin is linked before the intent, in a broken variant.
    EarlyPin,
    Intent,
    Ticket,
    Act,
    /// The second call of a rename over a file.
    ActOver,
    Release,
    SyncAct,
    Measure,
    Settle,
    Clean,
    /// A refused commit: the row is an open upload again.
    Reopen,
    Unlink,
    Drop,
    /// An append's second name in staging: the joined file is made there, exchanged with the upload's, and the
    /// name given up.
    Join,
    Swap,
    CleanSpare,
    /// A batch's second file, and its delete.
    CreateSecond,
    ActSecond,
    ActDelete,
    /// An owed delete.
    OwedTicket,
    OwedAct,
    OwedRelease,
    OwedSync,
    /// `quota verify` lists a directory, or compares.
    Walk,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) life: Life,
    /// The operation's place in the program.
    pub(crate) op: u8,
    pub(crate) step: Step,
    /// Parent directories that were resolved: before the act without a ticket, else for the fsync.
    pub(crate) from: Object,
    pub(crate) to: Object,
    /// What an append has opened to copy it; for a put 0 if a file stood at the path.
    pub(crate) old: Object,
    /// Its size.
    pub(crate) old_size: u8,
    /// The name of an upload that was taken over.
    pub(crate) row: Name,
    /// How often the act was tried; in a batch, the bits of the parts that are refused.
    pub(crate) tries: u8,
    /// What a walk of the taken thing found.
    pub(crate) walked: Amount,
}

impl Session {
    pub(crate) fn at(op: u8, life: Life) -> Self {
        Self {
            life,
            op,
            step: Step::Begin,
            from: NONE,
            to: NONE,
            old: NONE,
            old_size: 0,
            row: NONE,
            tries: 0,
            walked: Amount::default(),
        }
    }
}

/// What an intent is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Intent {
    StageFile,
    StageDirectory,
    Take,
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    Open,
    Committing,
}

/// A row of the ledger, or a reservation in the daemon's memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Row {
    /// The row's number, also its name in staging.
    pub(crate) name: Name,
    pub(crate) intent: Intent,
    pub(crate) phase: Phase,
    pub(crate) owner: u8,
    pub(crate) in_memory: bool,
    pub(crate) inode: u8,
    pub(crate) reserved: Amount,
    pub(crate) size: u8,
    pub(crate) resumable: bool,
    pub(crate) path: Path,
    /// Replay has looked, made it durable and unlinked its pin; only the settle is missing.
    pub(crate) looked_at: bool,
}

impl Row {
    /// The intent of something that is taken out of the home.
    pub(crate) fn intent(name: Name, intent: Intent, owner: u8, path: Path) -> Self {
        Self {
            name,
            intent,
            phase: Phase::Committing,
            owner,
            in_memory: false,
            inode: 0,
            reserved: Amount::default(),
            size: 0,
            resumable: false,
            path,
            looked_at: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Daemon {
    Serving,
    Down,
    Recovering,
}

/// What replay has found out about a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Finding {
    pub(crate) happened: bool,
    /// By how much the sums change if it happened.
    pub(crate) sums: Amount,
    /// Something stands at the name.
    pub(crate) left: bool,
}

/// A running `quota verify`: what the walk saw, and what filers reported.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Verify {
    pub(crate) running: bool,
    /// Directories still to be listed, as (parent, name), opened when their turn comes.
    pub(crate) waiting: Vec<(Object, Name)>,
    /// Inode number and size, each at most once.
    pub(crate) seen: Vec<(u8, u8)>,
    /// The last report of an inode number: its size in the home, or that it left.
    pub(crate) reports: Vec<(u8, Option<u8>)>,
}

/// What a client was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    /// Nothing: the operation has not begun.
    NotBegun,
    Acknowledged,
    Refused,
    /// Nothing, or that the outcome is unknown.
    Nothing,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    pub(crate) limit: u8,
    pub(crate) used: Amount,
    pub(crate) rows: Vec<Row>,
    /// The ledger refuses every transaction.
    pub(crate) unwritable: bool,
    pub(crate) daemon: Daemon,
    /// The session that has it.
    pub(crate) ticket: u8,
    /// Bits of the staging names that are left over, in the daemon's memory alone.
    pub(crate) left_over: u64,
    /// The row that is being replayed.
    pub(crate) replay: Option<(Name, Finding)>,
    /// The owed name that is being taken.
    pub(crate) retaking: Option<(Name, Step)>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) faults: Faults,
    pub(crate) told: [Told; RESULTS],
    /// For each operation the bits of those that were acknowledged before it began.
    pub(crate) before: [u16; RESULTS],
    pub(crate) verify: Verify,
    pub(crate) alarm: Option<&'static str>,
}

/// Whether an entry is something that was deleted while the ledger could not be written.
pub(crate) fn is_owed(entry: &Entry) -> bool {
    entry.0 == STAGING && (OWED..RETAKEN).contains(&entry.1)
}

impl State {
    pub(crate) fn reserved(&self) -> Amount {
        self.rows.iter().map(|row| row.reserved).sum()
    }

    /// Used and reserved.
    pub(crate) fn charged(&self) -> Amount {
        self.used + self.reserved()
    }

    pub(crate) fn row(&self, name: Name) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    pub(crate) fn row_mut(&mut self, name: Name) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.name == name)
    }

    pub(crate) fn add_row(&mut self, row: Row) {
        self.rows.push(row);
        self.rows.sort_by_key(|row| row.name);
    }

    pub(crate) fn drop_row(&mut self, name: Name) {
        self.rows.retain(|row| row.name != name);
    }

    /// Whether dropping the row takes a transaction.
    pub(crate) fn is_durable(&self, name: Name) -> bool {
        self.row(name).is_some_and(|row| !row.in_memory)
    }

    pub(crate) fn is_left_over(&self, name: Name) -> bool {
        self.left_over >> bit(name) & 1 == 1
    }

    pub(crate) fn leave_over(&mut self, name: Name, is_there: bool) {
        self.left_over |= u64::from(is_there) << bit(name);
    }

    /// Removes what stands at a staging name, and forgets that it is left over.
    pub(crate) fn clear(&mut self, name: Name) {
        self.disk.remove(name);
        self.left_over &= !(1 << bit(name));
    }

    /// What is deleted and not yet credited: it counts as used.
    pub(crate) fn owed(&self) -> Amount {
        let waits = |entry: &&Entry| is_owed(entry) && !self.is_left_over(entry.1);
        self.disk.entries.iter().filter(waits).map(|entry| self.disk.walk(entry.2)).sum()
    }

    /// Tells a running `quota verify` that something entered or left the home.
    pub(crate) fn report(&mut self, object: Object, inside: bool) {
        if self.verify.running {
            let inode = *self.disk.inode(object);
            self.verify.reports.retain(|report| report.0 != inode.number);
            self.verify.reports.push((inode.number, inside.then_some(inode.size)));
            self.verify.reports.sort();
        }
    }

    /// The same for a tree that left it.
    pub(crate) fn report_tree_gone(&mut self, object: Object) {
        self.report(object, false);
        for entry in self.disk.below(object) {
            self.report(entry.2, false);
        }
    }
}

/// The staging names that may be left over.
pub(crate) const MINTED_NAMES: std::ops::Range<Name> = crate::disk::MINTED..END_OF_NAMES;

fn bit(name: Name) -> u8 {
    name - MINTED_NAMES.start
}

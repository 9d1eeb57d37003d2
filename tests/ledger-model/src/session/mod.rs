//! The steps of a session, operation by operation. A step is one system call of the worker or the filer, or
//! one message to the daemon with its transaction; anything may happen between two steps.

mod append;
mod batch;
mod over;
mod owed;
mod rename;
mod stage;
mod take;
mod verify;

use crate::disk::{MINTED, NONE, Name, Object};
use crate::operation::{Op, Path, Put};
use crate::power::Power;
use crate::rules::{Pin, Unsettled};
use crate::state::{ADOPTED, Daemon, Life, RESULTS, Session, State, Step, Told, Verify};
use crate::world::{World, parent, staged_object};

/// What the step was, and where it led.
pub(crate) type Taken = (&'static str, State);

/// A step under way: who takes it, and the state that it changes.
pub(crate) struct Turn<'a> {
    pub(crate) world: &'a World,
    pub(crate) before: &'a State,
    pub(crate) state: State,
    pub(crate) session: usize,
    /// The name in staging of this operation, or that of the upload that it took over.
    pub(crate) name: Name,
    /// The object that it makes there.
    pub(crate) object: Object,
}

impl Turn<'_> {
    pub(crate) fn me(&self) -> &Session {
        &self.before.sessions[self.session]
    }

    pub(crate) fn me_mut(&mut self) -> &mut Session {
        &mut self.state.sessions[self.session]
    }

    pub(crate) fn owner(&self) -> u8 {
        self.session as u8
    }

    /// The number under which a part of the operation is judged.
    pub(crate) fn index(&self, part: usize) -> usize {
        self.session * 4 + usize::from(self.me().op) + part
    }

    pub(crate) fn has_power_cuts(&self) -> bool {
        self.world.rules.power != Power::Off
    }

    /// The session goes on with another step.
    pub(crate) fn go(mut self, what: &'static str, step: Step) -> Option<Taken> {
        self.me_mut().step = step;
        Some((what, self.state))
    }

    /// The operation ends with this answer, and the session goes on with the next one.
    pub(crate) fn end(mut self, what: &'static str, told: Told) -> Option<Taken> {
        let index = self.index(0);
        self.state.told[index] = told;
        let op = self.me().op + 1;
        let done = usize::from(op) == self.world.programs[self.session].len();
        *self.me_mut() = Session::at(op, if done { Life::Done } else { Life::Alive });
        Some((what, self.state))
    }

    pub(crate) fn refuse(self, what: &'static str) -> Option<Taken> {
        self.end(what, Told::Refused)
    }

    pub(crate) fn acknowledge(self, what: &'static str) -> Option<Taken> {
        self.end(what, Told::Acknowledged)
    }

    /// What comes when the act is done, and the ticket (if there is one) is in the session's hands.
    pub(crate) fn after_act(&self, settle: Step) -> Step {
        match self.world.rules.ticket {
            true => Step::Release,
            false => self.after_release(settle),
        }
    }

    pub(crate) fn after_release(&self, settle: Step) -> Step {
        match self.has_power_cuts() && self.world.rules.sync_act {
            true => Step::SyncAct,
            false => settle,
        }
    }

    pub(crate) fn release(mut self, settle: Step) -> Option<Taken> {
        self.state.ticket = NONE;
        let next = self.after_release(settle);
        self.go("release the ticket", next)
    }

    pub(crate) fn take_ticket(mut self, next: Step) -> Option<Taken> {
        if self.before.ticket != NONE || self.before.daemon != Daemon::Serving {
            return None;
        }
        self.state.ticket = self.owner();
        self.go("ticket granted", next)
    }

    /// Gives the ticket back, if there is one.
    pub(crate) fn drop_ticket(&mut self) {
        if self.world.rules.ticket {
            self.state.ticket = NONE;
        }
    }

    /// Makes these directories durable, and those of the home that the act touched as far as the rules say.
    pub(crate) fn sync(&mut self, directories: &[Object]) {
        let mut directories = directories.to_vec();
        let me = &self.state.sessions[self.session];
        if self.world.rules.sync_parents {
            directories.extend([me.from, me.to].into_iter().filter(|it| *it != NONE));
        }
        if self.world.rules.sync_chain {
            let mut next = 0;
            while next < directories.len() {
                let child = directories[next];
                let above = self.state.disk.entries.iter().filter(|entry| entry.2 == child);
                directories.extend(above.map(|entry| entry.0));
                next += 1;
            }
        }
        directories.sort();
        directories.dedup();
        self.state.disk.sync(&directories, &[]);
    }

    /// Unlinks what a settled operation has left in staging.
    pub(crate) fn clean(mut self) -> Option<Taken> {
        self.state.clear(self.name);
        self.acknowledge("unlink what is left in staging")
    }

    /// R18: a transaction that would have ended an intent is refused. Nothing at its name is touched any
    /// more; replay looks when it can.
    pub(crate) fn unsettled(mut self) -> Option<Taken> {
        let me = self.owner();
        let adopt = |state: &mut State| {
            for row in state.rows.iter_mut().filter(|row| row.owner == me) {
                row.owner = ADOPTED;
            }
        };
        match self.world.rules.unsettled {
            Unsettled::EndsSession => {
                *self.me_mut() = Session::at(self.me().op, Life::Dead);
                return Some(("ledger unavailable: the daemon ends the session", self.state));
            }
            Unsettled::Adopted => adopt(&mut self.state),
            Unsettled::Waits => {}
            Unsettled::CleanedUp => {
                self.state.disk.remove(self.name);
                adopt(&mut self.state);
            }
        }
        self.end("ledger unavailable: outcome unknown, left to replay", Told::Nothing)
    }

    /// Both parents of a rename.
    pub(crate) fn both(&self, from: Path, to: Path) -> (Option<Object>, Option<Object>) {
        (self.resolved(from, self.me().from), self.resolved(to, self.me().to))
    }

    /// The directory that the act happens in: looked up now (R1), or the one that was looked up before.
    pub(crate) fn resolved(&self, path: Path, earlier: Object) -> Option<Object> {
        match self.world.rules.resolve_under_ticket {
            true => parent(&self.before.disk, path),
            false => Some(earlier).filter(|directory| self.before.disk.is_alive(*directory)),
        }
    }
}

impl World {
    /// Calls that take effect on the disk; only these can outlive a kill.
    pub(crate) fn is_on_disk(&self, op: Op, step: Step) -> bool {
        match step {
            Step::Create
            | Step::Write
            | Step::Act
            | Step::ActOver
            | Step::OwedAct
            | Step::Unlink
            | Step::Join
            | Step::Swap
            | Step::CleanSpare
            | Step::EarlyPin => true,
            Step::Clean => !matches!(op, Op::Rename { .. }),
            _ => false,
        }
    }

    fn turn<'a>(&'a self, state: &'a State, session: usize) -> Turn<'a> {
        let me = &state.sessions[session];
        let own = MINTED + (session * 4) as u8 + me.op;
        let name = if me.row == NONE { own } else { me.row };
        let object = staged_object(name);
        Turn { world: self, before: state, state: state.clone(), session, name, object }
    }

    /// The next step of a session, if it can take one.
    pub(crate) fn step(&self, state: &State, session: usize) -> Option<Taken> {
        let turn = self.turn(state, session);
        let op = self.op(state, session);
        if turn.me().step == Step::Begin {
            return turn.begin(op);
        }
        match op {
            Op::Put(_) | Op::Mkdir(_) => turn.stage(op),
            Op::Append { path, .. } => turn.append(op, path),
            Op::Delete(path) | Op::Rmdir(path) | Op::DeleteRecursively(path) => turn.take(op, path),
            Op::Rename { from, to } => turn.rename(from, to),
            Op::RenameOver { from, to } => turn.rename_over(from, to),
            Op::Batch { puts, delete } => turn.batch(puts, delete),
            Op::Verify => turn.verify(),
            Op::Limit(_) => None,
        }
    }
}

impl Turn<'_> {
    /// Looks at the target and remembers what was seen.
    fn begin(mut self, op: Op) -> Option<Taken> {
        let acknowledged = |index: &usize| self.before.told[*index] == Told::Acknowledged;
        let before = (0..RESULTS).filter(acknowledged).fold(0, |bits, index| bits | 1 << index);
        for part in 0..op.parts().len() {
            let index = self.index(part);
            self.state.told[index] = Told::Nothing;
            self.state.before[index] = before;
        }
        match op.paths() {
            Some((path, other)) => self.look(op, path, other),
            None => self.begin_without_path(op),
        }
    }

    fn begin_without_path(mut self, op: Op) -> Option<Taken> {
        match op {
            Op::Limit(_) if self.before.unwritable => {
                self.refuse("the limit cannot be changed: ledger unavailable")
            }
            Op::Limit(limit) => {
                self.state.limit = limit;
                self.acknowledge("the administrator changes the limit (txn)")
            }
            Op::Verify => {
                let home = vec![(NONE, NONE)];
                self.state.verify = Verify { running: true, waiting: home, ..Verify::default() };
                self.go("verify begins", Step::Walk)
            }
            _ => self.go("begin", Step::Reserve),
        }
    }

    fn look(mut self, op: Op, path: Path, other: Option<Path>) -> Option<Taken> {
        let disk = &self.before.disk;
        let other = other.map(|path| parent(disk, path));
        let (Some(directory), false) = (parent(disk, path), other == Some(None)) else {
            return self.refuse("begin: no such directory, refused");
        };
        if !self.world.rules.resolve_under_ticket {
            self.me_mut().from = directory;
            self.me_mut().to = other.flatten().unwrap_or(NONE);
        }
        let old = disk.get(directory, path.leaf());
        let is_directory = old.map(|object| disk.is_directory(object));
        let possible = match op {
            Op::Put(Put { overwrite, .. }) => {
                old.is_none() || (overwrite && is_directory == Some(false))
            }
            Op::Append { .. } => is_directory != Some(true),
            Op::Delete(_) | Op::RenameOver { .. } => is_directory == Some(false),
            Op::Mkdir(_) => old.is_none(),
            Op::DeleteRecursively(_) => is_directory == Some(true),
            Op::Rmdir(_) => old.is_some_and(|it| disk.is_directory(it) && disk.is_empty(it)),
            Op::Rename { .. } => old.is_some(),
            Op::Batch { .. } | Op::Limit(_) | Op::Verify => true,
        };
        if !possible {
            return self.refuse("begin: refused");
        }
        let next = match op {
            Op::Put(_) | Op::Append { .. } | Op::Mkdir(_) => {
                self.remember(op, old);
                Step::Reserve
            }
            Op::Rename { .. } if self.world.rules.ticket => Step::Ticket,
            Op::Rename { .. } => Step::Act,
            Op::RenameOver { .. } if self.world.rules.pin == Pin::EarlyLink => Step::EarlyPin,
            _ => Step::Intent,
        };
        self.go("begin: resolve and look", next)
    }

    /// Notes what a staged file is to replace. An append holds what it copies open.
    pub(crate) fn remember(&mut self, op: Op, old: Option<Object>) {
        let size = old.map_or(0, |object| self.before.disk.inode(object).size);
        let appends = matches!(op, Op::Append { .. });
        let me = self.me_mut();
        me.old_size = size;
        me.old = match old {
            Some(object) if appends => object,
            Some(_) => 0,
            None => NONE,
        };
    }
}

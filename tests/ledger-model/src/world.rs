//! A run's world: its rules, its start, its programs; and how it moves.

use crate::disk::{
    Amount, Disk, Entry, HOME, Inode, Kind, MINTED, NONE, Name, Object, STAGING, name,
};
use crate::operation::{Op, Path};
use crate::rules::{Pin, Rules};
use crate::search::Model;
use crate::state::{
    Daemon, Finding, Intent, Life, Phase, RESULTS, Row, Session, State, Step, Told, Verify, is_owed,
};

/// Bytes of a lease.
pub(crate) const LEASE: u8 = 2;

/// A step that somebody may take: what it is, whose it is (a session, a staging name or [`NONE`]), and where
/// it leads.
pub(crate) type Move = (&'static str, u8, State);

pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) files: Vec<(Entry, Kind, u8)>,
    pub(crate) limit: u8,
    pub(crate) entry_limit: u8,
    /// What each session does, one operation after the other.
    pub(crate) programs: Vec<Vec<Op>>,
    /// Only violations that begin with this text count.
    pub(crate) only: &'static str,
}

impl World {
    pub(crate) fn title(&self) -> String {
        let program =
            |ops: &Vec<Op>| ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.programs.iter().map(program).collect::<Vec<_>>().join("  ||  ")
    }

    /// Whether any program has such an operation.
    pub(crate) fn any_op(&self, is: impl Fn(&Op) -> bool) -> bool {
        self.programs.iter().flatten().any(is)
    }

    /// The operation that a session is at.
    pub(crate) fn op(&self, state: &State, session: usize) -> Op {
        self.programs[session][usize::from(state.sessions[session].op)]
    }

    /// Whether used and reserved may grow by so much. What does not grow is not refused.
    pub(crate) fn admits(&self, state: &State, growth: Amount) -> bool {
        let charged = state.charged();
        let fits = |growth: i16, charged: i16, limit: u8| {
            growth <= 0 || charged + growth <= i16::from(limit)
        };
        fits(growth.bytes, charged.bytes, state.limit)
            && fits(growth.entries, charged.entries, self.entry_limit)
    }

    /// What a row and staging tell. `own` is what the filer itself has staged, if it is the one that looks: it
    /// knows what it has exchanged.
    pub(crate) fn examine(&self, disk: &Disk, row: &Row, own: Option<Object>) -> Finding {
        let size = Amount::of(i16::from(row.size), 1);
        let nothing = Amount::default();
        let find = |happened, sums, left| Finding { happened, sums, left };
        match (row.intent, disk.staged(row.name)) {
            (Intent::StageFile | Intent::StageDirectory, None) => find(true, size, false),
            (Intent::StageFile | Intent::StageDirectory, Some(object)) => {
                let same = match own {
                    Some(own) => object == own,
                    None => !self.rules.inode_in_intent || disk.inode(object).number == row.inode,
                };
                match same {
                    true => find(false, nothing, true),
                    false => find(true, size - disk.walk(object), true),
                }
            }
            (Intent::Take | Intent::Over, None) => find(false, nothing, false),
            (Intent::Take, Some(object)) => find(true, nothing - disk.walk(object), true),
            (Intent::Over, Some(object)) => {
                match self.rules.pin == Pin::Exchange || disk.links(object) == 1 {
                    true => find(true, nothing - disk.walk(object), true),
                    false => find(false, nothing, true),
                }
            }
        }
    }
}

/// The object that is made for a row.
pub(crate) fn staged_object(name: Name) -> Object {
    name - MINTED + crate::disk::FIRST_MADE
}

/// The directory that a path's last component stands in.
pub(crate) fn parent(disk: &Disk, path: Path) -> Option<Object> {
    match path.0 {
        [_, NONE] => Some(HOME),
        [directory, _] => disk.get(HOME, directory).filter(|it| disk.is_directory(*it)),
    }
}

/// What stands at a path.
pub(crate) fn at_path(disk: &Disk, path: Path) -> Option<Object> {
    parent(disk, path).and_then(|directory| disk.get(directory, path.leaf()))
}

fn letter(session: u8) -> char {
    char::from(b'A' + session)
}

impl World {
    fn session_moves(&self, state: &State, out: &mut Vec<(String, State)>, named: bool) {
        for (number, session) in (0..).zip(&state.sessions) {
            let index = usize::from(number);
            let say = |who: &str, what: &str| match named {
                true => format!("{who} {}: {what}", letter(number)),
                false => String::new(),
            };
            match session.life {
                Life::Alive if state.daemon == Daemon::Serving => {
                    if let Some((what, after)) = self.step(state, index) {
                        let label = match named {
                            true => say("session", &format!("({}) {what}", self.op(state, index))),
                            false => String::new(),
                        };
                        out.push((label, after));
                    }
                }
                Life::Dying => {
                    let dead = |mut after: State| {
                        after.sessions[index] = Session::at(session.op, Life::Dead);
                        after
                    };
                    out.push((say("session", "is gone"), dead(state.clone())));
                    if self.is_on_disk(self.op(state, index), session.step)
                        && let Some((what, mut after)) = self.step(state, index)
                    {
                        after.told = state.told;
                        after.ticket = state.ticket;
                        out.push((say("the last system call of killed", what), dead(after)));
                    }
                }
                Life::Alive | Life::Dead | Life::Done => {}
            }
        }
    }
}

impl Model for World {
    type State = State;

    fn init(&self) -> State {
        let mut disk = Disk::new(self.rules.power);
        for (entry, kind, size) in &self.files {
            disk.place(*entry, *kind, *size);
        }
        let life = |program: &Vec<Op>| if program.is_empty() { Life::Done } else { Life::Alive };
        State {
            used: disk.walk(HOME),
            disk,
            limit: self.limit,
            rows: vec![],
            unwritable: false,
            daemon: Daemon::Serving,
            ticket: NONE,
            left_over: 0,
            replay: None,
            retaking: None,
            sessions: self.programs.iter().map(|it| Session::at(0, life(it))).collect(),
            faults: self.rules.faults,
            told: [Told::NotBegun; RESULTS],
            before: [0; RESULTS],
            verify: Verify::default(),
            alarm: None,
        }
    }

    fn next(&self, state: &State, out: &mut Vec<(String, State)>, named: bool) {
        self.session_moves(state, out, named);
        let mut moves = vec![];
        self.daemon_moves(state, &mut moves);
        self.faults(state, &mut moves);
        for (what, whose, after) in moves {
            let label = match (named, whose) {
                (false, _) => String::new(),
                (true, NONE) => format!("daemon: {what}"),
                (true, session @ 0..MINTED) => format!("{}: {what}", letter(session)),
                (true, row) => format!("daemon, {}: {what}", name(row)),
            };
            out.push((label, after));
        }
    }

    fn check_step(&self, before: &State, after: &State) -> Option<&'static str> {
        self.wrong_step(before, after).filter(|what| what.starts_with(self.only))
    }

    fn check_rest(&self, state: &State) -> Option<&'static str> {
        self.wrong_rest(state).filter(|what| what.starts_with(self.only))
    }

    fn is_at_rest(&self, state: &State) -> bool {
        let idle = |session: &Session| match session.life {
            Life::Dead | Life::Done => true,
            Life::Alive => session.step == Step::Begin,
            Life::Dying => false,
        };
        state.daemon == Daemon::Serving
            && !state.unwritable
            && state.replay.is_none()
            && state.retaking.is_none()
            && state.ticket == NONE
            && state.left_over == 0
            && state.sessions.iter().all(idle)
            && state.rows.iter().all(|row| !self.is_orphan(state, row.owner))
            && !state.disk.entries.iter().any(is_owed)
    }

    fn show(&self, state: &State) -> String {
        let disk = &state.disk;
        let object = |number: Object| match disk.inode(number) {
            Inode { kind: Kind::Directory, .. } => format!("o{number}(dir)"),
            Inode { size, number: inode, whole, .. } => {
                format!("o{number}({size}b,i{inode}{})", if *whole { "" } else { ",partial" })
            }
        };
        let list = |root: Object| {
            let entry = |(directory, leaf, number): Entry| {
                let above =
                    if directory == root { String::new() } else { format!("o{directory}/") };
                format!("{above}{}={}", name(leaf), object(number))
            };
            disk.below(root).into_iter().map(entry).collect::<Vec<_>>().join(" ")
        };
        let row = |row: &Row| {
            let phase = match row.phase {
                Phase::Open => "open",
                Phase::Committing => "committing",
            };
            let place = if row.in_memory { " in memory" } else { "" };
            format!("{} {:?} {phase}{place} {}b", name(row.name), row.intent, row.reserved.bytes)
        };
        let (used, reserved) = (state.used, state.reserved());
        format!(
            "{}used {}b/{}e reserved {}b/{}e limit {}b/{}e | home [{}] staging [{}] rows [{}]",
            if state.unwritable { "UNWRITABLE " } else { "" },
            used.bytes,
            used.entries,
            reserved.bytes,
            reserved.entries,
            state.limit,
            self.entry_limit,
            list(HOME),
            list(STAGING),
            state.rows.iter().map(row).collect::<Vec<_>>().join(", ")
        )
    }
}

//! What a storm does, determined by its seed: users and their quotas, operations, and kills. Pure.
//!
//! A user's storm is a row of rounds. In a round each of its sessions has a few operations to do,
//! and some of them carry a kill that strikes a moment after they have begun. What is not
//! determined is how the kernel schedules all these processes, so a seed replays what is done and
//! when, not what comes of it.

use std::time::Duration;

use berth_common::entry::{Existing, Limits};
use berth_common::limits::{LEASE_BYTES, SMALL_UPLOAD_BYTES};
use berth_common::rel_path::RelPath;

use super::random::Random;

/// Users of a storm.
pub const USERS: usize = 4;

/// Sessions of each user.
pub const SESSIONS: usize = 3;

/// Operations of a session in a round.
const OPERATIONS: usize = 6;

/// How many operations of a hundred carry a kill, and how many batches.
const KILL_PERCENT: u64 = 10;
const BATCH_KILL_PERCENT: u64 = 35;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The users' quotas: tight enough that much is refused, and one with room for the largest files.
const QUOTAS: [(u64, u64); USERS] =
    [(300 * KIB, 14), (3 * MIB, 11), (20 * MIB, 18), (100 * MIB, 16)];

/// Directories that may stand in a home, beside its root.
const DIRECTORIES: [&str; 4] = ["d", "e", "d/s", "e/s"];

/// Names of files.
const FILES: [&str; 3] = ["a", "b", "c"];

/// What a session is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A file is sent, or what is added to one.
    Put {
        /// Where to.
        path: RelPath,
        /// Bytes.
        size: u64,
        /// What becomes of a file that stands there.
        existing: Existing,
        /// Whether the server is not told its size before its end.
        streams: bool,
        /// Where it is broken off, if it is.
        broken_off: Option<BrokenOff>,
    },
    /// An upload that was broken off or cut off is sent again.
    Resume {
        /// Which of those that the user has.
        which: u64,
        /// Whether as the client that began it.
        same_token: bool,
    },
    /// An open upload is given up.
    Abort {
        /// Which of those that the server lists.
        which: u64,
    },
    /// A directory is made.
    MakeDirectory {
        /// Where.
        path: RelPath,
        /// With its parents, and if it is not there yet.
        parents: bool,
    },
    /// A file or directory is removed.
    Remove {
        /// Which.
        path: RelPath,
        /// With its content.
        recursive: bool,
    },
    /// A file or directory is renamed.
    Rename {
        /// From where.
        from: RelPath,
        /// To where.
        to: RelPath,
        /// Whether a file may replace a file.
        overwrite: bool,
    },
    /// A file is fetched and checked.
    Get {
        /// Which.
        path: RelPath,
    },
    /// A directory is listed.
    List {
        /// Which.
        path: RelPath,
    },
    /// Several changes are asked for before the first is answered: small puts, removals, directories, renames.
    Batch {
        /// In the order in which they are asked for.
        changes: Vec<Action>,
    },
    /// The usage is asked for and checked.
    Usage,
}

/// How a client breaks a put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff {
    /// After so many thousandths of its blocks.
    pub permille: u64,
    /// Whether it only falls silent; otherwise it hangs up.
    pub hangs: bool,
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// A session's worker.
    Worker,
    /// A session's filer.
    Filer,
    /// First its worker, then its filer.
    Both,
    /// The workers and filers of all of the user's sessions, one after the other.
    All,
    /// The daemon, and with it all its children.
    Daemon,
}

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Of what, seen from the session whose operation carries it.
    pub victim: Victim,
    /// So long after the operation has begun.
    pub after: Duration,
    /// So long afterwards the filer that recovers the user's staging is killed too, if there is one.
    pub recovering_after: Option<Duration>,
}

/// An operation and what strikes meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The operation.
    pub action: Action,
    /// The kill.
    pub kill: Option<Kill>,
}

/// The limits that a user begins with.
#[must_use]
pub fn limits(user: usize) -> Limits {
    let (bytes, entries) = QUOTAS[user];
    Limits { bytes: Some(bytes), entries: Some(entries) }
}

/// The limits with which a round begins. Now and then they are lowered, as likely as not below what is there.
#[must_use]
pub fn limits_in(seed: u64, user: usize, round: u64) -> Limits {
    let mut random = Random::of(&[seed, user as u64, round]);
    if random.chance(15) { lower_limits(&mut random, user) } else { limits(user) }
}

/// Limits that a user may get at any time: as often as not those at the beginning.
pub(super) fn some_limits(random: &mut Random, user: usize) -> Limits {
    if random.chance(60) { lower_limits(random, user) } else { limits(user) }
}

fn lower_limits(random: &mut Random, user: usize) -> Limits {
    let (bytes, entries) = QUOTAS[user];
    let mut part = |of: u64| Some(of * random.below(100) / 100);
    Limits { bytes: part(bytes), entries: part(entries) }
}

/// What a session does in a round.
#[must_use]
pub fn round(seed: u64, user: usize, round: u64, session: usize) -> Vec<Planned> {
    let mut random = Random::of(&[seed, user as u64, round, session as u64]);
    (0..OPERATIONS)
        .map(|_| {
            let action = action(&mut random);
            // Drawn whether it is used or not, so that all that follows stays the same.
            let mut drawn = kill(&mut random);
            let percent = match action {
                Action::Batch { .. } => {
                    // Its puts are announced first.
                    drawn.after += Duration::from_micros(random.below(12_000));
                    BATCH_KILL_PERCENT
                }
                _ => KILL_PERCENT,
            };
            Planned { action, kill: random.chance(percent).then_some(drawn) }
        })
        .collect()
}

fn action(random: &mut Random) -> Action {
    match random.below(100) {
        0..18 => Action::Put {
            path: file(random),
            size: size(random),
            existing: existing(random, 75, 0),
            streams: false,
            broken_off: None,
        },
        18..24 => {
            let count = 4 + random.below(5);
            Action::Batch { changes: (0..count).map(|_| in_batch(random)).collect() }
        }
        24..28 => stream(random),
        28..38 => Action::Put {
            // Mostly to the same file: appends have to collide.
            path: if random.chance(50) { known("a".to_owned()) } else { file(random) },
            size: appended(random),
            existing: Existing::Append,
            streams: false,
            broken_off: None,
        },
        38..44 => Action::Put {
            // Mostly where it can be put, so that there is something to resume and to take over.
            path: if random.chance(70) { known("a".to_owned()) } else { file(random) },
            size: SMALL_UPLOAD_BYTES + 1 + random.below(2 * MIB),
            existing: existing(random, 60, 30),
            streams: false,
            broken_off: Some(BrokenOff { permille: random.below(1001), hangs: random.chance(50) }),
        },
        44..51 => Action::Resume { which: random.next(), same_token: random.chance(60) },
        51..54 => Action::Abort { which: random.next() },
        54..64 => Action::MakeDirectory { path: directory(random), parents: random.chance(40) },
        64..72 => Action::Remove { path: any(random), recursive: false },
        72..76 => Action::Remove { path: any(random), recursive: true },
        76..84 => {
            Action::Rename { from: any(random), to: any(random), overwrite: random.chance(60) }
        }
        84..90 => {
            Action::Rename { from: file(random), to: file(random), overwrite: random.chance(90) }
        }
        90..95 => Action::Get { path: file(random) },
        95..98 => Action::List { path: any(random) },
        _ => Action::Usage,
    }
}

/// One of a batch: what may share an intent's transaction, and renames to free names, which need none.
fn in_batch(random: &mut Random) -> Action {
    match random.below(100) {
        // Mostly what will not be refused: only that gets together.
        0..65 => Action::Put {
            path: if random.chance(50) { top(random) } else { file(random) },
            size: if random.chance(20) { random.below(20) } else { random.below(16 * KIB) },
            existing: existing(random, 90, 0),
            streams: false,
            broken_off: None,
        },
        65..85 => Action::Remove { path: any(random), recursive: random.chance(35) },
        85..90 => Action::MakeDirectory { path: directory(random), parents: false },
        _ => Action::Rename { from: any(random), to: any(random), overwrite: random.chance(75) },
    }
}

/// Put, appended or hung up half way. One that only fell silent would keep its lease, and the user would
/// not come to rest.
fn stream(random: &mut Random) -> Action {
    let large = random.chance(8);
    let broken_off = BrokenOff { permille: random.below(1001), hangs: false };
    Action::Put {
        path: file(random),
        size: if large { LEASE_BYTES - MIB + random.below(24 * MIB) } else { size(random) },
        existing: existing(random, 55, 30),
        streams: true,
        broken_off: random.chance(25).then_some(broken_off),
    }
}

/// What becomes of a file that is there: replaced or added to in so many of a hundred cases, or kept.
fn existing(random: &mut Random, replaced: u64, added_to: u64) -> Existing {
    match random.below(100) {
        drawn if drawn < replaced => Existing::Replace,
        drawn if drawn < replaced + added_to => Existing::Append,
        _ => Existing::Keep,
    }
}

/// What is appended is small mostly, and now and then resumable.
fn appended(random: &mut Random) -> u64 {
    match random.below(100) {
        0..10 => random.below(20),
        10..75 => random.below(32 * KIB),
        75..88 => random.below(512 * KIB),
        _ => MIB + 1 + random.below(MIB),
    }
}

/// Most files are small, some are empty, few are large.
fn size(random: &mut Random) -> u64 {
    match random.below(1000) {
        0..80 => random.below(20),
        80..650 => random.below(64 * KIB),
        650..880 => random.below(MIB + 1),
        880..980 => MIB + random.below(2 * MIB),
        980..997 => 3 * MIB + random.below(13 * MIB),
        _ => 16 * MIB + random.below(48 * MIB + 1),
    }
}

fn kill(random: &mut Random) -> Kill {
    let victim = match random.below(100) {
        0..36 => Victim::Filer,
        36..66 => Victim::Worker,
        66..81 => Victim::Both,
        81..88 => Victim::All,
        _ => Victim::Daemon,
    };
    let after = moment(random);
    let recovering_after = random.chance(40).then(|| moment(random) / 4);
    Kill { victim, after, recovering_after }
}

/// From a few microseconds to some 30 ms, each order of magnitude as likely as the others.
pub(super) fn moment(random: &mut Random) -> Duration {
    let magnitude = 1 << random.below(12);
    Duration::from_micros(8 * magnitude + random.below(8 * magnitude))
}

fn directory(random: &mut Random) -> RelPath {
    known((*random.one_of(&DIRECTORIES)).to_owned())
}

/// A file's path at the root.
fn top(random: &mut Random) -> RelPath {
    known((*random.one_of(&FILES)).to_owned())
}

/// A path of a file, mostly near the root.
fn file(random: &mut Random) -> RelPath {
    let name = *random.one_of(&FILES);
    match random.below(100) {
        0..50 => known(name.to_owned()),
        50..85 => known(format!("{}/{name}", random.one_of(&DIRECTORIES[..2]))),
        _ => known(format!("{}/{name}", random.one_of(&DIRECTORIES[2..]))),
    }
}

fn any(random: &mut Random) -> RelPath {
    if random.chance(45) { directory(random) } else { file(random) }
}

/// The names above are good ones.
fn known(path: String) -> RelPath {
    RelPath::new(&path).expect("a path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_what_is_done_and_killed() {
        assert_eq!(round(5, 2, 17, 1), round(5, 2, 17, 1));
        assert_ne!(round(5, 2, 17, 1), round(6, 2, 17, 1));
        assert_ne!(round(5, 2, 17, 1), round(5, 2, 18, 1));
    }

    #[test]
    fn limits_are_lowered_now_and_then_and_never_raised() {
        let most = limits(1);
        let all: Vec<Limits> = (0..100).map(|round| limits_in(1, 1, round)).collect();
        let lowered = all.iter().filter(|limits| **limits != most).count();
        assert!((5..40).contains(&lowered), "{lowered}");
        assert!(all.iter().all(|limits| limits.bytes <= most.bytes));
        assert!(all.iter().all(|limits| limits.entries <= most.entries));
    }

    #[test]
    fn every_operation_and_every_victim_comes_up() {
        let all: Vec<Planned> = (0..200).flat_map(|number| round(1, 0, number, 0)).collect();
        let count = |wanted: &dyn Fn(&Planned) -> bool| {
            let found = all.iter().filter(|planned| wanted(planned)).count();
            assert!(found > 2, "{found}");
        };
        let is = |wanted: fn(&Action) -> bool| count(&|planned| wanted(&planned.action));
        is(|action| matches!(action, Action::Put { broken_off: Some(_), .. }));
        is(|action| matches!(action, Action::Put { existing: Existing::Keep, .. }));
        is(|action| {
            matches!(action, Action::Put { existing: Existing::Append, broken_off: None, .. })
        });
        is(|action| {
            matches!(action, Action::Put { existing: Existing::Append, broken_off: Some(_), .. })
        });
        is(|action| {
            matches!(action, Action::Put { existing: Existing::Append, size: 0x10_0001.., .. })
        });
        is(|action| matches!(action, Action::Put { streams: true, broken_off: None, .. }));
        is(|action| matches!(action, Action::Put { streams: true, broken_off: Some(_), .. }));
        is(|action| matches!(action, Action::Put { size: 0..16, .. }));
        is(|action| matches!(action, Action::Put { size: 0x10_0001.., .. }));
        is(|action| matches!(action, Action::Resume { .. }));
        is(|action| matches!(action, Action::Abort { .. }));
        is(|action| matches!(action, Action::MakeDirectory { parents: true, .. }));
        is(|action| matches!(action, Action::Remove { recursive: true, .. }));
        is(|action| matches!(action, Action::Rename { overwrite: true, .. }));
        is(|action| matches!(action, Action::Get { .. }));
        is(|action| matches!(action, Action::List { .. }));
        is(|action| matches!(action, Action::Batch { .. }));
        is(|action| matches!(action, Action::Usage));
        let victims = [Victim::Worker, Victim::Filer, Victim::Both, Victim::All, Victim::Daemon];
        for victim in victims {
            count(&|planned| planned.kill.is_some_and(|kill| kill.victim == victim));
        }
        count(&|planned| planned.kill.is_some_and(|kill| kill.recovering_after.is_some()));
        let is_batch = |action: &Action| matches!(action, Action::Batch { .. });
        count(&|planned| planned.kill.is_some() && is_batch(&planned.action));
    }

    #[test]
    fn sizes_reach_from_nothing_to_64_mib() {
        let mut random = Random::of(&[3]);
        let sizes: Vec<u64> = (0..20_000).map(|_| size(&mut random)).collect();
        assert!(sizes.iter().all(|size| *size <= 64 * MIB));
        assert!(sizes.contains(&0) && sizes.iter().any(|size| *size > 48 * MIB));
        let small = sizes.iter().filter(|size| **size < 64 * KIB).count();
        assert!(small > sizes.len() / 2, "{small}");
    }
}

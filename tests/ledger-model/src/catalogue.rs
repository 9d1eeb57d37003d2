//! The operations that programs are made of, and the programs: pairs, triples, batches and more.

use crate::disk::{Entry, HOME, Kind, NONE};
use crate::operation::{Op, Path, Put};
use crate::rules::Rules;
use crate::world::World;

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const D: u8 = 3;
const E: u8 = 4;

/// More entries than any program makes.
const PLENTY: u8 = 100;

fn top(name: u8) -> Path {
    Path([name, NONE])
}

/// Home: `a` (2 bytes), `d/`, `d/b` (1 byte).
fn start() -> Vec<(Entry, Kind, u8)> {
    vec![
        ((HOME, A, 2), Kind::File, 2),
        ((HOME, D, 3), Kind::Directory, 0),
        ((3, B, 4), Kind::File, 1),
    ]
}

/// A put with something changed.
fn put_but(path: Path, size: u8, change: impl FnOnce(&mut Put)) -> Op {
    match Op::put(path, size) {
        Op::Put(mut put) => {
            change(&mut put);
            Op::Put(put)
        }
        other => other,
    }
}

/// A put that a second session can take over.
pub(crate) fn resumable() -> Op {
    put_but(top(C), 2, |put| put.resumable = true)
}

/// Every operation, in the variants that matter.
pub(crate) fn all() -> Vec<Op> {
    vec![
        Op::put(top(A), 3),
        Op::put(top(A), 1),
        put_but(top(C), 3, |put| put.overwrite = false),
        Op::put(Path([D, B]), 2),
        Op::put(Path([D, C]), 2),
        Op::put(top(E), 2),
        Op::put(Path([E, C]), 1),
        put_but(top(C), 3, |put| put.unknown_size = true),
        put_but(top(A), 4, |put| put.unknown_size = true),
        put_but(top(C), 2, |put| put.aborted = true),
        resumable(),
        Op::Append { path: top(A), more: 1 },
        Op::Append { path: Path([D, B]), more: 1 },
        Op::Mkdir(top(E)),
        Op::Mkdir(top(D)),
        Op::Rmdir(top(D)),
        Op::Rename { from: top(A), to: top(C) },
        Op::Rename { from: top(D), to: top(E) },
        Op::Rename { from: Path([D, B]), to: top(C) },
        Op::Rename { from: top(A), to: Path([D, C]) },
        Op::RenameOver { from: top(A), to: Path([D, B]) },
        Op::RenameOver { from: Path([D, B]), to: top(A) },
        Op::Delete(top(A)),
        Op::Delete(Path([D, B])),
        Op::DeleteRecursively(top(D)),
    ]
}

/// One of each kind, for longer programs.
pub(crate) fn few() -> Vec<Op> {
    vec![
        Op::put(top(A), 3),
        Op::put(Path([D, C]), 2),
        Op::Mkdir(top(E)),
        Op::Rename { from: top(D), to: top(E) },
        Op::RenameOver { from: Path([D, B]), to: top(A) },
        Op::Delete(top(A)),
        Op::DeleteRecursively(top(D)),
        Op::Append { path: top(A), more: 1 },
    ]
}

pub(crate) fn world(rules: &Rules, limit: u8, programs: Vec<Vec<Op>>) -> World {
    World { rules: rules.clone(), files: start(), limit, entry_limit: PLENTY, programs, only: "" }
}

/// Two sessions with one operation each.
pub(crate) fn pairs(rules: &Rules, limit: u8) -> Vec<World> {
    let ops = all();
    let pairs = (0..ops.len()).flat_map(|i| (i..ops.len()).map(move |j| (i, j)));
    pairs.map(|(i, j)| world(rules, limit, vec![vec![ops[i]], vec![ops[j]]])).collect()
}

/// Three sessions with one operation each.
pub(crate) fn triples(rules: &Rules, limit: u8) -> Vec<World> {
    let ops = few();
    let mut worlds = vec![];
    for i in 0..ops.len() {
        for j in i..ops.len() {
            for k in j..ops.len() {
                worlds.push(world(rules, limit, vec![vec![ops[i]], vec![ops[j]], vec![ops[k]]]));
            }
        }
    }
    worlds
}

/// One operation against two in a row.
pub(crate) fn one_two(rules: &Rules, limit: u8, ops: &[Op]) -> Vec<World> {
    let mut worlds = vec![];
    for i in ops {
        for j in ops {
            for k in ops {
                worlds.push(world(rules, limit, vec![vec![*i], vec![*j, *k]]));
            }
        }
    }
    worlds
}

/// Two operations against two.
pub(crate) fn two_two(rules: &Rules, limit: u8) -> Vec<World> {
    let ops = few();
    let both: Vec<_> = ops.iter().flat_map(|i| ops.iter().map(|j| vec![*i, *j])).collect();
    let pairs = (0..both.len()).flat_map(|i| (i..both.len()).map(move |j| (i, j)));
    pairs.map(|(i, j)| world(rules, limit, vec![both[i].clone(), both[j].clone()])).collect()
}

/// A batch beside one operation, or another batch.
pub(crate) fn batches(rules: &Rules, limit: u8) -> Vec<World> {
    let batch = |p, a, q, b, delete| Op::Batch { puts: [(p, a), (q, b)], delete };
    let batches = [
        batch(top(C), 1, top(E), 1, top(A)),
        batch(top(A), 3, Path([D, B]), 2, top(A)),
        batch(top(A), 1, Path([D, C]), 2, Path([D, B])),
        batch(top(C), 1, top(C), 2, Path([D, B])),
    ];
    let mut worlds = vec![];
    for one in batches {
        for other in all().into_iter().chain(batches) {
            worlds.push(world(rules, limit, vec![vec![one], vec![other]]));
        }
    }
    worlds
}

/// Two sessions that want the same resumable upload, beside any operation.
pub(crate) fn takers(rules: &Rules) -> Vec<World> {
    let upload = vec![resumable()];
    let programs = |op| vec![upload.clone(), upload.clone(), vec![op]];
    all().into_iter().map(|op| world(rules, 6, programs(op))).collect()
}

/// The same worlds with one more session.
pub(crate) fn beside(mut worlds: Vec<World>, op: Op) -> Vec<World> {
    for world in &mut worlds {
        world.programs.push(vec![op]);
    }
    worlds
}

/// The same worlds with few entries allowed.
pub(crate) fn with_entry_limit(mut worlds: Vec<World>, entry_limit: u8) -> Vec<World> {
    for world in &mut worlds {
        world.entry_limit = entry_limit;
    }
    worlds
}

/// The same worlds, but only one kind of violation counts.
pub(crate) fn only(mut worlds: Vec<World>, what: &'static str) -> Vec<World> {
    for world in &mut worlds {
        world.only = what;
    }
    worlds
}

/// Those without a rename over a file.
pub(crate) fn without_rename_over(mut worlds: Vec<World>) -> Vec<World> {
    worlds.retain(|world| !world.any_op(|op| matches!(op, Op::RenameOver { .. })));
    worlds
}

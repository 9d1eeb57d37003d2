//! What a user may rely on: the home looks as if the acknowledged operations had been done one after
//! another, in an order that respects "acknowledged before the other began".
//!
//! Refused operations did nothing; those that a crash cut off happened wholly or not at all.

use std::collections::BTreeMap;

use crate::disk::{Disk, HOME, Kind, NONE, Object};
use crate::operation::{Op, Path, Put};

/// Path to content; 0 is a directory.
pub(crate) type Tree = BTreeMap<Vec<u8>, u8>;

/// An operation that has, or may have, happened.
pub(crate) struct Done {
    pub(crate) op: Op,
    /// What a file that it makes contains.
    pub(crate) content: u8,
    pub(crate) acknowledged: bool,
    /// Bits of the operations that were acknowledged before it began.
    pub(crate) before: u16,
    pub(crate) index: usize,
}

/// The home as a user sees it.
pub(crate) fn tree(disk: &Disk) -> Tree {
    let mut tree = Tree::new();
    let mut waiting: Vec<(Object, Vec<u8>)> = vec![(HOME, vec![])];
    while let Some((directory, path)) = waiting.pop() {
        for (_, name, object) in disk.list(directory) {
            let path: Vec<u8> = path.iter().copied().chain([name]).collect();
            let inode = disk.inode(object);
            if inode.kind == Kind::Directory {
                tree.insert(path.clone(), 0);
                waiting.push((object, path));
            } else {
                tree.insert(path, inode.content);
            }
        }
    }
    tree
}

/// What an append makes of a content.
pub(crate) fn appended(old: u8, content: u8) -> u8 {
    old.wrapping_mul(31).wrapping_add(content).wrapping_add(100) | 1
}

fn has_parent(tree: &Tree, path: &[u8]) -> bool {
    path.len() == 1 || tree.get(&path[..path.len() - 1]) == Some(&0)
}

fn is_file(tree: &Tree, path: &[u8]) -> bool {
    tree.get(path).is_some_and(|content| *content != 0)
}

fn is_directory(tree: &Tree, path: &[u8]) -> bool {
    tree.get(path) == Some(&0)
}

fn move_tree(tree: &mut Tree, from: &[u8], to: &[u8]) {
    let moved: Vec<_> = tree.extract_if(.., |path, _| path.starts_with(from)).collect();
    for (path, content) in moved {
        tree.insert([to, &path[from.len()..]].concat(), content);
    }
}

/// The operation's effect on an ideal home; `None` if it would be refused there.
fn apply(tree: &Tree, op: Op, content: u8) -> Option<Tree> {
    let mut after = tree.clone();
    let path = op.paths().map(|(path, _)| path.components()).unwrap_or_default();
    let possible = match op {
        Op::Put(Put { overwrite, .. }) => {
            let fits = overwrite || !tree.contains_key(&path);
            after.insert(path.clone(), content);
            has_parent(tree, &path) && !is_directory(tree, &path) && fits
        }
        Op::Append { .. } => {
            let old = tree.get(&path);
            after.insert(path.clone(), old.map_or(content, |old| appended(*old, content)));
            has_parent(tree, &path) && !is_directory(tree, &path)
        }
        Op::Mkdir(_) => {
            after.insert(path.clone(), 0);
            has_parent(tree, &path) && !tree.contains_key(&path)
        }
        Op::Delete(_) => {
            after.remove(&path);
            is_file(tree, &path)
        }
        Op::Rmdir(_) => {
            after.remove(&path);
            let below = |other: &Vec<u8>| other.len() > path.len() && other.starts_with(&path);
            is_directory(tree, &path) && !tree.keys().any(below)
        }
        Op::DeleteRecursively(_) => {
            after.retain(|other, _| !other.starts_with(&path));
            is_directory(tree, &path)
        }
        Op::Rename { to, .. } => {
            let to = to.components();
            move_tree(&mut after, &path, &to);
            tree.contains_key(&path)
                && !tree.contains_key(&to)
                && has_parent(tree, &to)
                && !to.starts_with(&path)
        }
        Op::RenameOver { to, .. } => {
            let to = to.components();
            after.remove(&to);
            move_tree(&mut after, &path, &to);
            is_file(tree, &path) && !is_directory(tree, &to) && has_parent(tree, &to)
        }
        Op::Batch { .. } | Op::Limit(_) | Op::Verify => true,
    };
    possible.then_some(after)
}

/// The effects that an operation may have had. On the weak disk a put that was never acknowledged may come to
/// light in its directory's old place, because the directory's own rename was lost.
fn effects(tree: &Tree, done: &Done, weak: bool) -> Vec<Tree> {
    let mut effects: Vec<Tree> = apply(tree, done.op, done.content).into_iter().collect();
    if let (true, false, Op::Put(put)) = (weak, done.acknowledged, done.op)
        && put.path.0[1] != NONE
    {
        for directory in 0..8 {
            let put = Put { path: Path([directory, put.path.0[1]]), ..put };
            effects.extend(apply(tree, Op::Put(put), done.content));
        }
    }
    effects
}

/// Whether some order of the operations leads from `start` to `end`.
pub(crate) fn explains(start: &Tree, end: &Tree, done: &[Done], weak: bool) -> bool {
    explains_rest(start, end, done, 0, weak)
}

fn explains_rest(tree: &Tree, end: &Tree, done: &[Done], applied: u16, weak: bool) -> bool {
    let is_applied = |index: usize| applied >> index & 1 == 1;
    if tree == end && done.iter().all(|it| is_applied(it.index) || !it.acknowledged) {
        return true;
    }
    let waits_for = |it: &Done, other: &Done| it.before >> other.index & 1 == 1;
    done.iter()
        .filter(|it| !is_applied(it.index))
        .filter(|it| done.iter().all(|other| !waits_for(it, other) || is_applied(other.index)))
        .any(|it| {
            let applied = applied | 1 << it.index;
            let effects = effects(tree, it, weak);
            effects.iter().any(|after| explains_rest(after, end, done, applied, weak))
        })
}

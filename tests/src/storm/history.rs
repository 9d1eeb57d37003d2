//! Whether what was seen can be: the order in which a round's operations may have happened. Pure.
//!
//! The home at the end has to follow from the home at the beginning by the operations, one step
//! after another, in an order in which nothing happens before it was asked for and nothing that was
//! answered happens after its answer. What was acknowledged has happened; what was refused has not,
//! and its reason fits the home of that moment; what was cut off has happened or not, and any time
//! until the end. This is linearizability, with crashes.
//! Some orders are excluded by what the operations tell of each other (`history/evidence.rs`): what can
//! still be resumed has not happened, and an append gives way to others only if there were any.
//!
//! The search keeps what it has seen (how far each operation is, and the home), and takes a step
//! that changes nothing as soon as it can be taken, since that can only help. It turns back where a content
//! of the end is lost, and tries first without the puts that were cut off and left no trace.

mod evidence;

use std::collections::{HashMap, HashSet};

use berth_common::error_code::ErrorCode;

use super::content::Content;
use super::tree::{Node, Step, Tree};

/// States after which a search is given up.
const MOST_STATES: usize = 150_000;

/// An operation, as the client that asked for it saw it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// For the report.
    pub title: String,
    /// Which of the user's sessions asked.
    pub session: usize,
    /// The steps that it takes, in their order. None where the home is not concerned.
    pub steps: Vec<Step>,
    /// When it was asked for, by the round's clock.
    pub begun: u64,
    /// When it was answered or given up, by the same clock.
    pub ended: u64,
    /// How it ended.
    pub end: End,
    /// Whether the server had a part already of what it sent.
    pub resumed: bool,
}

/// How an operation ended, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was acknowledged: all steps have happened.
    Acknowledged,
    /// It was refused: not all steps have happened. Of several, those before the refused one may have.
    Refused(ErrorCode),
    /// The connection was cut, or the server does not know: each step may have happened, in order.
    CutOff,
    /// The client broke off before it had asked for anything that changes the home.
    NotAsked,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// There is an order.
    Yes,
    /// There is none.
    No,
    /// There are too many to be sure.
    TooLarge,
}

/// Searches an order in which `operations` lead from `start` to `end`.
#[must_use]
pub fn explain(start: &Tree, end: &Tree, operations: &[Operation]) -> Explained {
    if !operations.iter().all(|operation| evidence::had_to_give_way(operation, operations)) {
        return Explained::No;
    }
    let operations: Vec<&Operation> = {
        let is_known_not_to_be =
            |o: &Operation| o.end == End::NotAsked || evidence::is_disproved(o, operations);
        let concern = |o: &&Operation| !o.steps.is_empty() && !is_known_not_to_be(o);
        let mut some: Vec<_> = operations.iter().filter(concern).collect();
        // Answered ones first, in the order of their answers: most likely the true order.
        some.sort_by_key(|operation| (operation.end == End::CutOff, operation.ended));
        some
    };
    // First without what was cut off and left no trace: most likely it has not happened, and each that may have
    // doubles what is to be searched.
    let traces = traces(end, &operations);
    let left_a_trace = |operation: &&Operation| {
        let mut contents = operation.steps.iter().filter_map(content_of);
        operation.end != End::CutOff || contents.all(|content| traces.contains(&content))
    };
    let likely: Vec<_> = operations.iter().copied().filter(left_a_trace).collect();
    if likely.len() < operations.len() && search(start, end, likely) == Explained::Yes {
        return Explained::Yes;
    }
    search(start, end, operations)
}

fn search(start: &Tree, end: &Tree, operations: Vec<&Operation>) -> Explained {
    let at = vec![0; operations.len()];
    let needed = contents_of(end).collect();
    let (seen, trees) = (HashSet::new(), HashMap::new());
    Search { operations, end, needed, seen, trees }.go(at, start.clone())
}

/// The contents that stand in the home at the end, or that somebody has read.
fn traces(end: &Tree, operations: &[&Operation]) -> HashSet<Content> {
    let steps = operations.iter().flat_map(|operation| &operation.steps);
    let read = steps.filter_map(|step| match step {
        Step::Read { content: Some(file), .. } => Some(file.contents()),
        _ => None,
    });
    contents_of(end).chain(read.flatten().copied()).collect()
}

fn contents_of(tree: &Tree) -> impl Iterator<Item = Content> {
    let file = |node: &'_ Node| match node {
        Node::File(file) => file.contents().to_vec(),
        Node::Directory => Vec::new(),
    };
    tree.0.values().flat_map(file)
}

fn content_of(step: &Step) -> Option<Content> {
    match step {
        Step::Put { content, .. } => Some(*content),
        _ => None,
    }
}

/// How far an operation is: so many of its steps have happened; or it is over.
const OVER: u8 = u8::MAX;

struct Search<'a> {
    operations: Vec<&'a Operation>,
    end: &'a Tree,
    /// The contents that stand in it.
    needed: Vec<Content>,
    seen: HashSet<(Vec<u8>, usize)>,
    trees: HashMap<Tree, usize>,
}

impl Search<'_> {
    fn go(&mut self, mut at: Vec<u8>, tree: Tree) -> Explained {
        while let Some(index) = self.harmless(&at, &tree) {
            self.advance(&mut at, index);
        }
        if tree == *self.end && self.all_answered_are_over(&at) {
            return Explained::Yes;
        }
        if self.has_lost_something(&at, &tree) {
            return Explained::No;
        }
        let number = self.trees.len();
        let number = *self.trees.entry(tree.clone()).or_insert(number);
        if !self.seen.insert((at.clone(), number)) {
            return Explained::No;
        }
        if self.seen.len() > MOST_STATES {
            return Explained::TooLarge;
        }
        for index in 0..self.operations.len() {
            if !self.may_go_on(&at, index) {
                continue;
            }
            let operation = self.operations[index];
            let step = &operation.steps[usize::from(at[index])];
            if let End::Refused(error) = &operation.end {
                // Of an operation with several steps; with one, it was harmless or does not fit.
                if tree.fits_refusal(step, error) {
                    let mut over = at.clone();
                    over[index] = OVER;
                    match self.go(over, tree.clone()) {
                        Explained::No => {}
                        found => return found,
                    }
                }
                if usize::from(at[index]) + 1 == operation.steps.len() {
                    continue;
                }
            }
            if let Some(after) = tree.after(step) {
                let mut next = at.clone();
                self.advance(&mut next, index);
                match self.go(next, after) {
                    Explained::No => {}
                    found => return found,
                }
            }
        }
        Explained::No
    }

    /// Whether something that stands in the home at the end is gone, and nobody is left who may put it there.
    fn has_lost_something(&self, at: &[u8], tree: &Tree) -> bool {
        let there: HashSet<Content> = contents_of(tree).collect();
        let may_come = |content: &Content| {
            self.operations.iter().zip(at).any(|(operation, at)| {
                let has_it = |step| content_of(step) == Some(*content);
                *at != OVER
                    && !matches!(operation.end, End::Refused(_))
                    && operation.steps.iter().any(has_it)
            })
        };
        self.needed.iter().any(|content| !there.contains(content) && !may_come(content))
    }

    /// An operation whose next step can be taken here and changes nothing.
    fn harmless(&self, at: &[u8], tree: &Tree) -> Option<usize> {
        (0..self.operations.len()).find(|index| {
            let operation = self.operations[*index];
            self.may_go_on(at, *index)
                && match (&operation.end, operation.steps.as_slice()) {
                    (End::Refused(error), [step]) => tree.fits_refusal(step, error),
                    (End::Acknowledged, [step]) if !step.changes() => tree.after(step).is_some(),
                    _ => false,
                }
        })
    }

    fn advance(&self, at: &mut [u8], index: usize) {
        let next = at[index] + 1;
        let whole = usize::from(next) == self.operations[index].steps.len();
        at[index] = if whole { OVER } else { next };
    }

    /// Whether all that was answered before this one was asked for is over.
    fn may_go_on(&self, at: &[u8], index: usize) -> bool {
        let begun = self.operations[index].begun;
        let is_before = |other: &Operation| other.end != End::CutOff && other.ended < begun;
        let mut others = self.operations.iter().zip(at);
        at[index] != OVER && others.all(|(other, at)| *at == OVER || !is_before(other))
    }

    fn all_answered_are_over(&self, at: &[u8]) -> bool {
        let mut all = self.operations.iter().zip(at);
        all.all(|(operation, at)| *at == OVER || operation.end == End::CutOff)
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { title, session, begun, ended, end, resumed, .. } = self;
        let how = if *resumed { ", resumed" } else { "" };
        write!(f, "  {begun:>4}..{ended:<4} session {session}: {title}: {end:?}{how}")
    }
}

#[cfg(test)]
mod tests;

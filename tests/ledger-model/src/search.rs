//! Breadth-first search over all states of a model, with shortest traces.
//!
//! A state is remembered by 128 bits of hash and by the step that led to it, so that a trace is found by
//! taking the same steps again. It knows nothing of the protocol.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, Hash};

use foldhash::quality::FixedState;

/// What is searched.
pub(crate) trait Model {
    /// One state of everything.
    type State: Clone + Hash + Eq;
    /// Where the search begins.
    fn init(&self) -> Self::State;
    /// All states that one step leads to; the steps have names only if they are asked for.
    fn next(&self, state: &Self::State, out: &mut Vec<(String, Self::State)>, named: bool);
    /// What is wrong with a step.
    fn check_step(&self, before: &Self::State, after: &Self::State) -> Option<&'static str>;
    /// Whether nothing has to move any more.
    fn is_at_rest(&self, state: &Self::State) -> bool;
    /// What is wrong with a state of rest.
    fn check_rest(&self, state: &Self::State) -> Option<&'static str>;
    /// One line for a trace.
    fn show(&self, state: &Self::State) -> String;
}

/// What a search has found.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    /// States of rest that were checked.
    pub(crate) at_rest: usize,
    /// The search was given up: too many states.
    pub(crate) capped: bool,
    pub(crate) violation: Option<Violation>,
}

/// What went wrong, and the shortest way there.
#[derive(Clone)]
pub(crate) struct Violation {
    pub(crate) what: &'static str,
    pub(crate) trace: Vec<String>,
}

type Key = u128;
/// For each state the one before it and the number of the step between them.
type Seen = HashMap<Key, (Key, u16), FixedState>;

/// Searches everything, or until a violation, or `cap` states.
pub(crate) fn explore<M: Model>(model: &M, cap: usize) -> Outcome {
    let halves = (FixedState::with_seed(1), FixedState::with_seed(2));
    let key = |state: &M::State| {
        (Key::from(halves.0.hash_one(state)) << 64) | Key::from(halves.1.hash_one(state))
    };
    let mut seen = Seen::with_hasher(FixedState::with_seed(3));
    let mut outcome = Outcome::default();
    let first = model.init();
    let mut level = vec![(key(&first), first)];
    seen.insert(level[0].0, (0, 0));
    let mut steps = vec![];
    let found = |what, seen: &Seen, key, last| {
        Some(Violation { what, trace: trace(model, seen, key, last) })
    };
    'search: while !level.is_empty() {
        let mut deeper = vec![];
        for (at, state) in level {
            model.next(&state, &mut steps, false);
            let wrong = if model.is_at_rest(&state) {
                outcome.at_rest += 1;
                model.check_rest(&state)
            } else if steps.is_empty() {
                Some("stuck: work is left and nothing can move")
            } else {
                None
            };
            if let Some(what) = wrong {
                outcome.violation = found(what, &seen, at, None);
                break 'search;
            }
            for (number, (_, after)) in (0..).zip(steps.drain(..)) {
                outcome.transitions += 1;
                if let Some(what) = model.check_step(&state, &after) {
                    outcome.violation = found(what, &seen, at, Some(number));
                    break 'search;
                }
                let key = key(&after);
                if let Entry::Vacant(vacant) = seen.entry(key) {
                    vacant.insert((at, number));
                    deeper.push((key, after));
                }
            }
        }
        outcome.depth += usize::from(!deeper.is_empty());
        if seen.len() > cap {
            outcome.capped = true;
            break;
        }
        level = deeper;
    }
    outcome.states = seen.len();
    outcome
}

fn trace<M: Model>(model: &M, seen: &Seen, mut at: Key, last: Option<u16>) -> Vec<String> {
    let mut numbers: Vec<u16> = last.into_iter().collect();
    while let (before, number) = seen[&at]
        && before != 0
    {
        numbers.push(number);
        at = before;
    }
    let mut state = model.init();
    let mut lines = vec![format!("start: {}", model.show(&state))];
    for number in numbers.into_iter().rev() {
        let mut steps = vec![];
        model.next(&state, &mut steps, true);
        let (label, after) = steps.swap_remove(usize::from(number));
        lines.push(format!("{label}   => {}", model.show(&after)));
        state = after;
    }
    lines
}

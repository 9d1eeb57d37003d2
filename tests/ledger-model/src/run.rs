//! Runs a suite's worlds on two threads, prints what was found, and keeps whether all is as it should be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::search::{Outcome, Violation, explore};
use crate::world::World;

/// A world with more states is given up, and the suite with it.
const MOST_STATES: usize = 30_000_000;

const THREADS: usize = 2;

/// What to print, and whether anything was not as it should be.
pub(crate) struct Run {
    /// The shortest trace of each violation that should be.
    pub(crate) traces: bool,
    /// Every program that fails.
    pub(crate) list: bool,
    pub(crate) failed: bool,
}

/// How often something went wrong, and its shortest case.
struct Case {
    programs: usize,
    program: String,
    trace: Vec<String>,
}

#[derive(Default)]
struct Totals {
    states: usize,
    transitions: usize,
    depth: usize,
    at_rest: usize,
    capped: usize,
    cases: BTreeMap<&'static str, Case>,
}

impl Totals {
    fn add(&mut self, world: &World, outcome: Outcome) {
        self.states += outcome.states;
        self.transitions += outcome.transitions;
        self.depth = self.depth.max(outcome.depth);
        self.at_rest += outcome.at_rest;
        self.capped += usize::from(outcome.capped);
        if let Some(Violation { what, trace }) = outcome.violation {
            let first = || Case { programs: 0, program: world.title(), trace: trace.clone() };
            let case = self.cases.entry(what).or_insert_with(first);
            case.programs += 1;
            if trace.len() < case.trace.len() {
                (case.program, case.trace) = (world.title(), trace);
            }
        }
    }
}

impl Run {
    /// Nothing may go wrong in any of these worlds.
    pub(crate) fn holds(&mut self, label: &str, worlds: Vec<World>) {
        let totals = self.explore(label, &worlds);
        let wrong = !totals.cases.is_empty() || totals.capped > 0;
        self.failed |= wrong;
        self.print_cases(&totals, wrong || self.traces);
    }

    /// Something must go wrong in one of them: a rule is missing.
    pub(crate) fn breaks(&mut self, label: &str, worlds: Vec<World>) {
        let totals = self.explore(&format!("without {label}"), &worlds);
        if totals.cases.is_empty() {
            println!("  NOTHING WENT WRONG, and something should have");
            self.failed = true;
        }
        self.print_cases(&totals, self.traces);
    }

    fn explore(&self, label: &str, worlds: &[World]) -> Totals {
        let began = Instant::now();
        let next = AtomicUsize::new(0);
        let totals = Mutex::new(Totals::default());
        let work = || {
            while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = explore(world, MOST_STATES);
                if let (true, Some(violation)) = (self.list, &outcome.violation) {
                    println!("    [{label}] {}: {}", violation.what, world.title());
                }
                totals.lock().unwrap_or_else(PoisonError::into_inner).add(world, outcome);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
        let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
        println!(
            "{label}: {} programs, {} states, {} transitions, depth {}, {} at rest, {:.1} s{}{}",
            worlds.len(),
            totals.states,
            totals.transitions,
            totals.depth,
            totals.at_rest,
            began.elapsed().as_secs_f64(),
            if totals.capped > 0 { ", GIVEN UP: too many states" } else { "" },
            if totals.cases.is_empty() { ", no violation" } else { "" },
        );
        totals
    }

    fn print_cases(&self, totals: &Totals, traces: bool) {
        for (what, Case { programs, program, trace }) in &totals.cases {
            let steps = trace.len() - 1;
            println!("  {what}: {programs} programs, the shortest ({steps} steps) {program}");
            for (number, line) in trace.iter().enumerate().filter(|_| traces) {
                println!("      {number:2} {line}");
            }
        }
    }
}

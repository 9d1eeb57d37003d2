//! The quota protocol as an explicit-state model: sessions, daemon, ledger and disk take one step after the
//! other in every possible order, with kills, power cuts and outages between any two of them.
//!
//! It shares no code with Berth: it says what the protocol is, and finds out whether it holds. The protocol
//! is described in `docs/LEDGER.md`; a change of it begins here.

mod catalogue;
mod check;
mod daemon;
mod disk;
mod operation;
mod power;
mod rules;
mod run;
mod search;
mod session;
mod spec;
mod state;
mod suites;
mod world;

use std::process::ExitCode;

use run::Run;
use suites::SUITES;

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let known = |name: &String| SUITES.iter().any(|suite| suite.name == *name);
    let known_flag = |flag: &String| matches!(flag.as_str(), "-v" | "-l");
    if names.is_empty() || !names.iter().all(known) || !flags.iter().all(known_flag) {
        eprintln!("usage: berth-ledger-model [-v] [-l] SUITE…");
        eprintln!("  -v  the shortest trace of each violation, also of those that should be");
        eprintln!("  -l  every program that fails");
        for suite in SUITES {
            eprintln!("  {:16} {}", suite.name, suite.about);
        }
        return ExitCode::from(2);
    }
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let mut run = Run { traces: has("-v"), list: has("-l"), failed: false };
    for suite in SUITES.iter().filter(|suite| names.iter().any(|name| name == suite.name)) {
        (suite.run)(&mut run);
    }
    if run.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

//! `berth-jail`: runs one program that an administrator has allowed to a user, walled in, and ends with it.
//!
//! The daemon executes it for each run, and speaks with it alone. Three processes come of it: the one that the daemon
//! has started waits outside of the walls for the daemon's word, the second waits inside, and the third becomes the
//! program. The first decodes the task, with the arguments and the directory that a client has named, before any wall
//! stands; beyond that neither of the first two reads what the program or a client says.

// `clippy.toml` forbids what the sandbox ends a process for; tests are not confined.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod keeper;
mod places;
mod program;
mod report;
mod root;
mod run;
#[allow(unsafe_code)]
mod sys;
mod walls;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::run()
}

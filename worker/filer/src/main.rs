//! `berth-filer`: the hands on the disk, for one user's home and staging.
//!
//! The daemon executes it, demoted and waiting, and gives it one role for good. It alone makes path calls
//! below a home and it alone speaks to the ledger; it never hears the network, and it never reads or writes
//! a file's bytes: these go through descriptors that it passes to its worker.

// `clippy.toml` forbids what the sandbox ends a process for; tests are not confined.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod append;
mod attributes;
mod batches;
mod changes;
mod commit;
mod crowding;
mod decide;
mod entries;
mod errors;
mod handles;
mod helper;
mod home;
mod home_map;
mod ledger;
mod listing;
mod mkdir;
mod notes;
mod outbox;
mod pins;
mod placing;
mod questions;
mod reading;
mod recover;
mod remove;
mod rename;
mod renames;
mod roles;
mod run;
mod serve;
mod session;
mod staging;
mod syncs;
#[allow(unsafe_code)]
mod sys;
mod tasks;
#[cfg(test)]
mod tests;
mod uploads;
mod walk;
mod walking;
mod writers;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::run()
}

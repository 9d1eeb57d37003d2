//! `berth-worker`: the process that speaks with one client, started by `berthd` and by nothing else.
//!
//! A library for its own `main` and for the fuzz targets; no other crate links it.

// `clippy.toml` forbids what the sandbox ends a process for; tests are not confined.
#![cfg_attr(any(test, fuzzing), allow(clippy::disallowed_methods))]

mod broker;
mod channel_io;
mod connection;
mod exec;
mod filesystem;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod helper;
mod run;
mod session;
mod signer;
#[allow(unsafe_code)]
mod sys;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;

/// Runs the program: what `main` does.
#[must_use]
pub fn run() -> std::process::ExitCode {
    run::run()
}

//! `berth-worker`: the process that speaks with one client, started by `berthd` and by nothing else.

// `clippy.toml` forbids what the sandbox ends a process for; tests are not confined.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod broker;
mod channel_io;
mod connection;
mod filesystem;
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

use std::process::ExitCode;

fn main() -> ExitCode {
    run::run()
}

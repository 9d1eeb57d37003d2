//! `berthctl`, the administrator's tool: one request to the daemon's admin socket, one answer printed.
//!
//! Called by `bin/berthctl.rs` alone. It makes password verifiers itself, so that a password leaves
//! this process for nobody; it never opens the ledger, a home or the network.

mod args;
mod failure;
mod quota;
mod session;
mod show;
mod socket;
mod status;
mod user;

use std::process::ExitCode;

pub use args::Arguments;
use args::Command;
use failure::Failure;
use show::Printer;
use socket::AdminSocket;

use crate::output::complain;

/// Carries out one command line. What it prints on standard output is the answer (with `--json`,
/// one JSON document); a failure is one sentence on standard error.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    match carry_out(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_closed_pipe() {
                complain(&format!("berthctl: {failure}"));
            }
            failure.exit().into()
        }
    }
}

fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let socket = AdminSocket::new(arguments.socket_path());
    let printer = Printer {
        json: arguments.json,
    };
    match arguments.command {
        Command::User(command) => user::carry_out(command, &socket, &printer),
        Command::Quota(command) => quota::carry_out(command, &socket, &printer),
        Command::Session(command) => session::carry_out(command, &socket, &printer),
        Command::Status => status::carry_out(&socket, &printer),
    }
}

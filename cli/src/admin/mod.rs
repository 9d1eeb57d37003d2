//! `berthctl`, the administrator's tool: one request to the daemon's admin socket, one answer printed.
//!
//! Called by `bin/berthctl.rs` alone. It makes password verifiers itself, so that a password leaves
//! this process for nobody; it never opens the ledger, a home or the network.

mod address;
mod args;
mod backup;
mod device;
mod failure;
mod invitation;
mod program;
mod quota;
mod session;
mod show;
mod socket;
mod status;
mod user;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

pub use args::Arguments;
use args::Command;
use failure::Failure;
use show::Printer;
use socket::AdminSocket;

use crate::ask;
use crate::exit::Exit;
use crate::failure::tell;
use crate::language::{self, complaint};
use crate::output::Style;

/// Runs `berthctl` with this process' arguments.
#[must_use]
pub fn berthctl() -> ExitCode {
    language::speak(false);
    let parsed = language::matches(&Arguments::command())
        .and_then(|found| Arguments::from_arg_matches(&found));
    match parsed {
        Ok(arguments) => {
            language::speak(arguments.json);
            run(arguments)
        }
        Err(error) => {
            complaint(&error);
            if error.use_stderr() { Exit::Usage } else { Exit::Success }.into()
        }
    }
}

/// Carries out one command line. What it prints on standard output is the answer (with `--json`,
/// one JSON document); a failure is one sentence on standard error (with `--json`, an object).
#[must_use]
fn run(arguments: Arguments) -> ExitCode {
    let style = Style::of_stdout(arguments.json, false);
    match interruptible(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_closed_pipe() {
                tell("berthctl", &failure.told(), style);
            }
            failure.exit().into()
        }
    }
}

/// Carries it out on a thread of its own, while this one waits for Ctrl-C: the terminal must not
/// stay without echo when a question for a password is left.
fn interruptible(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = ask::beside(|| carry_out(arguments)) => done.unwrap_or(Err(Failure::Interrupted)),
            _ = tokio::signal::ctrl_c() => {
                ask::restore_terminal();
                Err(Failure::Interrupted)
            }
        }
    })
}

fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let socket = AdminSocket::new(arguments.socket_path());
    let printer = Printer { json: arguments.json };
    match arguments.command {
        Command::User(command) => user::carry_out(command, &socket, &printer),
        Command::Quota(command) => quota::carry_out(command, &socket, &printer),
        Command::Invite(args) => invitation::invite(args, &socket, &printer),
        Command::Invitation(command) => invitation::carry_out(command, &socket, &printer),
        Command::Device(command) => device::carry_out(command, &socket, &printer),
        Command::Session(command) => session::carry_out(command, &socket, &printer),
        Command::Ledger(command) => backup::carry_out(command, &socket, &printer),
        Command::Status => status::carry_out(&socket, &printer),
    }
}

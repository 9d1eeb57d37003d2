//! What the shell does on this machine: its working directory, `ls`, and commands of the user's own shell.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rust_i18n::t;

use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;

/// The local home.
///
/// # Errors
/// When HOME is not set.
pub(super) fn home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).ok_or_else(|| Failure::usage(t!("no local home: HOME is not set")))
}

/// Changes the working directory, to the local home where none is named.
///
/// # Errors
/// What the operating system says.
pub(super) fn change_directory(typed: Option<&str>) -> Result<(), Failure> {
    let directory = typed.map_or_else(home, |typed| Ok(PathBuf::from(typed)))?;
    std::env::set_current_dir(&directory).map_err(|error| {
        let shown = directory.display();
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failure,
        };
        Failure::new(exit, human::reason(&error)).of(format_args!("lcd {shown}")).locally(shown)
    })
}

/// The working directory.
///
/// # Errors
/// What the operating system says.
pub(super) fn directory() -> Result<String, Failure> {
    let directory = std::env::current_dir();
    let directory = directory.map_err(|error| {
        Failure::new(Exit::Failure, human::reason(&error)).of(t!("the local directory"))
    })?;
    Ok(directory.display().to_string())
}

/// A command line for the user's own shell; an empty one starts it.
pub(super) fn shell_command(line: &str) -> Command {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
    if !line.is_empty() {
        command.arg("-c").arg(line);
    }
    command
}

/// Runs a program to its end. It has the terminal if there is one; the rest of a script is not its input.
///
/// # Errors
/// When it cannot be run, or has failed.
pub(super) async fn run(mut command: Command, interactive: bool) -> Result<(), Failure> {
    if !interactive {
        command.stdin(Stdio::null());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let status = ask::beside(move || command.status()).await;
    let status = status.unwrap_or_else(|| Err(std::io::ErrorKind::Other.into()));
    let status = status.map_err(|error| {
        Failure::new(Exit::Failure, t!("cannot be run: %{reason}", reason = human::reason(&error)))
            .of(&program)
    })?;
    if status.success() { Ok(()) } else { Err(ended(status).of(&program)) }
}

fn ended(status: ExitStatus) -> Failure {
    Failure::new(
        Exit::Failure,
        match status.code() {
            Some(code) => t!("ended with exit code %{code}", code = code),
            None => t!("was ended by a signal"),
        },
    )
}

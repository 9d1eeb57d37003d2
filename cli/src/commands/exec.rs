//! `berth exec`: runs an allowed program at the server, with this process's standard input, output and error.
//!
//! Bytes go through as they are, in both directions and to both outputs. How the program ends is how `berth` ends.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::thread;

use berth::exec::{Exec, ExecEvent};
use berth_common::exec::{Arguments, ExecEnd, MAX_EXEC_DATA, OutputStream};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Context, failed, lost};
use crate::args::ExecArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::complain_in_json;

/// What is wrong with the command line, told before anybody is asked for a password.
pub(super) fn check(args: &ExecArgs) -> Result<(), Failure> {
    arguments(args).map(drop)
}

pub(super) async fn run(context: &Context, args: &ExecArgs) -> Result<Exit, Failure> {
    let program = &args.program;
    let named = |failure: Failure| failure.of(format_args!("exec {program}"));
    let arguments = arguments(args)?;
    let directory = context.cwd.clone();
    let begun = context.session.exec(program.clone(), arguments, directory).await;
    let mut exec = begun.map_err(|error| named(failed(&error)))?;
    let mut input = match args.no_input || !context.has_input {
        true => {
            exec.end_input().await.map_err(|error| named(lost(&error)))?;
            None
        }
        false => Some(read_input().map_err(named)?),
    };
    // Without the buffer of `std`, which looks for the ends of lines.
    let outputs = [io::stdout().as_fd(), io::stderr().as_fd()].map(|fd| fd.try_clone_to_owned());
    let [output, errors] = outputs;
    let (output, errors) = (File::from(output?), File::from(errors?));
    let end = loop {
        let has_room = exec.room() == MAX_EXEC_DATA;
        tokio::select! {
            event = exec.next() => match event.map_err(|error| named(failed(&error)))? {
                ExecEvent::Output(OutputStream::Stdout, data) => write(&output, data).await?,
                ExecEvent::Output(OutputStream::Stderr, data) => write(&errors, data).await?,
                ExecEvent::InputTaken => {}
                ExecEvent::Done(end) => break end,
            },
            data = next_input(&mut input), if has_room && input.is_some() => {
                if send(&mut exec, data).await.map_err(named)? {
                    input = None;
                }
            }
        }
    };
    tell(context, program.as_str(), end);
    Ok(exit(end))
}

fn arguments(args: &ExecArgs) -> Result<Arguments, Failure> {
    let list = args.arguments.iter().map(|argument| argument.clone().into_vec()).collect();
    Arguments::new(list).map_err(|error| Failure::usage(error).of("exec"))
}

/// How `berth` ends when the program has ended so; as a shell says it, and as timeout(1).
fn exit(end: ExecEnd) -> Exit {
    match end {
        ExecEnd::Exited { code: 0 } => Exit::Success,
        ExecEnd::Exited { code } => Exit::Program(code),
        ExecEnd::Signalled { signal } => Exit::Program(signal.saturating_add(128)),
        ExecEnd::OutOfTime { .. } | ExecEnd::OutOfCpu { .. } | ExecEnd::TooMuchOutput { .. } => {
            Exit::Limit
        }
    }
}

/// An end that is not the program's own is told in words; with --json every end is.
fn tell(context: &Context, program: &str, end: ExecEnd) {
    if context.output.style().json {
        let (how, value) = match end {
            ExecEnd::Exited { code } => ("exited", u64::from(code)),
            ExecEnd::Signalled { signal } => ("signalled", u64::from(signal)),
            ExecEnd::OutOfTime { seconds } => ("out_of_time", u64::from(seconds)),
            ExecEnd::OutOfCpu { seconds } => ("out_of_cpu", u64::from(seconds)),
            ExecEnd::TooMuchOutput { bytes } => ("too_much_output", bytes),
        };
        complain_in_json(&json!({ "program": program, "end": how, "value": value }));
    } else if !matches!(end, ExecEnd::Exited { .. }) {
        context.output.note(&format!("exec {program}: {end}"));
    }
}

/// Reads standard input on a thread of its own, a piece ahead of what was sent. The thread ends with the process: a
/// terminal may never say anything.
fn read_input() -> Result<mpsc::Receiver<io::Result<Vec<u8>>>, Failure> {
    let (pieces, input) = mpsc::channel(1);
    let cannot = |error: io::Error| {
        Failure::new(Exit::Failure, format!("cannot read its input: {}", human::reason(&error)))
    };
    let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
    let mut file = File::from(fd);
    let reading = move || {
        loop {
            let mut piece = vec![0; MAX_EXEC_DATA];
            let read = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(piece)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = read.is_err();
            if pieces.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("input".to_owned()).spawn(reading).map_err(cannot)?;
    Ok(input)
}

async fn next_input(
    input: &mut Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
) -> Option<io::Result<Vec<u8>>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

/// Sends a piece on, or says that there is none any more; whether that was the last.
async fn send(exec: &mut Exec, data: Option<io::Result<Vec<u8>>>) -> Result<bool, Failure> {
    match data {
        Some(Ok(data)) => {
            exec.input(data).await.map_err(|error| lost(&error))?;
            Ok(false)
        }
        Some(Err(error)) => Err(Failure::new(
            Exit::Failure,
            format!("cannot read its input: {}", human::reason(&error)),
        )),
        None => {
            exec.end_input().await.map_err(|error| lost(&error))?;
            Ok(true)
        }
    }
}

/// On another thread: whoever reads may pause for as long as he likes, and Ctrl-C is to be heard meanwhile.
async fn write(file: &File, data: Vec<u8>) -> Result<(), Failure> {
    let mut file = file.try_clone()?;
    let written = tokio::task::spawn_blocking(move || file.write_all(&data)).await;
    Ok(written.unwrap_or_else(|error| Err(io::Error::other(error)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_as_a_shell_says_it() {
        assert_eq!(exit(ExecEnd::Exited { code: 0 }), Exit::Success);
        assert_eq!(exit(ExecEnd::Exited { code: 3 }).code(), 3);
        assert_eq!(exit(ExecEnd::Signalled { signal: 11 }).code(), 139);
        assert_eq!(exit(ExecEnd::OutOfTime { seconds: 60 }).code(), 124);
    }
}

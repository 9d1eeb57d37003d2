//! A jail's life, as a table of contents: demotion, its one task, the walls, the program, its end.
//!
//! This is the process outside of the walls. It holds the daemon's channel and, as every helper does, the lock file.
//! The program does not have that: what is left of one when a daemon was killed, while the kernel frees its memory, may
//! be beside a new daemon, and runs no further.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use berth_common::channel::{Channel, ChannelError, Received};
use berth_common::jail_protocol::{DaemonToJail, End, JailToDaemon, Refusal, Task};
use berth_common::points;
use berth_common::sandbox_mode::SandboxMode;
use berth_sandbox::DemotionError;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Pid;

use crate::keeper::{self, Wires};
use crate::places::{self, Places};
use crate::program::{Pipes, Words};
use crate::report::{Ended, NotStarted};
use crate::root;
use crate::sys::{self, Forked};
use crate::walls::{self, WallsError};

type DaemonChannel = Channel<JailToDaemon, DaemonToJail>;

/// Why a jail failed. The sentence goes to the daemon's log by the panic pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A step of the demotion failed.
    #[error("not demoted: {0}")]
    Demotion(#[from] DemotionError),
    /// The channel to the daemon failed.
    #[error("channel to the daemon: {0}")]
    Channel(#[from] ChannelError),
    /// The daemon said something else than a jail can do.
    #[error("the daemon sent something that was not expected")]
    Unexpected,
    /// The system refused something that is needed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the process. Success is every end of which the daemon was told.
pub(crate) fn run() -> ExitCode {
    match live() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics when the daemon has read enough from the pipe and closed it.
            let _ = writeln!(io::stderr(), "berth-jail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn live() -> Result<(), RunError> {
    // For ps and the kernel's log, which else have the number of the descriptor by which it was executed.
    rustix::thread::set_name(c"berth-jail").map_err(io::Error::from)?;
    points::from_argument()?;
    become_the_one_who_waits()?;
    let channel = DaemonChannel::from_descriptor(berth_sandbox::demote_jail()?)?;
    let (task, passed) = match channel.recv() {
        Ok(Received { message: DaemonToJail::Run(task), descriptors }) => (task, descriptors),
        Ok(Received { message: DaemonToJail::Stop, .. }) => return Err(RunError::Unexpected),
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let [home, program, input, output, errors] =
        <[OwnedFd; 5]>::try_from(passed).map_err(|_| RunError::Unexpected)?;
    let pipes = Pipes { input, output, errors };
    let prepared = prepare(&task, &home, &program);
    // Descriptors of the machine's own mounts: through them a process would walk around the walls.
    drop((home, program));
    match prepared {
        Ok((places, directory)) => serve(&channel, &task, places, directory, pipes),
        Err(refusal) => Ok(channel.send(&JailToDaemon::Refused(refusal), &[])?),
    }
}

/// Whatever comes of this process is waited for: by this one, to which the kernel gives what has lost its parent, or,
/// after its death, by the daemon, which knows it by the group that this one begins and nobody in a jail can leave.
fn become_the_one_who_waits() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The walls, and what the program will see between them.
fn prepare(task: &Task, home: &OwnedFd, program: &OwnedFd) -> Result<(Places, OwnedFd), Refusal> {
    let refused = |step| Refusal::Jail { step };
    let paths = match walls::raise() {
        Ok(()) => root::enter(task).map_err(refused)?,
        // The daemon has said at its start what that means.
        Err(WallsError::NotGiven(_)) if task.sandbox == SandboxMode::BestEffort => {
            let (home, program) = places::of_the_machine(task);
            (home.to_vec(), program.to_vec())
        }
        Err(error) => return Err(refused(error.to_string())),
    };
    let places = Places::open((&paths.0, &paths.1), (home, program))
        .map_err(|error| refused(format!("open home and program: {error}")))?;
    let directory = places.open_directory(&task.directory)?;
    Ok((places, directory))
}

fn serve(
    channel: &DaemonChannel,
    task: &Task,
    places: Places,
    directory: OwnedFd,
    pipes: Pipes,
) -> Result<(), RunError> {
    let words = Words::new(task, &places)?;
    let (life, alive) = io::pipe()?;
    let (mut not_started, tell_not_started) = io::pipe()?;
    let (mut ended, tell_ended) = io::pipe()?;
    let keeper = match sys::fork()? {
        Forked::Parent(keeper) => keeper,
        Forked::Child => {
            drop((alive, not_started, ended));
            // Its copy of the channel would hide this process's end from the daemon.
            let hidden = rustix::stdio::dup2_stdin(&life);
            if let Err(error) = hidden {
                return Err(io::Error::from(error).into());
            }
            let wires = Wires { life, not_started: tell_not_started, ended: tell_ended };
            keeper::keep(task, places, directory, pipes, &words, wires)
        }
    };
    drop((life, tell_not_started, tell_ended, places, directory, pipes));
    walls::give_up_capabilities()?;
    berth_sandbox::confine_keeper(task.sandbox)?.seal()?;
    match NotStarted::hear(&mut not_started)? {
        None => channel.send(&JailToDaemon::Started, &[])?,
        Some(why) => {
            drop(alive);
            wait_for_all(keeper)?;
            let refusal = match why {
                NotStarted::Execute(errno) => Refusal::Program { errno },
                NotStarted::Before(errno) => {
                    let reason = io::Error::from_raw_os_error(errno);
                    Refusal::Jail { step: format!("demote the program: {reason}") }
                }
            };
            return Ok(channel.send(&JailToDaemon::Refused(refusal), &[])?);
        }
    }
    let end = wait(channel, keeper, alive, &mut ended)?;
    let cpu_milliseconds = u64::try_from(end.cpu.as_millis()).unwrap_or(u64::MAX);
    Ok(channel.send(&JailToDaemon::Ended { end: end.end, cpu_milliseconds }, &[])?)
}

/// Until nothing of the jail is left but this process.
fn wait(
    channel: &DaemonChannel,
    keeper: Pid,
    alive: io::PipeWriter,
    ended: &mut io::PipeReader,
) -> Result<Ended, RunError> {
    let mut both = [
        PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
    ];
    while let Err(error) = rustix::event::poll(&mut both, None) {
        if error != rustix::io::Errno::INTR {
            return Err(io::Error::from(error).into());
        }
    }
    // Whatever it was: the program's own end, the daemon's order, or the daemon's end.
    drop(alive);
    let told = Ended::hear(ended)?;
    let cpu = wait_for_all(keeper)?;
    let killed = Ended { end: End::Signalled(KILLED), cpu };
    Ok(told.unwrap_or(killed))
}

/// Also for the program, which is this process's child once the keeper is gone where no process namespace has ended it
/// before. Gives what they have used of the processor.
fn wait_for_all(keeper: Pid) -> io::Result<Duration> {
    let (_, mut cpu) = sys::wait_for(keeper)?;
    while let Some(more) = sys::wait_for_any()? {
        cpu += more;
    }
    Ok(cpu)
}

/// The signal of which the kernel makes use.
const KILLED: u8 = 9;

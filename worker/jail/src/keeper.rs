//! The process between the outer one and the program: the first of the jail's process namespace.
//!
//! A program that were the first itself would not get the signals that it sends itself. When this process ends, the
//! kernel ends every process of the namespace before it is gone, so that whoever has waited for it knows that
//! nothing of the jail is left.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process;

use berth_common::jail_protocol::Task;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::places::Places;
use crate::program::{self, Pipes, Words};
use crate::report::Ended;
use crate::sys::{self, Forked};
use crate::walls;

/// What it needs, besides what the program does.
pub(crate) struct Wires {
    /// Ends when the outer process wants the program's end, or has ended.
    pub(crate) life: io::PipeReader,
    /// For the program's process, to tell that it is not started. What is executed does not have it.
    pub(crate) not_started: io::PipeWriter,
    /// To tell how it ended.
    pub(crate) ended: io::PipeWriter,
}

/// Starts the program and waits for its end, or for the order to end. Never returns.
pub(crate) fn keep(
    task: &Task,
    places: Places,
    directory: OwnedFd,
    pipes: Pipes,
    words: &Words,
    wires: Wires,
) -> ! {
    // A parent that has died before is seen by the pipe.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let Wires { life, mut not_started, mut ended } = wires;
    let this = rustix::process::getpid();
    let program = match sys::fork() {
        Ok(Forked::Parent(program)) => program,
        Ok(Forked::Child) => {
            drop((life, ended));
            // To tell of what goes wrong before the program's own errors take its place.
            let told = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3);
            let error = program::become_it(task, &places, &directory, pipes, words, this);
            error.report().tell(&mut not_started);
            if let Ok(told) = told {
                let _ = rustix::io::write(told, format!("berth-jail: {error}\n").as_bytes());
            }
            process::exit(1)
        }
        Err(error) => fail("make a process", &error),
    };
    // What is the program's is nobody else's: its pipes end with it.
    drop((not_started, places, directory, pipes));
    match wait(task, program, &life) {
        Ok(Some(end)) => {
            end.tell(&mut ended);
            process::exit(0)
        }
        // The rest is the kernel's.
        Ok(None) => process::exit(0),
        Err(error) => fail("wait for the program", &error),
    }
}

/// `None` when the outer process wants the end.
fn wait(task: &Task, program: Pid, life: &io::PipeReader) -> io::Result<Option<Ended>> {
    let pidfd = rustix::process::pidfd_open(program, PidfdFlags::empty())?;
    walls::give_up_capabilities()?;
    let confined = berth_sandbox::confine_keeper(task.sandbox).map_err(io::Error::other)?;
    confined.seal().map_err(io::Error::other)?;
    loop {
        let mut both = [
            PollFd::from_borrowed_fd(life.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut both, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [life, end] = both.map(|waited| !waited.revents().is_empty());
        if end {
            let (end, cpu) = sys::wait_for(program)?;
            return Ok(Some(Ended { end, cpu }));
        }
        if life {
            return Ok(None);
        }
    }
}

fn fail(what: &str, error: &io::Error) -> ! {
    // Not `eprintln`, which panics when the daemon has read enough from the pipe and closed it.
    let _ = writeln!(io::stderr(), "berth-jail: cannot {what}: {error}");
    process::exit(1)
}

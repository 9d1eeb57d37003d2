//! The innermost process: it gives up what is left and becomes the program.
//!
//! The order is that of a demotion, and ends in the program's first instruction: its pipes, limits,
//! capabilities, Landlock, seccomp, `execve`. Of all descriptors it has its three pipes alone.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use berth_common::jail_protocol::{Limits, Task};
use berth_sandbox::{DemotionError, JailRights};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::places::Places;
use crate::report::NotStarted;
use crate::{sys, walls};

/// Bytes of a stack, as most systems have it; none where the program may have less memory.
const STACK: u64 = 8 * 1024 * 1024;

/// The program's ends of its pipes.
pub(crate) struct Pipes {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

/// What it is executed with.
pub(crate) struct Words {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Words {
    /// The name and the arguments, byte for byte, and an environment that says where the home is and that text is
    /// UTF-8.
    ///
    /// # Errors
    /// None, since arguments without NUL bytes are what the task's type has.
    pub(crate) fn new(task: &Task, places: &Places) -> io::Result<Self> {
        let mut arguments = vec![CString::new(task.name.as_str())?];
        for argument in task.arguments.iter() {
            arguments.push(CString::new(argument)?);
        }
        let mut home = b"HOME=".to_vec();
        home.extend_from_slice(places.home_path.as_bytes());
        Ok(Self { arguments, environment: vec![CString::new(home)?, c"LANG=C.UTF-8".into()] })
    }
}

/// Why the process did not become the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// A system call before that failed.
    #[error("{0}: {1}")]
    Step(&'static str, #[source] io::Error),
    /// It could not be confined.
    #[error("{0}")]
    Demotion(#[from] DemotionError),
    /// It was not executed.
    #[error("the program is not executed: {0}")]
    Execute(#[source] io::Error),
}

impl ProgramError {
    /// What of it is told outside.
    pub(crate) fn report(&self) -> NotStarted {
        match self {
            Self::Execute(error) => NotStarted::Execute(error.raw_os_error().unwrap_or(0)),
            Self::Step(_, error) => NotStarted::Before(error.raw_os_error().unwrap_or(0)),
            Self::Demotion(_) => NotStarted::Before(0),
        }
    }
}

/// Becomes the program. Returns only when that failed.
pub(crate) fn become_it(
    task: &Task,
    places: &Places,
    directory: &OwnedFd,
    pipes: Pipes,
    words: &Words,
    keeper: Pid,
) -> ProgramError {
    match prepare(task, places, directory, pipes, keeper) {
        Ok(()) => ProgramError::Execute(sys::execute(
            &places.program,
            &words.arguments,
            &words.environment,
        )),
        Err(error) => error,
    }
}

fn prepare(
    task: &Task,
    places: &Places,
    directory: &OwnedFd,
    pipes: Pipes,
    keeper: Pid,
) -> Result<(), ProgramError> {
    let step = |what| move |error| ProgramError::Step(what, error);
    let errno = |what| move |error: rustix::io::Errno| ProgramError::Step(what, error.into());
    // Where there is no process namespace, this alone ends it with the one that waits.
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    death.map_err(errno("ask to die with the parent"))?;
    if rustix::process::getppid() != Some(keeper) {
        return Err(ProgramError::Step("find the parent", io::ErrorKind::NotFound.into()));
    }
    rustix::process::fchdir(directory).map_err(errno("enter the directory"))?;
    rustix::stdio::dup2_stdin(&pipes.input).map_err(errno("take the input"))?;
    rustix::stdio::dup2_stdout(&pipes.output).map_err(errno("take the output"))?;
    rustix::stdio::dup2_stderr(&pipes.errors).map_err(errno("take the errors"))?;
    drop(pipes);
    sys::close_on_exec_from(3).map_err(step("close descriptors"))?;
    limit(task.limits).map_err(errno("set limits"))?;
    walls::give_up_capabilities().map_err(step("give up capabilities"))?;
    let rights = JailRights {
        home: places.home.as_fd(),
        libraries: &places.libraries,
        files: &places.files,
        executables: &places.executables,
    };
    let confined = berth_sandbox::confine_program(rights, task.sandbox)?;
    sys::reset_signals().map_err(step("reset signals"))?;
    confined.seal()?;
    Ok(())
}

/// RLIMIT_NPROC is not among them: it counts the system user, and no table has a call that makes a process.
fn limit(limits: Limits) -> Result<(), rustix::io::Errno> {
    let cpu = u64::from(limits.cpu_seconds);
    let memory = limits.memory_bytes;
    for (resource, soft, hard) in [
        // At the first SIGXCPU, which a program may ignore, at the second the end.
        (Resource::Cpu, cpu, cpu + 1),
        (Resource::As, memory, memory),
        (Resource::Data, memory, memory),
        (Resource::Stack, STACK.min(memory), STACK.min(memory)),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
    ] {
        let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
        rustix::process::setrlimit(resource, limit)?;
    }
    Ok(())
}

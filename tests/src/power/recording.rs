//! strace, attached to programs under test while they work. Needs root: they are not dumpable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::trace::{ARGUMENTS, Event, read};
use crate::process;
use crate::wait::wait_until;

/// A trace that is being made.
#[derive(Debug)]
pub struct Recording {
    strace: Child,
    file: PathBuf,
}

impl Recording {
    /// Attaches to these processes, and to all that they start from then on.
    ///
    /// # Panics
    /// When strace is not there or cannot attach.
    #[must_use]
    pub fn of(processes: &[u32], file: PathBuf) -> Self {
        let mut strace = Command::new("strace");
        strace.args(ARGUMENTS).arg("-o").arg(&file);
        for pid in processes {
            strace.args(["-p", &pid.to_string()]);
        }
        let strace = strace.stdin(Stdio::null()).spawn().expect("strace is installed");
        wait_until("strace has attached to every thread", || {
            processes.iter().all(|pid| process::is_traced(*pid))
        });
        Self { strace, file }
    }

    /// What was recorded below `root`. The traced processes must have ended, which ends strace.
    ///
    /// # Panics
    /// When the trace cannot be read.
    #[must_use]
    pub fn finish(mut self, root: &Path) -> Vec<Event> {
        self.strace.wait().unwrap();
        read(&fs::read_to_string(&self.file).unwrap(), root)
    }
}

/// The command under strace, from its start on. Its process is strace, and the program its child;
/// strace ends when the program does.
#[must_use]
pub fn of_command(command: &Command, file: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(ARGUMENTS).arg("-o").arg(file);
    strace.arg(command.get_program()).args(command.get_args());
    strace.env_clear();
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        strace.current_dir(directory);
    }
    strace
}

impl Drop for Recording {
    fn drop(&mut self) {
        // By its handle; it ends by itself when the traced processes have.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

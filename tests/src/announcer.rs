//! A `berthd announce` of one test's own, killed on drop.

use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::process::Signal;

use crate::account;
use crate::binaries::Binaries;
use crate::log::Log;
use crate::network::Machine;
use crate::process;

/// A running announcer.
#[derive(Debug)]
pub struct Announcer {
    child: Child,
    log: Log,
    _binaries: Arc<Binaries>,
}

impl Announcer {
    /// Starts one on a machine.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(machine: &Machine, arguments: &[&str]) -> Self {
        Self::with_environment(machine, arguments, &[])
    }

    /// The same with more variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn with_environment(
        machine: &Machine,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let binaries = Binaries::shared();
        let mut command = account::command(&binaries.path("berthd"));
        command
            .args(["announce", "--log-format", "json"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = machine.within(|| command.spawn()).expect("berthd can be started");
        let log = Log::capture(child.stderr.take().expect("a pipe"));
        Self { child, log, _binaries: binaries }
    }

    /// Waits until it has announced itself by this name.
    pub fn wait_for_name(&self, name: &str) {
        self.log.wait_after(0, &format!("{name} is announced"), |line| {
            line.message() == "announced"
                && line.text("name") == Some(format!("{name:?}"))
                && line.text("interfaces").is_some_and(|it| it != "[]")
        });
    }

    /// What it logs.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM), and returns its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn terminate(mut self) -> Option<i32> {
        process::signal(self.pid(), Signal::TERM);
        let child = &mut self.child;
        crate::wait_for("the announcer ends after SIGTERM", || child.try_wait().unwrap()).code()
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the announcer's log ---\n{}--- end of the log ---", self.log.text());
        }
    }
}

//! Stops the processes under test at named points of the protocol, and takes rules of it away.
//!
//! [`Points`] own the control file that a server and its helpers have mapped (`berth_common::points`). A
//! test arms a point, has something done, and waits until a process has stopped there; that one it kills
//! or lets go on. Only builds with debug assertions have points, and this module.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use berth_common::points::{CONTROL_BYTES, Control, Point, Rule};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::account;
use crate::client::{Client, Running};
use crate::process;
use crate::wait::{wait_for, wait_until};

/// The control file of one server.
#[derive(Debug)]
pub struct Points {
    directory: TempDir,
    file: std::path::PathBuf,
    control: &'static Control,
}

impl Points {
    /// With nothing armed and no rule off.
    ///
    /// # Panics
    /// When the file cannot be made.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("berth-points-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("control");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(CONTROL_BYTES as u64).unwrap();
        account::give(&path);
        let control = Control::map(&file).unwrap();
        Self { directory, file: path, control }
    }

    /// The control file, as `BERTH_TEST_POINTS` has it.
    #[must_use]
    pub fn file(&self) -> &Path {
        debug_assert!(self.file.starts_with(self.directory.path()));
        &self.file
    }

    /// The next process that passes the point stops there; those after it pass.
    pub fn arm(&self, point: Point) {
        self.control.arm(point, 0);
    }

    /// The same for the passing after `let_by` others.
    pub fn arm_after(&self, point: Point, let_by: u32) {
        self.control.arm(point, let_by);
    }

    /// Takes back what was armed, if nobody has come by.
    pub fn disarm(&self, point: Point) {
        self.control.disarm(point);
    }

    /// How often the point was passed since these points were made.
    #[must_use]
    pub fn passed(&self, point: Point) -> u32 {
        self.control.passed(point)
    }

    /// Waits until a process has stopped at the point.
    ///
    /// # Panics
    /// When none does in time.
    #[track_caller]
    pub fn wait_stopped(&self, point: Point) -> Stopped<'_> {
        wait_for(&format!("a process stops at {point}"), || self.stopped(point))
    }

    /// Has a client begin a command, and waits until a process has stopped for it at the point.
    ///
    /// # Panics
    /// When the command ends without passing the point, or none stops in time.
    #[track_caller]
    pub fn stop(&self, point: Point, client: &Client, command: &[&str]) -> (Running, Stopped<'_>) {
        eprintln!("{command:?} is to stop at {point}");
        self.stop_begun(point, || client.spawn(command))
    }

    /// The same for whatever is begun.
    ///
    /// # Panics
    /// As [`Points::stop`].
    #[track_caller]
    pub fn stop_begun(
        &self,
        point: Point,
        begin: impl FnOnce() -> Running,
    ) -> (Running, Stopped<'_>) {
        self.arm(point);
        let mut running = begin();
        let stopped = wait_for("the command stops at the point", || {
            let stopped = self.stopped(point);
            assert!(stopped.is_some() || !running.has_ended(), "it ended without passing {point}");
            stopped
        });
        (running, stopped)
    }

    /// The process that has stopped at the point, if one has.
    #[must_use]
    pub fn stopped(&self, point: Point) -> Option<Stopped<'_>> {
        let pid = self.control.claimed_by(point)?;
        process::is_stopped(pid).then_some(Stopped { pid, point, points: self })
    }

    /// Takes a rule away, for all processes at once.
    pub fn rule_off(&self, rule: Rule) {
        self.control.set_rule(rule, true);
    }

    /// Gives a rule back.
    pub fn rule_on(&self, rule: Rule) {
        self.control.set_rule(rule, false);
    }
}

/// A process that stands at a point.
#[derive(Debug)]
#[must_use = "a process that is neither killed nor let go on stays where it is"]
pub struct Stopped<'a> {
    /// Its number.
    pub pid: u32,
    point: Point,
    points: &'a Points,
}

impl Stopped<'_> {
    /// Kills it where it stands. A daemon has to be reaped by `Server::kill_daemon` instead.
    pub fn kill(self) {
        process::signal(self.pid, Signal::KILL);
        self.points.control.disarm(self.point);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not.
    pub fn go_on(self) {
        self.points.control.disarm(self.point);
        wait_until("a stopped process goes on", || {
            process::signal(self.pid, Signal::CONT);
            self.points.control.is_left(self.point) || !process::runs(self.pid)
        });
    }
}

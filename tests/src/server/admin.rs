//! What a test does to its server as an administrator, through the real `berthctl`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Server;
use crate::Outcome;
use crate::account;
use crate::client::Running;
use crate::disk::Sums;
use crate::terminal::Terminal;
use crate::wait::{wait_for, wait_until};

/// A session, as `berthctl session list --json` tells it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub id: u64,
    /// The user, once logged in.
    pub user: Option<String>,
    /// The worker's process.
    pub worker: u32,
    /// The filer's process, once logged in.
    pub filer: Option<u32>,
}

impl Server {
    /// Runs `berthctl` with these arguments and without a terminal.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn berthctl<S: AsRef<str>>(&self, arguments: &[S]) -> Outcome {
        self.berthctl_with(arguments, None)
    }

    /// The same in a locale.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn berthctl_in<S: AsRef<str>>(&self, locale: &str, arguments: &[S]) -> Outcome {
        let mut command = self.berthctl_command(arguments);
        command.env("LC_ALL", locale).stdin(Stdio::null()).stdout(Stdio::piped());
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        Running::start(command, format!("berthctl {} in {locale}", arguments.join(" "))).wait()
    }

    /// Starts `berthctl` on a terminal of so many columns, in a locale.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn berthctl_on_terminal<S: AsRef<str>>(
        &self,
        locale: &str,
        arguments: &[S],
        columns: u16,
    ) -> Terminal {
        let mut command = self.berthctl_command(arguments);
        command.env("LC_ALL", locale);
        Terminal::start(&command, columns, 40)
    }

    /// The same with a password in the environment.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn berthctl_with<S: AsRef<str>>(&self, arguments: &[S], password: Option<&str>) -> Outcome {
        self.begin_berthctl(arguments, password).wait()
    }

    /// The same, without waiting for its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn begin_berthctl<S: AsRef<str>>(
        &self,
        arguments: &[S],
        password: Option<&str>,
    ) -> Running {
        let mut command = self.berthctl_command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(password) = password {
            command.env("BERTH_PASSWORD", password);
        }
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        Running::start(command, format!("berthctl {}", arguments.join(" ")))
    }

    fn berthctl_command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = account::command(&self.binaries().path("berthctl"));
        command.arg("--data-dir").arg(self.data()).current_dir(self.scratch());
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    /// What the ledger has of a user, as `berthctl user show --json` tells it.
    ///
    /// # Panics
    /// When there is no such user.
    #[must_use]
    pub fn user(&self, user: &str) -> Value {
        self.berthctl(&["--json", "user", "show", user]).ok().json()
    }

    /// The sessions of now.
    ///
    /// # Panics
    /// When they cannot be listed.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let listed = self.berthctl(&["--json", "session", "list"]).ok().json();
        let pid = |value: &Value| value.as_u64().and_then(|pid| u32::try_from(pid).ok());
        let sessions = listed.as_array().expect("an array of sessions").iter();
        sessions
            .map(|session| Session {
                id: session["session"].as_u64().expect("a session's number"),
                user: session["user"].as_str().map(str::to_owned),
                worker: pid(&session["worker_pid"]).expect("a worker's pid"),
                filer: pid(&session["filer_pid"]),
            })
            .collect()
    }

    /// The sessions of a user, logged in and with a filer.
    #[must_use]
    pub fn sessions_of(&self, user: &str) -> Vec<Session> {
        let mut sessions = self.sessions();
        sessions.retain(|session| session.user.as_deref() == Some(user) && session.filer.is_some());
        sessions
    }

    /// The one session of a user, as soon as there is one.
    #[must_use]
    pub fn session_of(&self, user: &str) -> Session {
        wait_for("the user is logged in", || self.sessions_of(user).into_iter().next())
    }

    /// Waits until a user has no session, so that all of its rows are settled or without owner.
    pub fn wait_for_no_session_of(&self, user: &str) {
        wait_until("the user's sessions have ended", || {
            !self.sessions().iter().any(|session| session.user.as_deref() == Some(user))
        });
    }

    /// Claims that the ledger equals a walk of the user's home, and that nothing is reserved or
    /// left in staging: the state of rest without open uploads.
    ///
    /// # Panics
    /// When it does not, within the deadline: what is left over is removed after the answer.
    #[track_caller]
    pub fn assert_at_rest(&self, user: &str) {
        self.wait_for_no_session_of(user);
        wait_until("staging is empty", || crate::disk::entries(&self.staging(user)).is_empty());
        let row = self.user(user);
        let walked = self.home_sums(user);
        let used = Sums {
            bytes: row["used_bytes"].as_u64().expect("used_bytes"),
            entries: row["used_entries"].as_u64().expect("used_entries"),
        };
        assert_eq!(used, walked, "the ledger (left) and a walk of {user}'s home (right)");
        assert_eq!((&row["reserved_bytes"], &row["reserved_entries"]), (&0.into(), &0.into()));
        assert_eq!(crate::ledger::open_rows(&self.data(), user), 0, "rows of {user}");
    }
}

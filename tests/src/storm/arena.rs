//! The server in the storm: all threads' way to it, and to its end and its next start.
//!
//! Who reads [`Arena::server`] keeps the daemon alive meanwhile: a kill of the daemon waits for it.
//! Only processes that descend from this server are ever killed, each through a descriptor that
//! cannot come to mean another process.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use berth_common::admin_protocol::{AdminToDaemon, Change, DaemonToAdmin, SessionSummary};
use berth_common::entry::Limits;
use berth_common::ids::UserName;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::tally::{Killed, Tally};
use crate::{Server, process};

/// The server.
#[derive(Debug)]
pub struct Arena {
    server: RwLock<Server>,
    /// Counts.
    pub tally: Tally,
    /// How long a user may take to come to rest.
    pub patience: Duration,
}

impl Arena {
    /// Puts a running server into it.
    #[must_use]
    pub fn new(server: Server, tally: Tally, patience: Duration) -> Self {
        Self { server: RwLock::new(server), tally, patience }
    }

    /// The server, which is up and stays up until this is dropped.
    pub fn server(&self) -> RwLockReadGuard<'_, Server> {
        self.server.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens now.
    ///
    /// # Panics
    /// When the address is none.
    pub fn address(&self) -> SocketAddr {
        self.server().address().parse().expect("an address")
    }

    /// The session of a connection from this address of ours.
    ///
    /// # Errors
    /// When the daemon does not answer, or has no such session.
    pub fn session_from(&self, peer: SocketAddr) -> io::Result<SessionSummary> {
        let sessions = self.server().list_sessions()?;
        let peer = peer.to_string();
        let ours = sessions.into_iter().find(|session| session.peer == peer);
        ours.ok_or_else(|| io::Error::other("the session has ended"))
    }

    /// Sets a user's limits.
    ///
    /// # Panics
    /// When the daemon does not take them.
    pub fn set_limits(&self, user: &str, limits: Limits) {
        let user = UserName::new(user).expect("a user's name");
        let change = |limit: Option<u64>| limit.map_or(Change::Unlimited, Change::To);
        let (bytes, entries) = (change(limits.bytes), change(limits.entries));
        let question = AdminToDaemon::QuotaSet { user, bytes, entries };
        let answer = self.server().ask_as_administrator(&question);
        assert_eq!(answer.expect("an answer"), DaemonToAdmin::Done);
    }

    /// Kills a worker or filer of the daemon's. `false` when it is not there any more.
    pub fn kill_helper(&self, pid: u32, kind: Killed) -> bool {
        let killed = kill_child(self.server().pid(), pid);
        if killed {
            self.tally.killed(kind);
        }
        killed
    }

    /// Kills the filer that recovers a user's staging, if there is one just now.
    pub fn kill_recovering(&self, user: &str) -> bool {
        let server = self.server();
        let killed = kill_recovering(server.pid(), &server.staging(user));
        if killed {
            self.tally.killed(Killed::Recovering);
        }
        killed
    }

    /// Kills the daemon and starts the next on the same data. With `recovering_after` the filer that
    /// recovers this user's staging at the start is killed too, so long after that start.
    pub fn kill_daemon(&self, recovering: Option<(&str, Duration)>) {
        let mut server = self.server.write().unwrap_or_else(PoisonError::into_inner);
        self.tally.log_of_a_daemon(server.log());
        server.kill_daemon();
        self.tally.killed(Killed::Daemon);
        let begun = Instant::now();
        let mut due = recovering.map(|(user, after)| (server.staging(user), after));
        server.restart_while(|daemon| {
            let is_due = due.as_ref().is_some_and(|(_, after)| begun.elapsed() >= *after);
            if let Some((staging, _)) = due.as_ref().filter(|_| is_due)
                && kill_recovering(daemon, staging)
            {
                self.tally.killed(Killed::Recovering);
                due = None;
            }
        });
    }

    /// Ends the storm: what is left of the daemon's log is counted.
    pub fn finish(self, keep: bool) -> Tally {
        let mut server = self.server.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.tally.log_of_a_daemon(server.log());
        if keep {
            server.keep_directory();
        }
        self.tally
    }
}

/// Kills a process if it is a child of the daemon.
fn kill_child(daemon: u32, pid: u32) -> bool {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    // The descriptor first: after that the number cannot come to mean another process unnoticed.
    let Ok(descriptor) = pidfd_open(number, PidfdFlags::empty()) else {
        return false;
    };
    process::is_child(pid, daemon) && pidfd_send_signal(&descriptor, Signal::KILL).is_ok()
}

/// A filer with the user's staging open and not its home recovers; any other serves, or waits.
fn kill_recovering(daemon: u32, staging: &Path) -> bool {
    let home = staging.with_file_name("home");
    let recovers = |pid: &u32| {
        process::name(*pid).is_some_and(|name| name == "berth-filer") && {
            let open = open_files(*pid);
            let has = |wanted: &Path| open.iter().any(|path| path.as_path() == wanted);
            has(staging) && !has(&home)
        }
    };
    let found = process::children(daemon).into_iter().find(recovers);
    found.is_some_and(|pid| kill_child(daemon, pid))
}

/// What a process has open. Needs root for a process that is not dumpable.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

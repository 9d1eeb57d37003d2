//! The server in the storm: all threads' way to it, and to its end and its next start.
//!
//! Who reads [`Arena::server`] keeps the daemon alive meanwhile: a kill of the daemon waits for it.
//! An administrator asks without that, so that the daemon may die over an answer.
//! Only processes that descend from this server are ever killed, each through a descriptor that
//! cannot come to mean another process.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use berth_common::admin_protocol::{
    AdminError, AdminToDaemon, Change, DaemonToAdmin, SessionSummary,
};
use berth_common::entry::{Limits, Usage};
use berth_common::ids::UserName;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::tally::{Killed, Tally};
use crate::{Server, process};

/// Bytes that a file may have during an outage: less than the ledger and its log have at once.
const MOST_IN_AN_OUTAGE: u64 = 4096;

/// The server.
#[derive(Debug)]
pub struct Arena {
    server: RwLock<Server>,
    data: PathBuf,
    /// Whether there is an outage of the ledger.
    is_out: AtomicBool,
    strikes: AtomicU64,
    /// Counts.
    pub tally: Tally,
    /// How long a user may take to come to rest.
    pub patience: Duration,
}

impl Arena {
    /// Puts a running server into it.
    #[must_use]
    pub fn new(server: Server, tally: Tally, patience: Duration) -> Self {
        let data = server.data();
        let (is_out, strikes) = (AtomicBool::default(), AtomicU64::default());
        Self { server: RwLock::new(server), data, is_out, strikes, tally, patience }
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

    /// Asks the daemon of now something, which may die over it: then it is not known what came of it.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, question: &AdminToDaemon) -> io::Result<DaemonToAdmin> {
        crate::server::ask_as_administrator(&self.data, question)
    }

    /// Sets a user's limits, however often a daemon dies over it or cannot write its ledger.
    ///
    /// # Panics
    /// When the daemon does not take them.
    pub fn set_limits(&self, user: &str, limits: Limits) {
        let user = UserName::new(user).expect("a user's name");
        let change = |limit: Option<u64>| limit.map_or(Change::Unlimited, Change::To);
        let (bytes, entries) = (change(limits.bytes), change(limits.entries));
        self.insist(&AdminToDaemon::QuotaSet { user, bytes, entries });
    }

    /// A user's usage, as the daemon tells it.
    ///
    /// # Panics
    /// When it does not.
    pub fn usage(&self, user: &str) -> Usage {
        let user = UserName::new(user).expect("a user's name");
        let question = AdminToDaemon::UserShow { user };
        crate::wait_for("a user's usage", || match self.ask(&question) {
            Ok(DaemonToAdmin::User(shown)) => Some(shown.usage),
            Ok(DaemonToAdmin::Refused(AdminError::Ledger)) | Err(_) => None,
            Ok(other) => panic!("instead of a user: {other:?}"),
        })
    }

    /// Asks for something that may be done twice, until it is done.
    fn insist(&self, question: &AdminToDaemon) {
        crate::wait_for("the daemon does what is asked", || match self.ask(question) {
            Ok(DaemonToAdmin::Done) => Some(()),
            Ok(DaemonToAdmin::Refused(AdminError::Ledger)) | Err(_) => None,
            Ok(other) => panic!("{question:?}: {other:?}"),
        });
    }

    /// Goes on when everybody is struck, and again when that is over: by a kill of the daemon, or an outage of its
    /// ledger. `None` during an outage.
    pub fn strikes(&self) -> Option<u64> {
        let strikes = self.strikes.load(Ordering::SeqCst);
        (!self.is_out.load(Ordering::SeqCst)).then_some(strikes)
    }

    /// Keeps the daemon from writing its ledger for a while: no file may grow, as on a full disk. Returns when a
    /// daemon can write it again. Nothing happens while another outage lasts.
    ///
    /// # Panics
    /// When the kernel refuses, or the ledger does not work again.
    pub fn outage(&self, lasts: Duration, user: &str) {
        if self.is_out.swap(true, Ordering::SeqCst) {
            return;
        }
        self.strikes.fetch_add(1, Ordering::SeqCst);
        let limited = {
            let server = self.server();
            process::limit_file_sizes(server.pid(), Some(MOST_IN_AN_OUTAGE));
            server.pid()
        };
        // The daemon may be killed meanwhile. The next one has no limit.
        let _: Option<()> = crate::wait::within(lasts, || None);
        {
            let server = self.server();
            if server.pid() == limited {
                // First the daemon: what it has started until then has inherited the limit.
                process::limit_file_sizes(limited, None);
                process::unlimit_file_sizes(&process::children(limited));
            }
        }
        // Something that is written and changes nothing.
        let user = UserName::new(user).expect("a user's name");
        self.insist(&AdminToDaemon::UserUnlock { user });
        self.tally.outage();
        self.strikes.fetch_add(1, Ordering::SeqCst);
        self.is_out.store(false, Ordering::SeqCst);
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
        self.strikes.fetch_add(1, Ordering::SeqCst);
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
        // Once more: who has counted the first one and found the sessions alive feels it only later.
        self.strikes.fetch_add(1, Ordering::SeqCst);
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

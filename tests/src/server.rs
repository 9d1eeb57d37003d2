//! A `berthd` of one test's own: started, spoken to as an administrator, killed on drop.

mod admin;
mod options;
mod socket;
mod start;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use rustix::process::Signal;
use tempfile::TempDir;

pub use admin::Session;
pub use options::Options;
pub use socket::{ask_as_administrator, user_of_cheap_logins};
pub use start::{Refusal, check};

use crate::binaries::Binaries;
use crate::client::Client;
use crate::disk::{self, Sums};
use crate::log::Log;
use crate::process;
use crate::wait::wait_until;

/// A running server.
#[derive(Debug)]
pub struct Server {
    binaries: Arc<Binaries>,
    directory: TempDir,
    options: Options,
    daemon: Child,
    address: String,
    fingerprint: String,
    log: Log,
    clients: std::sync::atomic::AtomicUsize,
}

impl Server {
    /// Starts a server, and returns when it listens.
    ///
    /// # Panics
    /// When it does not come up; the panic has what it printed.
    #[must_use]
    pub fn start(options: Options) -> Self {
        Self::try_start(options).unwrap_or_else(|refusal| panic!("berthd: {refusal:?}"))
    }

    /// Starts a server with the user alice, whose quota is as `berthctl` takes it, and a client of hers.
    ///
    /// # Panics
    /// As [`Server::start`] and [`Server::add_user`].
    #[must_use]
    pub fn with_alice(quota: &str) -> (Self, Client) {
        let server = Self::start(Options::new());
        server.add_user("alice", "a", quota);
        let alice = server.client("alice", "a");
        (server, alice)
    }

    /// Starts a server that may refuse to serve.
    ///
    /// # Errors
    /// What it printed, when it ended instead of listening.
    pub fn try_start(options: Options) -> Result<Self, Refusal> {
        start::new(options)
    }

    /// The address to connect to, `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate's fingerprint, `SHA256:` and the digits.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The daemon's log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The daemon's process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// A directory of the test's own beside the server's, which the ordinary user may write.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        start::scratch(self.directory.path())
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        start::data(self.directory.path())
    }

    /// A user's home on disk.
    #[must_use]
    pub fn home(&self, user: &str) -> PathBuf {
        self.data().join("users").join(user).join("home")
    }

    /// A user's staging directory on disk.
    #[must_use]
    pub fn staging(&self, user: &str) -> PathBuf {
        self.data().join("users").join(user).join("staging")
    }

    /// What stands in a user's home.
    #[must_use]
    pub fn home_sums(&self, user: &str) -> Sums {
        disk::walk(&self.home(user))
    }

    /// A client of this server, with a configuration and a state of its own.
    #[must_use]
    pub fn client(&self, user: &str, password: &str) -> Client {
        let number = self.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = self.scratch().join(format!("{user}-{number}"));
        Client::new(Arc::clone(&self.binaries), directory, user, password)
            .at(&self.address, &self.fingerprint)
    }

    /// The programs that this server runs.
    #[must_use]
    pub fn binaries(&self) -> &Arc<Binaries> {
        &self.binaries
    }

    /// Kills one of this server's workers or filers, as a crash would.
    ///
    /// # Panics
    /// When the process is none of this daemon's children.
    pub fn kill_child(&self, pid: u32) {
        assert!(
            process::children(self.pid()).contains(&pid),
            "{pid} is no child of this server, so it is not ours to kill"
        );
        process::signal(pid, Signal::KILL);
    }

    /// Kills the daemon as a crash would, and returns when its workers and filers are gone too.
    pub fn kill_daemon(&mut self) {
        let children = process::children(self.pid());
        // By the handle, which cannot name another process, and which reaps it.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        wait_until("workers and filers end with the daemon", || {
            !children.iter().any(|pid| process::runs(*pid))
        });
    }

    /// Asks the daemon to end (SIGTERM) and returns its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Option<i32> {
        process::signal(self.pid(), Signal::TERM);
        let daemon = &mut self.daemon;
        crate::wait_for("the daemon ends after SIGTERM", || daemon.try_wait().unwrap()).code()
    }

    /// Starts the daemon again after it ended, on the same data and a new port.
    ///
    /// # Panics
    /// When it does not come up, or still runs.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|refusal| panic!("berthd: {refusal:?}"));
    }

    /// The same for a daemon that may end instead of listening.
    ///
    /// # Errors
    /// What it printed, when it did.
    ///
    /// # Panics
    /// When the daemon still runs.
    pub fn try_restart(&mut self) -> Result<(), Refusal> {
        self.try_restart_while(|_| ())
    }

    /// Starts it again, doing something with the daemon's process number while it comes up, again and again.
    ///
    /// # Panics
    /// When it does not come up, or still runs.
    pub fn restart_while(&mut self, meanwhile: impl FnMut(u32)) {
        self.try_restart_while(meanwhile).unwrap_or_else(|refusal| panic!("berthd: {refusal:?}"));
    }

    fn try_restart_while(&mut self, meanwhile: impl FnMut(u32)) -> Result<(), Refusal> {
        assert!(self.daemon.try_wait().unwrap().is_some(), "the daemon still runs");
        let (binaries, directory) = (&self.binaries, self.directory.path());
        let started = start::daemon(binaries, directory, &self.options, meanwhile)?;
        self.daemon = started.daemon;
        self.address = started.address;
        self.fingerprint = started.fingerprint;
        self.log = started.log;
        Ok(())
    }

    /// Writes another configuration, which holds after [`Server::hang_up`] or at the next start.
    pub fn configure(&mut self, options: Options) {
        self.options = options;
        start::configure(self.directory.path(), &self.options);
    }

    /// Asks the daemon to read its configuration again (SIGHUP), and waits until it says this.
    pub fn hang_up(&self, until: &str) -> crate::log::Line {
        let mark = self.log.mark();
        process::signal(self.pid(), Signal::HUP);
        self.log.wait_after(mark, until, |line| line.message().contains(until))
    }

    /// Leaves the directory where it is when the server is dropped, for somebody to look at.
    pub fn keep_directory(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// The directory that holds all of this server's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let children = process::children(self.daemon.id());
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // So that nothing is written any more while the directory is removed.
        let gone = || (!children.iter().any(|pid| process::runs(*pid))).then_some(());
        let _ = crate::wait::within(crate::wait::DEADLINE, gone);
        if std::thread::panicking() {
            eprintln!("--- berthd's log ---\n{}--- end of the log ---", self.log.text());
        }
    }
}

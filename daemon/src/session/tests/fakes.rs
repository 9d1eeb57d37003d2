//! A daemon with a real ledger, and helpers that the test itself plays.
//!
//! The helper processes sleep; the test takes a copy of their end of the channel and speaks for them. They
//! are spawned, killed and reaped as real ones are.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use berth_common::broker_protocol::{DaemonToWorker, WorkerSetup, WorkerToDaemon};
use berth_common::channel::{Channel, ChannelError, Message, Received};
use berth_common::entry::Limits;
use berth_common::ids::{StagingName, UserName};
use berth_common::journal::BootId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding, Role, StagingSync};
use berth_common::sandbox_mode::SandboxMode;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramVerifier};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_local;

use crate::accept::accept;
use crate::activity::Activity;
use crate::config::{Config, Overrides};
use crate::daemon::{Daemon, Parts};
use crate::data_dir::{DataDir, USERS};
use crate::homes::Homes;
use crate::identity::Identity;
use crate::ledger::{Ledger, Options};
use crate::listener::Bound;
use crate::program::Program;
use crate::programs::Programs;
use crate::spawn::Spawner;
use crate::{filer_handle, owed, recovery, sys, watch, worker_handle};

const DEADLINE: Duration = Duration::from_secs(20);
pub(super) const PASSWORD: &str = "correct horse";
/// Where the configuration names any file with one.
pub(super) const SITE_SECRET: &[u8] = b"harbour";
pub(super) const EXPORTER: [u8; 32] = [9; 32];

/// A daemon that accepts connections.
pub(super) struct Fakes {
    pub(super) daemon: Rc<Daemon>,
    pub(super) spawner: Rc<Spawner>,
    known: RefCell<HashSet<i32>>,
    _dir: tempfile::TempDir,
}

/// A helper that the test plays.
pub(super) struct Fake<Tx, Rx> {
    pub(super) pid: Pid,
    pidfd: OwnedFd,
    channel: AsyncFd<Channel<Tx, Rx>>,
}

pub(super) type FakeWorker = Fake<WorkerToDaemon, DaemonToWorker>;
pub(super) type FakeFiler = Fake<FilerToDaemon, DaemonToFiler>;

/// Runs a test on the main thread of a runtime, with a deadline.
pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    run_beyond(Duration::ZERO, test);
}

/// The same for one that takes so much longer, or puts the runtime's clock on by so much.
pub(super) fn run_beyond<F: Future<Output = ()>>(more: Duration, test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(DEADLINE + more, test()).await.expect("the test takes too long");
    });
}

pub(super) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

impl Fakes {
    /// Starts, with the user alice who may have 1000 bytes, on a file system that is synced as a whole.
    pub(super) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(StagingSync::FileSystem, change).await
    }

    /// The same on a file system where staging is made durable like this.
    pub(super) async fn start_on(sync: StagingSync, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (program, seconds) in
            [(Program::Worker, 1001), (Program::Filer, 1002), (Program::Jail, 1003)]
        {
            let path = dir.path().join(program.as_str());
            std::fs::write(&path, format!("#!/bin/sh\nexec sleep {seconds}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let overrides =
            Overrides { data_dir: Some(dir.path().join("data")), ..Overrides::default() };
        let mut config = Config::load(None, overrides).unwrap();
        config.min_free_bytes = 0;
        config.spare_workers = 1;
        config.spare_filers = 1;
        change(&mut config);
        let data_dir = DataDir::open(&config.data_dir).unwrap();
        let identity = Rc::new(Identity::load(None, &data_dir).unwrap());
        let options =
            Options { bounds: config.ledger_bounds(), ..Options::new(|error| panic!("{error}")) };
        let ledger = Ledger::open(&data_dir.ledger(), options).unwrap();
        let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
        let spawner = Rc::new(Spawner::new(Programs::scripts(dir.path()).unwrap(), lock.into()));
        let activity = Rc::new(Activity::default());
        let workers =
            worker_handle::spares(&config, &identity, BootId::UNKNOWN, &spawner, &activity);
        let filers = filer_handle::spares(&config, &spawner, &activity);
        let homes = Homes::new(data_dir.open_directory(USERS).unwrap(), sync);
        let daemon = Daemon::new(Parts {
            site_secret: config.site_secret_file.as_ref().map(|_| SITE_SECRET.to_vec()),
            config,
            identity,
            secret: [1; 32],
            ledger,
            homes,
            workers,
            filers,
            spawner: spawner.clone(),
            activity,
        });
        add_user(&daemon, "alice").await;
        let listener = Bound::new("127.0.0.1:0".parse().unwrap(), 8).unwrap().start().unwrap();
        daemon.listen.borrow_mut().push(listener.addr);
        spawn_local(accept(daemon.clone(), listener));
        spawn_local(watch::watch_tickets(daemon.clone()));
        spawn_local(owed::settle_after_outages(daemon.clone()));
        Self { daemon, spawner, known: RefCell::default(), _dir: dir }
    }

    /// The next worker to be spawned, set up and ready.
    pub(super) async fn worker(&self) -> FakeWorker {
        self.worker_set_up().await.0
    }

    /// The same, with what it was set up with.
    pub(super) async fn worker_set_up(&self) -> (FakeWorker, WorkerSetup) {
        let worker: FakeWorker = self.helper("1001").await;
        let DaemonToWorker::Setup(setup) = worker.recv().await else { panic!() };
        worker.send(&WorkerToDaemon::Ready);
        (worker, setup)
    }

    /// The next filer to be spawned, ready.
    pub(super) async fn filer(&self) -> FakeFiler {
        let filer: FakeFiler = self.helper("1002").await;
        filer.send(&FilerToDaemon::Ready);
        filer
    }

    /// Another user, who may have as much as alice.
    pub(super) async fn add_user(&self, name: &str) {
        add_user(&self.daemon, name).await;
    }

    /// The next filer to be spawned, which recovers alice's staging.
    pub(super) async fn recoverer(&self) -> FakeFiler {
        let filer = self.filer().await;
        let role = filer.recv().await;
        let sync = self.daemon.homes.sync();
        let sandbox = SandboxMode::Require;
        assert_eq!(role, DaemonToFiler::Join(Role::Recover { user: user("alice"), sync, sandbox }));
        filer.send(&FilerToDaemon::Joined);
        filer
    }

    /// A child that sleeps for so long and was not taken yet.
    async fn helper<Tx: Message, Rx: Message>(&self, seconds: &str) -> Fake<Tx, Rx> {
        loop {
            if let Some(fake) = self.find(seconds) {
                return fake;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn find<Tx: Message, Rx: Message>(&self, seconds: &str) -> Option<Fake<Tx, Rx>> {
        // Helpers are children of this very thread, so tests do not see each other's.
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find_map(|raw: i32| {
            let command = std::fs::read(format!("/proc/{raw}/cmdline")).unwrap_or_default();
            let is_one = command.split(|byte| *byte == 0).nth(1) == Some(seconds.as_bytes());
            if !is_one || !self.known.borrow_mut().insert(raw) {
                return None;
            }
            let pid = Pid::from_raw(raw)?;
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
            let input = rustix::process::pidfd_getfd(&pidfd, 0, PidfdGetfdFlags::empty()).unwrap();
            let channel = Channel::from_descriptor(input).unwrap();
            channel.set_nonblocking(true).unwrap();
            Some(Fake { pid, pidfd, channel: sys::watch(channel).unwrap() })
        })
    }

    /// A client connects: all of it up to the end of the handshake, with the site challenge.
    pub(super) async fn handshake(&self) -> (std::net::TcpStream, FakeWorker, Option<[u8; 32]>) {
        let worker = self.worker().await;
        let addr = self.daemon.listen.borrow()[0];
        let client = std::net::TcpStream::connect(addr).unwrap();
        let received = worker.receive().await;
        let DaemonToWorker::Client { site_challenge, .. } = received.message else { panic!() };
        assert_eq!(received.descriptors.len(), 1);
        worker.shake_hands(self.daemon.settings().identity.scheme()).await;
        (client, worker, site_challenge.map(|bytes| bytes.into_array()))
    }

    /// A client connects, and logs in as alice: all of it up to the daemon's answer.
    pub(super) async fn connect(&self, password: &str) -> (std::net::TcpStream, FakeWorker) {
        let (client, worker, _) = self.handshake().await;
        worker.log_in(password).await;
        (client, worker)
    }

    /// A session of alice's.
    pub(super) async fn session(&self) -> (std::net::TcpStream, FakeWorker, FakeFiler) {
        self.session_of("alice").await
    }

    /// A session of somebody's.
    pub(super) async fn session_of(
        &self,
        name: &str,
    ) -> (std::net::TcpStream, FakeWorker, FakeFiler) {
        let (client, worker, _) = self.handshake().await;
        worker.log_in_as(name, PASSWORD).await;
        let filer = self.filer().await;
        let received = filer.receive().await;
        assert!(matches!(received.message, DaemonToFiler::Join(Role::Serve { .. })));
        assert_eq!(received.descriptors.len(), 3);
        filer.send(&FilerToDaemon::Joined);
        let received = worker.receive().await;
        assert!(matches!(received.message, DaemonToWorker::LoginAccepted { .. }));
        assert_eq!(received.descriptors.len(), 1);
        (client, worker, filer)
    }

    /// Waits until all sessions are reaped and replayed.
    pub(super) async fn no_sessions(&self) {
        self.daemon.no_sessions().await;
    }

    /// Waits until there are so many sessions.
    pub(super) async fn sessions(&self, count: usize) {
        while self.daemon.sessions.borrow().len() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn dead(pid: Pid) {
    let path = format!("/proc/{}", pid.as_raw_nonzero());
    while Path::new(&path).exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn add_user(daemon: &Rc<Daemon>, name: &str) {
    let verifier = ScramVerifier::from_password(PASSWORD, vec![1; 16], 4096).unwrap();
    let limits = Limits { bytes: Some(1000), entries: None };
    daemon.ledger.add_user(&user(name), verifier, limits).await.unwrap();
    recovery::make_user(daemon, &user(name)).await.unwrap();
}

/// Sleeping helpers do not notice that their daemon is gone. Only this thread's own children are ended.
impl Drop for Fakes {
    fn drop(&mut self) {
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl<Tx: Message, Rx: Message> Fake<Tx, Rx> {
    pub(super) fn send(&self, message: &Tx) {
        self.channel.get_ref().send(message, &[]).unwrap();
    }

    /// The same to a daemon that may have ended it.
    pub(super) fn try_send(&self, message: &Tx) -> Result<(), ChannelError> {
        self.channel.get_ref().send(message, &[])
    }

    pub(super) async fn recv(&self) -> Rx {
        self.receive().await.message
    }

    pub(super) async fn receive(&self) -> Received<Rx> {
        loop {
            let mut ready = self.channel.readable().await.unwrap();
            match ready.get_inner().recv() {
                Ok(received) => return received,
                Err(ChannelError::WouldBlock) => ready.clear_ready(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The daemon has closed its end, or sends something.
    pub(super) async fn next(&self) -> Option<Rx> {
        loop {
            let mut ready = self.channel.readable().await.unwrap();
            match ready.get_inner().recv() {
                Ok(received) => return Some(received.message),
                Err(ChannelError::WouldBlock) => ready.clear_ready(),
                Err(_) => return None,
            }
        }
    }

    /// The process ends, as by a crash.
    pub(super) fn crash(self) {
        // A real process's end of the channel closes with it.
        drop(self.channel);
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).unwrap();
    }

    /// The process is dead, and was told nothing before.
    pub(super) async fn ended_untold(self) {
        dead(self.pid).await;
        match self.channel.get_ref().recv() {
            Err(ChannelError::WouldBlock | ChannelError::Closed) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was told something"),
        }
    }

    /// The process is dead.
    pub(super) async fn ended(self) {
        drop(self.channel);
        dead(self.pid).await;
    }
}

impl FakeWorker {
    /// It gets its signature, and ends its handshake.
    pub(super) async fn shake_hands(&self, scheme: u16) {
        self.send(&WorkerToDaemon::Sign {
            scheme,
            message: [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat(),
        });
        assert!(matches!(self.recv().await, DaemonToWorker::Signed { .. }));
        self.send(&WorkerToDaemon::Handshaken { exporter: EXPORTER });
    }

    /// The client logs in as alice: all of it up to the daemon's answer.
    pub(super) async fn log_in(&self, password: &str) {
        self.log_in_as("alice", password).await;
    }

    pub(super) async fn log_in_as(&self, name: &str, password: &str) {
        let first = ClientFirst::new(name, ChannelBinding::login(&EXPORTER)).unwrap();
        self.send(&WorkerToDaemon::LoginFirst { message: first.message().to_vec() });
        let DaemonToWorker::LoginChallenge { message } = self.recv().await else { panic!() };
        let answer = first.answer(password, &message).unwrap();
        self.send(&WorkerToDaemon::LoginFinal { message: answer.message().to_vec() });
    }
}

impl FakeFiler {
    /// Is asked for these names, has found this there, and obeys from then on.
    pub(super) async fn find(self, at: &[StagingName], findings: Vec<Finding>) {
        let (DaemonToFiler::Examine { op, names } | DaemonToFiler::Look { op, names }) =
            self.recv().await
        else {
            panic!()
        };
        assert_eq!(names, at);
        self.send(&FilerToDaemon::Findings { op, findings });
        self.obey().await;
    }

    /// Carries out a recoverer's orders until the daemon lets it end.
    pub(super) async fn obey(self) {
        while let Some(order) = self.next().await {
            match order {
                DaemonToFiler::Remove { op, .. } | DaemonToFiler::Sweep { op } => {
                    self.send(&FilerToDaemon::Done { op });
                }
                DaemonToFiler::ListOwed { op } => {
                    self.send(&FilerToDaemon::OwedNames { op, names: vec![] });
                }
                other => panic!("{other:?}"),
            }
        }
        self.crash();
    }
}

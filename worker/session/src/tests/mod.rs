//! The worker as a whole, in threads: the tests play the daemon, the filer (on real files) and the client.

mod client;
mod fake_daemon;
mod fake_filer;
mod sessions;
mod transfers;

use std::sync::{Arc, Mutex};
use std::thread;

use berth_common::broker_protocol::{WorkerSetup, WorkerToDaemon};
use berth_common::channel::Channel;
use berth_common::sandbox_mode::SandboxMode;
use client::Client;
use fake_daemon::FakeDaemon;
use fake_filer::Home;

use crate::run;

/// A worker that has a client, with all that it talks to.
struct Bench {
    daemon: FakeDaemon,
    worker: thread::JoinHandle<Result<(), run::WorkerError>>,
    /// The client's end of the connection, not yet used.
    socket: std::net::TcpStream,
}

/// What the daemon tells a worker in these tests, unless a test says otherwise.
fn setup() -> WorkerSetup {
    WorkerSetup {
        sandbox: SandboxMode::Require,
        certificates: Vec::new(),
        signature_scheme: 0x0403,
        server: "berthd test".into(),
        boot_id: [5; 16],
        idle_seconds: 600,
        stall_seconds: 60,
        login_seconds: 10,
        max_transfers: 4,
    }
}

impl Bench {
    fn start(home: &Arc<Mutex<Home>>) -> Self {
        Self::start_with(home, setup(), None)
    }

    fn start_with(
        home: &Arc<Mutex<Home>>,
        setup: WorkerSetup,
        site_challenge: Option<[u8; 32]>,
    ) -> Self {
        let (daemon, worker) = Channel::pair().unwrap();
        let worker = thread::spawn(move || {
            let channel = Arc::new(worker);
            let setup = run::await_setup(&channel)?;
            setup.map_or(Ok(()), |setup| run::Prepared::new(channel, setup)?.serve())
        });
        let (daemon, socket) = FakeDaemon::start(daemon, setup, site_challenge, Arc::clone(home));
        Self { daemon, worker, socket }
    }

    /// The TLS handshake, the greeting and the login.
    async fn log_in(self) -> (Client, Ending) {
        let (mut client, ending) = self.connect().await;
        client.log_in().await;
        (client, ending)
    }

    async fn connect(self) -> (Client, Ending) {
        let Self { daemon, worker, socket } = self;
        let client = Client::connect(socket, &[b"berth/1"]).await.unwrap();
        (client, Ending { daemon, worker })
    }
}

/// What is left when the client is a value of its own.
struct Ending {
    daemon: FakeDaemon,
    worker: thread::JoinHandle<Result<(), run::WorkerError>>,
}

impl Ending {
    /// Waits for the worker to end, and gives all that it told the daemon.
    async fn reports(self) -> Vec<WorkerToDaemon> {
        let Self { daemon, worker } = self;
        let ended = tokio::task::spawn_blocking(move || {
            worker.join().unwrap().unwrap();
            daemon.into_reports()
        });
        tokio::time::timeout(client::PATIENCE, ended).await.unwrap().unwrap()
    }
}

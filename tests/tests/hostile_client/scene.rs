//! A server with two users: mallory, who attacks, and bob, who must never notice.

use std::net::SocketAddr;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::entry::Limits;
use berth_common::rel_path::RelPath;
use berth_tests::exact::faults_at_rest;
use berth_tests::{Options, Raw, Received, Server, process, report, wait_until};

use crate::transfers::{open, send_all, small};

/// The most memory that the daemon may ever have had.
const MOST_BYTES: u64 = 64 << 20;

/// Spares that a server with the default configuration keeps, workers and filers.
const SPARES: usize = 6;

/// Mallory's sessions.
const SESSIONS: &str = "max_sessions_per_user = 500";

/// Where bob's connections come from: not where mallory's come from.
const ELSEWHERE: &str = "127.0.0.2:0";

pub(crate) struct Scene {
    pub(crate) server: Server,
}

impl Scene {
    /// Mallory may have more sessions than usual, so that each case is one of its own.
    pub(crate) fn new(options: Options) -> Self {
        let server = Server::start(options.set(SESSIONS));
        server.add_user_with("mallory", "m", Limits::default());
        server.add_user_with("bob", "b", Limits::default());
        Self { server }
    }

    /// Has these lines hold for those who come from now on.
    pub(crate) fn reload(&mut self, lines: &[&str]) {
        let options = Options::new().set(SESSIONS);
        self.server.configure(lines.iter().fold(options, |options, line| options.set(line)));
        self.server.hang_up("reloaded");
    }

    /// For tests that hold or leave many connections.
    pub(crate) fn roomy() -> Self {
        Self::new(Options::new().set("max_connections_per_address = 500"))
    }

    pub(crate) fn mallory(&self) -> Raw {
        Raw::login(&self.server, "mallory", "m")
    }

    /// A connection before or after login.
    pub(crate) fn attacker(&self, logged_in: bool) -> Raw {
        if logged_in { self.mallory() } else { Raw::connect(&self.server) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address().parse().unwrap()
    }

    /// Bob puts and gets a file, from another address than mallory's.
    pub(crate) fn bob_is_served(&self) {
        let from = Some(ELSEWHERE.parse().unwrap());
        let mut bob = Raw::connect_from(&self.server, from).expect("bob is let in");
        bob.authenticate("bob", "b").expect("bob is logged in");
        let content = b"nobody shall notice";
        let id = open(&mut bob, small("of-bob", content.len()));
        send_all(&mut bob, id, content);
        let done = bob.message();
        assert!(matches!(done, WorkerToClient::PutDone { .. }), "{done:?}");
        let path = RelPath::new("of-bob").unwrap();
        let ready = bob.ask(|id| ClientToWorker::Get { id, path, resume: None });
        assert!(matches!(ready, WorkerToClient::GetReady { .. }), "{ready:?}");
        match bob.receive() {
            Received::Block(_, data) => assert_eq!(data, content),
            other => panic!("instead of bob's file: {other:?}"),
        }
    }

    /// Mallory's worker, while there is one session of hers.
    pub(crate) fn worker(&self) -> u32 {
        self.server.session_of("mallory").worker
    }

    /// The claim at the end of each test, when mallory has gone: bob is served, no process is left but spares,
    /// the ledger equals the disk, staging has resumable uploads alone, nothing has crashed, and the daemon
    /// has stayed small.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        self.bob_is_served();
        let bob = self.server.client("bob", "b");
        bob.write("local", "content");
        bob.run(&["put", "local"]).ok();
        bob.run(&["get", "local", "--to", "back"]).ok();
        self.only_spares_are_left();
        let faults = faults_at_rest(&self.server);
        assert!(faults.is_empty(), "not exact:\n  {}", faults.join("\n  "));
        let status = self.server.berthctl(&["status", "--json"]).ok().json();
        assert_eq!(status["crashes"], 0, "something has crashed");
        assert_eq!(status["connections"], 0, "a connection is counted that nobody has");
        let peak = process::peak_bytes(self.server.pid());
        report(&format!("the daemon's memory at its peak: {} KiB", peak / 1024));
        assert!(peak <= MOST_BYTES, "{peak} bytes");
    }

    /// Waits until all sessions have ended and only spares are left, as many as there ought to be.
    #[track_caller]
    pub(crate) fn only_spares_are_left(&self) {
        wait_until("all sessions have ended", || self.server.list_sessions().unwrap().is_empty());
        wait_until("no process is left but the spares", || {
            process::children(self.server.pid()).len() == SPARES
        });
    }

    /// Mallory's open uploads, by their paths, sorted.
    pub(crate) fn uploads(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut raw = self.mallory();
        let id = raw.id();
        raw.send(&ClientToWorker::Uploads { id });
        loop {
            match raw.message() {
                WorkerToClient::Uploads { uploads, last, .. } => {
                    paths.extend(uploads.iter().map(|upload| upload.path.as_str().to_owned()));
                    if last {
                        paths.sort();
                        return paths;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

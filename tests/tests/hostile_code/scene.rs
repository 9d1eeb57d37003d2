//! A server with puppets, two users, and a steady session of real processes beside whatever is attacked.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{TreeDigest, leaves};
use berth_common::entry::{Existing, Limits, SourceFingerprint};
use berth_common::frame::BlockHeader;
use berth_common::ids::{StagingName, UploadToken};
use berth_common::ledger_protocol::FilerToDaemon;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_puppets::orders::Script;
use berth_tests::disk::entries;
use berth_tests::exact::assert_exact;
use berth_tests::log::Line;
use berth_tests::puppets::{Puppet, PuppetFilers, log_in};
use berth_tests::wait::within;
use berth_tests::{Options, Raw, Received, Server, ledger, wait_until};

/// Bytes that alice may have.
pub(crate) const QUOTA: u64 = 10 << 20;

/// What bob's file has in it.
pub(crate) const SECRET: &[u8] = b"what only bob may read";

pub(crate) struct Scene {
    pub(crate) server: Server,
    steady: Mutex<Steady>,
}

/// bob's session, of a real worker and a real filer.
struct Steady {
    raw: Raw,
    puts: u32,
}

impl Scene {
    /// With real filers; workers are puppets after bob's.
    pub(crate) fn new() -> Self {
        Self::with(Options::new())
    }

    pub(crate) fn with(options: Options) -> Self {
        let options = options.puppets().set("max_connections_per_address = 500");
        let server = Server::start(options);
        let limits = Limits { bytes: Some(QUOTA), entries: None };
        server.add_user_with("alice", "a", limits);
        server.add_user_with("bob", "b", Limits::default());
        let raw = server.real_login("bob", "b");
        let mut steady = Steady { raw, puts: 0 };
        steady.put("secret", SECRET);
        server.puppet_workers(&Script::default());
        Self { server, steady: Mutex::new(steady) }
    }

    /// A puppet that is alice's worker, and the channel to its filer, a real one.
    pub(crate) fn worker_after_login(&self) -> (Puppet, i32) {
        let mut worker = self.server.puppet();
        let filer = log_in(&mut worker, "alice", "a");
        (worker, filer)
    }

    /// A puppet that has proved to be alice's worker, and waits for a filer, which is a puppet as well.
    pub(crate) fn worker_at_login(&self) -> (Puppet, PuppetFilers) {
        self.wait_for_rest();
        let filers = self.server.puppet_filers();
        let mut worker = self.server.puppet();
        worker.handshake().unwrap();
        worker.prove("alice", "a").unwrap();
        (worker, filers)
    }

    /// A puppet that is alice's filer, with its worker, which is one too.
    pub(crate) fn filer(&self) -> (Puppet, Puppet) {
        let (mut worker, filers) = self.worker_at_login();
        let mut filer = filers.join();
        filer.send(filer.descriptor(0), &FilerToDaemon::Joined).unwrap();
        worker.accepted().unwrap();
        (filer, worker)
    }

    /// An upload of bob's that waits to be gone on with.
    pub(crate) fn open_upload_of_bobs(&self) -> StagingName {
        let mut steady = self.steady.lock().unwrap();
        let source = SourceFingerprint { size: 3 << 20, mtime_ns: 0, ctime_ns: 0, inode: 2 };
        let ready = steady.begin_put("large", source);
        assert!(matches!(ready, WorkerToClient::PutReady { .. }), "{ready:?}");
        let sql = "SELECT name FROM uploads";
        let name: i64 =
            ledger::open(&self.server.data()).query_row(sql, [], |row| row.get(0)).unwrap();
        StagingName(name as u64)
    }

    /// Waits until no filer is needed to recover or to clear what earlier sessions of alice's have left: it would
    /// be the puppet that the next session is to have.
    pub(crate) fn wait_for_rest(&self) {
        self.server.wait_for_no_session_of("alice");
        wait_until("staging is cleared", || entries(&self.server.staging("alice")).is_empty());
    }

    /// Claims that bob's session works: he puts a file and gets it back.
    pub(crate) fn assert_steady(&self) {
        let mut steady = self.steady.lock().unwrap();
        steady.puts += 1;
        let content = format!("{} times", steady.puts);
        steady.put("steady", content.as_bytes());
        assert_eq!(steady.get("steady"), content.as_bytes());
        assert_eq!(steady.get("secret"), SECRET);
    }

    /// Has bob ask for a file of his, and claims that he gets it once `meanwhile` is over.
    pub(crate) fn assert_served_after(&self, meanwhile: impl FnOnce()) {
        let mut steady = self.steady.lock().unwrap();
        steady.begin_get("secret");
        meanwhile();
        assert_eq!(steady.end_get(), SECRET);
    }

    /// Lets something happen, and claims that bob's session works all the while.
    pub(crate) fn beside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let happening = scope.spawn(what);
            loop {
                self.assert_steady();
                if happening.is_finished() {
                    break happening.join().unwrap();
                }
            }
        })
    }

    /// Claims that the ledger equals the disk when alice has no session, and that bob works on.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        self.assert_steady();
        self.server.wait_for_no_session_of("alice");
        self.server.assert_at_rest("alice");
    }

    /// The same when bob's session ends too, and with nobody left the daemon lives.
    #[track_caller]
    pub(crate) fn assert_exact(self) {
        self.assert_unharmed();
        let Self { server, steady } = self;
        drop(steady);
        server.real_workers();
        assert_exact(&server);
        server.berthctl(&["status"]).ok();
    }

    /// The server alone, with real workers, when bob's session has ended.
    pub(crate) fn into_server(self) -> Server {
        let Self { server, steady } = self;
        drop(steady);
        server.real_workers();
        server.wait_for_no_session_of("bob");
        // The spare that waits is a puppet.
        drop(server.real_login("bob", "b"));
        server.wait_for_no_session_of("bob");
        server
    }

    /// The line that tells how the session of this worker's puppet ended.
    pub(crate) fn end_of(&self, worker: u32) -> Line {
        let log = self.server.log();
        let begun = log.wait_after(0, "the session began", |line| {
            line.message() == "connection" && line.number("worker") == Some(worker.into())
        });
        let session = begun.number("session");
        log.wait_after(0, "the session ended", |line| {
            line.number("session") == session && line.message().starts_with("session ended")
        })
    }

    /// What the log has of the session of this worker's puppet in lines with this message, when it has ended.
    pub(crate) fn transcript_of(&self, worker: u32, message: &str) -> Transcript {
        let end = self.end_of(worker);
        let session = end.number("session");
        let lines = self
            .server
            .log()
            .after(0, |line| line.number("session") == session && line.message() == message);
        let left_out = |line: &Line| line.number("left_out").unwrap_or(0);
        let count = lines.len() as u64;
        let told_of = count + lines.iter().map(left_out).sum::<u64>() + left_out(&end);
        Transcript { lines: count, told_of }
    }

    /// Whether the log says that this process was ended for this call.
    pub(crate) fn names_the_call(&self, process: u32, call: &str) -> bool {
        let named = format!("({call})");
        let says = |line: &Line| {
            line.number("pid") == Some(process.into())
                && line.text("text").is_some_and(|text| text.contains(&named))
        };
        within(Duration::from_secs(5), || {
            (!self.server.log().after(0, says).is_empty()).then_some(())
        })
        .is_some()
    }

    /// How the session of this worker's puppet ended, worker and filer.
    pub(crate) fn ends_of(&self, worker: u32) -> (String, String) {
        let line = self.end_of(worker);
        (line.text("worker").unwrap_or_default(), line.text("filer").unwrap_or_default())
    }
}

/// What the log has of something that a session did again and again.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) lines: u64,
    /// With those for which there is no line.
    pub(crate) told_of: u64,
}

impl Steady {
    fn begin_put(&mut self, path: &str, source: SourceFingerprint) -> WorkerToClient {
        let (path, token) = (RelPath::new(path).unwrap(), UploadToken([1; 16]));
        self.raw.ask(|id| {
            let existing = Existing::Replace;
            ClientToWorker::Put(Put {
                id,
                path,
                source: source.into(),
                token,
                mode: 0o644,
                existing,
                base: None,
                note: NoteChange::Keep,
            })
        })
    }

    fn put(&mut self, path: &str, content: &[u8]) {
        let source =
            SourceFingerprint { size: content.len() as u64, mtime_ns: 0, ctime_ns: 0, inode: 1 };
        let ready = self.begin_put(path, source);
        let WorkerToClient::PutReady { id, .. } = ready else {
            panic!("bob's put: {ready:?}");
        };
        let leaves = leaves(content);
        let mut tree = TreeDigest::new();
        tree.extend(&leaves);
        self.raw.send_block(&BlockHeader { transfer: id, offset: 0, leaves }, content);
        self.raw.send(&ClientToWorker::PutEnd { id, digest: tree.finish(), source: source.into() });
        let done = self.raw.message();
        assert!(matches!(done, WorkerToClient::PutDone { .. }), "bob's put: {done:?}");
    }

    fn get(&mut self, path: &str) -> Vec<u8> {
        self.begin_get(path);
        self.end_get()
    }

    fn begin_get(&mut self, path: &str) {
        let (id, path) = (self.raw.id(), RelPath::new(path).unwrap());
        self.raw.send(&ClientToWorker::Get { id, path, resume: None });
    }

    fn end_get(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            match self.raw.receive() {
                Received::Block(_, data) => content.extend(data),
                Received::Message(WorkerToClient::GetReady { .. }) => {}
                Received::Message(WorkerToClient::GetEnd { id, digest }) => {
                    let mut tree = TreeDigest::new();
                    tree.extend(&leaves(&content));
                    assert_eq!(digest, tree.finish(), "bob's file");
                    self.raw.send(&ClientToWorker::GetDone { id });
                    return content;
                }
                other => panic!("bob's get: {other:?}"),
            }
        }
    }
}

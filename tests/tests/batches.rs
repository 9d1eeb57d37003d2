//! Small changes that come at once share transactions: what is claimed here are counts, never times.

use std::collections::HashMap;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{TreeDigest, leaves};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::frame::BlockHeader;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::client::at_once;
use berth_tests::{Options, Raw, Server, report};
use serde_json::Value;

/// Puts that a session has under way at once: what a server allows by default.
const AT_ONCE: usize = 8;

/// A client that has as many small puts under way as the server allows.
struct Putter {
    raw: Raw,
    contents: HashMap<RequestId, Vec<u8>>,
}

impl Putter {
    fn login(server: &Server) -> Self {
        Self { raw: Raw::login(server, "alice", "a"), contents: HashMap::new() }
    }

    fn begin(&mut self, path: &str, content: Vec<u8>) {
        let id = self.raw.id();
        let put = Put {
            id,
            path: RelPath::new(path).unwrap(),
            source: source(&content).into(),
            token: UploadToken([1; 16]),
            mode: 0o644,
            existing: Existing::Replace,
            base: None,
            note: NoteChange::Keep,
        };
        self.contents.insert(id, content);
        self.raw.send(&ClientToWorker::Put(put));
    }

    /// Goes on with whatever the server says next; whether a put is over.
    fn step(&mut self) -> bool {
        match self.raw.message() {
            WorkerToClient::PutReady { id, .. } => {
                let content = &self.contents[&id];
                let leaves = leaves(content);
                let mut tree = TreeDigest::new();
                tree.extend(&leaves);
                self.raw.send_block(&BlockHeader { transfer: id, offset: 0, leaves }, content);
                let source = source(content).into();
                self.raw.send(&ClientToWorker::PutEnd { id, digest: tree.finish(), source });
                false
            }
            WorkerToClient::PutDone { id, .. } => self.contents.remove(&id).is_some(),
            other => panic!("{other:?}"),
        }
    }

    fn put_all(&mut self, paths: impl Iterator<Item = String>) {
        for path in paths {
            while self.contents.len() == AT_ONCE {
                self.step();
            }
            self.begin(&path, path.clone().into_bytes());
        }
        while !self.contents.is_empty() {
            self.step();
        }
    }
}

fn source(content: &[u8]) -> SourceFingerprint {
    SourceFingerprint { size: content.len() as u64, mtime_ns: 0, ctime_ns: 0, inode: 1 }
}

fn status(server: &Server) -> Value {
    server.berthctl(&["--json", "status"]).ok().json()
}

/// What grew between two looks at the status.
fn grown(before: &Value, after: &Value, field: [&str; 2]) -> u64 {
    let number = |status: &Value| status[field[0]][field[1]].as_u64().unwrap();
    number(after) - number(before)
}

/// Sessions that put so many files each, and what that cost.
fn run(sessions: usize, each: usize) -> (u64, u64, Value) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let putters: Vec<_> = (0..sessions).map(|_| Putter::login(&server)).collect();
    let before = status(&server);
    let jobs = putters.into_iter().enumerate().map(|(session, mut putter)| {
        move || {
            putter.put_all((0..each).map(|n| format!("{session}-{n}")));
            putter
        }
    });
    let putters = at_once(jobs.collect());
    let after = status(&server);
    drop(putters);
    server.assert_at_rest("alice");
    assert_eq!(server.home_sums("alice").entries, (sessions * each) as u64);
    let transactions = grown(&before, &after, ["ledger", "transactions"]);
    (transactions, grown(&before, &after, ["tickets", "granted"]), after)
}

#[test]
fn puts_of_one_session_that_come_at_once_share_transactions() {
    const PUTS: u64 = 200;
    // A client that is starved has one put under way at a time, and then nothing can go together: the
    // machine gets several chances.
    let shared = (0..10).any(|_| {
        let (transactions, tickets, _) = run(1, PUTS as usize);
        report(&format!("{PUTS} puts: {transactions} transactions, {tickets} tickets"));
        transactions < PUTS && tickets < PUTS
    });
    assert!(shared, "one by one it is {} transactions, and {PUTS} tickets", 2 * PUTS);
}

#[test]
#[ignore = "a measurement: the command is in docs/PERFORMANCE.md"]
fn ten_thousand_small_puts_by_several_sessions() {
    const SESSIONS: usize = 4;
    const EACH: usize = 2500;
    let (transactions, tickets, status) = run(SESSIONS, EACH);
    let (puts, held) = (SESSIONS * EACH, &status["tickets"]);
    report(&format!(
        "{puts} puts by {SESSIONS} sessions: {transactions} transactions, {tickets} tickets; \
         held p50 {} us, p99 {} us, most {} us",
        held["held_p50_us"], held["held_p99_us"], held["held_most_us"]
    ));
}

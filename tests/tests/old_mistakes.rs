//! What other file servers have got wrong with quotas, each mistake a test that a server with it would fail.
//!
//! After each of them the ledger equals the disk; what is claimed besides is what such a server would do.

use std::path::PathBuf;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UploadToken;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::client::at_once;
use berth_tests::exact::assert_exact;
use berth_tests::exit::NO_ROOM;
use berth_tests::files::{assert_same, md5};
use berth_tests::log::Line;
use berth_tests::{Client, Content, Options, Raw, Server, wait_until};

const MIB: u64 = 1 << 20;

/// A server with one user, and a client of hers.
struct Scene {
    server: Server,
    alice: Client,
}

impl Scene {
    fn new(quota: &str) -> Self {
        let server = Server::start(Options::new());
        server.add_user("alice", "a", quota);
        let alice = server.client("alice", "a");
        Self { server, alice }
    }

    /// Makes a local file, other than those of other sizes.
    fn local(&self, name: &str, size: u64) {
        Content::seed(size).write(&self.alice.file(name), size);
    }

    fn ok(&self, command: &[&str]) {
        self.alice.run(command).ok();
    }

    fn home(&self, path: &str) -> PathBuf {
        self.server.home("alice").join(path)
    }

    fn restart(&mut self) {
        self.server.restart();
        self.alice = self.alice.clone().at(self.server.address(), self.server.fingerprint());
    }

    /// Claims that the ledger equals the disk, and that so much is used.
    #[track_caller]
    fn assert_used(&self, bytes: u64, entries: u64) {
        assert_exact(&self.server);
        let user = self.server.user("alice");
        let number = |field: &str| user[field].as_u64();
        assert_eq!((number("used_bytes"), number("used_entries")), (Some(bytes), Some(entries)));
    }
}

/// A put of so many bytes, of which none is sent yet.
fn put(raw: &mut Raw, path: &str, size: u64) -> WorkerToClient {
    let path = RelPath::new(path).unwrap();
    let source = SourceFingerprint { size, mtime_ns: 1, ctime_ns: 1, inode: 1 };
    let (token, existing) = (UploadToken([1; 16]), Existing::Replace);
    let source = source.into();
    raw.ask(|id| {
        ClientToWorker::Put(Put {
            id,
            path,
            source,
            token,
            mode: 0o644,
            existing,
            base: None,
            note: NoteChange::Keep,
        })
    })
}

fn is_over_quota(answer: &WorkerToClient) -> bool {
    matches!(answer, WorkerToClient::Failed { error: ErrorCode::QuotaExceeded { .. }, .. })
}

#[test]
fn an_overwrite_is_not_counted_as_a_new_file() {
    let scene = Scene::new("10KiB");
    scene.local("f", 7000);
    scene.local("g", 9000);
    for _ in 0..3 {
        scene.ok(&["put", "f"]);
        scene.assert_used(7000, 1);
    }
    scene.ok(&["put", "g", "--to", "f"]);
    scene.assert_used(9000, 1);
    scene.ok(&["put", "f"]);
    scene.assert_used(7000, 1);
}

#[test]
fn an_aborted_upload_is_not_charged() {
    let scene = Scene::new("10MiB");
    // A small one, which ends with its connection, and a resumable one, which waits for an abort.
    for (size, waits) in [(9000, false), (9 * MIB, true)] {
        let mut raw = Raw::login(&scene.server, "alice", "a");
        assert!(matches!(put(&mut raw, "f", size), WorkerToClient::PutReady { .. }));
        assert_eq!(scene.server.user("alice")["reserved_bytes"], size);
        drop(raw);
        if waits {
            scene.server.wait_for_no_session_of("alice");
            let uploads = scene.alice.run(&["--json", "uploads"]).ok().json_lines();
            let id = uploads[0]["id"].as_str().expect("an upload's ID").to_owned();
            scene.ok(&["uploads", "--abort", &id]);
        }
        scene.assert_used(0, 0);
        assert_eq!(scene.server.user("alice")["reserved_bytes"], 0);
        assert!(!scene.home("f").exists());
    }
    scene.local("all", 10 * MIB);
    scene.ok(&["put", "all"]);
}

#[test]
fn a_failed_delete_is_not_credited() {
    let scene = Scene::new("10KiB");
    scene.local("f", 5000);
    scene.ok(&["mkdir", "d"]);
    scene.ok(&["put", "f", "--to", "d/f"]);
    scene.alice.run(&["rm", "d"]).failed();
    scene.alice.run(&["rm", "nothing"]).failed();
    scene.alice.run(&["rm", "d/f/below"]).failed();
    scene.assert_used(5000, 2);
    // What is freed twice would leave room for a file that is too large.
    scene.ok(&["rm", "d/f"]);
    scene.alice.run(&["rm", "d/f"]).failed();
    scene.assert_used(0, 1);
    scene.local("large", 10 * 1024 + 1);
    scene.alice.run(&["put", "large"]).code_is(NO_ROOM);
}

#[test]
fn what_a_rename_replaces_is_credited() {
    let scene = Scene::new("10KiB");
    scene.local("f", 4000);
    scene.local("g", 5000);
    scene.ok(&["put", "f", "g"]);
    scene.ok(&["mv", "f", "g"]);
    scene.assert_used(4000, 1);
    assert_same(&scene.alice.file("f"), &scene.home("g"));
    scene.ok(&["put", "g", "--to", "h"]);
    scene.assert_used(9000, 2);
}

#[test]
fn an_overwrite_over_quota_does_not_delete_the_old_file() {
    let scene = Scene::new("4MiB");
    for (name, size) in [("old", 3 * MIB), ("fits", 4 * MIB), ("large", 4 * MIB + 1)] {
        scene.local(name, size);
    }
    scene.ok(&["put", "old", "--to", "f"]);
    scene.alice.run(&["put", "large", "--to", "f"]).code_is(NO_ROOM);
    assert_same(&scene.alice.file("old"), &scene.home("f"));
    scene.assert_used(3 * MIB, 1);
    // Only the growth counts: 1 MiB more is just what is left.
    scene.ok(&["put", "fits", "--to", "f"]);
    assert_same(&scene.alice.file("fits"), &scene.home("f"));
    scene.assert_used(4 * MIB, 1);
}

#[test]
fn an_append_over_quota_is_refused() {
    let scene = Scene::new("10KiB");
    scene.local("f", 6000);
    scene.ok(&["put", "f"]);
    // Each part is small enough; what is there and the part are not.
    for _ in 0..2 {
        scene.alice.run(&["put", "--append", "f", "--to", "f"]).code_is(NO_ROOM);
        assert_same(&scene.alice.file("f"), &scene.home("f"));
        scene.assert_used(6000, 1);
    }
}

#[test]
fn small_files_are_counted() {
    let scene = Scene::new("300B");
    scene.local("empty", 0);
    scene.local("f", 3);
    scene.ok(&["put", "empty"]);
    scene.assert_used(0, 1);
    let names: Vec<String> = (0..120).map(|number| format!("f{number}")).collect();
    for name in &names {
        scene.alice.write(name, "abc");
    }
    let mut command = vec!["put"];
    command.extend(names.iter().map(String::as_str));
    scene.alice.run(&command).code_is(NO_ROOM);
    scene.assert_used(300, 101);
}

/// Who dies while a tree is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Worker,
    Filer,
    Daemon,
}

#[test]
fn a_recursive_delete_that_is_interrupted_credits_what_it_took() {
    let mut scene = Scene::new("unlimited");
    let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
    for name in &names {
        scene.local(name, 1000);
    }
    let mut command = vec!["put"];
    command.extend(names.iter().map(String::as_str));
    command.extend(["--to", "d/e/"]);
    for victim in [Victim::Worker, Victim::Filer, Victim::Daemon] {
        scene.ok(&["mkdir", "-p", "d/e"]);
        scene.ok(&command);
        scene.server.wait_for_no_session_of("alice");
        let mut raw = Raw::login(&scene.server, "alice", "a");
        let session = scene.server.session_of("alice");
        let (id, path) = (raw.id(), RelPath::new("d").unwrap());
        raw.send(&ClientToWorker::Remove { id, path, recursive: true });
        wait_until("the tree is taken", || !scene.home("d").exists());
        match victim {
            Victim::Worker => scene.server.kill_child(session.worker),
            Victim::Filer => scene.server.kill_child(session.filer.expect("a filer")),
            Victim::Daemon => {
                scene.server.kill_daemon();
                scene.restart();
            }
        }
        scene.assert_used(0, 0);
    }
}

#[test]
fn two_uploads_of_one_name_at_once_are_charged_once() {
    let scene = Scene::new("10MiB");
    let other = scene.server.client("alice", "a");
    for (small, large) in [(3000, 4000), (2 * MIB, 3 * MIB)] {
        Content::seed(1).write(&scene.alice.file("f"), small);
        Content::seed(2).write(&other.file("f"), large);
        let clients = [&scene.alice, &other];
        let jobs = clients.map(|client| move || client.run(&["put", "f"]));
        let outcomes = at_once(jobs.into());
        // The later of two may be told that it has to wait, if both would take the same upload.
        assert!(outcomes.iter().any(|outcome| outcome.code == Some(0)), "{outcomes:?}");
        let there = md5(&scene.home("f"));
        let mine = outcomes.iter().zip(clients);
        let mut done = mine.filter(|(outcome, _)| outcome.code == Some(0));
        assert!(done.any(|(_, client)| md5(&client.file("f")) == there), "a mixture");
        let size = std::fs::metadata(scene.home("f")).unwrap().len();
        for upload in scene.alice.run(&["--json", "uploads"]).ok().json_lines() {
            scene.ok(&["uploads", "--abort", upload["id"].as_str().unwrap()]);
        }
        scene.assert_used(size, 1);
        scene.ok(&["rm", "f"]);
        scene.assert_used(0, 0);
    }
}

#[test]
fn a_limit_is_not_read_at_the_login_alone() {
    let scene = Scene::new("unlimited");
    let mut raw = Raw::login(&scene.server, "alice", "a");
    assert!(matches!(put(&mut raw, "f", 5000), WorkerToClient::PutReady { .. }));
    scene.server.berthctl(&["quota", "set", "alice", "--bytes", "9000B"]).ok();
    // With the 5000 that are reserved.
    assert!(is_over_quota(&put(&mut raw, "g", 4001)));
    assert!(matches!(put(&mut raw, "g", 4000), WorkerToClient::PutReady { .. }));
    scene.server.berthctl(&["quota", "set", "alice", "--bytes", "unlimited"]).ok();
    assert!(matches!(put(&mut raw, "h", 1 << 30), WorkerToClient::PutReady { .. }));
    drop(raw);
}

#[test]
fn usage_is_not_lost_when_everything_ends_abruptly() {
    let mut scene = Scene::new("10KiB");
    scene.local("f", 6000);
    scene.ok(&["put", "f"]);
    let raw = Raw::login(&scene.server, "alice", "a");
    scene.server.kill_daemon();
    drop(raw);
    scene.restart();
    scene.assert_used(6000, 1);
    scene.alice.run(&["put", "f", "--to", "g"]).code_is(NO_ROOM);
    scene.assert_used(6000, 1);
}

#[test]
fn a_last_byte_of_quota_does_not_let_a_large_file_in() {
    let scene = Scene::new("1000B");
    scene.local("f", 999);
    scene.local("two", 2);
    scene.local("one", 1);
    scene.local("large", 64 * MIB);
    scene.ok(&["put", "f"]);
    for name in ["large", "two"] {
        scene.alice.run(&["put", name]).code_is(NO_ROOM);
        assert!(!scene.home(name).exists());
    }
    scene.ok(&["put", "one"]);
    scene.assert_used(1000, 2);
    let moved = |line: &Line| line.number("moved_leaves") > Some(0);
    let taken = scene.server.log().after(0, |line| moved(line) && line.number("size") > Some(1000));
    assert!(taken.is_empty(), "{taken:?}");
}

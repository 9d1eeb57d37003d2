//! What a dead process left is replayed at once, and before anybody is let in.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::entry::{Existing, PutSource, SourceFingerprint};
use berth_common::ids::UploadToken;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::disk::entries;
use berth_tests::log::Log;
use berth_tests::{Options, Raw, Server, account, report, wait_until};
use rustix::fs::FlockOperation;

/// A small upload that is opened and gets no data: a reservation, and a file in staging.
fn half_a_put(server: &Server) -> Raw {
    let mut raw = Raw::login(server, "alice", "a");
    let id = raw.id();
    raw.send(&ClientToWorker::Put(Put {
        id,
        path: RelPath::new("half").unwrap(),
        source: PutSource::File(SourceFingerprint {
            size: 1000,
            mtime_ns: 1,
            ctime_ns: 1,
            inode: 1,
        }),
        token: UploadToken([1; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    }));
    assert!(matches!(raw.message(), WorkerToClient::PutReady { leaves: 0, .. }));
    raw
}

#[test]
fn a_death_is_cleaned_up_at_once_whichever_process_dies() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    for worker in [true, false] {
        let raw = half_a_put(&server);
        let session = server.session_of("alice");
        assert_eq!(entries(&server.staging("alice")).len(), 1);
        assert_eq!(server.user("alice")["reserved_bytes"], 1000);
        let victim = if worker { session.worker } else { session.filer.unwrap() };
        let killed = Instant::now();
        server.kill_child(victim);
        wait_until("staging is empty", || entries(&server.staging("alice")).is_empty());
        report(&format!("{:?} from the kill to the replay's removal", killed.elapsed()));
        server.assert_at_rest("alice");
        drop(raw);
    }
}

#[test]
fn many_users_are_recovered_before_anybody_is_let_in() {
    const USERS: usize = 12;
    let mut server = Server::start(Options::new());
    let names: Vec<String> = (0..USERS).map(|number| format!("user{number}")).collect();
    for name in &names {
        server.add_user(name, "a", "1MiB");
    }
    server.kill_daemon();
    for name in &names {
        // Left-overs without a row, and the same below the name of a staged directory.
        let staging = server.staging(name);
        fs::create_dir(staging.join("0000000000000abc")).unwrap();
        fs::write(staging.join("0000000000000abc").join("f"), b"x").unwrap();
        fs::write(staging.join("0000000000000abd"), b"x").unwrap();
        for path in ["0000000000000abc", "0000000000000abc/f", "0000000000000abd"] {
            account::give(&staging.join(path));
        }
    }
    server.restart();
    for name in &names {
        assert_eq!(entries(&server.staging(name)), Vec::<std::path::PathBuf>::new(), "{name}");
        server.assert_at_rest(name);
    }
}

#[test]
fn a_new_daemon_waits_for_the_last_process_of_an_earlier_one() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.kill_daemon();
    // A filer that hangs in the kernel cannot be made; what counts of it is that it has inherited the lock.
    let lock = File::options().read(true).write(true).open(server.data().join("lock")).unwrap();
    wait_until("the lock is free", || {
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    let mut heir = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::from(lock))
        .spawn()
        .expect("cat can be run");

    let mut daemon = account::command(&server.binaries().path("berthd"))
        .arg("--config")
        .arg(server.directory().join("berthd.toml"))
        .current_dir(server.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("berthd can be run");
    let said = Log::capture(daemon.stdout.take().expect("a pipe"));
    let log = Log::capture(daemon.stderr.take().expect("a pipe"));
    log.wait_after(0, "it says what it waits for", |line| {
        line.message() == "waiting for workers of an earlier berthd to end"
    });
    assert_eq!(said.text(), "", "nobody is let in meanwhile");
    heir.kill().unwrap();
    heir.wait().unwrap();
    wait_until("it goes on", || said.text().contains("listening on"));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

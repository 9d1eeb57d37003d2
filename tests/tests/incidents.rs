//! A worker or filer that crashes, is ended by the sandbox, runs out of memory or stalls shows as that in the
//! status and the log, and a transfer of another session beside it goes on undisturbed; and what holds all the
//! time: what a worker may write, and that a killed daemon leaves nobody behind. With real processes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use berth_common::client_protocol::ClientToWorker;
use berth_common::frame::encode_message;
use berth_common::limits::{LEASE_BYTES, MAX_MESSAGE_BODY};
use berth_common::rel_path::RelPath;
use berth_tests::files::Content;
use berth_tests::server::Session;
use berth_tests::valve::Valve;
use berth_tests::{Options, Raw, Server, account, process, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// Bytes of the steady transfer that pass at a time: more than a pipe holds, so that each time the server goes on.
const CHUNK: usize = 512 * 1024;

/// A transfer of bob's that goes on, a chunk at a time as `during` says, and ends well after it.
fn beside_a_steady_transfer(server: &Server, during: impl FnOnce(&mut dyn FnMut())) {
    server.add_user("bob", "b", "1GiB");
    let bob = server.client("bob", "b");
    let content = Content::seed(7).bytes(64 * CHUNK);
    let (running, mut pipe) = bob.spawn_piped(&["put", "-", "--to", "steady"]);
    let mut fed = 0;
    let mut feed = || {
        pipe.write_all(&content[fed..fed + CHUNK]).expect("the transfer goes on");
        fed += CHUNK;
    };
    feed();
    let session = server.session_of("bob").id;
    during(&mut feed);
    feed();
    drop(pipe);
    running.wait().ok();
    let stored = fs::read(server.home("bob").join("steady")).unwrap();
    assert!(stored == content[..fed], "what was sent");
    let logins = server
        .log()
        .after(0, |line| line.message() == "login" && line.text("user").as_deref() == Some("bob"));
    let sessions: Vec<_> = logins.iter().map(|line| line.number("session").unwrap()).collect();
    assert_eq!(sessions, [session], "it did not have to connect again");
}

/// What a test does to one of a session's two processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Worker,
    Filer,
}

impl Which {
    fn of(self, session: &Session) -> u32 {
        match self {
            Self::Worker => session.worker,
            Self::Filer => session.filer.unwrap(),
        }
    }

    fn count(self) -> &'static str {
        match self {
            Self::Worker => "workers",
            Self::Filer => "filers",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Worker => "berth-worker",
            Self::Filer => "berth-filer",
        }
    }
}

fn incidents(server: &Server) -> Value {
    server.berthctl(&["--json", "status"]).ok().json()["incidents"].clone()
}

/// Waits until the status tells of the end of this process, and checks that the log does too.
fn told(server: &Server, pid: u32, which: Which, kind: &str) -> String {
    let latest = wait_for("the incident is in the status", || {
        let incidents = incidents(server);
        let latest = incidents["latest"].as_array().unwrap();
        latest.iter().find(|it| it["pid"] == pid).cloned()
    });
    assert_eq!(latest["kind"], kind, "{latest}");
    assert_eq!(latest["program"], which.program());
    assert!(incidents(server)[which.count()][kind].as_u64() >= Some(1));
    let line = server.log().wait_after(0, "the incident is in the log", |line| {
        line.message() == "an incident" && line.number("pid") == Some(pid.into())
    });
    assert_eq!(line.text("kind").as_deref(), Some(kind));
    let what = latest["what"].as_str().unwrap().to_owned();
    let shown = server.berthctl(&["status"]).ok().stdout;
    assert!(shown.contains(&what), "{shown}");
    what
}

#[test]
fn a_crash_and_the_sandbox_are_told_and_disturb_nobody_else() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    beside_a_steady_transfer(&server, |feed| {
        for which in [Which::Worker, Which::Filer] {
            for (signal, kind, says) in [
                (Signal::SEGV, "crashed", "crashed by signal 11 (SIGSEGV)"),
                (Signal::ABORT, "crashed", "crashed by signal 6 (SIGABRT)"),
                (Signal::SYS, "sandbox", "forbidden system call"),
                (Signal::KILL, "crashed", "SIGKILL, which berthd did not send"),
            ] {
                let mut raw = Raw::login(&server, "alice", "a");
                let session = server.session_of("alice");
                let pid = which.of(&session);
                // Rust's own handler takes the first SIGSEGV for a stack that may have overflowed.
                wait_until("it is dead", || {
                    process::signal(pid, signal);
                    !process::runs(pid)
                });
                raw.closing();
                feed();
                let what = told(&server, pid, which, kind);
                assert!(what.contains(says), "{what}");
                server.wait_for_no_session_of("alice");
            }
        }
    });
    // Nobody else is blamed.
    let status = incidents(&server);
    for which in ["workers", "filers"] {
        let counts = &status[which];
        let kinds = ["crashed", "sandbox", "memory", "stalled", "broke"];
        assert_eq!(kinds.map(|kind| counts[kind].as_u64().unwrap()), [3, 1, 0, 0, 0], "{which}");
    }
    server.assert_at_rest("alice");
}

/// What a process needs memory for: a worker for a long frame, a filer for many questions with long paths.
fn ask_for_much(raw: &mut Raw, which: Which) {
    if which == Which::Worker {
        let body = u32::try_from(MAX_MESSAGE_BODY).unwrap().to_be_bytes();
        let frame = [&body[..], &[0], &vec![0; MAX_MESSAGE_BODY]].concat();
        drop(raw.try_send_bytes(&frame));
        return;
    }
    let path = RelPath::new(&vec!["x".repeat(250); 15].join("/")).unwrap();
    for _ in 0..2000 {
        let id = raw.id();
        let path = path.clone();
        let question = ClientToWorker::MakeDirectory { id, path, parents: true };
        if raw.try_send_bytes(&encode_message(&question).unwrap()).is_err() {
            return;
        }
    }
}

#[test]
fn want_of_memory_is_told_as_that() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    beside_a_steady_transfer(&server, |feed| {
        for which in [Which::Worker, Which::Filer] {
            let mut raw = Raw::login(&server, "alice", "a");
            let pid = which.of(&server.session_of("alice"));
            process::limit_memory(pid, 4096);
            ask_for_much(&mut raw, which);
            raw.closing();
            feed();
            let what = told(&server, pid, which, "memory");
            assert!(what.starts_with("out of memory: memory allocation of"), "{what}");
            server.wait_for_no_session_of("alice");
        }
    });
}

#[test]
fn a_process_that_stops_is_told_as_stalled_within_its_deadline() {
    let server = Server::start(Options::new().set("login_seconds = 4"));
    server.add_user("alice", "a", "1MiB");
    beside_a_steady_transfer(&server, |feed| {
        // A worker before its client has logged in: the handshake or the login is over its deadline.
        let mut raw = Raw::connect(&server);
        let worker = wait_for("the session is listed", || {
            server.sessions().into_iter().find(|session| session.user.is_none())
        });
        process::signal(worker.worker, Signal::STOP);
        raw.closing();
        feed();
        let what = told(&server, worker.worker, Which::Worker, "stalled");
        assert!(what.contains("did not log in"), "{what}");

        // A filer whose worker ends.
        let raw = Raw::login(&server, "alice", "a");
        let filer = server.session_of("alice").filer.unwrap();
        process::signal(filer, Signal::STOP);
        drop(raw);
        feed();
        let what = told(&server, filer, Which::Filer, "stalled");
        assert!(what.contains("did not end with its worker"), "{what}");
    });
    server.assert_at_rest("alice");
}

#[test]
fn a_process_that_stops_while_its_client_waits_is_told_as_stalled() {
    // Eight seconds to answer: time enough for those that run, on a machine with much to do.
    let server = Server::start(Options::new().set("heartbeat_seconds = 4"));
    let stopped = [("alice", Which::Worker), ("carol", Which::Filer)];
    beside_a_steady_transfer(&server, |feed| {
        let waiting = stopped.map(|(user, which)| {
            server.add_user(user, "p", "1MiB");
            let raw = Raw::login(&server, user, "p");
            let session = server.session_of(user);
            process::signal(which.of(&session), Signal::STOP);
            (raw, session)
        });
        for ((mut raw, session), (_, which)) in waiting.into_iter().zip(stopped) {
            // The client asks for nothing, and only waits.
            raw.closing();
            feed();
            let pid = which.of(&session);
            let what = told(&server, pid, which, "stalled");
            assert!(what.contains("does not answer"), "{what}");
            let line = server.log().wait_after(0, "it is told when it is ended", |line| {
                line.message() == "a helper does not answer, and is ended"
                    && line.number("pid") == Some(pid.into())
            });
            assert_eq!(line.number("session"), Some(session.id));
        }
    });
    // Nobody else is blamed.
    let status = incidents(&server);
    for which in ["workers", "filers"] {
        let counts = &status[which];
        let kinds = ["crashed", "sandbox", "memory", "stalled", "broke"];
        assert_eq!(kinds.map(|kind| counts[kind].as_u64().unwrap()), [0, 0, 0, 1, 0], "{which}");
    }
    for (user, _) in stopped {
        server.wait_for_no_session_of(user);
        server.assert_at_rest(user);
    }
}

#[test]
fn a_worker_writes_no_more_than_its_uploads_were_granted() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    let limit = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max file size")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().ok()
    };
    let _before_login = Raw::connect(&server);
    let waiting = wait_for("it is listed", || server.sessions().into_iter().next());
    assert_eq!(limit(waiting.worker), Some(0));

    let size = 20 << 20;
    let valve = Valve::behind(server.address(), 6 << 20);
    let alice = server.client("alice", "a").at(valve.address(), server.fingerprint());
    Content::seed(3).write(&alice.file("f"), size);
    let running = alice.spawn(&["put", "f"]);
    wait_until("the transfer is under way", || {
        berth_tests::disk::only_journal_leaves(&server.staging("alice")) >= 10
    });
    let session = server.session_of("alice");
    assert_eq!(limit(session.worker), Some(size));
    assert_eq!(limit(session.filer.unwrap()), None, "it copies what is appended to");
    valve.open();
    running.wait().ok();

    // One of unknown size may write its lease, and as much again as it replaces.
    let (streaming, mut pipe) =
        alice.at(server.address(), server.fingerprint()).spawn_piped(&["put", "-", "--to", "f"]);
    pipe.write_all(&[7; 100_000]).unwrap();
    let streamer = wait_for("the lease is granted", || {
        let sessions = server.sessions_of("alice");
        sessions.into_iter().find(|session| limit(session.worker) != Some(0))
    });
    assert_eq!(limit(streamer.worker), Some(size + LEASE_BYTES));
    drop(pipe);
    streaming.wait().ok();
}

#[test]
fn the_daemon_and_its_helpers_are_hidden_and_hand_nothing_on() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let _raw = Raw::login(&server, "alice", "a");
    let session = server.session_of("alice");
    for pid in [server.pid(), session.worker, session.filer.unwrap()] {
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
        assert_eq!(owner, 0, "{pid} is not dumpable, so its files are root's");
    }
    let Ok(open) = fs::read_dir(format!("/proc/{}/fdinfo", server.pid())) else {
        // Only root may look.
        return;
    };
    let mut count = 0;
    for entry in open.flatten() {
        let number: u32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let Ok(info) = fs::read_to_string(entry.path()) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u64::from_str_radix(flags, 8).unwrap();
        let close_on_exec = flags & 0o2_000_000 != 0;
        assert!(number <= 2 || close_on_exec, "{number} of the daemon is handed on: {info}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn a_daemon_that_stops_ends_a_handshake_with_an_error() {
    let server = Server::start(Options::new());
    let socket = berth_tests::raw::tcp(server.address().parse().unwrap(), None).unwrap();
    wait_until("a worker has the connection", || !server.sessions().is_empty());
    process::signal(server.pid(), Signal::STOP);
    let ended = Raw::over(socket);
    process::signal(server.pid(), Signal::CONT);
    assert!(ended.is_err(), "the worker gives up after two seconds, and tells");
    wait_until("the session is over", || server.sessions().is_empty());
    assert_eq!(server.berthctl(&["--json", "status"]).ok().json()["crashes"], 0);
}

#[test]
fn a_killed_daemon_leaves_nobody_behind_and_the_next_one_waits_until_all_are_gone() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let _raw = Raw::login(&server, "alice", "a");
    let session = server.session_of("alice");
    // Stopped processes are killed with their parent, too.
    process::signal(session.worker, Signal::STOP);
    process::signal(session.filer.unwrap(), Signal::STOP);
    let all = process::children(server.pid());
    assert!(all.len() >= 4, "{all:?}");
    server.kill_daemon();
    assert!(!all.iter().any(|pid| process::runs(*pid)), "{all:?}");

    // Somebody who inherited the lock lives on: in the place of a helper in a slow system call.
    let lock = server.data().join("lock");
    let mut heir = Some(Heir::of(&lock));
    let mut looks = 0;
    server.restart_while(|_| {
        looks += 1;
        if looks == 500 {
            heir.take();
        }
    });
    assert!(looks >= 500, "it listened while the lock was held, after {looks} looks");
    server.log().wait_after(0, "it says that it waited", |line| {
        line.message() == "waiting for workers of an earlier berthd to end"
    });
    server.assert_at_rest("alice");
}

/// A process that holds the lock that helpers inherit, until it is dropped.
struct Heir(Child);

impl Heir {
    fn of(lock: &Path) -> Self {
        let mut command = account::command(Path::new("flock"));
        command.arg("--no-fork").arg(lock).args(["sh", "-c", "echo held; exec sleep 600"]);
        let mut heir = Self(command.stdout(Stdio::piped()).spawn().expect("flock can be run"));
        let mut said = [0; 5];
        heir.0.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        heir
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Bad input of every kind gets a sentence that names the thing, and nothing is lost.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::limits::MAX_MESSAGE_BODY;
use berth_common::rel_path::RelPath;
use berth_tests::exit::{CONNECT, IDENTITY, NOT_FOUND};
use berth_tests::files::Content;
use berth_tests::server::check;
use berth_tests::{Options, Raw, Received, Server, account, process, wait_until};
use rustix::process::Signal;

#[test]
fn a_bad_configuration_is_refused_with_all_complaints_at_once() {
    let bad = "max_conections = 5\nbacklog = \"many\"\nlog_format = \"xml\"\n";
    let outcome = check(bad).failed();
    for complaint in ["max_conections", "no such key", "backlog", "log_format", "xml"] {
        assert!(outcome.stderr.contains(complaint), "{complaint} in {}", outcome.stderr);
    }
    check("max_connections = 5\nspare_workers = 1\n").ok();
    Server::try_start(Options::new().set("max_conections = 5")).unwrap_err().says("max_conections");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Server::try_start(Options::new().listen(&address)).unwrap_err().says(&address);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o555)).unwrap();
    let data = parent.path().join("data");
    let refusal = Server::try_start(Options::new().data_dir(&data)).unwrap_err();
    refusal.says(&data.display().to_string());
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let missing = directory.path().join("none.crt");
    let garbage = directory.path().join("garbage.crt");
    fs::write(&garbage, "no PEM").unwrap();
    account::give(&garbage);
    for certificate in [missing, garbage] {
        let options = Options::new()
            .set(&format!("certificate = {certificate:?}"))
            .set(&format!("key = {certificate:?}"));
        Server::try_start(options).unwrap_err().says(&certificate.display().to_string());
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused_at_once() {
    let server = Server::start(Options::new());
    let second = Server::try_start(Options::new().data_dir(&server.data())).unwrap_err();
    second.says("running");
}

#[test]
fn a_port_without_a_server_or_with_another_one_is_told() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap().to_string();
    drop(silent);
    alice.clone().at(&nobody, server.fingerprint()).run(&["ls"]).code_is(CONNECT).says("refused");

    // A server that speaks first, in clear.
    let talker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = talker.local_addr().unwrap().to_string();
    let talk = thread::spawn(move || {
        let (mut stream, _) = talker.accept().unwrap();
        stream.write_all(b"220 smtp.example ESMTP\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    alice.at(&address, server.fingerprint()).run(&["ls"]).code_is(CONNECT).says("Berth");
    talk.join().unwrap();
}

#[test]
fn a_changed_certificate_is_refused_loudly() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    let other = format!("SHA256:{}", "ab".repeat(32));
    alice.clone().at(server.address(), &other).run(&["ls"]).code_is(IDENTITY);
    // Unknown, and nobody to ask.
    alice.without_fingerprint().run(&["ls"]).code_is(IDENTITY).says(server.fingerprint());
}

#[test]
fn strangers_on_the_port_disturb_nobody() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let garbage = Content::seed(1).bytes(100_000);
    let requests: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\xff\xff",
        &garbage,
        b"",
    ];
    for request in requests {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100, "at most a TLS alert: {answer:?}");
    }
    server.client("alice", "a").run(&["ls"]).ok();
    wait_until("the strangers are gone", || server.sessions().is_empty());
    let status = server.berthctl(&["status", "--json"]).ok().json();
    assert_eq!(status["crashes"], 0, "garbage is no crash");
}

#[test]
fn oversized_and_malformed_frames_end_the_session_and_nothing_else() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let oversized = u32::try_from(MAX_MESSAGE_BODY + 2).unwrap().to_be_bytes();
    let frames: Vec<Vec<u8>> = vec![
        [&oversized[..], &[0]].concat(),
        vec![0xff; 5],
        vec![0xff, 0xff, 0xff, 0xff, 0],
        vec![0xff, 0xff, 0xff, 0xff, 1],
        vec![0, 0, 0, 0, 0],
        vec![0, 0, 0, 1, 7],
        vec![0, 0, 0, 2, 0, 0xc1],
        vec![0, 0, 0, 6, 0, 0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0, 0, 0, 6, 1, 0, 0, 0, 1, 9],
    ];
    for frame in frames {
        for logged_in in [false, true] {
            let mut raw = Raw::connect(&server);
            if logged_in {
                raw.authenticate("alice", "a").unwrap();
            }
            let _ = raw.try_send_bytes(&frame);
            assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{frame:?} {logged_in}");
        }
    }
    server.assert_at_rest("alice");
    let status = server.berthctl(&["status", "--json"]).ok().json();
    assert_eq!(status["crashes"], 0);
}

#[test]
fn local_mistakes_are_named_and_the_other_files_go_through() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("good", "content");
    alice.run(&["put", "missing", "good"]).code_is(NOT_FOUND).says("missing");
    assert!(server.home("alice").join("good").exists());
    alice.run(&["get", "nothing"]).code_is(NOT_FOUND).says("nothing");
    alice.run(&["put", "good", "--to", "no/such/dir"]).code_is(NOT_FOUND);
    // A get never overwrites what differs, unless it is told to.
    alice.write("local", "different");
    alice.run(&["get", "good", "--to", "local"]).failed().says("local");
    assert_eq!(fs::read_to_string(alice.file("local")).unwrap(), "different");
    alice.run(&["get", "-f", "good", "--to", "local"]).ok();
    assert_eq!(fs::read_to_string(alice.file("local")).unwrap(), "content");
    alice.run(&["put", "-n", "local", "--to", "good"]).failed().says("exists");
    server.assert_at_rest("alice");
}

#[test]
fn sigterm_lets_a_transfer_end_and_then_the_server_ends() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("big"), 200 << 20);
    let running = alice.spawn(&["put", "big"]);
    wait_until("the journal has grown", || {
        berth_tests::disk::only_journal_leaves(&server.staging("alice")) >= 20
    });
    assert_eq!(server.terminate(), Some(0));
    running.wait().ok();
    berth_tests::files::assert_same(&alice.file("big"), &server.home("alice").join("big"));
    server.restart();
    server.assert_at_rest("alice");
}

#[test]
fn a_server_that_was_killed_knows_everything_that_it_acknowledged() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let mut alice = server.client("alice", "a");
    for number in 0..5 {
        let name = format!("file-{number}");
        Content::seed(number).write(&alice.file(&name), number * 700_000);
        alice.run(&["put", &name]).ok();
        server.kill_daemon();
        server.restart();
        server.assert_at_rest("alice");
        alice = alice.at(server.address(), server.fingerprint());
        alice.run(&["get", &name, "--to", &format!("back-{number}")]).ok();
    }
}

#[test]
fn more_connections_than_an_address_may_have_are_refused() {
    let options = Options::new().set("max_connections_per_address = 3").set("login_seconds = 60");
    let server = Server::start(options);
    server.add_user("alice", "a", "1MiB");
    let held: Vec<_> = (0..3).map(|_| Raw::connect(&server)).collect();
    assert!(Raw::connect_from(&server, None).is_err());
    drop(held);
    let alice = server.client("alice", "a");
    wait_until("there is room again", || alice.run(&["ls"]).code == Some(0));
}

#[test]
fn more_sessions_than_a_user_may_have_are_refused() {
    let server = Server::start(Options::new().set("max_sessions_per_user = 2"));
    server.add_user("alice", "a", "1MiB");
    let _held = [Raw::login(&server, "alice", "a"), Raw::login(&server, "alice", "a")];
    let third = Raw::connect(&server).authenticate("alice", "a");
    assert_eq!(third, Err(ErrorCode::TooManySessions { limit: 2 }));
}

#[test]
fn of_what_a_lost_filer_leaves_open_nothing_is_told_but_that_the_session_ends() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let mut raw = Raw::login(&server, "alice", "a");
    let filer = server.session_of("alice").filer.expect("a filer");
    process::signal(filer, Signal::STOP);
    wait_until("the filer stands still", || process::is_stopped(filer));
    for _ in 0..4 {
        let (id, path) = (raw.id(), RelPath::new("none").unwrap());
        raw.send(&ClientToWorker::Stat { id, path: path.clone() });
        let id = raw.id();
        raw.send(&ClientToWorker::StatFiles { id, paths: vec![path] });
    }
    // The worker answers this by itself: it has asked the filer all the rest.
    let payload = b"still there".to_vec();
    let echo = raw.ask(|id| ClientToWorker::Echo { id, payload });
    assert!(matches!(echo, WorkerToClient::Echoed { .. }), "{echo:?}");
    server.kill_child(filer);
    let last = raw.message();
    assert!(matches!(last, WorkerToClient::Refused { error: ErrorCode::Internal }), "{last:?}");
    assert!(matches!(raw.receive(), Received::Closed));
}

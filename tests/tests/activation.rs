//! With sockets that somebody else holds, as systemd does: the daemon comes and goes, and clients wait.
//! And what it tells that somebody: ready, alive, reloading, stopping.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use berth_tests::disk::only_journal_leaves;
use berth_tests::files::assert_same;
use berth_tests::{
    Content, Manager, Options, Raw, Server, Valve, account, process, report, wait_until,
};

fn listener() -> Arc<TcpListener> {
    Arc::new(TcpListener::bind("127.0.0.1:0").unwrap())
}

#[test]
fn a_socket_that_was_passed_takes_the_place_of_listen() {
    let socket = listener();
    let server = Server::start(Options::new().passing(&socket).listen("127.0.0.2:0"));
    assert_eq!(server.address(), socket.local_addr().unwrap().to_string());
    let status = server.berthctl(&["--json", "status"]).ok().json();
    assert_eq!(status["listen"], serde_json::json!([server.address()]));
    server.add_user("alice", "a", "1MiB");
    drop(Raw::login(&server, "alice", "a"));
}

#[test]
fn what_is_no_listening_tcp_socket_is_refused() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = Arc::new(TcpListener::from(OwnedFd::from(udp)));
    let socket = listener();
    let connected = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let connected = Arc::new(TcpListener::from(OwnedFd::from(connected)));
    for (passed, why) in [(&udp, "no TCP socket"), (&connected, "does not listen")] {
        let refusal = Server::try_start(Options::new().passing(passed)).unwrap_err();
        refusal.says(why);
        refusal.says("\"berth\"");
    }
}

#[test]
fn clients_that_connect_during_an_upgrade_wait_and_an_upload_goes_on() {
    let socket = listener();
    let options = Options::new().passing(&socket).set("shutdown_grace_seconds = 0");
    let mut server = Server::start(options);
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("big"), 24 << 20);
    let valve = Valve::behind(server.address(), 16 << 20);
    let cut = alice.clone().at(valve.address(), server.fingerprint()).spawn(&["put", "big"]);
    wait_until("half of it has arrived", || only_journal_leaves(&server.staging("alice")) > 64);

    assert_eq!(server.terminate(), Some(0));
    cut.wait().failed();
    let address = server.address().parse().unwrap();
    let early = berth_tests::raw::tcp(address, None).unwrap();
    let again = alice.spawn(&["--json", "put", "big"]);
    server.restart();
    assert_eq!(server.address(), address.to_string());

    let mut raw = Raw::over(early).unwrap();
    raw.authenticate("alice", "a").unwrap();
    again.wait().ok();
    let put = server.log().wait_after(0, "the put is logged", |line| line.is_success_of("put"));
    let moved = put.number("moved_leaves").unwrap();
    assert!(moved < (24 << 20) / (128 << 10) - 32, "{moved} leaves were sent again");
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
}

#[test]
fn a_daemon_without_a_network_serves_the_socket_that_it_was_passed() {
    if account::skipped_without_root() {
        return;
    }
    if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|it| it.success()) {
        report("skipped: no network namespace can be made here");
        return;
    }
    let socket = listener();
    let server = Server::start(Options::new().passing(&socket).without_network());
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(network(&server.pid().to_string()), network("self"));
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("file", "content");
    alice.run(&["put", "file"]).ok();
    alice.run(&["get", "file", "--to", "back"]).ok();
}

#[test]
fn the_manager_hears_when_it_is_ready_how_many_are_there_and_when_it_stops() {
    let manager = Manager::new();
    let mut server = Server::start(Options::new().env("NOTIFY_SOCKET", &manager.address()));
    let said = manager.wait_after(0, "STATUS=recovering homes");
    assert!(said[1].starts_with("EXTEND_TIMEOUT_USEC="), "{said:?}");
    manager.wait_after(0, "READY=1");
    manager.wait_after(0, "STATUS=serving 0 connections");
    server.add_user("alice", "a", "1MiB");
    let raw = Raw::login(&server, "alice", "a");
    manager.wait_after(0, "STATUS=serving 1 connection");
    let mark = manager.said().len();
    drop(raw);
    manager.wait_after(mark, "STATUS=serving 0 connections");
    // It was not asked for.
    assert!(!manager.said().iter().any(|line| line.starts_with("WATCHDOG")));

    assert_eq!(server.terminate(), Some(0));
    let end = manager.wait_after(mark, "STOPPING=1");
    // 30 s of grace, and what comes after them.
    assert!(end.contains(&"EXTEND_TIMEOUT_USEC=80000000".to_owned()), "{end:?}");
}

#[test]
fn the_watchdog_is_answered_for_as_long_as_the_daemon_runs_on() {
    let manager = Manager::new();
    let options = Options::new()
        .env("NOTIFY_SOCKET", &manager.address())
        .env("WATCHDOG_USEC", &Duration::from_millis(300).as_micros().to_string());
    let server = Server::start(options);
    for _ in 0..3 {
        let mark = manager.said().len();
        manager.wait_after(mark, "WATCHDOG=1");
    }
    // What a manager takes for dead.
    process::signal(server.pid(), rustix::process::Signal::STOP);
    wait_until("the daemon is stopped", || process::is_stopped(server.pid()));
    let mark = manager.said().len();
    process::signal(server.pid(), rustix::process::Signal::CONT);
    manager.wait_after(mark, "WATCHDOG=1");
}

#[test]
fn another_process_own_variables_are_not_taken_for_ours() {
    let manager = Manager::new();
    let options = Options::new()
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "theirs")
        .env("NOTIFY_SOCKET", &manager.address())
        .env("WATCHDOG_PID", "1")
        .env("WATCHDOG_USEC", "300000");
    let server = Server::start(options);
    assert!(server.address().starts_with("127.0.0.1:"));
    server.add_user("alice", "a", "1MiB");
    let raw = Raw::login(&server, "alice", "a");
    manager.wait_after(0, "STATUS=serving 1 connection");
    assert!(!manager.said().iter().any(|line| line.starts_with("WATCHDOG")));
    drop(raw);
}

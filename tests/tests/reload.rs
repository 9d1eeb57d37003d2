//! SIGHUP: certificates and limits are read again, and whoever is there notices nothing.

use std::fs;
use std::process::Command;

use berth_tests::disk::only_journal_leaves;
use berth_tests::files::assert_same;
use berth_tests::log::Line;
use berth_tests::{Content, Manager, Options, Raw, Server, Valve, account, process, wait_until};
use rustix::process::Signal;

/// Puts another server's certificate and key where this one has its own.
fn exchange_certificate(server: &Server) -> String {
    let other = Server::start(Options::new());
    for name in ["server.crt", "server.key"] {
        let path = server.data().join(name);
        fs::copy(other.data().join(name), &path).unwrap();
        account::give(&path);
    }
    other.fingerprint().to_owned()
}

fn fingerprint(line: &Line) -> String {
    format!("SHA256:{}", line.text("fingerprint").unwrap())
}

#[test]
fn new_connections_get_the_new_certificate_while_a_transfer_goes_on() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a");
    Content::seed(2).write(&alice.file("big"), 24 << 20);
    let valve = Valve::behind(server.address(), 16 << 20);
    let putting = alice.clone().at(valve.address(), server.fingerprint()).spawn(&["put", "big"]);
    wait_until("half of it has arrived", || only_journal_leaves(&server.staging("alice")) > 64);
    let session = server.session_of("alice");

    let new = exchange_certificate(&server);
    assert_eq!(fingerprint(&server.hang_up("reloaded")), new);
    alice.run(&["ls"]).code_is(8);
    alice.clone().at(server.address(), &new).run(&["ls"]).ok();
    assert_eq!(server.berthctl(&["--json", "status"]).ok().json()["fingerprint"], new[7..]);

    assert_eq!(server.session_of("alice").id, session.id);
    valve.open();
    putting.wait().ok();
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
    server.assert_at_rest("alice");
}

#[test]
fn limits_hold_from_then_on_and_what_needs_a_restart_is_named() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let first = Raw::login(&server, "alice", "a");
    let mark = server.log().mark();
    let fewer =
        ["max_sessions_per_user = 1", "spare_workers = 1", "spare_filers = 1", "backlog = 9"];
    server.configure(fewer.iter().fold(Options::new(), |options, line| options.set(line)));
    server.hang_up("reloaded");
    let fixed = server.log().after(mark, |line| line.message().contains("needs a restart"));
    assert_eq!(fixed.iter().map(|line| line.text("key").unwrap()).collect::<Vec<_>>(), ["backlog"]);
    server.client("alice", "a").run(&["ls"]).failed();
    drop(first);
    server.wait_for_no_session_of("alice");
    server.client("alice", "a").run(&["ls"]).ok();
    wait_until("there are as many spares as are asked for", || {
        let status = server.berthctl(&["--json", "status"]).ok().json();
        (&status["spare_workers"], &status["spare_filers"]) == (&1.into(), &1.into())
    });

    server.configure(Options::new().set("max_connections = 1").set("spare_workers = 1"));
    server.hang_up("reloaded");
    let only = Raw::login(&server, "alice", "a");
    let waiting = server.client("alice", "a").spawn(&["ls"]);
    server.configure(Options::new());
    server.hang_up("reloaded");
    waiting.wait().ok();
    drop(only);
}

#[test]
fn a_configuration_with_mistakes_changes_nothing_and_all_are_named() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let mark = server.log().mark();
    let new = exchange_certificate(&server);
    let wrong =
        Options::new().set("max_transfers = 99").set("max_session = 1").set("spare_filers = 0");
    server.configure(wrong);
    server.hang_up("nothing was reloaded");
    let complaints = server.log().after(mark, |line| line.message() == "cannot reload");
    let complaints: Vec<_> =
        complaints.iter().map(|line| line.text("complaint").unwrap()).collect();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints.iter().any(|text| text.contains("max_transfers: 99")), "{complaints:?}");
    assert!(complaints.iter().any(|text| text.contains("max_session")), "{complaints:?}");
    server.client("alice", "a").run(&["ls"]).ok();

    server.configure(Options::new());
    assert_eq!(fingerprint(&server.hang_up("reloaded")), new);
}

#[test]
fn the_manager_hears_of_a_reload_and_of_its_end() {
    let manager = Manager::new();
    let server = Server::start(Options::new().env("NOTIFY_SOCKET", &manager.address()));
    manager.wait_after(0, "READY=1");
    let mark = manager.said().len();
    server.hang_up("reloaded");
    let said = manager.wait_after(mark, "RELOADING=1");
    assert!(said[1].starts_with("MONOTONIC_USEC="), "{said:?}");
    manager.wait_after(mark, "READY=1");
}

#[test]
fn a_reload_that_hangs_keeps_nobody_from_being_served_and_the_daemon_from_no_end() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    // Nobody ever writes to it, as a disk that does not answer.
    let certificate = server.scratch().join("server.crt");
    let made = Command::new("mkfifo").arg(&certificate).status().unwrap();
    assert!(made.success(), "{made}");
    account::give(&certificate);
    server.configure(
        Options::new().set(&format!("certificate = {certificate:?}")).set("key = \"server.key\""),
    );
    process::signal(server.pid(), Signal::HUP);
    wait_until("the certificate is being read", || reads(server.pid(), "reload"));
    server.client("alice", "a").run(&["ls"]).ok();
    assert_eq!(server.terminate(), Some(0));
    let log = server.log().finished();
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(!log.contains("reloaded"), "{log}");
}

/// Whether a process has a thread of this name.
fn reads(pid: u32, thread: &str) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().any(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        name.trim_end() == thread
    })
}

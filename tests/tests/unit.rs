//! The unit's filter of system calls against what berthd and its helpers really ask for, seen by strace. A call
//! that is missing there would stop a service that every other test has found well.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use berth_tests::{Options, Server, account, process, wait_until};

const UNIT: &str = include_str!("../../systemd/berthd.service");

/// The system calls of one of systemd's groups, with those of the groups in it.
fn group(name: &str) -> BTreeSet<String> {
    let shown = Command::new("systemd-analyze").args(["syscall-filter", name]).output();
    let shown = shown.expect("systemd-analyze is installed");
    assert!(shown.status.success(), "{name}: {shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    let members = text.lines().skip(1).map(str::trim);
    members.filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(named).collect()
}

fn named(word: &str) -> BTreeSet<String> {
    if word.starts_with('@') { group(word) } else { BTreeSet::from([word.to_owned()]) }
}

/// What the unit allows: its first line makes it a list of what is allowed, the others add and take away.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in UNIT.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (words, taken_away) = match line.strip_prefix('~') {
            Some(words) => (words, true),
            None => (line, false),
        };
        for call in words.split_whitespace().flat_map(named) {
            if taken_away {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    // Whatever a unit says.
    allowed.extend(group("@default"));
    allowed
}

/// The calls that strace's summary counts: the last column, between two lines of dashes.
fn counted(summary: &str) -> BTreeSet<String> {
    let lines = summary.lines().skip(2).take_while(|line| !line.starts_with("---"));
    lines.filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect()
}

#[test]
fn the_unit_allows_every_system_call_of_a_session_and_a_reload() {
    if account::skipped_without_root() {
        return;
    }
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "10MiB");
    let summary = server.scratch().join("summary");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .args(["-p", &server.pid().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed");
    wait_until("strace has attached", || process::is_traced(server.pid()));

    // With new helpers, whose own start is seen.
    server.hang_up("reloaded");
    server.add_user("bob", "b", "10MiB");
    let alice = server.client("alice", "a");
    alice.write("file", vec![7; 3 << 20]);
    alice.write("small", "some bytes");
    let commands = [
        "put file",
        "put small",
        "put --append small",
        "mkdir d",
        "mv file d/f",
        "get d/f",
        "rm -r d",
        "df",
    ];
    for command in commands {
        alice.run(&command.split(' ').collect::<Vec<_>>()).ok();
    }
    server.berthctl(&["quota", "verify"]).ok();
    assert_eq!(server.terminate(), Some(0));
    strace.wait().unwrap();

    let seen = counted(&fs::read_to_string(&summary).unwrap());
    for must in ["openat2", "pipe2", "accept4", "fsync", "renameat2", "execve"] {
        assert!(seen.contains(must), "{must} was not seen, so this test sees nothing: {seen:?}");
    }
    let allowed = allowed();
    let refused: Vec<_> = seen.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

#[test]
fn the_unit_leaves_openat2_alone() {
    // systemd's filter against setuid files refuses openat2, which no list of calls shows.
    assert!(UNIT.lines().any(|line| line == "RestrictSUIDSGID=no"));
}

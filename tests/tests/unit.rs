//! The units' filters of system calls against what berthd and its helpers, and an announcer, really ask for, seen by
//! strace. A call that is missing there would stop a service that every other test has found well.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use berth_tests::binaries::Binaries;
use berth_tests::{Network, Options, Server, account, process, wait_until};

const UNIT: &str = include_str!("../../systemd/berthd.service");
const ANNOUNCING: &str = include_str!("../../systemd/berthd-announce.service");

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

/// What a unit allows: its first line makes it a list of what is allowed, the others add and take away.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
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

/// The calls that strace's summary counts: the last column of lines that begin with a share of the time. There are
/// headings besides, remarks, and a total.
fn counted(summary: &str) -> BTreeSet<String> {
    let calls = summary.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        // A process's number, before what strace says of one that was killed, has no point.
        columns.next().filter(|share| share.contains('.'))?.parse::<f64>().ok()?;
        columns.last().map(str::to_owned)
    });
    calls.filter(|call| call != "total").collect()
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

    let summary = fs::read_to_string(&summary).unwrap();
    let seen = counted(&summary);
    for must in ["openat2", "pipe2", "accept4", "fsync", "renameat2", "execve"] {
        assert!(seen.contains(must), "{must} was not seen, so this test sees nothing:\n{summary}");
    }
    let allowed = allowed(UNIT);
    let refused: Vec<_> = seen.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

#[test]
fn the_announcers_unit_allows_every_system_call_of_an_announcement() {
    let Some(network) = Network::new() else { return };
    let (scratch, binaries) = (tempfile::tempdir().unwrap(), Binaries::shared());
    account::give(scratch.path());
    let (summary, log) = (scratch.path().join("summary"), scratch.path().join("log"));
    // As an ordinary user, as under systemd: who has to become one makes other calls.
    let ordinary = format!("--reuid={0} --regid={0} --clear-groups", account::TEST_ID);
    let mut command = Command::new("setpriv");
    command.args(ordinary.split(' ')).args(["strace", "-f", "-c", "-o"]).arg(&summary);
    command.arg(binaries.path("berthd")).args(["announce", "--name", "files"]);
    command.stderr(fs::File::create(&log).unwrap());
    let mut strace = network.first.within(|| command.spawn().expect("setpriv is installed"));
    let logged = || fs::read_to_string(&log).unwrap();
    wait_until("it has announced", || logged().contains("interfaces=[\"cable\"]"));
    // It hears of another network, too.
    network.first.ip("link set cable down");
    wait_until("it has lost its network", || network.first.udp_sockets().is_empty());
    let traced = process::children(strace.id());
    traced.iter().for_each(|pid| process::signal(*pid, rustix::process::Signal::TERM));
    assert!(strace.wait().unwrap().success(), "{}", logged());
    let summary = fs::read_to_string(summary).unwrap();

    let seen = counted(&summary);
    for must in ["landlock_restrict_self", "recvfrom", "sendto", "setsockopt", "bind"] {
        assert!(seen.contains(must), "{must} was not seen, so this test sees nothing:\n{summary}");
    }
    let refused: Vec<_> = seen.iter().filter(|call| !allowed(ANNOUNCING).contains(*call)).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

#[test]
fn the_announcers_unit_has_neither_files_nor_a_place_in_the_package_s_start() {
    for line in [
        "DynamicUser=yes",
        "CapabilityBoundingSet=",
        "InaccessiblePaths=-/var/lib/berth -/etc/berth",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX",
    ] {
        assert!(ANNOUNCING.lines().any(|it| it == line), "{line}");
    }
    let rules = include_str!("../../debian/rules");
    let installed = rules.lines().find(|line| line.contains("berthd-announce.service")).unwrap();
    assert!(installed.contains("--no-enable") && installed.contains("--no-start"), "{installed}");
    assert!(!UNIT.contains("announce"), "the service starts no announcer");
}

#[test]
fn the_unit_leaves_openat2_alone() {
    // systemd's filter against setuid files refuses openat2, which no list of calls shows.
    assert!(UNIT.lines().any(|line| line == "RestrictSUIDSGID=no"));
}

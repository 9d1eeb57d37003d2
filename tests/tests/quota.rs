//! Exact quotas: refused before data flows, never exceeded by a byte, and after everything that
//! happens the ledger equals a walk of the home.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use berth_tests::client::at_once;
use berth_tests::exit::NO_ROOM;
use berth_tests::files::{Content, assert_same};
use berth_tests::{Options, Raw, Server};

const MIB: u64 = 1 << 20;

#[test]
fn over_quota_is_refused_before_data_flows_with_the_numbers() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("small"), 1000);
    Content::seed(2).write(&alice.file("big"), 64 * MIB);
    alice.run(&["put", "small"]).ok();
    alice
        .run(&["put", "big"])
        .code_is(NO_ROOM)
        .says("64.0 MiB more")
        .says("1000 B used")
        .says("0 B reserved")
        .says("of 1.0 MiB");
    server.assert_at_rest("alice");
    let moved = server.log().after(0, |line| {
        line.number("moved_leaves") > Some(0) && line.number("size") == Some(64 * MIB)
    });
    assert!(moved.is_empty(), "no leaf was taken: {moved:?}");
}

#[test]
fn eight_sessions_of_one_user_never_exceed_the_quota_by_a_byte() {
    const QUOTA: u64 = 40 * MIB;
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "40MiB");
    let clients: Vec<_> = (0..8).map(|_| server.client("alice", "a")).collect();
    // Small and resumable ones, of sizes that do not divide the quota: 72 MiB in all.
    let sizes = [700_001, 1_500_003, 2_200_007, 4_800_011];
    let names = |number: usize| -> Vec<String> {
        (0..sizes.len()).map(|index| format!("file-{number}-{index}")).collect()
    };
    for (number, client) in clients.iter().enumerate() {
        for (name, size) in names(number).iter().zip(sizes) {
            Content::seed(number as u64 * size).write(&client.file(name), size);
        }
    }
    let done = AtomicBool::new(false);
    let (outcomes, most) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                // A walk that a rename overtakes may count a file at most once: names are unique.
                most = most.max(server.home_sums("alice").bytes);
            }
            most
        });
        let put = |number: usize| {
            let client = &clients[number];
            move || {
                let run = |name: &String| client.run(&["put", name]);
                names(number).iter().map(run).collect::<Vec<_>>()
            }
        };
        let outcomes: Vec<_> =
            at_once((0..clients.len()).map(put).collect()).into_iter().flatten().collect();
        done.store(true, Ordering::Relaxed);
        (outcomes, watcher.join().unwrap())
    });
    assert!(most <= QUOTA, "the home held {most} bytes of {QUOTA}");
    let refused = outcomes.iter().filter(|outcome| outcome.code != Some(0)).count();
    for outcome in outcomes.iter().filter(|outcome| outcome.code != Some(0)) {
        assert_eq!(outcome.code, Some(NO_ROOM), "{outcome:?}");
    }
    assert!(refused > 0 && refused < outcomes.len(), "{refused} of {} refused", outcomes.len());
    server.assert_at_rest("alice");
    let used = server.home_sums("alice").bytes;
    assert!(used <= QUOTA && used + sizes[3] > QUOTA, "{used} of {QUOTA}: not refused too early");
}

#[test]
fn entries_are_limited_like_bytes() {
    let server = Server::start(Options::new());
    let add = ["user", "add", "alice", "--quota", "unlimited", "--entries", "3"];
    server.berthctl_with(&add, Some("a")).ok();
    let alice = server.client("alice", "a");
    alice.write("f", "x");
    alice.run(&["mkdir", "d"]).ok();
    alice.run(&["put", "f", "--to", "d/1"]).ok();
    alice.run(&["put", "f", "--to", "d/2"]).ok();
    alice.run(&["put", "f", "--to", "d/3"]).code_is(NO_ROOM).says("files and directories");
    alice.run(&["mkdir", "e"]).code_is(NO_ROOM).says("files and directories");
    alice.run(&["put", "f", "--to", "d/2"]).ok();
    alice.run(&["mv", "d/2", "d/1"]).ok();
    alice.run(&["put", "f", "--to", "d/3"]).ok();
    server.assert_at_rest("alice");
}

#[test]
fn a_limit_below_the_usage_refuses_growth_in_an_open_session_and_removes_nothing() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("f"), 5000);
    alice.run(&["put", "f"]).ok();
    let mut session = Raw::login(&server, "alice", "a");
    let mut mkdir = |name: &str| {
        let path = RelPath::new(name).unwrap();
        session.ask(|id| ClientToWorker::MakeDirectory { id, path, parents: false })
    };
    assert!(matches!(mkdir("a"), WorkerToClient::Done { .. }));
    server.berthctl(&["quota", "set", "alice", "--bytes", "10", "--entries", "1"]).ok();
    let refused = mkdir("b");
    assert!(
        matches!(
            refused,
            WorkerToClient::Failed {
                error: ErrorCode::QuotaExceeded { limit: 1, used: 2, requested: 1, .. },
                ..
            }
        ),
        "{refused:?}"
    );
    assert_same(&alice.file("f"), &server.home("alice").join("f"));
    assert_eq!(server.home_sums("alice").entries, 2, "nothing is removed");
    server.berthctl(&["quota", "set", "alice", "--entries", "3"]).ok();
    assert!(matches!(mkdir("b"), WorkerToClient::Done { .. }), "a directory has no bytes");
    drop(session);
    server.assert_at_rest("alice");
}

#[test]
fn the_ledger_equals_a_walk_after_every_operation() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "8MiB");
    let alice = server.client("alice", "a");
    for (name, size) in [("small", 10), ("large", 3 * MIB), ("too-large", 9 * MIB)] {
        Content::seed(size).write(&alice.file(name), size);
    }
    let steps: &[(&[&str], i32)] = &[
        (&["put", "small"], 0),
        (&["put", "large"], 0),
        (&["put", "large", "--to", "small"], 0),
        (&["put", "small"], 0),
        (&["put", "too-large"], NO_ROOM),
        (&["mkdir", "-p", "d/e/f"], 0),
        (&["mkdir", "-p", "d/e/f"], 0),
        (&["mkdir", "d"], 1),
        (&["put", "large", "--to", "d/e/f/x"], 0),
        (&["mv", "d/e", "g"], 0),
        (&["mv", "small", "g/f/y"], 0),
        (&["mv", "g/f/y", "g/f/x"], 0),
        (&["mv", "nothing", "x"], 5),
        (&["rm", "nothing"], 5),
        (&["rm", "g"], 1),
        (&["rm", "-r", "g"], 0),
        (&["put", "large", "--to", "nowhere/x"], 5),
        (&["rm", "large"], 0),
    ];
    for (arguments, code) in steps {
        alice.run(arguments).code_is(*code);
        server.assert_at_rest("alice");
    }
    assert_eq!(server.home_sums("alice").bytes, 0);
    assert_eq!(server.home_sums("alice").entries, 1, "only d is left");
}

#[test]
fn a_recursive_delete_of_many_entries_credits_all_of_them() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "8MiB");
    let alice = server.client("alice", "a");
    let mut put = vec!["put".to_owned()];
    for number in 0..60 {
        let name = format!("f{number}");
        Content::seed(number).write(&alice.file(&name), number * 100);
        put.push(name);
    }
    put.extend(["--to".to_owned(), "d".to_owned()]);
    alice.run(&["mkdir", "d"]).ok();
    alice.run(&put).ok();
    server.assert_at_rest("alice");
    alice.run(&["rm", "-r", "d"]).ok();
    server.assert_at_rest("alice");
    assert_eq!(server.user("alice")["used_entries"], 0);
}

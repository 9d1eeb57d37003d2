//! A ticket whose holder hangs passes on, and nobody waits for what a dead session left to be removed: with
//! real processes, which are stopped at a point.

#![cfg(debug_assertions)]

use berth_common::points::Point::{Acted, BetweenRemovals, Granted, Leftover, Resolved};
use berth_tests::exact::assert_exact;
use berth_tests::files::assert_same;
use berth_tests::{Client, Options, Points, Server, process, wait_until};

/// A server, and two clients of alice's who have the files `f` and `g`.
fn scene(points: &Points, config: &str) -> (Server, Client, Client) {
    let server = Server::start(Options::new().points(points).set(config));
    server.add_user("alice", "a", "1MiB");
    let (one, other) = (server.client("alice", "a"), server.client("alice", "a"));
    for (name, content) in [("f", "content"), ("g", "other content")] {
        one.write(name, content);
        other.write(name, content);
    }
    (server, one, other)
}

#[test]
fn a_holder_of_the_ticket_that_hangs_is_killed_and_another_session_goes_on() {
    let points = Points::new();
    let (server, hanging, other) = scene(&points, "ticket_seconds = 2");
    for point in [Granted, Resolved] {
        let mark = server.log().mark();
        let (putting, stopped) = points.stop(point, &hanging, &["put", "f", "--to", "name"]);
        let filer = stopped.pid;
        let holder = server.sessions_of("alice");
        let holder = holder.iter().find(|it| it.filer == Some(filer)).expect("its session");
        // It waits for the ticket, and gets it after the kill, the reaping and the replay.
        other.run(&["put", "g", "--to", "name"]).ok();
        points.disarm(point);
        assert!(!process::runs(filer), "{point}: the holder is dead before the ticket passes on");
        putting.wait().failed();
        assert_same(&other.file("g"), &server.home("alice").join("name"));
        // The log has the warning, with the session, and why it was killed.
        let of_the_holder = |number| number == Some(holder.id);
        server.log().wait_after(mark, "the ticket is said to be overdue", |line| {
            line.message() == "the ticket is held for long"
                && line.text("overdue").as_deref() == Some("true")
                && of_the_holder(line.number("session"))
        });
        let end = server.log().wait_after(mark, "the session's end is told", |line| {
            line.message().starts_with("session ended") && of_the_holder(line.number("session"))
        });
        let reason = end.text("filer").unwrap_or_default();
        assert!(reason.contains("did not give the ticket back"), "{point}: {}", end.text);
        assert_exact(&server);
    }
    let status = server.berthctl(&["--json", "status"]).ok().json();
    assert_eq!(status["read_only_users"], serde_json::json!([]));
}

#[test]
fn a_dead_session_is_replayed_while_the_removal_of_what_another_one_left_hangs() {
    let points = Points::new();
    let (server, one, other) = scene(&points, "");
    for name in ["a", "b"] {
        one.run(&["put", "f", "--to", name]).ok();
    }
    let used = |server: &Server| server.user("alice")["used_bytes"].as_u64().unwrap();
    let before = used(&server);
    // The first one dies with what it has removed in staging, and the removal hangs.
    let (removing, clearing) = points.stop(Leftover, &one, &["rm", "a"]);
    points.arm(BetweenRemovals);
    clearing.kill();
    drop(removing.wait());
    let hanging = points.wait_stopped(BetweenRemovals);
    // The second one dies with the ticket, after it has taken something out of the home.
    let (taking, stopped) = points.stop(Acted, &other, &["rm", "b"]);
    stopped.kill();
    taking.wait().failed();
    wait_until("the second one is replayed", || used(&server) < before - 7);
    // The ticket has passed on.
    one.run(&["put", "f", "--to", "c"]).ok();
    assert!(process::runs(hanging.pid), "the removal hangs all the time");
    hanging.go_on();
    assert_exact(&server);
    assert_eq!(used(&server), 7);
}

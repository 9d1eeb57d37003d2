//! The points themselves: a process stops where it is told to, and is killed or goes on there.

#![cfg(debug_assertions)]

use berth_common::points::Point;
use berth_tests::exact::assert_exact;
use berth_tests::{Content, Options, Points, Server, process};

#[test]
fn a_filer_stops_at_a_point_and_goes_on_or_is_killed_there() {
    let points = Points::new();
    let server = Server::start(Options::new().points(&points));
    server.add_user("alice", "a", "10MiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("f"), 1000);

    points.arm(Point::Acted);
    let putting = alice.spawn(&["put", "f", "--to", "one"]);
    let stopped = points.wait_stopped(Point::Acted);
    assert_eq!(process::name(stopped.pid).as_deref(), Some("berth-filer"));
    stopped.go_on();
    putting.wait().ok();
    assert_exact(&server);

    points.arm(Point::Granted);
    let putting = alice.spawn(&["put", "f", "--to", "two"]);
    points.wait_stopped(Point::Granted).kill();
    putting.wait().failed();
    assert_exact(&server);
    assert!(!server.home("alice").join("two").exists());
}

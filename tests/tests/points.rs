//! The points themselves: a process stops where it is told to, and is killed or goes on there.

#![cfg(debug_assertions)]

use std::fs;
use std::path::Path;

use berth_common::points::{Point, Rule};
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

#[test]
fn every_point_and_rule_is_explained() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/TESTING.md");
    let text = fs::read_to_string(docs).unwrap();
    let names =
        Point::ALL.iter().map(Point::to_string).chain(Rule::ALL.iter().map(Rule::to_string));
    for name in names {
        assert!(text.contains(&format!("\n| `{name}` | ")), "{name} is not in docs/TESTING.md");
    }
}

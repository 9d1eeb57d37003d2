//! What happens to uploads beside their commit: aborts and takeovers.

use berth_common::points::Point::*;
use berth_tests::exact::assert_exact;

use crate::scene::{Crash, RESUMABLE, Scene, Victim, goes_on};

#[test]
fn an_abort_that_is_cut_off_is_finished_by_the_recovery() {
    let mut scene = Scene::new();
    for victim in [Victim::Filer, Victim::Worker, Victim::Daemon] {
        let name = format!("f-{victim:?}");
        scene.local(&name, 1, RESUMABLE);
        scene.crash(Crash { point: BeforeIntent, victim: Victim::Filer }, &["put", &name]).failed();
        let uploads = scene.alice.run(&["uploads", "--json"]).ok().json_lines();
        let id = uploads[0]["id"].as_str().expect("an upload's ID").to_owned();
        let crash = Crash { point: FilesRemoved, victim };
        drop(scene.crash(crash, &["uploads", "--abort", &id]));
        let left = scene.alice.run(&["uploads", "--json"]).ok().json_lines();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(scene.server.user("alice")["reserved_bytes"], 0);
        assert!(!scene.home(&name).exists());
    }
}

#[test]
fn a_takeover_that_is_cut_off_leaves_the_upload_to_go_on() {
    let mut scene = Scene::new();
    for point in [TakenFromHolder, ReplayExamined, RowDurable] {
        let name = format!("f-{point}");
        scene.local(&name, 1, RESUMABLE);
        // The holder hangs with an intent that has not happened.
        let (held, holder) = scene.stop_at(Granted, &["put", &name]);
        let (taking, taker) = scene.stop_at(point, &["put", &name]);
        assert_eq!(taker.pid, scene.server.pid());
        drop((holder, taker));
        scene.points.disarm(Granted);
        scene.points.disarm(point);
        scene.kill_daemon();
        held.wait().failed();
        taking.wait().failed();
        scene.restart();
        assert_exact(&scene.server);
        assert!(!scene.home(&name).exists());
        goes_on(&scene, Crash { point: Granted, victim: Victim::Daemon }, &name);
    }
}

//! What happens to uploads beside their commit: aborts, expiry and takeovers.

use berth_common::points::Point::*;
use berth_common::points::Rule;
use berth_tests::exact::assert_exact;
use berth_tests::{ledger, wait_until};

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

/// All uploads are older than any may get.
fn age(scene: &Scene) {
    let ledger = ledger::open_to_write(&scene.server.data());
    ledger.execute("UPDATE uploads SET touched_s = 0", []).unwrap();
}

#[test]
fn an_expiry_that_is_cut_off_is_finished_by_the_recovery_or_the_next_round() {
    let mut scene = Scene::new();
    // From the next start on.
    scene.points.rule_off(Rule::ExpiryWaits);
    scene.kill_daemon();
    scene.restart();
    let crashes = [
        Crash { point: ExpiredClaimed, victim: Victim::Daemon },
        Crash { point: ExpiredFilesRemoved, victim: Victim::Daemon },
        Crash { point: BetweenRemovals, victim: Victim::Filer },
        Crash { point: BetweenRemovals, victim: Victim::Daemon },
    ];
    for crash in crashes {
        let name = crash.name("f");
        scene.local(&name, 1, RESUMABLE);
        scene.crash(Crash { point: BeforeIntent, victim: Victim::Filer }, &["put", &name]).failed();
        let rows = || ledger::open_rows(&scene.server.data(), "alice");
        assert_eq!(rows(), 1, "it is young");
        scene.points.arm(crash.point);
        // Again and again: the end of its session makes it young, too.
        wait_until("it expires", || {
            age(&scene);
            scene.points.stopped(crash.point).is_some()
        });
        scene.die(crash);
        scene.recover(crash);
        wait_until("it has expired", || ledger::open_rows(&scene.server.data(), "alice") == 0);
        assert_exact(&scene.server);
        assert_eq!(scene.server.user("alice")["reserved_bytes"], 0);
        assert!(!scene.home(&name).exists());
        // The next put begins anew.
        let anew = Crash { point: RowDurable, ..crash };
        goes_on(&scene, anew, &name);
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

//! The recovery itself is cut off: the replay of a session and that of a start.

use std::fs;

use berth_common::points::Point::*;
use berth_tests::exact::assert_exact;

use crate::scene::{Crash, RESUMABLE, SMALL, Scene, Victim};

#[test]
fn a_replay_may_be_cut_off_anywhere() {
    let mut scene = Scene::new();
    scene.local("small", 1, SMALL);
    scene.local("large", 2, RESUMABLE);
    let mut number = 0;
    for first in [Granted, Linked, Acted] {
        for second in [ReplayExamined, ReplayRemoved, ReplaySettled, BetweenRemovals] {
            let (from, to) = (format!("f{number}"), format!("to{number}"));
            number += 1;
            scene.ok(&["put", "small", "--to", &to]);
            let command: Vec<&str> = match first {
                Linked => {
                    scene.ok(&["put", "large", "--to", &from]);
                    vec!["mv", &from, &to]
                }
                _ => vec!["put", "large", "--to", &to],
            };
            // Nothing is removed in the replay of an upload that goes on.
            if second == BetweenRemovals && first == Granted {
                continue;
            }
            let (running, stopped) = scene.stop_at(first, &command);
            scene.points.arm(second);
            stopped.kill();
            let stopped = scene.points.wait_stopped(second);
            if second == BetweenRemovals {
                // The daemon takes another filer.
                stopped.kill();
                running.wait().failed();
            } else {
                assert_eq!(stopped.pid, scene.server.pid());
                scene.points.disarm(second);
                scene.kill_daemon();
                running.wait().failed();
                scene.restart();
            }
            assert_exact(&scene.server);
            let happened = first == Acted;
            scene.assert_whole(if happened { "large" } else { "small" }, &to);
        }
    }
}

#[test]
fn the_replay_of_a_delete_may_be_cut_off_anywhere() {
    let mut scene = Scene::new();
    scene.local("f", 1, SMALL);
    for first in [Granted, Acted] {
        for second in [ReplayExamined, ReplayRemoved, ReplaySettled, BetweenRemovals] {
            // Nothing was taken, so that nothing is removed.
            if second == BetweenRemovals && first == Granted {
                continue;
            }
            scene.make_directories(["d/e"]);
            scene.ok(&["put", "f", "--to", "d/e/f"]);
            let (running, stopped) = scene.stop_at(first, &["rm", "-r", "d"]);
            scene.points.arm(second);
            stopped.kill();
            // The daemon takes another filer.
            let filer = second == BetweenRemovals;
            let victim = if filer { Victim::Filer } else { Victim::Daemon };
            let crash = Crash { point: second, victim };
            scene.die(crash);
            running.wait().failed();
            scene.recover(crash);
            match first {
                Granted => scene.assert_whole("f", "d/e/f"),
                _ => assert!(!scene.home("d").exists(), "{second}"),
            }
            let entries = if first == Granted { 3 } else { 0 };
            assert_eq!(scene.server.user("alice")["used_entries"], entries, "{second}");
        }
    }
}

#[test]
fn a_start_may_be_cut_off_anywhere() {
    let mut scene = Scene::new();
    scene.local("f", 1, RESUMABLE);
    scene.local("small", 2, SMALL);
    for point in [ReplayExamined, ReplaySettled, BeforeSweep, BetweenRemovals, BetweenSweeps] {
        scene.ok(&["put", "f", "--to", "g"]);
        scene.ok(&["put", "small", "--to", "h"]);
        // A replaced file to be removed by the replay, and one without a row for the sweep.
        let (removing, first) = scene.stop_at(Leftover, &["rm", "h"]);
        let (putting, second) = scene.stop_at(Acted, &["put", "f", "--to", "g"]);
        drop((first, second));
        scene.kill_daemon();
        drop((removing.wait(), putting.wait()));
        scene.points.disarm(Leftover);
        scene.points.disarm(Acted);
        scene.die_at_start(point);
        assert_exact(&scene.server);
        scene.assert_whole("f", "g");
        assert!(!scene.home("h").exists());
    }
}

#[test]
fn a_stray_file_in_staging_is_a_fault() {
    // What the other tests rely on.
    let scene = Scene::new();
    fs::write(scene.server.staging("alice").join("00000000000000ff"), "x").unwrap();
    let faults = berth_tests::exact::faults(&scene.server);
    assert!(faults.iter().any(|fault| fault.contains("without a row")), "{faults:?}");
}

//! Puts of unknown size, whose reservation grows while data comes.

use std::fs;

use berth_common::limits::LEASE_BYTES;
use berth_common::points::Point::{self, *};
use berth_tests::Outcome;

use crate::scene::{Crash, DAEMON, INTENT, SMALL, Scene, Victim, assert_honest, crashes};

/// Puts a local file through a pipe.
fn stream(scene: &mut Scene, crash: Crash, local: &str, to: &str) -> Outcome {
    let alice = scene.alice.clone();
    let bytes = fs::read(alice.file(local)).unwrap();
    scene.crash_begun(crash, || alice.spawn_with(&["put", "-", "--to", to], bytes))
}

fn stream_is_cut_off(over: bool) {
    let mut filer: Vec<&[Point]> = vec![&[Reserved], &INTENT];
    if over {
        filer.push(&[Leftover]);
    }
    let crashes = crashes(&filer, &DAEMON);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    if over {
        scene.put_all(&names, 1, 3000);
    }
    scene.local("old", 1, 3000);
    scene.local("new", 2, SMALL);
    for (crash, name) in crashes.into_iter().zip(&names) {
        let outcome = stream(&mut scene, crash, "new", name);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        match (happened, over) {
            (false, true) => scene.assert_whole("old", name),
            _ => scene.assert_put(happened, "new", name),
        }
    }
}

#[test]
fn a_put_of_unknown_size_happens_whole_or_not_at_all() {
    stream_is_cut_off(false);
}

#[test]
fn an_overwrite_of_unknown_size_leaves_the_old_file_or_the_new_one() {
    stream_is_cut_off(true);
}

#[test]
fn nothing_is_left_of_a_put_that_is_cut_off_while_its_reservation_grows() {
    let mut scene = Scene::new();
    scene.local("large", 2, LEASE_BYTES + SMALL);
    for victim in [Victim::Filer, Victim::Worker, Victim::Daemon] {
        let crash = Crash { point: Extended, victim };
        let outcome = stream(&mut scene, crash, "large", "f");
        assert_honest(&outcome, crash, false);
        assert!(!scene.home("f").exists());
        assert_eq!(scene.server.user("alice")["reserved_bytes"], 0);
    }
}

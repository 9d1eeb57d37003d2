//! Deletes while the ledger cannot be written, and what accounts for them when it can.

use berth_common::points::Point::{self, *};
use berth_tests::exact::{assert_exact, faults};
use berth_tests::{process, wait_until};

use crate::scene::{Crash, SMALL, Scene, Victim, assert_honest, crashes};

/// Points of the filer that an owed delete passes.
const OWED: [Point; 6] = [BeforeIntent, Granted, Resolved, Acted, Released, OwedSynced];

/// No file of the daemon's may grow, as on a full disk.
fn begin_outage(scene: &Scene) {
    process::limit_file_sizes(scene.server.pid(), Some(4096));
}

fn end_outage(scene: &Scene) {
    process::limit_file_sizes(scene.server.pid(), None);
}

/// Helpers that were started in an outage have inherited its limit.
fn start_anew(scene: &mut Scene) {
    assert_eq!(scene.server.terminate(), Some(0));
    scene.restart();
}

/// All is accounted for, as soon as the ledger works again.
fn settles(scene: &Scene) {
    wait_until("what is owed is accounted for", || faults(&scene.server).is_empty());
    assert_exact(&scene.server);
}

#[test]
fn an_owed_delete_happens_or_not_whoever_dies() {
    let mut scene = Scene::new();
    let (daemons, others): (Vec<_>, Vec<_>) = crashes(&[&OWED], &[Owing, TicketAsked])
        .into_iter()
        .partition(|crash| crash.victim == Victim::Daemon);
    let name = |crash: &Crash| crash.name("f");
    scene.put_all(&daemons.iter().chain(&others).map(name).collect::<Vec<_>>(), 1, SMALL);
    let cut_off = |scene: &mut Scene, crash: Crash| {
        let name = name(&crash);
        let (running, _) = scene.stop_at(crash.point, &["rm", &name]);
        scene.die(crash);
        let outcome = running.wait();
        assert_honest(&outcome, crash, crash.leaves_it_done());
    };
    begin_outage(&scene);
    for crash in &others {
        cut_off(&mut scene, *crash);
        scene.server.wait_for_no_session_of("alice");
    }
    end_outage(&scene);
    settles(&scene);
    start_anew(&mut scene);
    for crash in &daemons {
        begin_outage(&scene);
        cut_off(&mut scene, *crash);
        scene.recover(*crash);
    }
    for crash in daemons.iter().chain(&others) {
        scene.assert_put(!crash.leaves_it_done(), &name(crash), &name(crash));
    }
}

/// Alice deletes a file and a tree in an outage.
fn owe(scene: &Scene) {
    scene.local("f", 1, SMALL);
    scene.ok(&["put", "f"]);
    scene.make_directories(["d/e"]);
    scene.ok(&["put", "f", "--to", "d/f"]);
    begin_outage(scene);
    scene.ok(&["rm", "f"]);
    scene.ok(&["rm", "-r", "d"]);
    scene.server.wait_for_no_session_of("alice");
}

#[track_caller]
fn assert_gone(scene: &Scene, point: Point) {
    assert!(!scene.home("f").exists() && !scene.home("d").exists(), "{point}");
    assert_eq!(scene.server.user("alice")["used_entries"], 0, "{point}");
}

#[test]
fn the_accounting_for_what_is_owed_may_be_cut_off_anywhere() {
    let mut scene = Scene::new();
    let daemons = [OwedIntentDurable, OwedTaken, ReplayExamined, ReplayRemoved, ReplaySettled];
    let mut crashes = daemons.map(|point| Crash { point, victim: Victim::Daemon }).to_vec();
    for point in [BetweenTakes, BetweenRemovals] {
        crashes.extend([Victim::Filer, Victim::Daemon].map(|victim| Crash { point, victim }));
    }
    for crash in crashes {
        owe(&scene);
        scene.points.arm(crash.point);
        end_outage(&scene);
        scene.die(crash);
        match crash.victim {
            Victim::Daemon => scene.restart(),
            _ => {
                // The daemon takes another filer.
                settles(&scene);
                start_anew(&mut scene);
            }
        }
        settles(&scene);
        assert_gone(&scene, crash.point);
    }
}

#[test]
fn the_accounting_at_a_start_may_be_cut_off_anywhere() {
    let mut scene = Scene::new();
    for point in [OwedIntentDurable, BetweenTakes, OwedTaken, ReplaySettled] {
        owe(&scene);
        scene.kill_daemon();
        scene.die_at_start(point);
        settles(&scene);
        assert_gone(&scene, point);
    }
}

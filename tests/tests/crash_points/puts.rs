//! Puts and overwrites, small and resumable, and puts that are refused under the ticket.

use berth_common::points::Point::{self, *};
use berth_tests::exact::assert_exact;

use crate::scene::{DAEMON, INTENT, RESUMABLE, SMALL, Scene, assert_honest, crashes, goes_on};

/// Puts to a free name, or over a file.
fn put_is_cut_off(size: u64, over: bool) {
    let resumable = size > berth_common::limits::SMALL_UPLOAD_BYTES;
    let mut filer: Vec<&[Point]> = vec![&[Reserved], &INTENT];
    let mut daemon = DAEMON.to_vec();
    if resumable {
        filer.push(&[UploadCreated]);
        daemon.push(RowDurable);
    }
    if resumable || over {
        filer.push(&[Leftover]);
    }
    let crashes = crashes(&filer, &daemon);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    if over {
        scene.put_all(&names, 1, 3000);
    }
    scene.local("old", 1, 3000);
    for (crash, name) in crashes.into_iter().zip(&names) {
        scene.local(name, 2, size);
        let outcome = scene.crash(crash, &["put", name]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        match (happened, over) {
            (false, true) => scene.assert_whole("old", name),
            _ => scene.assert_put(happened, name, name),
        }
        if !happened && resumable {
            goes_on(&scene, crash, name);
        }
    }
    assert_exact(&scene.server);
}

#[test]
fn a_small_put_happens_whole_or_not_at_all() {
    put_is_cut_off(SMALL, false);
}

#[test]
fn a_resumable_put_happens_whole_or_goes_on() {
    put_is_cut_off(RESUMABLE, false);
}

#[test]
fn a_small_overwrite_leaves_the_old_file_or_the_new_one() {
    put_is_cut_off(SMALL, true);
}

#[test]
fn a_resumable_overwrite_leaves_the_old_file_or_the_new_one() {
    put_is_cut_off(RESUMABLE, true);
}

/// A put that must not overwrite finds a file, which another session has put there meanwhile.
fn refused_commit_is_cut_off(size: u64, points: &[Point]) {
    let mut scene = Scene::new();
    scene.local("theirs", 9, 100);
    for crash in crashes(&[points], &DAEMON) {
        let name = crash.name("f");
        scene.local(&name, 1, size);
        let (running, stopped) = scene.stop_at(BeforeIntent, &["put", "-n", &name]);
        scene.ok_beside(&["put", "theirs", "--to", &name]);
        scene.points.arm(crash.point);
        stopped.go_on();
        scene.die(crash);
        running.wait().failed();
        scene.recover(crash);
        scene.assert_whole("theirs", &name);
        // A resumable one is an upload still, and can be committed elsewhere or over the file.
        scene.ok(&["put", &name]);
        scene.assert_whole(&name, &name);
    }
    assert_exact(&scene.server);
}

#[test]
fn a_refused_small_put_touches_nothing() {
    refused_commit_is_cut_off(SMALL, &[Acted, Released, Synced, Settled, Leftover]);
}

#[test]
fn a_refused_resumable_put_touches_nothing() {
    refused_commit_is_cut_off(RESUMABLE, &[Acted, Released, Synced, Settled]);
}

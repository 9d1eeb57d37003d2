//! Appends, small and resumable, also to a file that another session changes or removes meanwhile.

use std::fs;

use berth_common::points::Point::{self, *};
use berth_tests::exact::assert_exact;

use crate::scene::{
    Crash, DAEMON, INTENT, RESUMABLE, SMALL, Scene, Victim, assert_honest, crashes, goes_on_with,
};

/// Bytes of the file that is added to.
const OLD: u64 = 3000;

/// Local files stand in the home one behind the other.
#[track_caller]
fn assert_joined(scene: &Scene, name: &str, parts: &[&str]) {
    let read = |part: &&str| fs::read(scene.alice.file(part)).unwrap();
    let expected: Vec<u8> = parts.iter().flat_map(read).collect();
    let found = fs::read(scene.home(name)).unwrap();
    assert!(found == expected, "{name} has {} bytes of {}", found.len(), expected.len());
}

/// Whether the upload has its bytes at its own name, and the journal to go on with.
fn can_be_resumed(crash: Crash) -> bool {
    crash.point == Joined
}

/// Appends again what was not appended, from where it can be gone on with.
fn goes_on(scene: &Scene, resumable: bool, had: u64, name: &str) {
    let command = ["put", "--append", name];
    match resumable {
        true => goes_on_with(scene, &command, had, name),
        false => scene.ok(&command),
    }
    assert_exact(&scene.server);
}

fn append_is_cut_off(size: u64) {
    let resumable = size == RESUMABLE;
    let mut filer: Vec<&[Point]> = vec![&[Reserved, Joined, Exchanged], &INTENT, &[Leftover]];
    let mut daemon = DAEMON.to_vec();
    if resumable {
        filer.push(&[UploadCreated, JournalForgotten]);
        daemon.push(RowDurable);
    }
    let crashes = crashes(&filer, &daemon);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    scene.put_all(&names, 1, OLD);
    scene.local("old", 1, OLD);
    for (crash, name) in crashes.into_iter().zip(&names) {
        scene.local(name, 2, size);
        let outcome = scene.crash(crash, &["put", "--append", name]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        if !happened {
            assert_joined(&scene, name, &["old"]);
            let had = if can_be_resumed(crash) { size } else { 0 };
            goes_on(&scene, resumable, had, name);
        }
        assert_joined(&scene, name, &["old", name]);
    }
}

#[test]
fn a_small_append_happens_whole_or_not_at_all() {
    append_is_cut_off(SMALL);
}

#[test]
fn a_resumable_append_happens_whole_or_goes_on_or_starts_over() {
    append_is_cut_off(RESUMABLE);
}

/// The file is no longer what was joined when the ticket comes, because of `other`; the append has not happened
/// at any of the points that it passes then.
fn append_is_cut_off_after(
    other: impl Fn(&Scene, &str),
    left: &[&str],
    points: &[Point],
    size: u64,
) {
    let mut scene = Scene::new();
    scene.local("old", 1, OLD);
    scene.local("theirs", 9, 100);
    for point in points {
        for victim in [Victim::Filer, Victim::Daemon] {
            let crash = Crash { point: *point, victim };
            let name = crash.name("f");
            scene.put_all(std::slice::from_ref(&name), 1, OLD);
            scene.local(&name, 2, size);
            let (running, stopped) = scene.stop_at(BeforeIntent, &["put", "--append", &name]);
            other(&scene, &name);
            scene.points.arm(crash.point);
            stopped.go_on();
            scene.die(crash);
            running.wait().failed();
            scene.recover(crash);
            match left.is_empty() {
                true => assert!(!scene.home(&name).exists(), "{crash:?}"),
                false => assert_joined(&scene, &name, left),
            }
            goes_on(&scene, size == RESUMABLE, 0, &name);
            assert_joined(&scene, &name, &[left, &[name.as_str()]].concat());
        }
    }
}

#[test]
fn an_append_to_a_file_that_was_changed_meanwhile_is_joined_anew() {
    let appended = |scene: &Scene, name: &str| {
        scene.ok_beside(&["put", "--append", "theirs", "--to", name]);
    };
    // The last three with the first joined file still aside.
    let points = [Acted, Settled, Joined, Exchanged, FilesRemoved];
    for size in [SMALL, RESUMABLE] {
        append_is_cut_off_after(appended, &["old", "theirs"], &points, size);
    }
}

#[test]
fn an_append_to_a_file_that_was_removed_meanwhile_gets_its_own_bytes_back() {
    let removed = |scene: &Scene, name: &str| scene.ok_beside(&["rm", name]);
    for size in [SMALL, RESUMABLE] {
        append_is_cut_off_after(removed, &[], &[Acted, Exchanged, FilesRemoved], size);
    }
}

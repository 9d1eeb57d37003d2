//! Changes of names alone: directories made, things removed and renamed.

use berth_common::points::Point::*;

use crate::scene::{DAEMON, INTENT, SMALL, Scene, assert_honest, crashes};

#[test]
fn a_mkdir_happens_or_not() {
    let mut scene = Scene::new();
    for crash in crashes(&[&[Reserved], &INTENT], &DAEMON) {
        let name = crash.name("d");
        let outcome = scene.crash(crash, &["mkdir", &name]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        assert_eq!(scene.home(&name).is_dir(), happened, "{crash:?}");
    }
}

#[test]
fn a_delete_happens_or_not() {
    let crashes = crashes(&[&INTENT, &[Leftover]], &DAEMON);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    scene.put_all(&names, 1, SMALL);
    for (crash, name) in crashes.into_iter().zip(&names) {
        let outcome = scene.crash(crash, &["rm", name]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        scene.assert_put(!happened, name, name);
    }
}

#[test]
fn a_delete_that_finds_nothing_under_the_ticket_credits_nothing() {
    let mut scene = Scene::new();
    for crash in crashes(&[&[Granted, Acted, Released, Synced, Settled]], &DAEMON) {
        let name = crash.name("f");
        scene.put_all(std::slice::from_ref(&name), 1, SMALL);
        let (running, stopped) = scene.stop_at(BeforeIntent, &["rm", &name]);
        scene.ok_beside(&["rm", &name]);
        scene.points.arm(crash.point);
        stopped.go_on();
        scene.die(crash);
        running.wait().failed();
        scene.recover(crash);
        assert!(!scene.home(&name).exists(), "{crash:?}");
    }
}

#[test]
fn an_empty_directory_is_removed_or_not() {
    let crashes = crashes(&[&INTENT, &[Leftover]], &DAEMON);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("d")).collect();
    scene.make_directories(names.iter().map(String::as_str));
    for (crash, name) in crashes.into_iter().zip(&names) {
        let outcome = scene.crash(crash, &["rm", name]);
        assert_honest(&outcome, crash, crash.leaves_it_done());
        assert_eq!(scene.home(name).exists(), !crash.leaves_it_done(), "{crash:?}");
    }
}

#[test]
fn a_tree_is_removed_whole_or_not_at_all() {
    let crashes = crashes(&[&INTENT, &[Leftover]], &DAEMON);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("d")).collect();
    let inner: Vec<String> =
        names.iter().flat_map(|name| [format!("{name}/e/f"), format!("{name}/g")]).collect();
    scene.make_directories(inner.iter().map(String::as_str));
    scene.local("x", 1, SMALL);
    scene.local("y", 2, 0);
    for (crash, name) in crashes.into_iter().zip(&names) {
        scene.ok(&["put", "x", "y", "--to", &format!("{name}/e/f/")]);
        let outcome = scene.crash(crash, &["rm", "-r", name]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        assert_eq!(scene.home(name).exists(), !happened, "{crash:?}");
        if !happened {
            scene.assert_whole("x", &format!("{name}/e/f/x"));
            assert!(scene.home(name).join("g").is_dir());
        }
    }
}

#[test]
fn a_rename_to_a_free_name_happens_or_not() {
    let points = [BeforeIntent, Granted, Resolved, Acted, Released];
    let crashes = crashes(&[&points], &[TicketAsked]);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    scene.put_all(&names, 1, SMALL);
    for (crash, name) in crashes.into_iter().zip(&names) {
        let to = crash.name("to");
        let outcome = scene.crash(crash, &["mv", name, &to]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        scene.assert_put(happened, name, &to);
        scene.assert_put(!happened, name, name);
    }
}

#[test]
fn a_rename_over_a_file_replaces_it_or_not() {
    let crashes = crashes(&[&INTENT, &[Linked, Leftover]], &DAEMON);
    let mut scene = Scene::new();
    let names: Vec<String> = crashes.iter().map(|crash| crash.name("f")).collect();
    let targets: Vec<String> = crashes.iter().map(|crash| crash.name("to")).collect();
    scene.put_all(&names, 1, SMALL);
    scene.put_all(&targets, 2, SMALL + 100);
    for (crash, (name, to)) in crashes.into_iter().zip(names.iter().zip(&targets)) {
        let outcome = scene.crash(crash, &["mv", name, to]);
        let happened = crash.leaves_it_done();
        assert_honest(&outcome, crash, happened);
        scene.assert_put(!happened, name, name);
        scene.assert_whole(if happened { name } else { to }, to);
    }
}

//! Every operation is cut off at every point of the protocol that it passes, by the death of its filer,
//! its worker or the daemon. After the recovery the ledger is exact, and the operation has happened whole
//! or not at all: not before the rename, and wholly after it.

#![cfg(debug_assertions)]

use std::fs;
use std::path::PathBuf;

use berth_common::points::Point::{self, *};
use berth_tests::exact::assert_exact;
use berth_tests::files::assert_same;
use berth_tests::{Client, Content, Options, Outcome, Points, Running, Server, Stopped};

/// Bytes of a file whose upload has a row and a journal; eleven leaves.
const RESUMABLE: u64 = 11 * 128 * 1024 - 77;
/// Bytes of a file whose reservation lives in memory.
const SMALL: u64 = 5000;

/// Points of the filer that each change with an intent passes.
const INTENT: [Point; 7] = [BeforeIntent, Granted, Resolved, Acted, Released, Synced, Settled];
/// Those of the daemon.
const DAEMON: [Point; 3] = [IntentDurable, SettleAsked, SettleDurable];

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Filer,
    /// The filer goes on, until it notices.
    Worker,
    Daemon,
}

/// A death at a point.
#[derive(Clone, Copy, Debug)]
struct Crash {
    point: Point,
    victim: Victim,
}

impl Crash {
    /// What a case's files are named after.
    fn name(self, what: &str) -> String {
        format!("{what}-{}-{:?}", self.point, self.victim)
    }

    /// Whether the operation has happened after the recovery.
    fn leaves_it_done(self) -> bool {
        let acted = match self.point {
            Reserved | UploadCreated | RowDurable | BeforeIntent | IntentDurable | Granted
            | Resolved | Linked => false,
            Acted | Released | Synced | Settled | Leftover | SettleAsked | SettleDurable => true,
            other => panic!("{other} is no point of a change that is made"),
        };
        // A filer that has the ticket acts before it notices that its worker is gone.
        acted || (self.victim == Victim::Worker && self.point == Granted)
    }
}

/// The deaths at these points of the filer, of these of the daemon, and of the worker in between.
fn crashes(filer: &[&[Point]], daemon: &[Point]) -> Vec<Crash> {
    let filer = filer.concat();
    let of = |victim| move |point: &Point| Crash { point: *point, victim };
    let worker = filer.iter().filter(|point| matches!(point, Granted | Acted));
    let mut crashes: Vec<Crash> = filer.iter().map(of(Victim::Filer)).collect();
    crashes.extend(worker.map(of(Victim::Worker)));
    crashes.extend(filer.iter().chain(daemon).map(of(Victim::Daemon)));
    crashes
}

struct Scene {
    points: Points,
    server: Server,
    alice: Client,
}

impl Scene {
    fn new() -> Self {
        let points = Points::new();
        let server = Server::start(Options::new().points(&points));
        server.add_user("alice", "a", "1GiB");
        let alice = server.client("alice", "a");
        Self { points, server, alice }
    }

    fn home(&self, path: &str) -> PathBuf {
        self.server.home("alice").join(path)
    }

    /// Makes a local file with the content of a seed.
    fn local(&self, name: &str, seed: u64, size: u64) {
        Content::seed(seed).write(&self.alice.file(name), size);
        berth_tests::account::give(&self.alice.file(name));
    }

    fn ok(&self, command: &[&str]) {
        self.alice.run(command).ok();
    }

    /// Makes these directories.
    fn make_directories<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let command: Vec<&str> = ["mkdir", "-p"].into_iter().chain(names).collect();
        self.ok(&command);
    }

    /// Puts local files of this content, each to its own name.
    fn put_all(&self, names: &[String], seed: u64, size: u64) {
        for name in names {
            self.local(name, seed, size);
        }
        let command: Vec<&str> =
            ["put"].into_iter().chain(names.iter().map(|n| n.as_str())).collect();
        self.ok(&command);
    }

    /// Begins a command that stops at the point.
    fn stop_at(&self, point: Point, command: &[&str]) -> (Running, Stopped<'_>) {
        self.points.stop(point, &self.alice, command)
    }

    /// Has a command run, and somebody killed when it is at a point. Returns when all is recovered, and
    /// claims that the ledger is exact.
    fn crash(&mut self, crash: Crash, command: &[&str]) -> Outcome {
        let (running, stopped) = self.stop_at(crash.point, command);
        eprintln!("… and the victim is {:?}", crash.victim);
        match crash.victim {
            Victim::Filer => stopped.kill(),
            Victim::Worker => {
                let session = self.server.session_of("alice");
                assert_eq!(session.filer, Some(stopped.pid));
                self.server.kill_child(session.worker);
                stopped.go_on();
            }
            Victim::Daemon => {
                self.points.disarm(crash.point);
                self.kill_daemon();
            }
        }
        let outcome = running.wait();
        if crash.victim == Victim::Daemon {
            self.restart();
        }
        assert_exact(&self.server);
        outcome
    }

    fn kill_daemon(&mut self) {
        self.server.kill_daemon();
    }

    fn restart(&mut self) {
        self.server.restart();
        self.alice = self.alice.clone().at(self.server.address(), self.server.fingerprint());
    }

    /// Claims that a file is whole in the home.
    #[track_caller]
    fn assert_whole(&self, local: &str, remote: &str) {
        assert_same(&self.alice.file(local), &self.home(remote));
    }

    /// Claims that a file is whole, or is not there.
    #[track_caller]
    fn assert_put(&self, is_there: bool, local: &str, remote: &str) {
        match is_there {
            true => self.assert_whole(local, remote),
            false => assert!(!self.home(remote).exists(), "{remote} must not be there"),
        }
    }
}

/// An outcome that promised nothing, unless it did happen.
#[track_caller]
fn assert_honest(outcome: &Outcome, crash: Crash, happened: bool) {
    let acknowledged = outcome.code == Some(0);
    assert!(happened || !acknowledged, "{crash:?} was acknowledged: {outcome:?}");
}

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

/// A resumable put that was cut off goes on with what was verified.
fn goes_on(scene: &Scene, crash: Crash, name: &str) {
    let leaves = RESUMABLE.div_ceil(128 * 1024);
    let mark = scene.server.log().mark();
    scene.ok(&["put", name]);
    let line =
        scene.server.log().wait_after(mark, "the put is logged", |line| line.is_success_of("put"));
    let (resumed, moved) = (line.number("resumed_leaves"), line.number("moved_leaves"));
    let had = match crash.point {
        Reserved | UploadCreated | RowDurable => 0,
        _ => leaves,
    };
    assert_eq!((resumed, moved), (Some(had), Some(leaves - had)), "{crash:?}");
    scene.assert_whole(name, name);
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
    let crashes = crashes(&[&[BeforeIntent, Granted, Resolved, Acted, Released]], &[]);
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

#[test]
fn an_abort_that_is_cut_off_can_be_repeated() {
    let mut scene = Scene::new();
    for victim in [Victim::Filer, Victim::Worker, Victim::Daemon] {
        let name = format!("f-{victim:?}");
        scene.local(&name, 1, RESUMABLE);
        scene.crash(Crash { point: BeforeIntent, victim: Victim::Filer }, &["put", &name]).failed();
        let uploads = scene.alice.run(&["uploads", "--json"]).ok().json_lines();
        let id = uploads[0]["id"].as_str().expect("an upload's ID").to_owned();
        let crash = Crash { point: FilesRemoved, victim };
        drop(scene.crash(crash, &["uploads", "--abort", &id]));
        // Of a dead session an upload without files is left, until the next start at the latest.
        let left = scene.alice.run(&["uploads", "--json"]).ok().json_lines();
        assert!(left.is_empty() || victim != Victim::Daemon, "{left:?}");
        if !left.is_empty() {
            scene.ok(&["uploads", "--abort", &id]);
            assert_exact(&scene.server);
        }
        assert_eq!(scene.server.user("alice")["reserved_bytes"], 0);
        assert!(!scene.home(&name).exists());
    }
}

/// A put that must not overwrite finds a file, which another session has put there meanwhile.
fn refused_commit_is_cut_off(size: u64, points: &[Point]) {
    let mut scene = Scene::new();
    scene.local("theirs", 9, 100);
    for crash in crashes(&[points], &DAEMON[1..]) {
        let name = crash.name("f");
        scene.local(&name, 1, size);
        let (running, stopped) = scene.stop_at(BeforeIntent, &["put", "-n", &name]);
        scene.ok(&["put", "theirs", "--to", &name]);
        scene.points.arm(crash.point);
        stopped.go_on();
        let stopped = scene.points.wait_stopped(crash.point);
        match crash.victim {
            Victim::Filer => stopped.kill(),
            Victim::Worker => {
                scene.server.kill_child(scene.server.session_of("alice").worker);
                stopped.go_on();
            }
            Victim::Daemon => {
                scene.points.disarm(crash.point);
                scene.kill_daemon();
            }
        }
        running.wait().failed();
        if crash.victim == Victim::Daemon {
            scene.restart();
        }
        assert_exact(&scene.server);
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

#[test]
fn a_batch_of_small_files_has_each_of_them_whole_or_not_at_all() {
    const FILES: u32 = 6;
    let mut scene = Scene::new();
    let mut number = 0;
    for point in [Reserved, IntentDurable, Granted, Acted, Released, Synced, SettleDurable, Settled]
    {
        let victims = match point {
            IntentDurable | SettleDurable => vec![Victim::Daemon],
            _ => vec![Victim::Filer, Victim::Daemon],
        };
        for victim in victims {
            let names: Vec<String> = (0..FILES).map(|file| format!("f{number}-{file}")).collect();
            number += 1;
            for (seed, name) in names.iter().enumerate() {
                scene.local(name, seed as u64, SMALL + seed as u64);
            }
            let mut command = vec!["--json", "put"];
            command.extend(names.iter().map(String::as_str));
            scene.points.arm_after(point, 3);
            let running = scene.alice.spawn(&command);
            let stopped = scene.points.wait_stopped(point);
            match victim {
                Victim::Daemon => {
                    scene.points.disarm(point);
                    scene.kill_daemon();
                }
                _ => stopped.kill(),
            }
            let outcome = running.wait();
            if victim == Victim::Daemon {
                scene.restart();
            }
            assert_exact(&scene.server);
            let told: Vec<String> = outcome
                .json_lines()
                .iter()
                .filter_map(|line| Some(line["path"].as_str()?.to_owned()))
                .collect();
            for name in &names {
                let is_there = scene.home(name).exists();
                scene.assert_put(is_there, name, name);
                let acknowledged = told.iter().any(|path| path.trim_start_matches('/') == name);
                assert!(is_there || !acknowledged, "{name} was acknowledged: {outcome:?}");
            }
        }
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
        scene.points.arm(point);
        let is_filer = matches!(point, BetweenRemovals | BetweenSweeps);
        let started = std::thread::scope(|scope| {
            let points = &scene.points;
            scope.spawn(move || points.wait_stopped(point).kill());
            scene.server.try_restart()
        });
        // The daemon takes another filer, and somebody starts another daemon.
        assert_eq!(started.is_ok(), is_filer, "{point}: {started:?}");
        match is_filer {
            true => {
                scene.alice =
                    scene.alice.clone().at(scene.server.address(), scene.server.fingerprint())
            }
            false => scene.restart(),
        }
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

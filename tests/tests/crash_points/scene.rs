//! The scene of all crash points: a server with one user, who dies at which point, and what is claimed then.

use std::path::PathBuf;

use berth_common::points::Point::{self, *};
use berth_tests::exact::assert_exact;
use berth_tests::files::assert_same;
use berth_tests::{
    Client, Content, Options, Outcome, Points, Running, Server, Stopped, wait_until,
};

/// Bytes of a file whose upload has a row and a journal; eleven leaves.
pub(crate) const RESUMABLE: u64 = 11 * 128 * 1024 - 77;
/// Bytes of a file whose reservation lives in memory.
pub(crate) const SMALL: u64 = 5000;

/// Points of the filer that each change with an intent passes.
pub(crate) const INTENT: [Point; 7] =
    [BeforeIntent, Granted, Resolved, Acted, Released, Synced, Settled];
/// Those of the daemon.
pub(crate) const DAEMON: [Point; 4] = [IntentDurable, TicketAsked, SettleAsked, SettleDurable];

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Filer,
    /// The filer goes on, until it notices.
    Worker,
    Daemon,
}

/// A death at a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) point: Point,
    pub(crate) victim: Victim,
}

impl Crash {
    /// What a case's files are named after.
    pub(crate) fn name(self, what: &str) -> String {
        format!("{what}-{}-{:?}", self.point, self.victim)
    }

    /// Whether the operation has happened after the recovery.
    pub(crate) fn leaves_it_done(self) -> bool {
        let acted = match self.point {
            Reserved | UploadCreated | RowDurable | Extended | Joined | JournalForgotten
            | Exchanged | BeforeIntent | IntentDurable | Owing | TicketAsked | Granted
            | Resolved | Linked => false,
            Acted | Released | Synced | OwedSynced | Settled | Leftover | SettleAsked
            | SettleDurable => true,
            other => panic!("{other} is no point of a change that is made"),
        };
        // A filer that has the ticket acts before it notices that its worker is gone.
        acted || (self.victim == Victim::Worker && self.point == Granted)
    }
}

/// The deaths at these points of the filer, of these of the daemon, and of the worker in between.
pub(crate) fn crashes(filer: &[&[Point]], daemon: &[Point]) -> Vec<Crash> {
    let filer = filer.concat();
    let of = |victim| move |point: &Point| Crash { point: *point, victim };
    let worker = filer.iter().filter(|point| matches!(point, Granted | Acted));
    let mut crashes: Vec<Crash> = filer.iter().map(of(Victim::Filer)).collect();
    crashes.extend(worker.map(of(Victim::Worker)));
    crashes.extend(filer.iter().chain(daemon).map(of(Victim::Daemon)));
    crashes
}

pub(crate) struct Scene {
    pub(crate) points: Points,
    pub(crate) server: Server,
    pub(crate) alice: Client,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let points = Points::new();
        let server = Server::start(Options::new().points(&points));
        server.add_user("alice", "a", "1GiB");
        let alice = server.client("alice", "a");
        Self { points, server, alice }
    }

    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.server.home("alice").join(path)
    }

    /// Makes a local file with the content of a seed.
    pub(crate) fn local(&self, name: &str, seed: u64, size: u64) {
        Content::seed(seed).write(&self.alice.file(name), size);
        berth_tests::account::give(&self.alice.file(name));
    }

    pub(crate) fn ok(&self, command: &[&str]) {
        self.alice.run(command).ok();
    }

    /// Has a command run beside one that is stopped, and its session end: it passes no point any more.
    pub(crate) fn ok_beside(&self, command: &[&str]) {
        self.ok(command);
        wait_until("its session has ended", || self.server.sessions_of("alice").len() == 1);
    }

    /// Makes these directories.
    pub(crate) fn make_directories<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let command: Vec<&str> = ["mkdir", "-p"].into_iter().chain(names).collect();
        self.ok(&command);
    }

    /// Puts local files of this content, each to its own name.
    pub(crate) fn put_all(&self, names: &[String], seed: u64, size: u64) {
        for name in names {
            self.local(name, seed, size);
        }
        let command: Vec<&str> =
            ["put"].into_iter().chain(names.iter().map(|n| n.as_str())).collect();
        self.ok(&command);
    }

    /// Begins a command that stops at the point.
    pub(crate) fn stop_at(&self, point: Point, command: &[&str]) -> (Running, Stopped<'_>) {
        self.points.stop(point, &self.alice, command)
    }

    /// Has a command run, and somebody killed when it is at a point. Returns when all is recovered, and
    /// claims that the ledger is exact.
    pub(crate) fn crash(&mut self, crash: Crash, command: &[&str]) -> Outcome {
        let client = self.alice.clone();
        let command: Vec<String> = command.iter().map(|part| (*part).to_owned()).collect();
        eprintln!("{command:?}");
        self.crash_begun(crash, || client.spawn(&command))
    }

    /// The same for whatever is begun.
    pub(crate) fn crash_begun(&mut self, crash: Crash, begin: impl FnOnce() -> Running) -> Outcome {
        let (running, _) = self.points.stop_begun(crash.point, begin);
        self.die(crash);
        let outcome = running.wait();
        self.recover(crash);
        outcome
    }

    /// Somebody dies while a process stands at the point.
    pub(crate) fn die(&mut self, crash: Crash) {
        let stopped = self.points.wait_stopped(crash.point);
        eprintln!("{crash:?}");
        match crash.victim {
            Victim::Filer => stopped.kill(),
            Victim::Worker => {
                let filer = Some(stopped.pid);
                let sessions = self.server.sessions_of("alice");
                let session = sessions.iter().find(|session| session.filer == filer);
                self.server.kill_child(session.expect("the filer's session").worker);
                stopped.go_on();
            }
            Victim::Daemon => {
                self.points.disarm(crash.point);
                self.kill_daemon();
            }
        }
    }

    /// Starts the daemon again if it has died, and claims that all is recovered and exact.
    pub(crate) fn recover(&mut self, crash: Crash) {
        if crash.victim == Victim::Daemon {
            self.restart();
        }
        assert_exact(&self.server);
    }

    /// Starts the daemon, and has whoever passes the point meanwhile die there: a filer, of which the daemon
    /// takes another, or the daemon itself, which is started once more.
    pub(crate) fn die_at_start(&mut self, point: Point) {
        let is_filer = matches!(point, BetweenRemovals | BetweenSweeps | BetweenTakes);
        self.points.arm(point);
        let started = std::thread::scope(|scope| {
            let points = &self.points;
            scope.spawn(move || points.wait_stopped(point).kill());
            self.server.try_restart()
        });
        assert_eq!(started.is_ok(), is_filer, "{point}: {started:?}");
        match is_filer {
            true => self.alice = self.alice_here(),
            false => self.restart(),
        }
    }

    pub(crate) fn kill_daemon(&mut self) {
        self.server.kill_daemon();
    }

    pub(crate) fn restart(&mut self) {
        self.server.restart();
        self.alice = self.alice_here();
    }

    fn alice_here(&self) -> Client {
        self.alice.clone().at(self.server.address(), self.server.fingerprint())
    }

    /// Claims that a file is whole in the home.
    #[track_caller]
    pub(crate) fn assert_whole(&self, local: &str, remote: &str) {
        assert_same(&self.alice.file(local), &self.home(remote));
    }

    /// Claims that a file is whole, or is not there.
    #[track_caller]
    pub(crate) fn assert_put(&self, is_there: bool, local: &str, remote: &str) {
        match is_there {
            true => self.assert_whole(local, remote),
            false => assert!(!self.home(remote).exists(), "{remote} must not be there"),
        }
    }
}

/// An outcome that promised nothing, unless it did happen.
#[track_caller]
pub(crate) fn assert_honest(outcome: &Outcome, crash: Crash, happened: bool) {
    let acknowledged = outcome.code == Some(0);
    assert!(happened || !acknowledged, "{crash:?} was acknowledged: {outcome:?}");
}

/// A resumable put that was cut off goes on with what was verified.
pub(crate) fn goes_on(scene: &Scene, crash: Crash, name: &str) {
    let had = match crash.point {
        Reserved | UploadCreated | RowDurable => 0,
        _ => RESUMABLE,
    };
    goes_on_with(scene, &["put", name], had, &format!("{crash:?}"));
    scene.assert_whole(name, name);
    assert_exact(&scene.server);
}

/// What a command puts has so many bytes already.
pub(crate) fn goes_on_with(scene: &Scene, command: &[&str], had: u64, what: &str) {
    let leaves = |bytes: u64| bytes.div_ceil(128 * 1024);
    let (had, all) = (leaves(had), leaves(RESUMABLE));
    let mark = scene.server.log().mark();
    scene.ok(command);
    let line =
        scene.server.log().wait_after(mark, "the put is logged", |line| line.is_success_of("put"));
    let (resumed, moved) = (line.number("resumed_leaves"), line.number("moved_leaves"));
    assert_eq!((resumed, moved), (Some(had), Some(all - had)), "{what}");
}

//! Several changes under one ticket: each of a batch happens whole or not at all, and those that had acted
//! are those that have happened.

use std::fs;
use std::time::{Duration, Instant};

use berth_common::batch::{PutResult, SmallPut};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::note::NoteChange;
use berth_common::points::Point::{self, *};
use berth_common::rel_path::RelPath;
use berth_tests::exact::assert_exact;
use berth_tests::raw::{Raw, Received};
use berth_tests::{Running, wait_until};

use crate::scene::{Crash, SMALL, Scene, Victim};

/// As many puts as a client has under way at once, and fewer than a batch may have.
const FILES: usize = 6;

/// Longer than a filer acts under one ticket.
const TIME_IS_UP: Duration = Duration::from_millis(100);

/// How the files go.
#[derive(Clone, Copy)]
enum How {
    /// Each is a transfer of its own.
    ByThemselves,
    /// All are in one message.
    Together,
}

/// Who puts them.
enum Putting {
    Client(Running),
    Message(Box<Raw>),
}

impl Putting {
    fn begin(scene: &Scene, how: How, names: &[String]) -> Self {
        match how {
            How::ByThemselves => {
                let command = ["--json", "put"].into_iter();
                let command: Vec<&str> = command.chain(names.iter().map(String::as_str)).collect();
                Self::Client(scene.alice.spawn(&command))
            }
            How::Together => {
                let mut raw = Raw::login(&scene.server, "alice", "a");
                let id = raw.id();
                let files = names.iter().map(|name| small_put(scene, name)).collect();
                raw.send(&ClientToWorker::PutFiles { id, files });
                Self::Message(Box::new(raw))
            }
        }
    }

    /// Waits for its end; says which of these names were acknowledged.
    fn acknowledged(self, names: &[String]) -> Vec<&String> {
        match self {
            Self::Client(running) => {
                let lines = running.wait().json_lines();
                let told: Vec<&str> =
                    lines.iter().filter_map(|line| line["path"].as_str()).collect();
                let is_told = |name: &str| told.iter().any(|it| it.trim_start_matches('/') == name);
                names.iter().filter(|name| is_told(name)).collect()
            }
            Self::Message(mut raw) => loop {
                match raw.receive() {
                    Received::Message(WorkerToClient::FilesPut { results, .. }) => {
                        let told = names.iter().zip(results);
                        let is_done = |result: &_| matches!(result, PutResult::Done { .. });
                        break told.filter(|(_, it)| is_done(it)).map(|(name, _)| name).collect();
                    }
                    Received::Closed => break Vec::new(),
                    Received::Message(_) | Received::Block(..) => {}
                }
            },
        }
    }
}

fn small_put(scene: &Scene, name: &str) -> SmallPut {
    let content = fs::read(scene.alice.file(name)).unwrap();
    SmallPut {
        path: RelPath::new(name).unwrap(),
        mtime_ns: 0,
        mode: 0o644,
        overwrite: false,
        md5: Md5::of(&content),
        content,
        note: NoteChange::Keep,
    }
}

/// A put of several files, whose changes go in batches.
struct Batch {
    names: Vec<String>,
    putting: Putting,
    /// How many changes had acted before.
    acted: u32,
}

impl Batch {
    /// Begins it, with a point armed for the passing after so many others.
    fn begin(scene: &Scene, how: How, number: u32, point: Point, let_by: u32) -> Self {
        let names: Vec<String> = (0..FILES).map(|file| format!("f{number}-{file}")).collect();
        for (seed, name) in names.iter().enumerate() {
            scene.local(name, seed as u64, SMALL + seed as u64);
        }
        eprintln!("batch {number} is to stop at {point} after {let_by}");
        scene.points.arm_after(point, let_by);
        let acted = scene.points.passed(Acted);
        Self { putting: Putting::begin(scene, how, &names), acted, names }
    }

    /// Begins it while another session has the ticket, and has that one die when all of the changes wait:
    /// so they go in two batches at most.
    fn begin_together(scene: &Scene, how: How, number: u32, point: Point, let_by: u32) -> Self {
        let (moving, holder) = scene.stop_at(Resolved, &["mv", "held", "moved"]);
        let waiting = scene.points.passed(BeforeIntent) + FILES as u32;
        let batch = Self::begin(scene, how, number, point, let_by);
        wait_until("all changes wait", || scene.points.passed(BeforeIntent) >= waiting);
        holder.kill();
        drop(moving);
        batch
    }

    /// Waits for its end, after which nothing of it acts any more, and for the recovery. Claims that each
    /// file is there whole or not at all, and that those that were acknowledged are; says how many changes
    /// had acted, and how many files are there.
    fn ends(self, scene: &mut Scene, victim: Victim) -> (usize, usize) {
        let acknowledged = self.putting.acknowledged(&self.names);
        if victim == Victim::Daemon {
            scene.restart();
        }
        assert_exact(&scene.server);
        let acted = scene.points.passed(Acted) - self.acted;
        let is_there = |name: &&String| {
            let is_there = scene.home(name).exists();
            scene.assert_put(is_there, name, name);
            assert!(is_there || !acknowledged.contains(name), "{name} was acknowledged");
            is_there
        };
        (acted as usize, self.names.iter().filter(is_there).count())
    }
}

/// With a file that a session can hold the ticket for.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.put_all(&["held".to_owned()], 1, SMALL);
    scene
}

#[test]
fn of_a_batch_that_is_cut_off_what_had_acted_has_happened() {
    what_had_acted_has_happened(How::ByThemselves, 3);
}

#[test]
fn of_files_that_came_in_one_message_what_had_acted_has_happened() {
    // A message is reserved for once.
    what_had_acted_has_happened(How::Together, 0);
}

fn what_had_acted_has_happened(how: How, reserved: u32) {
    let mut scene = scene();
    // The first passing, and one in the middle.
    let points = [
        (Reserved, reserved),
        (IntentDurable, 0),
        (Granted, 0),
        (Granted, 3),
        (Acted, 0),
        (BetweenActs, 0),
        (BetweenActs, 2),
        (Released, 3),
        (Synced, 3),
        (SettleDurable, 0),
        (Settled, 3),
    ];
    let mut number = 0;
    for (point, let_by) in points {
        let victims = match point {
            IntentDurable | SettleDurable => vec![Victim::Daemon],
            _ => vec![Victim::Filer, Victim::Daemon],
        };
        for victim in victims {
            number += 1;
            let batch = match point {
                Reserved => Batch::begin(&scene, how, number, point, let_by),
                _ => Batch::begin_together(&scene, how, number, point, let_by),
            };
            scene.die(Crash { point, victim });
            let (acted, there) = batch.ends(&mut scene, victim);
            match point {
                Reserved | IntentDurable => assert_eq!((acted, there), (0, 0), "{point}"),
                // The filer was not stopped, and may have died between an act and its point.
                SettleDurable => assert!(there >= acted && acted > 0, "{there} of {acted}"),
                _ => assert_eq!(there, acted, "{point}, {victim:?}"),
            }
            if matches!(point, Granted | Acted | BetweenActs) {
                assert!(there < FILES, "{point}, {victim:?}: all have happened");
            }
        }
    }
}

#[test]
fn of_a_message_that_is_cut_off_while_its_files_are_written_nothing_has_happened() {
    let mut scene = scene();
    for (number, victim) in [Victim::Filer, Victim::Daemon].into_iter().enumerate() {
        // In the middle, on the thread that makes them.
        let batch = Batch::begin(&scene, How::Together, number as u32, UploadCreated, 3);
        scene.die(Crash { point: UploadCreated, victim });
        assert_eq!(batch.ends(&mut scene, victim), (0, 0), "{victim:?}");
    }
}

#[test]
fn a_filer_whose_worker_dies_between_two_acts_may_go_on_and_loses_nothing() {
    let mut scene = scene();
    let batch = Batch::begin_together(&scene, How::ByThemselves, 1, BetweenActs, 0);
    scene.die(Crash { point: BetweenActs, victim: Victim::Worker });
    let (acted, there) = batch.ends(&mut scene, Victim::Worker);
    // The thread that renames may be ended between an act and its point.
    assert!((acted..=acted + 1).contains(&there), "{there} of {acted}");
    assert!(there > 0);
}

#[test]
fn a_batch_may_be_cut_off_while_it_has_given_the_ticket_back_between_two_acts() {
    let mut scene = scene();
    for (number, victim) in [Victim::Filer, Victim::Daemon].into_iter().enumerate() {
        let batch = Batch::begin_together(&scene, How::Together, number as u32, BetweenActs, 0);
        let stopped = scene.points.wait_stopped(BetweenActs);
        let (since, released) = (Instant::now(), scene.points.passed(Released));
        wait_until("a ticket's time is up", || since.elapsed() > TIME_IS_UP);
        // The others have their turn once more, when the ticket is granted again.
        scene.points.arm_after(Granted, 1);
        stopped.go_on();
        scene.die(Crash { point: Granted, victim });
        assert!(scene.points.passed(Released) >= released + 2, "the ticket was kept");
        let (acted, there) = batch.ends(&mut scene, victim);
        assert_eq!(there, acted, "{victim:?}");
        assert!((1..FILES).contains(&there), "{victim:?}: {there}");
    }
}

//! What is recorded: one user's commands, one after the other, of which two are killed at K2 and the
//! last, an upload, is cut off half way.
//!
//! It says what was done and when, and what a power cut may leave of it. It cuts nothing itself.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_common::digest::Md5;
use berth_common::points::Point;
use berth_tests::disk::{journals, only_journal_leaves};
use berth_tests::exact::assert_exact;
use berth_tests::power::Recording;
use berth_tests::{Client, Content, Points, Server, Valve, account, process, wait_until};

use super::{MIB, Tree, tree};

/// A step of the work.
enum Work {
    /// A command that is acknowledged before the next.
    Command(&'static [&'static str]),
    /// The same, with files that come into the home each by itself.
    Batch(&'static [&'static str]),
    /// A command whose filer is killed once it has acted and given the ticket back, and synced
    /// nothing (K2); replay settles it.
    Killed(&'static [&'static str]),
}

use Work::{Batch, Command, Killed};

const WORK: [Work; 23] = [
    Command(&["put", "one", "--to", "n"]),
    Command(&["put", "two", "--to", "a"]),
    Command(&["note", "a", "first"]),
    // What it replaces has a note, which goes over.
    Killed(&["put", "one", "--to", "a"]),
    Command(&["mkdir", "e"]),
    Command(&["put", "three", "--to", "e/big"]),
    Killed(&["mv", "n", "d/b"]),
    Command(&["put", "four", "--to", "e/big", "--note", "of four"]),
    Command(&["note", "a", "second"]),
    Command(&["put", "--append", "two", "--to", "a"]),
    Command(&["put", "--append", "three", "--to", "e/big"]),
    Command(&["mv", "d", "f"]),
    Command(&["note", "-d", "a"]),
    Command(&["put", "two", "--to", "f/one", "--note", "of two"]),
    Batch(&["put", "one", "two", "three", "--to", "f/"]),
    Batch(&["put", "-r", "few/.", "--to", "f/"]),
    Batch(&["put", "-r", "many/.", "--to", "f/"]),
    Command(&["mv", "e/big", "f/big"]),
    Command(&["mv", "f/one", "f/two"]),
    Command(&["note", "f/two", "moved"]),
    Command(&["rm", "f/two"]),
    Command(&["rm", "-r", "f"]),
    Command(&["rm", "e"]),
];

/// What was done, and when.
pub(super) struct Done {
    pub(super) began: f64,
    /// From when on it may not be lost any more: acknowledged, or settled by replay.
    pub(super) acknowledged: f64,
    /// The home afterwards.
    pub(super) tree: Tree,
    /// Whether its files come into the home each by itself.
    each_by_itself: bool,
}

impl Done {
    /// Whether a home may look like this when it was cut off, or when it was done.
    pub(super) fn may_leave(&self, before: &Tree, home: &Tree) -> bool {
        let as_before_or_after = |path| {
            let there = home.get(path);
            there == before.get(path) || there == self.tree.get(path)
        };
        match self.each_by_itself {
            true => {
                home.keys().chain(before.keys()).chain(self.tree.keys()).all(as_before_or_after)
            }
            false => home == &self.tree,
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What is there before the recording.
pub(super) fn prepare(alice: &Client) {
    for (name, size) in [("one", 1000), ("two", 2000), ("three", 3 * MIB), ("four", 4 * MIB)] {
        Content::seed(size).write(&alice.file(name), size);
    }
    Content::seed(7).write(&alice.file("cut"), 12 * MIB);
    // As many as are synced one by one, and as are synced together; one of each replaces a file.
    for (directory, names) in
        [("few", &["one", "f0"][..]), ("many", &["two", "m0", "m1", "m2", "m3", "m4"])]
    {
        account::make_dir(&alice.file(directory));
        for (seed, name) in (100..).zip(names) {
            alice.write(format!("{directory}/{name}"), format!("{directory} {seed}"));
        }
    }
    // The ledger's log grows to more than the recorded work needs.
    let deep = vec!["x"; 100].join("/");
    alice.run(&["mkdir", "-p", &deep]).ok();
    alice.run(&["rm", "-r", "x"]).ok();
    alice.run(&["mkdir", "d"]).ok();
    alice.run(&["put", "one", "--to", "a"]).ok();
    alice.run(&["put", "two", "--to", "d/b"]).ok();
}

/// The ledger's log is overwritten from its beginning from now on, as it is most of the time: then a
/// sync of it changes no length, and commits nothing else.
pub(super) fn begin_the_log_anew(data: &Path) {
    let ledger = rusqlite::Connection::open(data.join("ledger.sqlite")).unwrap();
    let restart = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    assert_eq!(ledger.query_row("PRAGMA wal_checkpoint(RESTART)", [], restart), Ok(0));
}

pub(super) fn record(server: &Server) -> Recording {
    wait_until("the spares are ready", || {
        let status = server.berthctl(&["status", "--json"]).ok().json();
        status["spare_workers"].as_u64() > Some(0) && status["spare_filers"].as_u64() > Some(0)
    });
    let mut processes = process::children(server.pid());
    processes.push(server.pid());
    Recording::of(&processes, server.directory().join("trace"))
}

/// One after the other, each acknowledged or replayed before the next; then an upload that is cut.
pub(super) fn work(server: &Server, points: &Points, alice: &Client) -> Vec<Done> {
    let home = server.home("alice");
    let done = |began, acknowledged, tree, each_by_itself| Done {
        began,
        acknowledged,
        tree,
        each_by_itself,
    };
    let mut all = vec![done(0.0, 0.0, tree(&home), false)];
    for work in WORK {
        let began = now();
        match work {
            Command(command) | Batch(command) => drop(alice.run(command).ok()),
            Killed(command) => {
                let (client, filer) = points.stop(Point::Released, alice, command);
                filer.kill();
                client.wait().failed();
                assert_exact(server);
            }
        }
        all.push(done(began, now(), tree(&home), matches!(work, Batch(_))));
    }
    // Never acknowledged, and whole where the kill came too late.
    let began = now();
    cut_an_upload(server, alice);
    let mut tree = all.last().expect("the first state").tree.clone();
    let md5 = Md5::of(&fs::read(alice.file("cut")).unwrap());
    tree.insert("cut".into(), Some((md5, Vec::new())));
    all.push(done(began, f64::INFINITY, tree, false));
    all
}

/// An upload of which a part is marked durable and a part is not.
fn cut_an_upload(server: &Server, alice: &Client) {
    let staging = server.staging("alice");
    let valve = Valve::behind(server.address(), 5 << 20);
    let slow = alice.clone().at(valve.address(), server.fingerprint());
    let mut running = slow.spawn(&["put", "cut"]);
    wait_until("a part of it is marked durable", || {
        journals(&staging).iter().any(|journal| durable_leaves(journal) > 0)
    });
    let durable = only_journal_leaves(&staging);
    valve.open();
    // The rest may have come so fast that there is no journal any more.
    wait_until("more has come", || running.has_ended() || only_journal_leaves(&staging) > durable);
    running.kill();
}

/// The greater of the two marks of a journal (see `berth_common::journal`).
fn durable_leaves(journal: &Path) -> u64 {
    let bytes = fs::read(journal).unwrap_or_default();
    let mark = |slot: usize| {
        let leaves = bytes.get(slot + 8..slot + 16)?;
        Some(u64::from_le_bytes(leaves.try_into().ok()?))
    };
    [64, 128].into_iter().filter_map(mark).max().unwrap_or(0)
}

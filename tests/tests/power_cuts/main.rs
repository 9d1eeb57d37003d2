//! The power goes at every moment of a session's work, on two kinds of disk: what was acknowledged
//! is there, nothing is partial, and the ledger equals the disk.
//!
//! The calls of real processes are recorded by strace (so it needs root) and played on a simulated
//! disk. Whatever that disk would still have after each call is written to a real directory, and a
//! real `berthd` is started on it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use berth_common::digest::Md5;
use berth_common::ids::StagingName;
use berth_common::points::Rule;
use berth_tests::disk::{journals, only_journal_leaves};
use berth_tests::exact::faults_at_rest;
use berth_tests::files::{Content, assert_same};
use berth_tests::power::disk::Id;
use berth_tests::power::{Disk, Event, Kind, Recording, empty, reboot};
use berth_tests::{Client, Options, Points, Server, account, ledger, process, report, wait_until};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;

/// What a home holds: files with their MD5, directories without.
type Tree = BTreeMap<PathBuf, Option<Md5>>;

/// What was done, and when.
struct Done {
    began: f64,
    acknowledged: f64,
    /// The home afterwards.
    tree: Tree,
}

/// What a power cut leaves of one state of the disk, once the server has recovered.
struct Recovered {
    home: Tree,
    open_uploads: u64,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn tree(root: &Path) -> Tree {
    let (mut tree, mut waiting) = (Tree::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                waiting.push(path);
            } else {
                tree.insert(name, Some(Md5::of(&fs::read(&path).unwrap())));
            }
        }
    }
    tree
}

#[test]
fn what_was_acknowledged_survives_on_a_disk_that_loses_all_that_was_not_synced() {
    // Where the file system's name does not vouch for an ordered journal, the filer syncs all.
    survives(&[], &[Kind::Forgetful, Kind::Ordered, Kind::Lagging]);
}

#[test]
fn what_was_acknowledged_survives_on_a_disk_with_an_ordered_journal() {
    // There the filer syncs directories one by one.
    survives(&[Rule::SyncByName], &[Kind::Ordered, Kind::Lagging]);
}

#[test]
fn without_the_syncs_of_staging_each_disk_loses_something() {
    for (rules, kind) in
        [(vec![Rule::R6], Kind::Forgetful), (vec![Rule::R6, Rule::SyncByName], Kind::Lagging)]
    {
        if let Some(outcome) = cut_everywhere(&rules, &[kind]) {
            let fault = outcome.expect_err("the fault is not found");
            assert!(fault.contains("the ledger has"), "{fault}");
        }
    }
}

fn survives(without: &[Rule], kinds: &[Kind]) {
    if let Some(Err(fault)) = cut_everywhere(without, kinds) {
        panic!("{fault}");
    }
}

/// What went wrong, if anything; `None` when it cannot be tried.
fn cut_everywhere(without: &[Rule], kinds: &[Kind]) -> Option<Result<(), String>> {
    if account::skipped_without_root() {
        return None;
    }
    let points = Points::new();
    without.iter().for_each(|rule| points.rule_off(*rule));
    let mut options = Options::new().points(&points);
    // In memory, where that is possible: what the disk under the test keeps does not matter.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        options = options.beneath(memory);
    }
    let mut server = Server::start(options);
    server.add_user("alice", "a", "64MiB");
    let alice = server.client("alice", "a");
    prepare(&alice);
    server.assert_at_rest("alice");
    begin_the_log_anew(&server.data());

    let disk = Disk::of(&server.data());
    let recording = record(&server);
    let done = work(&server, &alice);
    server.kill_daemon();
    let events = recording.finish(&server.data());

    let mut replay = Replay { server, alice, disk, inodes: BTreeMap::new(), resumed: 0 };
    Some(replay.cut_after_each(&events, &done, kinds).map(|states| {
        report(&format!(
            "power cuts without {without:?} on {kinds:?}: {} moments, {states} different states, {} \
             resumed uploads",
            events.len() + 1,
            replay.resumed,
        ));
        assert!(events.len() > 100 && states > 30, "{} events, {states} states", events.len());
        assert!(replay.resumed > 0, "no cut left an upload to resume");
    }))
}

/// What is there before the recording.
fn prepare(alice: &Client) {
    for (name, size) in [("one", 1000), ("two", 2000), ("three", 3 * MIB), ("four", 4 * MIB)] {
        Content::seed(size).write(&alice.file(name), size);
    }
    Content::seed(7).write(&alice.file("cut"), 12 * MIB);
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
fn begin_the_log_anew(data: &Path) {
    let ledger = rusqlite::Connection::open(data.join("ledger.sqlite")).unwrap();
    let restart = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    assert_eq!(ledger.query_row("PRAGMA wal_checkpoint(RESTART)", [], restart), Ok(0));
}

fn record(server: &Server) -> Recording {
    wait_until("the spares are ready", || {
        let status = server.berthctl(&["status", "--json"]).ok().json();
        status["spare_workers"].as_u64() > Some(0) && status["spare_filers"].as_u64() > Some(0)
    });
    let mut processes = process::children(server.pid());
    processes.push(server.pid());
    Recording::of(&processes, server.directory().join("trace"))
}

/// One command after the other, each acknowledged before the next; then an upload that is cut.
fn work(server: &Server, alice: &Client) -> Vec<Done> {
    const COMMANDS: [&[&str]; 15] = [
        &["put", "one", "--to", "n"],
        &["put", "two", "--to", "a"],
        &["mkdir", "e"],
        &["put", "three", "--to", "e/big"],
        &["mv", "n", "d/b"],
        &["put", "four", "--to", "e/big"],
        &["put", "--append", "two", "--to", "a"],
        &["put", "--append", "three", "--to", "e/big"],
        &["mv", "d", "f"],
        &["put", "one", "--to", "f/one"],
        &["put", "two", "--to", "f/two"],
        &["mv", "e/big", "f/big"],
        &["rm", "f/one"],
        &["rm", "-r", "f"],
        &["rm", "e"],
    ];
    let home = server.home("alice");
    let mut done = vec![Done { began: 0.0, acknowledged: 0.0, tree: tree(&home) }];
    for command in COMMANDS {
        let began = now();
        alice.run(command).ok();
        done.push(Done { began, acknowledged: now(), tree: tree(&home) });
    }
    // Never acknowledged, and whole where the kill came too late.
    let began = now();
    cut_an_upload(server, alice);
    let mut tree = done.last().expect("the first state").tree.clone();
    tree.insert("cut".into(), Some(Md5::of(&fs::read(alice.file("cut")).unwrap())));
    done.push(Done { began, acknowledged: f64::INFINITY, tree });
    done
}

/// An upload of which a part is marked durable and a part is not.
fn cut_an_upload(server: &Server, alice: &Client) {
    let staging = server.staging("alice");
    let mut running = alice.spawn(&["put", "cut"]);
    wait_until("the journal has grown", || only_journal_leaves(&staging) >= 8);
    process::signal(running.pid(), Signal::STOP);
    wait_until("a part of it is marked durable", || {
        journals(&staging).iter().any(|journal| durable_leaves(journal) > 0)
    });
    let durable = only_journal_leaves(&staging);
    process::signal(running.pid(), Signal::CONT);
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

struct Replay {
    server: Server,
    alice: Client,
    disk: Disk,
    /// What has the inode number that an intent names, in the recorded run.
    inodes: BTreeMap<i64, Option<Id>>,
    resumed: usize,
}

impl Replay {
    /// Cuts the power before the first call and after each, and returns how many states differed, or
    /// what went wrong.
    fn cut_after_each(
        &mut self,
        events: &[Event],
        done: &[Done],
        kinds: &[Kind],
    ) -> Result<usize, String> {
        let mut states: BTreeMap<u64, Recovered> = BTreeMap::new();
        let mut begun = BTreeMap::new();
        for index in 0..=events.len() {
            if index > 0 {
                self.disk.step(&events[index - 1], &mut begun);
            }
            // All that began before the next call has been played.
            let time = events.get(index).map_or(f64::INFINITY, |next| next.began);
            for kind in kinds {
                let state = self.disk.state(*kind);
                let recovered = match states.entry(state) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.recover(*kind)?),
                };
                let first = done.iter().rposition(|done| done.acknowledged < time).unwrap_or(0);
                let may_be = done[first..].iter().take_while(|done| done.began <= time);
                if !may_be.clone().any(|done| done.tree == recovered.home) {
                    return Err(format!(
                        "after {index} calls, on a disk that is {kind:?}, the home has {:#?}\nand not \
                         {:#?}",
                        recovered.home,
                        may_be.map(|done| &done.tree).collect::<Vec<_>>(),
                    ));
                }
                assert!(recovered.open_uploads <= 1, "{} uploads are open", recovered.open_uploads);
            }
        }
        Ok(states.len())
    }

    /// Starts the server on what is left, and checks that all fits.
    fn recover(&mut self, kind: Kind) -> Result<Recovered, String> {
        self.server.kill_daemon();
        let data = self.server.data();
        empty(&data);
        let written = self.disk.write_out(kind, &data);
        self.give_intents_their_inodes(&data, &written);
        let durable = reboot(&data.join("users"));
        self.server.restart();
        self.alice = self.alice.clone().at(self.server.address(), self.server.fingerprint());

        let faults = faults_at_rest(&self.server);
        if !faults.is_empty() {
            return Err(format!("on a disk that is {kind:?}: {}", faults.join("; ")));
        }
        let open_uploads = ledger::open_rows(&self.server.data(), "alice");
        let home = tree(&self.server.home("alice"));
        // Every state with an upload that has a durable mark, and some without one.
        if open_uploads > 0 && (durable > 0 || self.resumed < 3) {
            self.resume();
        }
        Ok(Recovered { home, open_uploads })
    }

    /// An intent names an inode of the recorded run: the file that it was has another number here.
    /// It is the one that stood at the intent's name when the intent was first to be seen, since the
    /// act comes after the intent is durable.
    fn give_intents_their_inodes(&mut self, data: &Path, written: &BTreeMap<Id, u64>) {
        let ledger = rusqlite::Connection::open(data.join("ledger.sqlite")).unwrap();
        let mut select = ledger.prepare("SELECT name, inode FROM intents WHERE kind = 'stage'");
        let rows: Vec<(i64, i64)> = select
            .as_mut()
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        drop(select);
        for (name, inode) in rows {
            let staged = Path::new("users/alice/staging")
                .join(StagingName(name.cast_unsigned()).file_name());
            let disk = &self.disk;
            let id = *self.inodes.entry(inode).or_insert_with(|| disk.id(&staged));
            let here = id.and_then(|id| written.get(&id).copied()).unwrap_or(u64::MAX);
            let update = "UPDATE intents SET inode = ?2 WHERE name = ?1";
            ledger.execute(update, (name, here.cast_signed())).unwrap();
        }
        drop(ledger);
        for file in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let path = data.join(file);
            if path.exists() {
                account::give(&path);
            }
        }
    }

    /// Puts the same files again, by the client that remembers the uploads.
    fn resume(&mut self) {
        self.resumed += 1;
        let paths = self.alice.run(&["uploads", "--json"]).ok().json_lines();
        for upload in paths {
            let path = upload["path"].as_str().unwrap();
            let size = upload["size"].as_u64().unwrap();
            let source = match size / MIB {
                3 => "three",
                4 => "four",
                _ => "cut",
            };
            self.alice.run(&["put", source, "--to", path]).ok();
            let stored = self.server.home("alice").join(path.trim_start_matches('/'));
            assert_same(&self.alice.file(source), &stored);
        }
        self.server.assert_at_rest("alice");
    }
}

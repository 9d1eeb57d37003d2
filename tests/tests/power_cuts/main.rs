//! The power goes at every moment of a user's work, on three kinds of disk: what was acknowledged
//! is there, nothing is partial, and the ledger equals the disk.
//!
//! The calls of real processes are recorded by strace (so it needs root) and played on a simulated
//! disk. Whatever that disk would still have after each call is written to a real directory, and a
//! real `berthd` is started on it. `work` has what is done meanwhile.

mod work;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use berth_common::digest::Md5;
use berth_common::ids::StagingName;
use berth_common::points::Rule;
use berth_tests::exact::faults_at_rest;
use berth_tests::files::assert_same;
use berth_tests::power::disk::Id;
use berth_tests::power::{Disk, Event, Kind, empty, reboot};
use berth_tests::{Client, Options, Points, Server, account, ledger, report};

use work::{Done, begin_the_log_anew, prepare, record, work};

const MIB: u64 = 1 << 20;

/// What a home holds: files, and directories as `None`.
type Tree = BTreeMap<PathBuf, Option<Held>>;

/// What is held of a file: its MD5, and the note that is kept with it, if any.
type Held = (Md5, Vec<u8>);

/// What a power cut leaves of one state of the disk, once the server has recovered.
struct Recovered {
    home: Tree,
    open_uploads: u64,
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
                tree.insert(name, Some((Md5::of(&fs::read(&path).unwrap()), note(&path))));
            }
        }
    }
    tree
}

/// Empty where there is none.
fn note(path: &Path) -> Vec<u8> {
    let mut text = [0; 64];
    match rustix::fs::getxattr(path, "user.berth.note", &mut text[..]) {
        Ok(length) => text[..length].to_vec(),
        Err(errno) => {
            assert_eq!(errno, rustix::io::Errno::NODATA, "{}", path.display());
            Vec::new()
        }
    }
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
fn without_the_syncs_of_staging_names_are_lost_that_are_counted() {
    loses(&[Rule::R6], Kind::Forgetful);
    loses(&[Rule::R6, Rule::SyncByName], Kind::Lagging);
}

#[test]
fn without_the_sync_of_data_bytes_are_lost_that_are_counted() {
    // Where staging is synced by a `syncfs`, that one syncs the data too.
    loses(&[Rule::R4, Rule::SyncByName], Kind::Ordered);
}

#[test]
fn without_the_sync_in_replay_what_it_has_settled_is_lost() {
    loses(&[Rule::R7], Kind::Forgetful);
    loses(&[Rule::R7, Rule::SyncByName], Kind::Lagging);
}

/// That this disk finds out that the rules are missing.
fn loses(without: &[Rule], kind: Kind) {
    if let Some(outcome) = cut_everywhere(without, &[kind]) {
        let fault = outcome.expect_err("the fault is not found");
        assert!(fault.contains("the ledger has"), "{fault}");
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
    let done = work(&server, &points, &alice);
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
                let mut under_way =
                    done[first..].windows(2).take_while(|pair| pair[1].began <= time);
                let fits = recovered.home == done[first].tree
                    || under_way.any(|pair| pair[1].may_leave(&pair[0].tree, &recovered.home));
                if !fits {
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

//! The power goes at every moment of a client's get: run again, it brings the file to the byte.
//!
//! As in `power_cuts`, the calls are recorded (which needs root) and played on a simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use berth_common::journal::DURABLE_EVERY_TIME;
use berth_tests::disk::{entries, journals};
use berth_tests::files::{Content, assert_same};
use berth_tests::power::{self, Disk, Event, Kind, empty, reboot};
use berth_tests::{Client, Options, Server, Valve, account, report, wait_until};

#[test]
fn a_get_that_a_power_cut_ended_is_resumed_to_the_byte() {
    if account::skipped_without_root() {
        return;
    }
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "64MiB");
    let alice = server.client("alice", "a");
    let source = server.scratch().join("source");
    Content::seed(9).write(&source, 24 << 20);
    alice.run(&["put", source.to_str().unwrap(), "--to", "big"]).ok();

    let before = Disk::of(alice.directory());
    let trace = server.directory().join("trace");
    let files = alice.files();
    // Half of it, then the rest: the first block after a pause makes a durable mark due.
    let valve = Valve::before(server.address(), 12 << 20);
    let slow = alice.clone().at(valve.address(), server.fingerprint()).traced(&trace);
    let running = slow.spawn(&["get", "big"]);
    wait_until("no leaf has come for as long as a durable mark may take", || {
        let modified = journals(&files).first().map(|journal| journal.metadata().unwrap());
        let modified = modified.and_then(|metadata| metadata.modified().ok());
        modified.is_some_and(|at| at.elapsed().is_ok_and(|since| since > DURABLE_EVERY_TIME))
    });
    valve.open();
    running.wait().ok();
    let events = power::read(&fs::read_to_string(&trace).unwrap(), alice.directory());

    let get = Get { alice, source, durable: 0 };
    get.resume_after_each(before, &events);
}

/// A get, and what it is to bring.
struct Get {
    alice: Client,
    source: PathBuf,
    durable: u64,
}

impl Get {
    /// Cuts the power before the first call and after each, and gets the file again.
    fn resume_after_each(mut self, before: Disk, events: &[Event]) {
        let mut seen = BTreeSet::new();
        for kind in [Kind::Forgetful, Kind::Ordered, Kind::Lagging] {
            let (mut disk, mut begun) = (before.clone(), BTreeMap::new());
            for index in 0..=events.len() {
                if index > 0 {
                    disk.step(&events[index - 1], &mut begun);
                }
                if seen.insert(disk.state(kind)) {
                    self.resume(&disk, kind, index == events.len());
                }
            }
        }
        let (moments, states) = (events.len() + 1, seen.len());
        report(&format!("power cuts of a client: {moments} moments, {states} different states"));
        assert!(self.durable > 0, "no cut left a part that was marked durable");
    }

    fn resume(&mut self, disk: &Disk, kind: Kind, acknowledged: bool) {
        empty(self.alice.directory());
        drop(disk.write_out(kind, self.alice.directory()));
        self.durable += reboot(&self.alice.files());
        let target = self.alice.file("big");
        assert!(!acknowledged || target.exists(), "what was told to be there is lost");
        self.alice.run(&["get", "big"]).ok();
        assert_same(&self.source, &target);
        assert_eq!(entries(&self.alice.files()), [target], "no part or journal is left");
    }
}

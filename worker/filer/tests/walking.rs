//! The role *walk* against the real filer, and what a serving filer reports for it.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use berth_common::ids::OpId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, HomeReport, HomeSum};
use harness::{Bench, process, rel};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

const OP: OpId = OpId(9);

fn order(bench: &Bench, order: &DaemonToFiler) -> FilerToDaemon {
    let daemon = bench.daemon.as_ref().unwrap();
    daemon.send(order, &[]).unwrap();
    daemon.recv().unwrap().message
}

fn list(bench: &Bench) -> bool {
    match order(bench, &DaemonToFiler::List { op: OP }) {
        FilerToDaemon::Listed { op: OP, done } => done,
        other => panic!("{other:?}"),
    }
}

fn sum(bench: &Bench) -> HomeSum {
    match order(bench, &DaemonToFiler::Sum { op: OP }) {
        FilerToDaemon::Walked { op: OP, sum } => sum,
        other => panic!("{other:?}"),
    }
}

fn hear(bench: &Bench, reports: Vec<HomeReport>) {
    let answer = order(bench, &DaemonToFiler::Reports { op: OP, reports });
    assert_eq!(answer, FilerToDaemon::Done { op: OP });
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn every_kind_of_thing_is_counted_and_nothing_is_followed() {
    let mut bench = Bench::walking(process(FILER));
    let home = &bench.home;
    fs::create_dir_all(home.join("a/b/c")).unwrap();
    fs::write(home.join("a/f"), b"123").unwrap();
    fs::write(home.join("a/b/c").join(OsStr::from_bytes(b"\xff\n")), b"12345").unwrap();
    fs::write(bench.directory.path().join("outside"), b"outside").unwrap();
    symlink("../../outside", home.join("a/link")).unwrap();
    symlink("..", home.join("up")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.join("socket")).unwrap());
    while !list(&bench) {}
    let expected = HomeSum { bytes: 8, entries: 8, linked: 0, linked_names: vec![] };
    assert_eq!(sum(&bench), expected);
    bench.daemon = None;
    assert_eq!(bench.exit_code(), Some(0), "it ends with the daemon");
}

#[test]
fn a_tree_whose_paths_no_system_call_takes_is_summed() {
    let bench = Bench::walking(process(FILER));
    let name = "n".repeat(200);
    // From the bottom up, so that no path gets too long.
    let (one, other) = (bench.directory.path().join("one"), bench.directory.path().join("other"));
    fs::create_dir(&one).unwrap();
    fs::write(one.join("file"), b"x").unwrap();
    for _ in 1..60 {
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), b"x").unwrap();
        fs::rename(&one, other.join(&name)).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    fs::rename(&one, bench.home.join(&name)).unwrap();
    while !list(&bench) {}
    let sum = sum(&bench);
    assert_eq!((sum.bytes, sum.entries), (60, 120));
}

#[test]
fn each_name_of_a_file_with_several_counts_and_one_is_told() {
    let bench = Bench::walking(process(FILER));
    let home = &bench.home;
    fs::create_dir(home.join("d")).unwrap();
    fs::write(home.join("d/x"), b"12345").unwrap();
    fs::hard_link(home.join("d/x"), home.join("d/y")).unwrap();
    while !list(&bench) {}
    let found = sum(&bench);
    assert_eq!((found.bytes, found.entries, found.linked), (10, 3, 1));
    assert!(matches!(found.linked_names[0].as_str(), "d/x" | "d/y"), "{found:?}");
}

#[test]
fn what_moves_leaves_and_comes_between_two_slices_is_as_reported() {
    let bench = Bench::walking(process(FILER));
    let home = bench.home.clone();
    for directory in ["a", "b", "c"] {
        fs::create_dir(home.join(directory)).unwrap();
        for file in 0..3000 {
            fs::write(home.join(directory).join(file.to_string()), b"12").unwrap();
        }
    }
    // Each is moved, twice over, while it may be half listed or still to be listed.
    let mut slices = 0;
    for (from, to) in [("a", "b/a"), ("b", "d"), ("c", "d/c"), ("d/a", "a"), ("d", "b")] {
        assert!(!list(&bench), "there is too little to list");
        slices += 1;
        fs::rename(home.join(from), home.join(to)).unwrap();
        hear(&bench, vec![HomeReport::Moved { inode: inode(&home.join(to)), place: rel(to) }]);
    }
    let gone = home.join("b/7");
    let came = home.join("a/new");
    let left = inode(&gone);
    fs::write(&came, b"123").unwrap();
    fs::remove_file(&gone).unwrap();
    hear(
        &bench,
        vec![
            HomeReport::Stands { inode: inode(&came), bytes: 3 },
            HomeReport::Left { inode: left },
        ],
    );
    while !list(&bench) {
        slices += 1;
    }
    let (bytes, entries) = harness::walk(&home);
    let sum = sum(&bench);
    assert_eq!((sum.bytes as i64, sum.entries as i64), (bytes, entries), "{slices} slices");
}

/// Applies what a serving filer reported: for each inode the bytes with which it stands in the home, or
/// nothing.
fn told(bench: &Bench) -> BTreeMap<u64, Option<u64>> {
    let mut told = BTreeMap::new();
    for message in &bench.ledger.log {
        let FilerToDaemon::Reports { reports } = message else { continue };
        for report in reports {
            match report {
                HomeReport::Stands { inode, bytes } => told.insert(*inode, Some(*bytes)),
                HomeReport::Moved { inode, .. } => told.insert(*inode, Some(0)),
                HomeReport::Left { inode } => told.insert(*inode, None),
                HomeReport::Unclear => panic!("nothing has several names"),
            };
        }
    }
    told
}

fn standing(directory: &Path, all: &mut BTreeMap<u64, Option<u64>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        all.insert(stat.ino(), Some(if stat.is_file() { stat.size() } else { 0 }));
        if stat.is_dir() {
            standing(&path, all);
        }
    }
}

#[test]
fn a_serving_filer_tells_of_everything_that_enters_moves_and_leaves() {
    let mut bench = Bench::serving(process(FILER));
    bench.ledger.reporting = true;
    bench.make_directory("d/e", true).unwrap();
    bench.put("d/e/x", b"123", false).unwrap();
    bench.put("d/e/x", b"12345", true).unwrap();
    bench.put("y", b"1", false).unwrap();
    bench.rename("y", "z", false).unwrap();
    bench.rename("z", "d/e/x", true).unwrap();
    bench.rename("d/e", "f", false).unwrap();
    bench.put("g", b"1234", false).unwrap();
    for number in 0..300 {
        bench.put(&format!("d/{number}"), b"", false).unwrap();
    }
    bench.remove("d", true).unwrap();
    bench.settle_down();
    let mut now = BTreeMap::new();
    standing(&bench.home, &mut now);
    let told = told(&bench);
    let stands: BTreeMap<_, _> =
        told.iter().filter(|(_, bytes)| bytes.is_some()).map(|(n, b)| (*n, *b)).collect();
    assert_eq!(stands, now);
    let place = rel("f");
    let moved = bench.ledger.log.iter().any(|message| {
        matches!(message, FilerToDaemon::Reports { reports } if reports.iter().any(
            |report| matches!(report, HomeReport::Moved { place: told, .. } if *told == place)
        ))
    });
    assert!(moved, "the new place of a directory is told");
    // What enters is told before the ticket is given back, what leaves before the settle.
    let said = bench.ledger.said();
    assert!(said.windows(2).any(|two| two == ["Reports", "Released"]));
    assert!(said.ends_with(&["Gone"]) && said.contains(&"Settle"));
    let settled = said.iter().rposition(|kind| *kind == "Settle").unwrap();
    assert_eq!(said[settled - 1], "Reports", "the tree that was removed");
    bench.check();
}

#[test]
fn a_removed_name_of_several_is_unclear() {
    let mut bench = Bench::serving(process(FILER));
    bench.ledger.reporting = true;
    bench.make_directory("d", false).unwrap();
    fs::write(bench.home.join("d/x"), b"1").unwrap();
    fs::hard_link(bench.home.join("d/x"), bench.home.join("y")).unwrap();
    bench.charge_home();
    bench.remove("d", true).unwrap();
    let unclear = bench.ledger.log.iter().any(|message| {
        matches!(message, FilerToDaemon::Reports { reports } if reports.contains(&HomeReport::Unclear))
    });
    assert!(unclear);
}

#[test]
fn nothing_is_told_when_nobody_verifies() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("x", b"1", false).unwrap();
    bench.rename("x", "y", false).unwrap();
    bench.remove("y", false).unwrap();
    assert!(!bench.ledger.said().contains(&"Reports"));
}

//! The role *recover* against the real filer: findings, removals, sweeps.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding};
use berth_common::limits::{FINDINGS_PER_MESSAGE, NAMES_PER_MESSAGE};
use harness::{Bench, process};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

const OP: OpId = OpId(9);

fn order(bench: &Bench, order: &DaemonToFiler) -> FilerToDaemon {
    let daemon = bench.daemon.as_ref().unwrap();
    daemon.send(order, &[]).unwrap();
    daemon.recv().unwrap().message
}

fn names(bench: &Bench) -> BTreeSet<String> {
    fs::read_dir(&bench.staging)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_kind_of_thing_is_found_in_the_order_asked() {
    let mut bench = Bench::recovering(process(FILER));
    let at = |n: u64| bench.staging.join(StagingName(n).file_name());
    fs::write(at(1), b"12345").unwrap();
    fs::write(at(2), b"12").unwrap();
    fs::hard_link(at(2), bench.home.join("pinned")).unwrap();
    fs::create_dir_all(at(3).join("a/b")).unwrap();
    fs::write(at(3).join("a/f"), b"123").unwrap();
    fs::write(at(3).join("a/g"), b"1234").unwrap();
    symlink("/etc", at(3).join("a/b/link")).unwrap();
    symlink("/etc/passwd", at(4)).unwrap();
    let inode = |n: u64| fs::symlink_metadata(at(n)).unwrap().ino();
    let expected = vec![
        Finding::Directory { inode: inode(3), bytes: 7, entries: 6 },
        Finding::Missing,
        Finding::File { inode: inode(1), size: 5, links: 1 },
        Finding::File { inode: inode(4), size: 0, links: 1 },
        Finding::File { inode: inode(2), size: 2, links: 2 },
    ];
    let asked = [3, 5, 1, 4, 2].map(StagingName).to_vec();
    let answer = order(&bench, &DaemonToFiler::Examine { op: OP, names: asked });
    assert_eq!(answer, FilerToDaemon::Findings { op: OP, findings: expected });
    bench.daemon = None;
    assert_eq!(bench.exit_code(), Some(0), "it ends with the daemon");
}

#[test]
fn as_many_findings_as_may_be_asked_for_fit_a_packet() {
    let bench = Bench::recovering(process(FILER));
    let asked: Vec<_> = (0..FINDINGS_PER_MESSAGE as u64).map(StagingName).collect();
    for name in &asked {
        fs::create_dir(bench.staging.join(name.file_name())).unwrap();
    }
    match order(&bench, &DaemonToFiler::Examine { op: OP, names: asked }) {
        FilerToDaemon::Findings { findings, .. } => {
            assert_eq!(findings.len(), FINDINGS_PER_MESSAGE)
        }
        other => panic!("{other:?}"),
    }
    // With the largest numbers that can stand in one.
    let largest = Finding::Directory { inode: u64::MAX, bytes: u64::MAX, entries: u64::MAX };
    let findings = vec![largest; FINDINGS_PER_MESSAGE];
    let mut packet = Vec::new();
    berth_common::codec::encode_into(&FilerToDaemon::Findings { op: OP, findings }, &mut packet)
        .unwrap();
    assert!(packet.len() <= berth_common::limits::MAX_PACKET, "{}", packet.len());
    let asked = vec![StagingName(0); FINDINGS_PER_MESSAGE + 1];
    let answer = order(&bench, &DaemonToFiler::Examine { op: OP, names: asked });
    assert!(matches!(answer, FilerToDaemon::Failed { .. }));
}

#[test]
fn what_is_ordered_to_go_goes_with_its_journal_and_nothing_else() {
    let bench = Bench::recovering(process(FILER));
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), b"x").unwrap();
    let at = |name: &str| bench.staging.join(name);
    fs::write(at(&StagingName(1).file_name()), b"data").unwrap();
    fs::write(at(&StagingName(1).journal_name()), b"journal").unwrap();
    fs::create_dir_all(at(&StagingName(2).file_name()).join("a/b/c")).unwrap();
    symlink(&outside, at(&StagingName(2).file_name()).join("a/link")).unwrap();
    symlink(&outside, at(&StagingName(3).file_name())).unwrap();
    fs::write(at(&StagingName(4).file_name()), b"stays").unwrap();
    let names_to_go = [1, 2, 3, 5].map(StagingName).to_vec();
    let answer = order(&bench, &DaemonToFiler::Remove { op: OP, names: names_to_go });
    assert_eq!(answer, FilerToDaemon::Done { op: OP });
    assert_eq!(names(&bench), BTreeSet::from([StagingName(4).file_name()]));
    assert!(outside.join("file").exists(), "no link is followed");
}

#[test]
fn a_sweep_spares_what_is_kept_and_the_journals_beside_it() {
    let bench = Bench::recovering(process(FILER));
    for n in 0..150 {
        fs::write(bench.staging.join(StagingName(n).file_name()), b"x").unwrap();
        fs::write(bench.staging.join(StagingName(n).journal_name()), b"x").unwrap();
    }
    fs::create_dir_all(bench.staging.join("foreign/a/b")).unwrap();
    fs::write(bench.staging.join("foreign/a/b/file"), b"x").unwrap();
    fs::write(bench.staging.join("not minted"), b"x").unwrap();
    let daemon = bench.daemon.as_ref().unwrap();
    let kept: Vec<_> = [7, 100].map(StagingName).to_vec();
    daemon.send(&DaemonToFiler::Keep { names: kept[..1].to_vec() }, &[]).unwrap();
    daemon.send(&DaemonToFiler::Keep { names: kept[1..].to_vec() }, &[]).unwrap();
    assert_eq!(order(&bench, &DaemonToFiler::Sweep { op: OP }), FilerToDaemon::Done { op: OP });
    let expected = kept
        .iter()
        .flat_map(|name| [name.file_name(), name.journal_name()])
        .collect::<BTreeSet<_>>();
    assert_eq!(names(&bench), expected);
}

#[test]
fn as_many_names_as_may_be_stated_fit_a_packet() {
    let bench = Bench::recovering(process(FILER));
    let names = vec![StagingName(u64::MAX); NAMES_PER_MESSAGE];
    let answer = order(&bench, &DaemonToFiler::Remove { op: OP, names });
    assert_eq!(answer, FilerToDaemon::Done { op: OP });
}

#[test]
fn a_session_is_not_served_while_recovering() {
    let mut bench = Bench::recovering(process(FILER));
    let daemon = bench.daemon.as_ref().unwrap();
    daemon.send(&DaemonToFiler::Done { op: OP }, &[]).unwrap();
    assert_eq!(bench.exit_code(), Some(1));
    assert!(bench.log().contains("no order to recover"), "{}", bench.log());
}

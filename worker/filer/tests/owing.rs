//! Removals while the ledger cannot be written, and how they are accounted for, against the real filer.

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

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, OwedName, StagingName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding};
use berth_common::limits::FINDINGS_PER_MESSAGE;
use harness::{Bench, process};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

const OP: OpId = OpId(9);

fn staged(bench: &Bench) -> BTreeSet<String> {
    let names = fs::read_dir(&bench.staging).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn order(bench: &Bench, order: &DaemonToFiler) -> FilerToDaemon {
    let daemon = bench.daemon.as_ref().unwrap();
    daemon.send(order, &[]).unwrap();
    daemon.recv().unwrap().message
}

fn list(bench: &Bench) -> Vec<OwedName> {
    match order(bench, &DaemonToFiler::ListOwed { op: OP }) {
        FilerToDaemon::OwedNames { op: OP, names } => names,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_removal_goes_on_by_an_owed_name_and_nothing_is_settled() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("file", b"12345", true).unwrap();
    bench.make_directory("d/e", true).unwrap();
    bench.put("d/e/f", b"123", true).unwrap();
    bench.settle_down();
    bench.ledger.outage = true;
    bench.ledger.log.clear();
    bench.remove("file", false).unwrap();
    bench.remove("d", true).unwrap();
    assert!(!bench.home.join("file").exists() && !bench.home.join("d").exists());
    assert_eq!(bench.ledger.said(), ["Intent", "Released", "Intent", "Released"]);
    let staged = staged(&bench);
    assert_eq!(staged.len(), 2);
    assert!(staged.iter().all(|name| OwedName::parse(name).is_some()), "{staged:?}");
    assert_eq!(bench.ledger.used_bytes, 8, "it counts until the ledger can be written");
}

#[test]
fn a_removal_that_is_refused_leaves_nothing_and_keeps_nothing() {
    let mut bench = Bench::serving(process(FILER));
    bench.make_directory("d/e", true).unwrap();
    bench.settle_down();
    bench.ledger.outage = true;
    bench.ledger.log.clear();
    assert_eq!(bench.remove("d", false), Err(ErrorCode::DirectoryNotEmpty));
    assert_eq!(bench.remove("nothing", true), Err(ErrorCode::NotFound));
    bench.ledger.outage = false;
    bench.remove("d", true).unwrap();
    bench.settle_down();
    assert!(staged(&bench).is_empty());
    bench.check();
}

#[test]
fn what_grows_the_home_is_refused_and_cleaned_up() {
    let mut bench = Bench::serving(process(FILER));
    bench.put("a", b"a", true).unwrap();
    bench.put("b", b"b", true).unwrap();
    bench.settle_down();
    bench.ledger.outage = true;
    let refused = ErrorCode::LedgerUnavailable;
    assert_eq!(bench.put("a", b"new", true).unwrap_err(), refused);
    assert_eq!(bench.make_directory("d", false), Err(refused.clone()));
    assert_eq!(bench.rename("a", "b", true), Err(refused));
    bench.rename("a", "c", false).unwrap();
    assert_eq!((bench.read("c"), bench.read("b")), (b"a".into(), b"b".into()));
    bench.settle_down();
    assert!(staged(&bench).is_empty());
    bench.check();
}

#[test]
fn what_is_owed_is_listed_and_renamed_to_its_intents_and_spared_by_the_sweep() {
    let bench = Bench::recovering(process(FILER));
    let owed = [OwedName(3), OwedName(7)];
    let at = |name: &str| bench.staging.join(name);
    fs::write(at(&owed[0].file_name()), b"12345").unwrap();
    fs::create_dir_all(at(&owed[1].file_name()).join("a")).unwrap();
    fs::write(at("owed-3"), b"not minted").unwrap();
    fs::write(at(&StagingName(3).file_name()), b"left over").unwrap();
    assert_eq!(list(&bench).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(owed));

    assert_eq!(order(&bench, &DaemonToFiler::Sweep { op: OP }), FilerToDaemon::Done { op: OP });
    assert_eq!(staged(&bench), owed.iter().map(|name| name.file_name()).collect());

    // One of them has gone, and its intent is read as "not happened".
    let pairs = vec![
        (owed[0], StagingName(10)),
        (owed[1], StagingName(11)),
        (OwedName(9), StagingName(12)),
    ];
    let taken = order(&bench, &DaemonToFiler::TakeOwed { op: OP, pairs });
    assert_eq!(taken, FilerToDaemon::Done { op: OP });
    assert_eq!(list(&bench), []);
    let names = [10, 11, 12].map(StagingName).to_vec();
    match order(&bench, &DaemonToFiler::Examine { op: OP, names }) {
        FilerToDaemon::Findings { findings, .. } => assert!(
            matches!(
                findings[..],
                [
                    Finding::File { size: 5, .. },
                    Finding::Directory { bytes: 0, entries: 2, .. },
                    Finding::Missing
                ]
            ),
            "{findings:?}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_renamed_over_what_stands_at_an_intents_name() {
    let bench = Bench::recovering(process(FILER));
    let (from, to) = (OwedName(1), StagingName(2));
    fs::write(bench.staging.join(from.file_name()), b"1").unwrap();
    fs::write(bench.staging.join(to.file_name()), b"2").unwrap();
    let taken = order(&bench, &DaemonToFiler::TakeOwed { op: OP, pairs: vec![(from, to)] });
    assert!(matches!(taken, FilerToDaemon::Failed { .. }), "{taken:?}");
    assert_eq!(staged(&bench).len(), 2);
}

#[test]
fn as_many_as_there_are_come_in_parts_that_fit_a_packet() {
    let bench = Bench::recovering(process(FILER));
    let all = FINDINGS_PER_MESSAGE as u64 + 5;
    for n in 0..all {
        fs::write(bench.staging.join(OwedName(n).file_name()), b"").unwrap();
    }
    let mut seen = BTreeSet::new();
    loop {
        let names = list(&bench);
        if names.is_empty() {
            break;
        }
        assert!(names.len() <= FINDINGS_PER_MESSAGE);
        seen.extend(names.iter().copied());
        let pairs = names.iter().map(|name| (*name, StagingName(u64::MAX - name.0))).collect();
        let taken = order(&bench, &DaemonToFiler::TakeOwed { op: OP, pairs });
        assert_eq!(taken, FilerToDaemon::Done { op: OP });
    }
    assert_eq!(seen.len() as u64, all);
}

#[test]
fn a_removed_users_staging_is_emptied_of_all() {
    let bench = Bench::recovering(process(FILER));
    fs::write(bench.staging.join(OwedName(1).file_name()), b"1").unwrap();
    fs::create_dir_all(bench.staging.join(StagingName(1).file_name()).join("a")).unwrap();
    assert_eq!(order(&bench, &DaemonToFiler::Empty { op: OP }), FilerToDaemon::Done { op: OP });
    assert!(staged(&bench).is_empty());
}

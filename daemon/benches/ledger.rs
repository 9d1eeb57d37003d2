//! How many small files the ledger can account for: reserve, intent and settle, durably, for one session at a time
//! and for 64 sessions of as many users, who share transactions. An element is one file.
//!
//! The ledger is made in cargo's directory for such files, which must be on a disk: in memory nothing is synced.

#![allow(clippy::unwrap_used, missing_docs)] // `criterion_group!` makes public functions.

use std::fs::File;
use std::path::Path;

use berth_daemon::benching::Callers;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A file system in memory, as `statfs` tells it.
const TMPFS: u64 = 0x0102_1994;

fn commits(criterion: &mut Criterion) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if rustix::fs::fstatfs(File::open(place).unwrap()).unwrap().f_type as u64 == TMPFS {
        eprintln!("ledger: {place:?} is in memory, where nothing is synced: set CARGO_TARGET_DIR");
    }
    let directory = tempfile::tempdir_in(place).unwrap();
    let most = 64;
    let ledger = Callers::new(directory.path(), most).unwrap();
    let mut group = criterion.benchmark_group("ledger");
    for callers in [1, most] {
        group.throughput(Throughput::Elements(callers));
        group.bench_function(format!("reserve, intent, settle by {callers}"), |bencher| {
            bencher.iter_custom(|times| ledger.go_round(callers as usize, times).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);

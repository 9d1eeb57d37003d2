//! How many reserve–intent–settle cycles a second the ledger carries, with one caller and with many.
//!
//! A benchmark, which `tools/bench-ledger.sh` runs: it prints a ratio and judges nothing.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::*;

/// Callers of the crowded runs, each a session of a user of its own.
const CALLERS: u64 = 64;

/// How long one run lasts.
const RUN: Duration = Duration::from_secs(2);

/// Runs of each kind, by turns, so that a slow moment of the machine meets both.
const REPEATS: usize = 5;

/// Callers go round until the time is over; returns the cycles of all in a second.
async fn cycles_a_second(ledger: &Ledger, callers: u64) -> f64 {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (ledger, user) = (ledger.clone(), name(&format!("user{caller}")));
        tasks.spawn(async move {
            let session = SessionId(caller);
            let mut cycles = 0_u32;
            while begun.elapsed() < RUN {
                let name = ledger.reserve(&user, session, 100, 1).await.unwrap();
                ledger.intent(&user, session, vec![stage(name, 100, None)]).await.unwrap();
                let item = SettleItem { name, outcome: PLACED };
                ledger.settle(&user, session, vec![item]).await.unwrap();
                cycles += 1;
            }
            cycles
        });
    }
    let cycles: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(cycles) / begun.elapsed().as_secs_f64()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[tokio::test]
#[ignore = "a benchmark: tools/bench-ledger.sh"]
async fn compares_one_caller_with_many() {
    // Where TMPDIR says: it must be on a disk, since a file system in memory syncs for nothing.
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(|text| panic!("{text}"));
    let ledger = Ledger::open(&dir.path().join("ledger.sqlite"), options).unwrap();
    for caller in 0..CALLERS {
        let user = name(&format!("user{caller}"));
        ledger.add_user(&user, verifier(1), Limits::default()).await.unwrap();
        ledger.activate_user(&user).await.unwrap();
    }
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    println!("cycles a second: 1 caller, {CALLERS} callers");
    for _ in 0..REPEATS {
        alone.push(cycles_a_second(&ledger, 1).await);
        crowded.push(cycles_a_second(&ledger, CALLERS).await);
        println!("{:.0} {:.0}", alone[alone.len() - 1], crowded[crowded.len() - 1]);
    }
    let (alone, crowded) = (median(alone), median(crowded));
    println!("medians of {REPEATS} interleaved runs: {alone:.0} and {crowded:.0}");
    println!("{CALLERS} callers reach {:.1} times one", crowded / alone);
}

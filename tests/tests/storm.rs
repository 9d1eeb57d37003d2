//! The storm, as a test: 300 kills, or as many as `KILLS` says, from the seed in `SEED` or the clock's.

use std::path::Path;
use std::time::SystemTime;

use berth_tests::{Options, report, storm};

/// Kills where nothing else is said.
const KILLS: u64 = 300;

#[test]
fn ledger_and_disk_agree_and_nothing_acknowledged_is_lost_whatever_is_killed() {
    let kills = number("KILLS").unwrap_or(KILLS);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("SEED").unwrap_or(clock.as_millis() as u64 % 1_000_000);
    let again = format!("make storm KILLS={kills} SEED={seed}");
    report(&again);
    let mut options = Options::new();
    if let Some(directory) = std::env::var_os("STORM_DIR") {
        options = options.within(Path::new(&directory));
    }
    let ended = storm::run(seed, kills, options);
    report(&format!("{}\n{again}", ended.tally));
    if let Some(fault) = ended.fault {
        panic!("{again}: {}", fault.text);
    }
    let counts = ended.tally.counts();
    assert!(counts.refusals.keys().any(|why| why.starts_with("QuotaExceeded")), "no tight quota");
    // Few runs are too short for all of this.
    if kills >= KILLS {
        assert_eq!(counts.kills.len(), 4, "something was never killed: {:?}", counts.kills);
        assert!(counts.takeovers > 0 && counts.resumed > 0, "{counts:?}");
        assert!(counts.too_large * 50 <= counts.rests, "too many histories were too large");
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

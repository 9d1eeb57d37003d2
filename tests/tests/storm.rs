//! The storm, as a test: 300 kills, or as many as `KILLS` says, from the seed in `SEED` or the clock's.
//!
//! With `STORM_WITHOUT=R3` a rule of the protocol is taken away, and the storm has to find the fault.
//! `STORM_DIR` says where the server's directory is to be, if not where temporary files are.

use std::path::Path;
use std::time::{Duration, SystemTime};

use berth_tests::storm::{self, Settings};
use berth_tests::wait::DEADLINE;
use berth_tests::{Options, report};

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
        options = options.beneath(Path::new(&directory));
    }
    let without = std::env::var("STORM_WITHOUT").ok().filter(|rule| !rule.is_empty());
    let keeps_directory = without.is_none();
    let settings = Settings { seed, kills, options, patience: DEADLINE, keeps_directory };
    let ended = match &without {
        Some(rule) => without_rule(rule, settings),
        None => storm::run(settings),
    };
    report(&format!("{}\n{again}", ended.tally));
    if let Some(rule) = without {
        let fault = ended.fault.unwrap_or_else(|| panic!("{again}: nobody misses {rule}"));
        report(&fault.text);
        let what = fault.what.lines().next().unwrap_or_default();
        report(&format!("STORM_WITHOUT={rule}: found after {} kills: {what}", fault.kills));
        return;
    }
    if let Some(fault) = ended.fault {
        panic!("{again}: {}", fault.text);
    }
    let counts = ended.tally.counts();
    assert!(counts.refusals.keys().any(|why| why.starts_with("QuotaExceeded")), "no tight quota");
    // Few runs are too short for all of this.
    if kills >= KILLS {
        // Without root one kind may never be met.
        let kinds = if berth_tests::account::is_root() { 4 } else { 3 };
        assert!(counts.kills.len() >= kinds, "something was never killed: {:?}", counts.kills);
        assert!(counts.takeovers + counts.resumed > 0, "nothing was resumed or taken over");
        assert!(counts.too_large * 50 <= counts.rests, "too many histories were too large");
        assert!(counts.limits_changed > 0, "no limits changed under way");
        assert!(counts.operations.contains_key("in a batch: put"), "no batch");
    }
    if kills >= 4 * KILLS {
        assert!(counts.owed > 0, "no delete was owed");
        assert!(counts.guests > 0, "nobody came and went");
    }
}

/// Runs the storm on a server that does not keep a rule.
#[cfg(debug_assertions)]
fn without_rule(rule: &str, mut settings: Settings) -> storm::Ended {
    use berth_common::points::Rule;
    let known = Rule::ALL.iter().find(|known| known.to_string() == rule);
    let known = known.unwrap_or_else(|| panic!("STORM_WITHOUT={rule}: of {:?}", Rule::ALL));
    let points = berth_tests::points::Points::new();
    points.rule_off(*known);
    // What is wrong stays so; a user at rest is found to be within a second.
    settings.patience = Duration::from_secs(20);
    settings.options = settings.options.points(&points);
    storm::run(settings)
}

#[cfg(not(debug_assertions))]
fn without_rule(rule: &str, _: Settings) -> storm::Ended {
    panic!("STORM_WITHOUT={rule}: a release build keeps all rules");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

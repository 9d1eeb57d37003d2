//! What a storm counts, and how it tells it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;

use super::history::{End, Explained};
use crate::log::Log;

/// What was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Killed {
    /// A session's worker.
    Worker,
    /// A session's filer.
    Filer,
    /// A filer that recovered a user's staging.
    Recovering,
    /// The daemon.
    Daemon,
}

/// The counts of a storm.
#[derive(Debug)]
pub struct Tally {
    wanted: u64,
    begun: Instant,
    counts: Mutex<Counts>,
}

/// The counts themselves.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By what was killed.
    pub kills: BTreeMap<Killed, u64>,
    /// By operation: acknowledged, refused, cut off, broken off before anything was asked.
    pub operations: BTreeMap<&'static str, [u64; 4]>,
    /// By reason.
    pub refusals: BTreeMap<String, u64>,
    /// Bytes of files that were acknowledged.
    pub bytes: u64,
    /// Uploads that went on where they had stopped.
    pub resumed: u64,
    /// Those of them that are appended.
    pub resumed_appends: u64,
    /// Uploads taken over from a session that still had them.
    pub takeovers: u64,
    /// Deletes of an outage that were accounted for after it.
    pub owed: u64,
    /// Outages of the ledger.
    pub outages: u64,
    /// Limits that were changed while operations were under way.
    pub limits_changed: u64,
    /// Users who were added, and removed again.
    pub guests: u64,
    /// Replays of what a session had left, and of what a daemon had.
    pub replays: u64,
    /// States of rest that were checked.
    pub rests: u64,
    /// Those of them whose history was too large to be searched.
    pub too_large: u64,
    /// Seconds from a round's last operation to a state of rest: all, and the longest.
    pub recovery: (Duration, Duration),
}

impl Tally {
    /// Counts until there were so many kills.
    #[must_use]
    pub fn until(kills: u64) -> Self {
        Self { wanted: kills, begun: Instant::now(), counts: Mutex::default() }
    }

    /// Whether enough was killed.
    pub fn is_complete(&self) -> bool {
        self.kills() >= self.wanted
    }

    /// How many kills there were.
    pub fn kills(&self) -> u64 {
        self.lock().kills.values().sum()
    }

    /// All counts.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn killed(&self, what: Killed) {
        let mut counts = self.lock();
        *counts.kills.entry(what).or_default() += 1;
        let kills: u64 = counts.kills.values().sum();
        if kills.is_multiple_of((self.wanted / 20).clamp(25, 500)) {
            let (rests, seconds) = (counts.rests, self.begun.elapsed().as_secs_f64());
            drop(counts);
            crate::report(&format!("{kills} kills, {rests} checks at rest, {seconds:.0} s"));
        }
    }

    pub(super) fn ended(&self, operation: &'static str, end: &End) {
        let mut counts = self.lock();
        let column = match end {
            End::Acknowledged => 0,
            End::Refused(_) => 1,
            End::CutOff => 2,
            End::NotAsked => 3,
        };
        counts.operations.entry(operation).or_default()[column] += 1;
        if let End::Refused(error) = end {
            *counts.refusals.entry(reason(error)).or_default() += 1;
        }
    }

    pub(super) fn acknowledged_bytes(&self, bytes: u64) {
        self.lock().bytes += bytes;
    }

    pub(super) fn resumed(&self, existing: Existing) {
        let mut counts = self.lock();
        counts.resumed += 1;
        counts.resumed_appends += u64::from(existing == Existing::Append);
    }

    pub(super) fn outage(&self) {
        self.lock().outages += 1;
    }

    pub(super) fn limits_changed(&self) {
        self.lock().limits_changed += 1;
    }

    pub(super) fn guest(&self) {
        self.lock().guests += 1;
    }

    pub(super) fn rested(&self, after: Duration, explained: Explained) {
        let mut counts = self.lock();
        counts.rests += 1;
        counts.too_large += u64::from(explained == Explained::TooLarge);
        let (all, longest) = counts.recovery;
        counts.recovery = (all + after, longest.max(after));
    }

    /// Counts what the log of a daemon tells, which is never counted again.
    pub(super) fn log_of_a_daemon(&self, log: &Log) {
        let count = |text: &str| log.after(0, |line| line.message().starts_with(text)).len() as u64;
        let (takeovers, replays) = (count("an upload is taken over"), count("replaying"));
        let owed =
            log.after(0, |line| line.message().starts_with("what was deleted in the outage"));
        let owed: u64 = owed.iter().filter_map(|line| line.number("entries")).sum();
        let mut counts = self.lock();
        counts.owed += owed;
        counts.takeovers += takeovers;
        counts.replays += replays;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code's name, without its data.
fn reason(error: &ErrorCode) -> String {
    match error {
        ErrorCode::QuotaExceeded { resource, .. } => format!("QuotaExceeded ({resource:?})"),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let seconds = self.begun.elapsed().as_secs_f64();
        let kills: u64 = counts.kills.values().sum();
        writeln!(f, "{kills} kills in {seconds:.0} s, {:.1} a second", kills as f64 / seconds)?;
        let by: Vec<_> = counts.kills.iter().map(|(what, n)| format!("{what:?} {n}")).collect();
        writeln!(f, "  killed: {}", by.join(", "))?;
        writeln!(f, "  operation: acknowledged, refused, cut off, broken off")?;
        for (operation, [acknowledged, refused, cut, broken]) in &counts.operations {
            writeln!(f, "    {operation}: {acknowledged}, {refused}, {cut}, {broken}")?;
        }
        let by: Vec<_> = counts.refusals.iter().map(|(why, n)| format!("{why} {n}")).collect();
        writeln!(f, "  refused: {}", by.join(", "))?;
        let Counts { bytes, resumed, resumed_appends, takeovers, replays, .. } = counts;
        let Counts { rests, too_large, recovery, .. } = counts;
        let Counts { owed, outages, limits_changed, guests, .. } = counts;
        writeln!(
            f,
            "  {} MiB acknowledged, {resumed} uploads resumed ({resumed_appends} of them appends), \
             {takeovers} taken over, {replays} replays",
            bytes >> 20
        )?;
        writeln!(
            f,
            "  limits changed {limits_changed} times under way, {outages} outages of the ledger with {owed} \
             deletes owed, {guests} users added and removed"
        )?;
        let mean = recovery.0.as_secs_f64() / rests.max(1) as f64;
        write!(
            f,
            "  {rests} states of rest checked, {too_large} with a history too large to search; \
             at rest after {mean:.3} s on average, {:.3} s at most",
            recovery.1.as_secs_f64()
        )
    }
}

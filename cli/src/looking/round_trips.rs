//! Round trips of echoes: how long they took, and how many in the middle and at the far end.

use std::time::Duration;

use rust_i18n::t;
use serde_json::{Value, json};

/// Most round trips of one `berth ping`, whose times are all kept: 8 bytes each.
pub(crate) const MOST: u32 = 1_000_000;

/// The times of those that came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundTrips {
    nanoseconds: Vec<u64>,
}

/// What is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) p90: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl RoundTrips {
    /// One more.
    pub(crate) fn add(&mut self, took: Duration) {
        self.nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// What is said of them, if there are any.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        // The smallest one within which so many of a hundred are.
        let within = |percent: usize| {
            let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            Duration::from_nanos(sorted[at])
        };
        Some(Summary {
            min: within(0),
            median: within(50),
            p90: within(90),
            p99: within(99),
            max: Duration::from_nanos(sorted[last]),
        })
    }
}

impl Summary {
    /// As ping(8) prints it: `min/median/p90/p99/max = 0.171/0.182/0.190/0.190/0.190 ms`.
    pub(crate) fn line(&self) -> String {
        let [min, median, p90, p99, max] =
            [self.min, self.median, self.p90, self.p99, self.max].map(milliseconds);
        t!(
            "round trip min/median/p90/p99/max = %{min}/%{median}/%{p90}/%{p99}/%{max} ms",
            min = min,
            median = median,
            p90 = p90,
            p99 = p99,
            max = max
        )
        .into_owned()
    }

    /// The same in seconds, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "min": self.min.as_secs_f64(),
            "median": self.median.as_secs_f64(),
            "p90": self.p90.as_secs_f64(),
            "p99": self.p99.as_secs_f64(),
            "max": self.max.as_secs_f64(),
        })
    }
}

/// With as many digits as mean something: `0.182`, `12.3`, `1234`.
pub(crate) fn milliseconds(took: Duration) -> String {
    let milliseconds = took.as_secs_f64() * 1000.0;
    match milliseconds {
        ..10.0 => format!("{milliseconds:.3}"),
        10.0..1000.0 => format!("{milliseconds:.1}"),
        _ => format!("{milliseconds:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(milliseconds: impl IntoIterator<Item = u64>) -> Option<Summary> {
        let mut trips = RoundTrips::default();
        milliseconds.into_iter().for_each(|ms| trips.add(Duration::from_millis(ms)));
        trips.summary()
    }

    #[test]
    fn percentiles_are_round_trips_that_happened() {
        assert_eq!(summary([]), None);
        let ms = Duration::from_millis;
        let one = summary([7]).unwrap();
        assert_eq!([one.min, one.median, one.p90, one.p99, one.max], [ms(7); 5]);
        let hundred = summary((1..=100).rev()).unwrap();
        let expected =
            Summary { min: ms(1), median: ms(50), p90: ms(90), p99: ms(99), max: ms(100) };
        assert_eq!(hundred, expected);
        let few = summary([5, 1, 3, 2, 4]).unwrap();
        assert_eq!((few.median, few.p90, few.max), (ms(3), ms(5), ms(5)));
        assert_eq!(
            few.line(),
            "round trip min/median/p90/p99/max = 1.000/3.000/5.000/5.000/5.000 ms"
        );
        assert_eq!(few.json()["median"], 0.003);
    }

    #[test]
    fn times_have_the_digits_that_mean_something() {
        let table = [(182, "0.182"), (9_999, "9.999"), (12_345, "12.3"), (1_234_567, "1235")];
        for (microseconds, text) in table {
            assert_eq!(milliseconds(Duration::from_micros(microseconds)), text);
        }
    }
}

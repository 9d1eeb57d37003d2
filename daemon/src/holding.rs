//! How long tickets are held, since the start, over all users: pure, and of a fixed size.

use std::time::Duration;

use berth_common::admin_protocol::TicketTimes;
use hdrhistogram::Histogram;

/// The longest time that is told apart from longer ones, in microseconds: an hour. A holder is killed at a
/// deadline that is far below.
const MOST_US: u64 = 3_600_000_000;

/// Times are kept to two decimal digits, which is what a reader of percentiles looks at.
const DIGITS: u8 = 2;

/// The times.
#[derive(Debug)]
pub(crate) struct Holding {
    granted: u64,
    /// `None` where the crate would refuse its bounds, which it does not.
    times: Option<Histogram<u64>>,
}

impl Default for Holding {
    fn default() -> Self {
        Self { granted: 0, times: Histogram::new_with_max(MOST_US, DIGITS).ok() }
    }
}

impl Holding {
    /// A ticket was granted.
    pub(crate) fn granted(&mut self) {
        self.granted += 1;
    }

    /// A ticket was given back, or its holder died.
    pub(crate) fn ended(&mut self, held: Duration) {
        if let Some(times) = &mut self.times {
            times.saturating_record(u64::try_from(held.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Percentiles of the tickets that are not held any more.
    pub(crate) fn times(&self) -> TicketTimes {
        let at = |quantile| self.times.as_ref().map_or(0, |it| it.value_at_quantile(quantile));
        TicketTimes {
            granted: self.granted,
            p50_us: at(0.5),
            p99_us: at(0.99),
            most_us: self.times.as_ref().map_or(0, Histogram::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut holding = Holding::default();
        assert_eq!(holding.times(), TicketTimes::default());
        for us in 1..=1000 {
            holding.granted();
            holding.ended(Duration::from_micros(us));
        }
        let TicketTimes { granted, p50_us, p99_us, most_us } = holding.times();
        assert_eq!(granted, 1000);
        for (got, expected) in [(p50_us, 500), (p99_us, 990), (most_us, 1000)] {
            assert!(got.abs_diff(expected) * 100 <= expected, "{got} for {expected}");
        }
    }

    #[test]
    fn a_time_beyond_all_bounds_is_kept_as_the_largest() {
        let mut holding = Holding::default();
        holding.ended(Duration::MAX);
        assert!(holding.times().most_us >= MOST_US);
    }
}

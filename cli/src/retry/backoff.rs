//! When to try again after a loss, and when to give up: longer and longer waits, none of them the same for everybody.
//!
//! Plain: it is told the time, and waits for nothing. The loop in `retry` uses it.

use std::time::{Duration, Instant};

/// The longest that the first wait is.
const FIRST: Duration = Duration::from_millis(500);

/// The longest that any wait is.
const LONGEST: Duration = Duration::from_secs(15);

/// The waits after one loss.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    ends: Instant,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// After a loss at `now`, with tries for so long. The seed tells clients apart that lost the same server.
    pub(crate) fn new(now: Instant, within: Duration, seed: u64) -> Self {
        Self { ends: now + within, next: FIRST, random: seed }
    }

    /// How long to wait before the next try: between half and all of 0.5 s, 1 s, 2 s and so on up to 15 s, and never
    /// beyond the end, when there is a last try. `None` when that is over.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let left = self.left(now);
        if left.is_zero() {
            return None;
        }
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        let share = (self.random() >> 32) as u32;
        let jitter = (longest / 2).mul_f64(f64::from(share) / f64::from(u32::MAX));
        Some((longest / 2 + jitter).min(left))
    }

    /// What is left until it is given up.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    /// The next number of SplitMix64, which is random enough for a jitter.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);

    #[test]
    fn waits_double_up_to_15_s_and_none_is_below_half_of_that() {
        for seed in 0..200 {
            let now = Instant::now();
            let mut backoff = Backoff::new(now, MINUTES, seed);
            for longest in [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000] {
                let longest = Duration::from_millis(longest);
                let wait = backoff.wait(now).unwrap();
                assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
            }
        }
    }

    #[test]
    fn clients_that_lost_the_same_server_come_back_at_different_times() {
        let now = Instant::now();
        let wait = |seed| Backoff::new(now, MINUTES, seed).wait(now).unwrap();
        let mut waits: Vec<_> = (0..100).map(wait).collect();
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 90, "{}", waits.len());
    }

    #[test]
    fn it_knows_when_its_time_is_over_and_tries_a_last_time_then() {
        let began = Instant::now();
        let mut backoff = Backoff::new(began, MINUTES, 7);
        let mut now = began;
        let mut tries = 0;
        while let Some(wait) = backoff.wait(now) {
            now += wait;
            tries += 1;
        }
        assert_eq!(now - began, MINUTES);
        assert!((24..60).contains(&tries), "{tries}");
        assert_eq!(backoff.left(now + MINUTES), Duration::ZERO);
        assert!(Backoff::new(began, Duration::ZERO, 1).wait(began).is_none());
    }
}

//! How often others have claimed a name of ours of late: somebody who does so all the time is to be answered slowly,
//! and not to fill the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many within that time (RFC 6762, section 8.1) …
const MOST: usize = 15;
const WITHIN: Duration = Duration::from_secs(10);

/// … make the next name wait for so long, which is more than the 5 s that the RFC asks for: a new name each minute
/// is enough where somebody takes them all.
const PAUSE: Duration = Duration::from_secs(60);

/// The times of the last disputes, and when the last pause was due to end.
#[derive(Debug, Default)]
pub(super) struct Disputes {
    times: VecDeque<Instant>,
    slow_until: Option<Instant>,
}

impl Disputes {
    pub(super) fn add(&mut self, now: Instant) {
        self.times.push_back(now);
        while self.times.len() > MOST {
            self.times.pop_front();
        }
    }

    /// How long to wait before the next name is asked for. Who has waited once goes on slowly, until nobody has
    /// disputed anything for as long again.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let many = self.times.len() == MOST
            && self.times.front().is_some_and(|first| now.duration_since(*first) <= WITHIN);
        let still = self.slow_until.is_some_and(|until| now < until);
        if many || still {
            self.slow_until = Some(now + 2 * PAUSE);
            return PAUSE;
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_disputed_all_the_time_slows_down_and_recovers() {
        let (start, mut disputes) = (Instant::now(), Disputes::default());
        let at = |millis| start + Duration::from_millis(millis);
        for number in 0..14 {
            disputes.add(at(number));
            assert_eq!(disputes.pause(at(number)), Duration::ZERO, "{number}");
        }
        disputes.add(at(14));
        assert_eq!(disputes.pause(at(14)), PAUSE);
        // The next name was asked for a minute later, and taken again.
        disputes.add(at(60_500));
        assert_eq!(disputes.pause(at(60_500)), PAUSE);
        disputes.add(at(400_000));
        assert_eq!(disputes.pause(at(400_000)), Duration::ZERO);
        assert_eq!(disputes.times.len(), MOST);
    }

    #[test]
    fn a_dispute_now_and_then_is_no_reason() {
        let (start, mut disputes) = (Instant::now(), Disputes::default());
        for number in 0..100 {
            let now = start + Duration::from_secs(number);
            disputes.add(now);
            assert_eq!(disputes.pause(now), Duration::ZERO);
        }
    }
}

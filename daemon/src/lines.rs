//! How many log lines a session's helper may cause by what it says: pure.
//!
//! A line for each transfer, or for each refusal, is what an administrator wants of an honest session. One that was
//! taken over could fill the disk with them, and push out what tells of the attack. So there are many at once and
//! then some a second; what is left out is counted, and the number told with the next line, or at the session's end.

use std::time::Instant;

use crate::bucket::{Bucket, Rate};

/// Transfers: as many as a large tree of small files has, and for hours those of a fast client.
pub(crate) const TRANSFERS: Rate = Rate { a_second: 500, at_once: 5_000 };

/// Refusals of what a filer asks. One tells about as much as a thousand.
pub(crate) const REFUSALS: Rate = Rate { a_second: 1, at_once: 100 };

/// What a session may still cause.
#[derive(Debug)]
pub(crate) struct Lines {
    bucket: Bucket,
    left_out: u64,
}

impl Lines {
    /// At this rate.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { bucket: Bucket::new(rate, now), left_out: 0 }
    }

    /// Whether there may be one more now, and how many were left out before it.
    pub(crate) fn one_more(&mut self, now: Instant) -> Option<u64> {
        if self.bucket.take(1, now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }

    /// How many were left out and are not told of.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// A number for a log line, which has no field for nothing.
pub(crate) fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_with_the_next_line() {
        let now = Instant::now();
        let mut lines = Lines::new(Rate { a_second: 1, at_once: 3 }, now);
        let told: Vec<_> = (0..10).map(|_| lines.one_more(now)).collect();
        assert_eq!(told[..3], [Some(0); 3]);
        assert_eq!(told[3..], [None; 7]);
        assert_eq!(lines.left_out(), 7);
        let later = now + Duration::from_secs(1);
        assert_eq!(lines.one_more(later), Some(7));
        assert_eq!((lines.one_more(later), lines.left_out()), (None, 1));
    }
}

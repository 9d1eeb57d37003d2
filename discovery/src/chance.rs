//! Waits of a random length, by which machines that were asked at the same time do not answer at the same time.

use std::ops::Range;
use std::time::Duration;

/// A number of milliseconds out of this range. It guards no secret, so that a system without randomness gives the
/// shortest.
pub(crate) fn millis(range: Range<u32>) -> Duration {
    let width = range.end.saturating_sub(range.start).max(1);
    let random = getrandom::u32().unwrap_or(0);
    Duration::from_millis(u64::from(range.start + random % width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_within_its_range_and_not_always_the_same() {
        let waits: Vec<_> = (0..200).map(|_| millis(20..120)).collect();
        assert!(waits.iter().all(|wait| (20..120).contains(&wait.as_millis())));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(millis(7..7), Duration::from_millis(7));
    }
}

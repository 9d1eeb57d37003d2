//! How full a quota is, and which of two thresholds that reaches. Pure; the daemon logs a crossing,
//! clients show what is reached.
//!
//! It is about what is *used*: an upload that is open may still be given up.

/// The shares of a limit, in percent, from which on somebody is told.
pub const THRESHOLDS: [u64; 2] = [80, 95];

/// The share from which on it is a warning.
pub const WARNING: u64 = THRESHOLDS[1];

/// Which share of its limit is used, in percent rounded down. `None` without a limit. Something of a
/// limit of nothing is 100%, nothing of it 0.
#[must_use]
pub fn percent(used: i64, limit: Option<u64>) -> Option<u64> {
    let used = u128::try_from(used).unwrap_or(0);
    Some(match limit? {
        0 if used == 0 => 0,
        0 => 100,
        limit => u64::try_from(used * 100 / u128::from(limit)).unwrap_or(u64::MAX),
    })
}

/// The highest of [`THRESHOLDS`] that is reached.
#[must_use]
pub fn reached(used: i64, limit: Option<u64>) -> Option<u64> {
    let percent = percent(used, limit)?;
    THRESHOLDS.into_iter().rfind(|threshold| percent >= *threshold)
}

/// The threshold that a change has reached from below: once, until it has fallen below it again.
#[must_use]
pub fn crossed(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after.filter(|_| after > before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_reached_at_its_share_and_not_before() {
        let table = [
            (7_999, Some(10_000), None),
            (8_000, Some(10_000), Some(80)),
            (9_499, Some(10_000), Some(80)),
            (9_500, Some(10_000), Some(95)),
            (20_000, Some(10_000), Some(95)),
            (i64::MAX, None, None),
            (i64::MAX, Some(u64::MAX), None),
            (i64::MAX, Some(i64::MAX as u64), Some(95)),
            (0, Some(0), None),
            (1, Some(0), Some(95)),
            (-5, Some(0), None),
            (-5, Some(10), None),
            (1, Some(1), Some(95)),
        ];
        for (used, limit, expected) in table {
            assert_eq!(reached(used, limit), expected, "{used} of {limit:?}");
        }
        assert_eq!(percent(7_999, Some(10_000)), Some(79));
        assert_eq!(percent(i64::MAX, Some(1)), Some(u64::MAX));
        assert_eq!((percent(-1, Some(9)), percent(1, Some(0))), (Some(0), Some(100)));
    }

    #[test]
    fn a_crossing_is_told_once_and_again_after_a_fall() {
        assert_eq!(crossed(None, Some(80)), Some(80));
        assert_eq!(crossed(None, Some(95)), Some(95), "one event for both");
        assert_eq!(crossed(Some(80), Some(80)), None);
        assert_eq!(crossed(Some(80), Some(95)), Some(95));
        assert_eq!(crossed(Some(95), Some(80)), None);
        assert_eq!(crossed(Some(80), None), None);
        assert_eq!(crossed(None, None), None);
    }
}

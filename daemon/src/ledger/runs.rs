//! Names that follow each other, so that one statement does for many of them what else each would need one for.
//!
//! What is reserved together has names that follow each other, and mostly stays together until it is settled. A
//! statement about a run is about exactly its names, so that names which do not follow each other cost what they would
//! cost one by one, and nobody else's are read.

use std::ops::RangeInclusive;

use berth_common::ids::StagingName;

/// The names, each once, as runs in rising order.
pub(super) fn of(names: impl IntoIterator<Item = StagingName>) -> Vec<RangeInclusive<i64>> {
    let mut numbers: Vec<i64> = names.into_iter().map(|name| name.0.cast_signed()).collect();
    numbers.sort_unstable();
    let mut runs: Vec<RangeInclusive<i64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if number <= run.end().saturating_add(1) => *run = *run.start()..=number,
            _ => runs.push(number..=number),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(names: &[u64]) -> Vec<RangeInclusive<i64>> {
        of(names.iter().copied().map(StagingName))
    }

    #[test]
    fn names_that_follow_each_other_are_a_run_in_whatever_order_they_come() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[7]), [7..=7]);
        assert_eq!(runs(&[4, 2, 3, 9, 1, 8]), [1..=4, 8..=9]);
        assert_eq!(runs(&[1, 3, 5]), [1..=1, 3..=3, 5..=5]);
        assert_eq!(runs(&[2, 2, 3, 3]), [2..=3]);
    }

    #[test]
    fn numbers_that_no_name_has_are_runs_like_others() {
        assert_eq!(runs(&[u64::MAX, 0, i64::MAX.cast_unsigned()]), [-1..=0, i64::MAX..=i64::MAX]);
    }
}

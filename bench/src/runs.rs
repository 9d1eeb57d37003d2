//! In which order peers take turns, and when one takes no more. Nothing is run here.
//!
//! Runs are interleaved, so that a machine that is slow for a while is slow for all of them.

use std::time::Duration;

/// How often a work is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// Counted runs of each peer.
    pub(crate) wanted: usize,
    /// How long the runs of one peer may take in all.
    pub(crate) patience: Duration,
}

/// Who takes part in a turn, in order. Each turn begins with the next peer, so that none always runs behind the same.
pub(crate) fn order(peers: usize, turn: usize) -> impl Iterator<Item = usize> {
    (0..peers).map(move |place| (turn + place) % peers)
}

/// Whether a peer that has run for so long takes another turn: a slow one takes fewer than are wanted, but one, and the
/// others are not kept waiting.
pub(crate) fn goes_on(seconds: &[f64], patience: Duration) -> bool {
    seconds.is_empty() || seconds.iter().sum::<f64>() < patience.as_secs_f64()
}

/// The middle value; of an even number, the mean of the two in the middle. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (1, Some(value)) => Some(*value),
        (_, Some(above)) => Some(f64::midpoint(sorted[middle - 1], *above)),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_runs_once_in_a_turn_and_each_begins_in_its_own() {
        let turns: Vec<Vec<_>> = (0..3).map(|turn| order(3, turn).collect()).collect();
        assert_eq!(turns, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
        assert_eq!(order(0, 5).count(), 0);
    }

    #[test]
    fn a_peer_that_has_run_too_long_takes_no_more_turns() {
        let patience = Duration::from_secs(150);
        assert!(goes_on(&[100.0], patience));
        assert!(!goes_on(&[100.0, 60.0], patience));
        assert!(goes_on(&[], Duration::ZERO));
    }

    #[test]
    fn a_median_is_not_moved_by_one_outlier() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[2.0]), Some(2.0));
        assert_eq!(median(&[1.0, 900.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 900.0]), Some(3.0));
    }
}

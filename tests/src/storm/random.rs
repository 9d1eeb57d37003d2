//! The storm's random numbers: a sequence that its seed determines, on every machine and for ever.
//!
//! Each part of the storm takes a stream of its own (a user's round, a session in it), so that what
//! one draws does not depend on what another has drawn. Not for secrets.

/// A stream of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream that belongs to these numbers, the storm's seed first.
    #[must_use]
    pub fn of(numbers: &[u64]) -> Self {
        let mut stream = Self(0x5704_4d00);
        for number in numbers {
            stream.0 ^= number.wrapping_mul(0xff51_afd7_ed55_8ccd);
            stream.0 = stream.next();
        }
        stream
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0. (The bias of the remainder does not matter here.)
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_determined_by_its_numbers_and_differs_from_its_neighbours() {
        let some = |numbers: &[u64]| {
            let mut stream = Random::of(numbers);
            (0..8).map(|_| stream.next()).collect::<Vec<_>>()
        };
        assert_eq!(some(&[7, 1, 2]), some(&[7, 1, 2]));
        for other in [&[7, 1, 3][..], &[7, 2, 1], &[8, 1, 2], &[7, 1], &[7, 1, 2, 0]] {
            assert_ne!(some(&[7, 1, 2]), some(other), "{other:?}");
        }
    }
}

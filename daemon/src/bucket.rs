//! A bound on how many messages a helper may send: a token bucket, pure.
//!
//! Honest helpers never come near it; one that was taken over cannot keep the daemon busy for others.

use std::time::Instant;

/// Fills at a rate up to a burst; each message takes one.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// For `rate` messages a second, and `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { rate: f64::from(rate), burst, left: burst, filled: now }
    }

    /// Takes one; `false` when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + passed * self.rate).min(self.burst);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn allows_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        assert!((0..3).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        let later = start + Duration::from_millis(201);
        assert!((0..2).all(|_| bucket.take(later)));
        assert!(!bucket.take(later));
        let much_later = later + Duration::from_secs(3600);
        assert!((0..3).all(|_| bucket.take(much_later)));
        assert!(!bucket.take(much_later), "it never holds more than the burst");
    }
}

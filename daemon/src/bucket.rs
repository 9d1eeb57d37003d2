//! A bound on how many messages a helper may send: a token bucket, pure, and the rates of each role.
//!
//! Honest helpers never come near it; one that was taken over cannot keep the daemon busy for others.

use std::time::Instant;

/// What may be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Messages a second, for as long as it takes.
    pub(crate) a_second: u32,
    /// Messages at once.
    pub(crate) at_once: u32,
}

/// Before a helper has a task: `Ready`, and a filer's `Joined`. A client's handshake and login are seven messages.
pub(crate) const BEFORE_ITS_TASK: Rate = Rate { a_second: 1, at_once: 16 };

/// A worker whose client has logged in: two messages for each transfer. Ten thousand files a second are more than
/// one TLS stream and one filer can do.
pub(crate) const SERVING_WORKER: Rate = Rate { a_second: 20_000, at_once: 20_000 };

/// What a worker says once in a session, or once each time that it is asked.
pub(crate) const SELDOM: Rate = Rate { a_second: 2, at_once: 32 };

/// How far a worker's transfers are, which it tells every 5 s while there are some. Many come at once where the daemon
/// alone did not run for a while, as many as these in almost six hours; each tells of the bytes since the one before,
/// so that none is left out.
pub(crate) const PROGRESS: Rate = Rate { a_second: 2, at_once: 4096 };

/// That a filer which recovers goes on, which it tells every 30 s. Many come at once where the daemon alone did not run
/// for a while, as many as these in more than a day.
pub(crate) const GOES_ON: Rate = Rate { a_second: 2, at_once: 4096 };

/// A filer, by names rather than messages: a put reserves, intends, settles and forgets its name, and gives
/// the ticket back. Thirty thousand puts a second are more than a filer's system calls for them allow.
pub(crate) const WORKING_FILER: Rate = Rate { a_second: 150_000, at_once: 150_000 };

/// Fills at a rate up to a burst; each message takes one.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// For this rate, and full.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        let burst = f64::from(rate.at_once);
        Self { rate: f64::from(rate.a_second), burst, left: burst, filled: now }
    }

    /// Whether there is one to be taken.
    pub(crate) fn has_one(&mut self, now: Instant) -> bool {
        self.take(0, now) && self.left >= 1.0
    }

    /// Whether nothing is missing: a new one would be the same.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.take(0, now) && self.left >= self.burst
    }

    /// Takes so many; `false` when there are not as many.
    pub(crate) fn take(&mut self, count: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + passed * self.rate).min(self.burst);
        let count = count as f64;
        let enough = self.left >= count;
        if enough {
            self.left -= count;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_worker_tells_while_the_daemon_is_stopped_is_no_flood() {
        let start = Instant::now();
        let mut bucket = Bucket::new(PROGRESS, start);
        for pause in [180, 3600, 5 * 3600] {
            let later = start + Duration::from_secs(pause);
            assert!((0..pause / 5).all(|_| bucket.take(1, later)), "{pause} s");
        }
        let now = start + Duration::from_secs(6 * 3600);
        assert!((0..5000).any(|_| !bucket.take(1, now)), "without end it is one");
    }

    #[test]
    fn allows_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { a_second: 10, at_once: 3 }, start);
        assert!((0..3).all(|_| bucket.take(1, start)));
        assert!(!bucket.take(1, start));
        let later = start + Duration::from_millis(201);
        assert!((0..2).all(|_| bucket.take(1, later)));
        assert!(!bucket.take(1, later));
        let much_later = later + Duration::from_secs(3600);
        assert!(!bucket.take(4, much_later), "it never holds more than the burst");
        assert!(bucket.take(3, much_later));
        assert!(bucket.take(0, much_later));
        assert!(!bucket.has_one(much_later) && !bucket.is_full(much_later));
        let last = much_later + Duration::from_millis(150);
        assert!(bucket.has_one(last) && !bucket.is_full(last));
        assert!(bucket.is_full(last + Duration::from_secs(1)));
    }
}

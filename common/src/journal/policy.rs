//! When a durable mark is due.

use std::time::{Duration, Instant};

/// Bytes written after which a durable mark is due: 64 MiB, the most that is hashed again after
/// a power cut while data comes fast.
pub const DURABLE_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// Time since the last mark after which one is due, if anything was written.
pub const DURABLE_EVERY_TIME: Duration = Duration::from_secs(5);

/// Says when a durable mark is due; it reads no clock and flushes nothing.
#[derive(Clone, Copy, Debug)]
pub struct DurablePolicy {
    bytes: u64,
    since: Instant,
}

impl DurablePolicy {
    /// A transfer that begins, or goes on, now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { bytes: 0, since: now }
    }

    /// Counts bytes that were written to the data file.
    pub fn written(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether a mark is due. Never while nothing was written since the last one.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|due| now >= due)
    }

    /// When a mark is due if nothing more is written; `None` while there is nothing to mark.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        match self.bytes {
            0 => None,
            DURABLE_EVERY_BYTES.. => Some(self.since),
            _ => Some(self.since + DURABLE_EVERY_TIME),
        }
    }

    /// A mark begins. To be called before the data is flushed, when the leaves that the mark
    /// will cover are counted, so that what is written meanwhile counts towards the next one.
    pub fn begin(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_due_by_bytes_or_by_time_but_not_without_data() {
        let start = Instant::now();
        let mut policy = DurablePolicy::new(start);
        assert!(!policy.is_due(start + DURABLE_EVERY_TIME * 10));

        policy.written(1);
        assert!(!policy.is_due(start + DURABLE_EVERY_TIME - Duration::from_millis(1)));
        assert!(policy.is_due(start + DURABLE_EVERY_TIME));
        assert_eq!(policy.due_at(), Some(start + DURABLE_EVERY_TIME));

        policy.written(DURABLE_EVERY_BYTES - 2);
        assert!(!policy.is_due(start));
        policy.written(1);
        assert!(policy.is_due(start));

        policy.begin(start + DURABLE_EVERY_TIME);
        assert!(!policy.is_due(start + DURABLE_EVERY_TIME * 9));
        policy.written(u64::MAX);
        policy.written(u64::MAX);
        assert!(policy.is_due(start + DURABLE_EVERY_TIME));
    }
}

//! Tells an idle moment, in which a process may be spawned without a client waiting for it.
//!
//! A spawn that stands before a signature triples the time to a client's first byte.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long nothing may have happened.
const QUIET: Duration = Duration::from_millis(5);

/// When something last happened that a client waits for, and how many handshakes are under way.
#[derive(Debug)]
pub(crate) struct Activity {
    last: Cell<Instant>,
    handshakes: Cell<u32>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { last: Cell::new(Instant::now()), handshakes: Cell::new(0) }
    }
}

impl Activity {
    /// Something happened.
    pub(crate) fn touch(&self) {
        self.last.set(Instant::now());
    }

    /// A handshake begins.
    pub(crate) fn handshake_begins(&self) {
        self.touch();
        self.handshakes.set(self.handshakes.get() + 1);
    }

    /// A handshake is over, one way or the other.
    pub(crate) fn handshake_ends(&self) {
        self.touch();
        self.handshakes.set(self.handshakes.get().saturating_sub(1));
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.handshakes.get() == 0 && now.saturating_duration_since(self.last.get()) >= QUIET
    }

    /// Waits for an idle moment, but not longer than this: a client that dawdles in its handshake must
    /// not keep spares from being made.
    pub(crate) async fn idle(&self, most: Duration) {
        let deadline = Instant::now() + most;
        loop {
            let now = Instant::now();
            if self.is_idle(now) || now >= deadline {
                return;
            }
            tokio::time::sleep(QUIET).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_means_no_handshake_and_some_quiet() {
        let activity = Activity::default();
        let now = Instant::now();
        assert!(!activity.is_idle(activity.last.get()));
        assert!(activity.is_idle(now + QUIET));
        activity.handshake_begins();
        assert!(!activity.is_idle(now + Duration::from_secs(9)));
        activity.handshake_ends();
        activity.handshake_ends();
        assert!(activity.is_idle(now + Duration::from_secs(9)));
    }
}

//! What is done while the kernel sends no descriptors for this process: pure.
//!
//! It counts the descriptors in flight of all processes of a uid together, and refuses a sender whose own
//! `RLIMIT_NOFILE` is below that count (`too_many_unix_fds` in `net/unix/af_unix.c`). Honest filers have few in
//! flight, since their workers take them at once. A filer that was taken over, whose worker takes none, can keep so
//! many there that all filers, whose limit is the same, are refused. So a wait is told, and it ends.

use std::time::{Duration, Instant};

/// How long opened files wait before those who asked for them are refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A shorter wait is not worth a line.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// The crowd, as far as this process has met it.
#[derive(Debug)]
pub(crate) struct Crowding {
    patience: Duration,
    /// When the kernel first refused, of what waits now.
    since: Option<Instant>,
    /// The operator knows, and is to hear when it is over.
    told: bool,
    /// The operator knows also that transfers were refused.
    gave_up: bool,
}

impl Default for Crowding {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

/// What a refusal of the kernel's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is tried again soon.
    Wait,
    /// The same, and the operator is to hear of it.
    Tell,
    /// What waits has waited long enough. `tell` when the operator does not know yet that it came to that.
    GiveUp {
        /// Once until descriptors can be sent again.
        tell: bool,
    },
}

impl Crowding {
    pub(crate) fn with_patience(patience: Duration) -> Self {
        Self { patience, since: None, told: false, gave_up: false }
    }

    /// The kernel has refused to send a descriptor.
    pub(crate) fn refused(&mut self, now: Instant) -> Refused {
        let waited = now.saturating_duration_since(*self.since.get_or_insert(now));
        if waited >= self.patience {
            // What comes later waits as long.
            self.since = None;
            self.told = true;
            let tell = !std::mem::replace(&mut self.gave_up, true);
            Refused::GiveUp { tell }
        } else if waited >= TOLD_AFTER && !std::mem::replace(&mut self.told, true) {
            Refused::Tell
        } else {
            Refused::Wait
        }
    }

    /// One was sent. Whether the operator is to hear that it is over.
    pub(crate) fn sent(&mut self) -> bool {
        let told = self.told;
        *self = Self::with_patience(self.patience);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_is_told_once_and_ends() {
        let (mut crowding, now) = (Crowding::default(), Instant::now());
        assert_eq!(crowding.refused(now), Refused::Wait);
        assert_eq!(crowding.refused(now + SECOND / 2), Refused::Wait);
        assert_eq!(crowding.refused(now + SECOND), Refused::Tell);
        assert_eq!(crowding.refused(now + 2 * SECOND), Refused::Wait);
        assert_eq!(crowding.refused(now + PATIENCE - SECOND), Refused::Wait);
        assert_eq!(crowding.refused(now + PATIENCE), Refused::GiveUp { tell: true });
        assert!(crowding.sent(), "that it is over is told");
        assert!(!crowding.sent(), "once");
    }

    #[test]
    fn who_comes_after_others_were_refused_waits_as_long_without_another_line() {
        let (mut crowding, now) = (Crowding::default(), Instant::now());
        assert_eq!(crowding.refused(now), Refused::Wait);
        assert_eq!(crowding.refused(now + PATIENCE), Refused::GiveUp { tell: true });
        let later = now + 100 * PATIENCE;
        assert_eq!(crowding.refused(later), Refused::Wait);
        assert_eq!(crowding.refused(later + PATIENCE - SECOND), Refused::Wait);
        assert_eq!(crowding.refused(later + PATIENCE), Refused::GiveUp { tell: false });
    }

    #[test]
    fn a_short_wait_is_no_news() {
        let (mut crowding, now) = (Crowding::default(), Instant::now());
        assert_eq!(crowding.refused(now), Refused::Wait);
        assert!(!crowding.sent());
        assert_eq!(crowding.refused(now + PATIENCE), Refused::Wait, "it begins anew");
    }
}

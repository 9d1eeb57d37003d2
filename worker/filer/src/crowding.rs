//! What is done while the kernel sends no descriptors for this process: pure.
//!
//! It counts the descriptors in flight of all processes of a uid together, and refuses a sender whose own
//! `RLIMIT_NOFILE` is below that count (`too_many_unix_fds` in `net/unix/af_unix.c`). Honest filers have few in
//! flight, since their workers take them at once. A filer that was taken over, whose worker takes none, can keep so
//! many there that all filers, whose limit is the same, are refused. So a wait is told, and it ends.

use std::time::{Duration, Instant};

/// How long the kernel refuses until those who wait for opened files are refused. Who came later has waited less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A shorter wait is not worth a line.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// From one crowd that is told to the next, at least; twice as long after each. What a process may write is
/// bounded for all its life (`daemon/src/spawn.rs`), and who makes crowds must not use up the room of last words.
const QUIET: Duration = Duration::from_secs(60);

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
    /// No other crowd is told before.
    quiet_until: Option<Instant>,
    /// After the next one that is told.
    quiet: Duration,
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
    /// What waits has waited long enough.
    GiveUp {
        /// The operator is to hear that it came to that.
        tell: bool,
    },
}

impl Crowding {
    pub(crate) fn with_patience(patience: Duration) -> Self {
        Self { patience, since: None, told: false, gave_up: false, quiet_until: None, quiet: QUIET }
    }

    /// The kernel has refused to send a descriptor.
    pub(crate) fn refused(&mut self, now: Instant) -> Refused {
        let waited = now.saturating_duration_since(*self.since.get_or_insert(now));
        if waited >= self.patience {
            // What comes later waits as long.
            self.since = None;
            self.may_tell(now);
            let tell = self.told && !std::mem::replace(&mut self.gave_up, true);
            Refused::GiveUp { tell }
        } else if waited >= TOLD_AFTER && !self.told && self.may_tell(now) {
            Refused::Tell
        } else {
            Refused::Wait
        }
    }

    /// Whether this crowd is told of: already, or from this moment on.
    fn may_tell(&mut self, now: Instant) -> bool {
        if !self.told && self.quiet_until.is_none_or(|until| now >= until) {
            self.told = true;
            self.quiet_until = now.checked_add(self.quiet);
            self.quiet = self.quiet.saturating_mul(2);
        }
        self.told
    }

    /// One was sent. Whether the operator is to hear that it is over.
    pub(crate) fn sent(&mut self) -> bool {
        self.since = None;
        self.gave_up = false;
        std::mem::replace(&mut self.told, false)
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
    /// Crowds of little more than a second, one after the other for so long; how many are told.
    fn told_of(crowding: &mut Crowding, begin: Instant, long: Duration) -> usize {
        let each = TOLD_AFTER + SECOND / 10;
        let crowds = (0..).map(|n| begin + each * n).take_while(|from| *from < begin + long);
        let mut told = 0;
        for from in crowds {
            assert_eq!(crowding.refused(from), Refused::Wait);
            let tells = crowding.refused(from + TOLD_AFTER) == Refused::Tell;
            assert_eq!(crowding.sent(), tells, "the end of one that was told, and of no other");
            told += usize::from(tells);
        }
        told
    }

    #[test]
    fn of_crowds_that_come_and_go_one_a_minute_is_told_at_most_and_a_few_a_day() {
        let (mut crowding, now) = (Crowding::default(), Instant::now());
        assert_eq!(told_of(&mut crowding, now, QUIET), 1);
        assert_eq!(told_of(&mut crowding, now + QUIET + SECOND, QUIET), 1);
        let (mut crowding, day) = (Crowding::default(), 24 * 60 * QUIET);
        assert_eq!(told_of(&mut crowding, now, day), 11);
    }

    #[test]
    fn a_crowd_that_stays_is_told_when_it_is_no_longer_quiet() {
        let (mut crowding, now) = (Crowding::default(), Instant::now());
        assert_eq!(told_of(&mut crowding, now, SECOND), 1);
        let again = now + 10 * SECOND;
        assert_eq!(crowding.refused(again), Refused::Wait);
        assert_eq!(crowding.refused(again + PATIENCE), Refused::GiveUp { tell: false });
        let later = now + QUIET + TOLD_AFTER;
        assert_eq!(crowding.refused(later), Refused::Wait);
        assert_eq!(crowding.refused(later + TOLD_AFTER), Refused::Tell);
        assert_eq!(crowding.refused(later + PATIENCE), Refused::GiveUp { tell: true });
        assert_eq!(crowding.refused(later + PATIENCE), Refused::Wait);
        assert!(crowding.sent());
    }
}

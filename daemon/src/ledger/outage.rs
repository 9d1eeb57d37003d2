//! Whether the ledger can be written, as far as its thread knows: pure, but for telling those who wait.
//!
//! After a transaction that failed, writers are refused at once, until a small transaction of the thread's own
//! has become durable: so readers do not queue behind writers that time out one by one, and "it works" is
//! never concluded from a reader's success. A file that is damaged never works again.

use std::time::{Duration, Instant};

use rusqlite::ErrorCode as SqliteCode;
use tokio::sync::watch;

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Works,
    /// Writers are refused; when it was tried last.
    Out {
        tried: Instant,
    },
    /// For good: the file is not what SQLite has written.
    Damaged,
}

/// The ledger thread's knowledge.
#[derive(Debug)]
pub(super) struct Outage {
    state: State,
    retry_every: Duration,
    works: watch::Sender<bool>,
}

impl Outage {
    /// Nothing has failed yet.
    pub(super) fn new(retry_every: Duration, works: watch::Sender<bool>) -> Self {
        Self { state: State::Works, retry_every, works }
    }

    /// Whether writers are refused.
    pub(super) fn is_on(&self) -> bool {
        self.state != State::Works
    }

    /// Whether they are refused for good.
    pub(super) fn is_for_good(&self) -> bool {
        self.state == State::Damaged
    }

    /// A transaction has failed and was taken back.
    pub(super) fn failed(&mut self, error: &rusqlite::Error, now: Instant) {
        let before = self.state;
        self.state = match error.sqlite_error_code() {
            Some(SqliteCode::DatabaseCorrupt | SqliteCode::NotADatabase) => State::Damaged,
            _ if before == State::Damaged => State::Damaged,
            _ => State::Out { tried: now },
        };
        // Once: a full disk would else fill the log as well.
        match (before, self.state) {
            (State::Works | State::Out { .. }, State::Damaged) => tracing::error!(
                %error,
                "the ledger is damaged: nothing is written to it any more; stop berthd and restore it"
            ),
            (State::Works, _) => tracing::error!(
                %error,
                "the ledger cannot be read or written: uploads are refused until it can"
            ),
            (State::Out { .. } | State::Damaged, _) => {}
        }
        self.works.send_if_modified(|works| std::mem::replace(works, false));
    }

    /// When it is to be tried whether the ledger can be written; `None` while there is nothing to try.
    pub(super) fn retry_in(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Out { tried } => Some((tried + self.retry_every).saturating_duration_since(now)),
            State::Works | State::Damaged => None,
        }
    }

    /// A transaction that was tried for this alone has become durable, and so has what was kept.
    pub(super) fn is_over(&mut self) {
        self.state = State::Works;
        tracing::info!("the ledger works again");
        self.works.send_if_modified(|works| !std::mem::replace(works, true));
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn error(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    fn outage() -> (Outage, watch::Receiver<bool>, Instant) {
        let (sender, works) = watch::channel(true);
        (Outage::new(Duration::from_secs(1), sender), works, Instant::now())
    }

    #[test]
    fn an_outage_is_told_once_at_its_begin_and_once_at_its_end() {
        let (mut outage, mut works, now) = outage();
        assert!(!outage.is_on() && outage.retry_in(now).is_none());
        outage.failed(&error(ffi::SQLITE_FULL), now);
        assert!(outage.is_on() && works.has_changed().unwrap());
        assert!(!*works.borrow_and_update());
        outage.failed(&error(ffi::SQLITE_BUSY), now);
        assert!(!works.has_changed().unwrap());
        outage.is_over();
        assert!(!outage.is_on() && works.has_changed().unwrap() && *works.borrow_and_update());
    }

    #[test]
    fn it_is_tried_at_intervals_whatever_fails_meanwhile() {
        let (mut outage, _works, now) = outage();
        outage.failed(&error(ffi::SQLITE_FULL), now);
        assert_eq!(outage.retry_in(now), Some(Duration::from_secs(1)));
        let later = now + Duration::from_secs(3);
        assert_eq!(outage.retry_in(later), Some(Duration::ZERO));
        outage.failed(&error(ffi::SQLITE_FULL), later);
        assert_eq!(outage.retry_in(later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn damage_is_for_good() {
        let (mut outage, works, now) = outage();
        outage.failed(&error(ffi::SQLITE_CORRUPT), now);
        outage.failed(&error(ffi::SQLITE_BUSY), now);
        assert!(outage.is_on() && !*works.borrow());
        assert_eq!(outage.retry_in(now + Duration::from_secs(9)), None);
    }
}

//! What the sessions of a user share: the round's clock, uploads to be resumed, what the user may have, and
//! whether somebody was struck.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_common::entry::Usage;
use berth_common::error_code::ErrorCode;
use berth_common::limits::SMALL_UPLOAD_BYTES;

use super::bounds::{Bounds, Span};
use super::connection::{Doubts, Helpers};
use super::plan;
use super::transfer::Upload;

/// What the sessions of a user share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The round's clock: it goes on by one at each beginning and each end of an operation.
    clock: AtomicU64,
    /// Uploads that were broken off or cut off and may be resumed.
    uploads: Mutex<Vec<Upload>>,
    /// What the user may have.
    bounds: Mutex<Bounds>,
    /// The processes of the sessions, as far as they are known.
    helpers: Mutex<[Option<Helpers>; plan::SESSIONS]>,
    /// What each session was told that only a crash or an outage explains.
    doubts: [Doubts; plan::SESSIONS],
    /// The sessions of which something was killed in this round.
    struck: Mutex<[bool; plan::SESSIONS]>,
}

impl Shared {
    /// Goes on by one, and tells the time before.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// The processes of the sessions.
    pub fn helpers(&self) -> MutexGuard<'_, [Option<Helpers>; plan::SESSIONS]> {
        self.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the user may have.
    pub fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since `begun`.
    pub fn since(&self, begun: u64) -> Span {
        (begun, self.tick())
    }

    /// Checks a usage that the server has told within this time.
    ///
    /// # Panics
    /// When it may not be.
    pub fn check_usage(&self, usage: &Usage, span: Span) {
        let bounds = self.bounds();
        assert!(bounds.allow_usage(usage, span), "{bounds:?} do not allow {usage:?} in {span:?}");
    }

    /// Where a session's doubts are noted.
    pub fn doubts_of(&self, session: usize) -> &Doubts {
        &self.doubts[session]
    }

    /// Something of a session's is killed.
    pub fn strike(&self, session: usize) {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)[session] = true;
    }

    /// What was told to sessions in this round without a reason. A ledger that cannot be written needs one that
    /// strikes everybody. The next round begins without doubts.
    pub fn unexplained(&self, all_were_struck: bool) -> Option<String> {
        let struck =
            std::mem::take(&mut *self.struck.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = None;
        for (session, (doubts, struck)) in self.doubts.iter().zip(struck).enumerate() {
            let mut errors = doubts.take();
            errors.retain(|error| {
                let is_explained = struck && *error != ErrorCode::LedgerUnavailable;
                !all_were_struck && !is_explained
            });
            if !errors.is_empty() {
                found =
                    Some(format!("session {session} was told {errors:?}, and nothing struck it"));
            }
        }
        found
    }

    /// Notes an upload that may be resumed.
    pub fn remember(&self, upload: &Upload) {
        if upload.streams || upload.content.size <= SMALL_UPLOAD_BYTES {
            return;
        }
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|other| other.content != upload.content);
        uploads.push(upload.clone());
        // What is older was likely aborted, or is of no use: its directory is gone.
        let old = uploads.len().saturating_sub(6);
        uploads.drain(..old);
    }

    /// One of those that may be resumed.
    pub fn some_upload(&self, which: u64) -> Option<Upload> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if uploads.is_empty() {
            return None;
        }
        // Rather one of the latest: it may still be somebody's.
        let at = uploads.len() - 1 - (which % uploads.len().min(2) as u64) as usize;
        // Two sessions at once now and then: it stays for the next one.
        Some(if which.is_multiple_of(3) { uploads[at].clone() } else { uploads.remove(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_crash_explains_needs_one_of_that_session_and_of_that_round() {
        let shared = Shared::default();
        let told = |session: usize, error| shared.doubts_of(session).note(&error);
        told(1, ErrorCode::Internal);
        shared.strike(2);
        assert!(shared.unexplained(false).is_some(), "another session was struck");
        assert_eq!(shared.unexplained(false), None, "it was told in an earlier round");
        told(1, ErrorCode::Internal);
        shared.strike(1);
        assert_eq!(shared.unexplained(false), None);
        told(1, ErrorCode::Internal);
        assert!(shared.unexplained(false).is_some(), "it was struck in an earlier round");
        told(1, ErrorCode::LedgerUnavailable);
        shared.strike(1);
        assert!(shared.unexplained(false).is_some(), "no kill of a session keeps the ledger away");
        told(1, ErrorCode::LedgerUnavailable);
        assert_eq!(shared.unexplained(true), None);
    }
}

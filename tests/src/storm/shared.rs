//! What the sessions of a user share: the round's clock, uploads to be resumed, what the user may have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_common::entry::Usage;
use berth_common::limits::SMALL_UPLOAD_BYTES;

use super::bounds::Bounds;
use super::connection::Helpers;
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

    /// Sets what the user may have from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    /// What the user may have.
    pub fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a usage that the server has told.
    ///
    /// # Panics
    /// When it may not be.
    pub fn check_usage(&self, usage: &Usage) {
        let bounds = self.bounds();
        assert!(bounds.allow_usage(usage), "{bounds:?} do not allow {usage:?}");
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

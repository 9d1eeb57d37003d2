//! Demotion: how `berth-worker` and `berth-filer` give up what they do not need.
//!
//! Each has one function here, called first in its `main`, that reads from top to bottom in the order
//! that has to be kept; the daemon never calls them. Nothing that a client influences is read before they
//! return. They start no thread, open no file and never give anything back.

mod error;
mod steps;
#[allow(unsafe_code)]
mod sys;

use std::os::fd::OwnedFd;

pub use error::DemotionError;
pub use steps::ResourceLimits;

/// What a worker may use: 64 descriptors (its client, its channels and the files of its transfers).
pub const WORKER_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 64, data_bytes: 96 * 1024 * 1024 };

/// What a filer may use. Descriptors in flight count for the whole uid against the *sender's* limit,
/// so a filer's is generous; its memory has room for some hundred operations at once.
pub const FILER_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 4096, data_bytes: 128 * 1024 * 1024 };

/// Demotes a worker and returns its channel to the daemon.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is
/// opened: what is above descriptor 2 is closed.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_worker() -> Result<OwnedFd, DemotionError> {
    // 1. An inherited environment could steer libc, and a backtrace opens files that the filter forbids.
    steps::refuse_an_environment()?;
    let channel = inherited_channel()?;
    // 2. First the signal, then the question: a parent that dies in between is seen by one of the two.
    steps::die_with_the_parent(&channel)?;
    // 3. No new privileges is what lets an ordinary user load Landlock and seccomp.
    steps::gain_no_privileges()?;
    steps::hide_memory()?;
    steps::keep_to_one_arena()?;
    // 4. Before the limit on descriptors, which closes none.
    steps::close_all_but_the_three()?;
    // 5. Not RLIMIT_NPROC: it counts the uid, not the process.
    steps::limit_resources(WORKER_LIMITS)?;
    // 6. Landlock, without a single rule, comes here, while there is one thread.
    // 7. The caller makes its TLS configuration, its runtime and its helper threads, and waits for them.
    // 8. seccomp on all threads comes then, in a function of its own, and `Ready` after it.
    Ok(channel)
}

/// Demotes a filer as far as it can be before it knows its directories, and returns its channel to the
/// daemon.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is
/// opened: what is above descriptor 2 is closed.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_filer() -> Result<OwnedFd, DemotionError> {
    // 1 to 5 are the worker's, for the same reasons.
    steps::refuse_an_environment()?;
    let channel = inherited_channel()?;
    steps::die_with_the_parent(&channel)?;
    steps::gain_no_privileges()?;
    steps::hide_memory()?;
    steps::keep_to_one_arena()?;
    steps::close_all_but_the_three()?;
    steps::limit_resources(FILER_LIMITS)?;
    // 6. The caller starts its helper thread and waits until it is up, says `Ready`, and reads one message
    //    of the daemon's: its role, with its directories.
    // 7. Landlock on these directories and seccomp on all threads come then, in a function of their own;
    //    only after that is a worker's first request read.
    Ok(channel)
}

/// Takes descriptor 0, the channel to the daemon, which the daemon placed there. Once a process.
///
/// # Errors
/// [`DemotionError::Channel`] when it was taken before or is not open.
fn inherited_channel() -> Result<OwnedFd, DemotionError> {
    sys::take_descriptor_0().map_err(DemotionError::Channel)
}

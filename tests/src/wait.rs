//! Waiting for a condition, with a deadline. The only place in the tests that lets time pass.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that ought to happen at once. Generous: a loaded machine is slow,
/// and a test that passes does not wait for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long a poll parks before it looks again. Short enough to hit a transfer half way.
const POLL: Duration = Duration::from_micros(500);

/// Waits until `condition` holds.
///
/// # Panics
/// After [`DEADLINE`], naming `what`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `probe` has an answer, and returns it.
///
/// # Panics
/// After [`DEADLINE`], naming `what`.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, probe).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain: {what}"))
}

/// Waits until `probe` has an answer, or `deadline` has passed.
pub fn within<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::park_timeout(POLL);
    }
}

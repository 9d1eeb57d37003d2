//! Whether the ledger's thread gets on: what the watchdog asks. The thread says when it begins and when it rests;
//! anybody may ask for how long it has been at work, and what the kernel says of it.
//!
//! A thread that a disk holds up is not mended by a restart, which would wait for the same disk and lose all
//! sessions; one that stands still for another reason is. `docs/decisions/0008-what-the-watchdog-covers.md`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A transaction that takes longer has not ended by itself in any test; a busy disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// How the thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It rests, or has begun what it does not long ago.
    Answers,
    /// It has been inside one system call for long: the disk does not answer.
    WaitsForDisk,
    /// It has been at work for long, and no disk holds it up.
    Hangs,
}

/// What the thread says of itself.
#[derive(Debug)]
pub(super) struct Pulse {
    zero: Instant,
    /// Milliseconds from `zero` to the beginning of what it does, and one more; 0 while it rests.
    busy_since: AtomicU64,
    thread: OnceLock<u32>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { zero: Instant::now(), busy_since: AtomicU64::new(0), thread: OnceLock::new() }
    }

    /// The thread says who it is.
    pub(super) fn belongs_to_this_thread(&self) {
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        let _ = self.thread.set(number.unsigned_abs());
    }

    /// It begins with a transaction.
    pub(super) fn begins(&self) {
        let since = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.busy_since.store(since + 1, Ordering::Relaxed);
    }

    /// It waits for requests.
    pub(super) fn rests(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.zero.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// How it does.
    pub(super) fn health(&self) -> Health {
        self.health_after(PATIENCE)
    }

    fn health_after(&self, patience: Duration) -> Health {
        match self.busy_for() {
            Some(busy) if busy >= patience => judge(self.state()),
            _ => Health::Answers,
        }
    }

    /// The thread's state, as `proc(5)` has it.
    fn state(&self) -> Option<char> {
        let stat = format!("/proc/self/task/{}/stat", self.thread.get()?);
        let text = std::fs::read_to_string(stat).ok()?;
        // The name before it stands in parentheses and may hold anything.
        text.rsplit_once(')')?.1.trim_start().chars().next()
    }
}

/// What the state of a thread means that has been at work for long. Unknown is no reason to end all sessions.
fn judge(state: Option<char>) -> Health {
    match state {
        // "D": in a system call that no signal ends, which reads, writes and syncs of a disk are.
        Some('D') | None => Health::WaitsForDisk,
        Some(_) => Health::Hangs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_rests_answers_and_one_at_work_for_long_is_looked_at() {
        let pulse = Pulse::new();
        pulse.belongs_to_this_thread();
        assert_eq!(pulse.health_after(Duration::ZERO), Health::Answers);
        pulse.begins();
        assert_eq!(pulse.health(), Health::Answers);
        assert_eq!(pulse.state(), Some('R'), "it is this thread, which asks");
        assert_eq!(pulse.health_after(Duration::ZERO), Health::Hangs);
        pulse.rests();
        assert_eq!(pulse.health_after(Duration::ZERO), Health::Answers);
    }

    #[test]
    fn only_a_thread_that_a_signal_could_not_end_waits_for_its_disk() {
        assert_eq!(judge(Some('D')), Health::WaitsForDisk);
        assert_eq!(judge(None), Health::WaitsForDisk);
        for state in ['R', 'S', 'T'] {
            assert_eq!(judge(Some(state)), Health::Hangs);
        }
    }
}

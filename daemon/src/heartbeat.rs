//! Whether the worker and the filer of a session still run: each is asked from time to time, and answers.
//!
//! One clock for all sessions ([`beat`]) tells each when its turn is; the session asks its worker and its filer,
//! and ends one that has not answered by its second turn after. What counts is turns of the clock and not time:
//! they come only while this daemon runs, so that a service that was stopped as a whole, or a machine too busy
//! for the daemon, makes nobody late. Filers that take orders are bounded by [`crate::filer_handle`]. Before the login and after the session's end other deadlines hold.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::daemon::Daemon;
use crate::process::Process;
use crate::session::Event;

/// Why a helper that has not answered is ended.
pub(crate) const SILENT: &str = "does not answer";

/// How often the clock looks whose turn it is.
const TICK: Duration = Duration::from_secs(1);

/// Turns that may pass without the answer. Two: a loop that waits for a slow disk or for its memory to be read
/// back has a whole period of `heartbeat_seconds` more than one that was asked just before its turn.
const PATIENCE: u8 = 2;

/// What is to be done at a helper's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask it.
    Ask,
    /// It owes an answer, and has time.
    Wait,
    /// It has not answered for too long.
    Silent,
}

/// One helper's heartbeat: the turns since it was asked, while it owes an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heartbeat(Option<u8>);

impl Heartbeat {
    /// Its turn has come.
    pub(crate) fn turn(&mut self) -> Turn {
        match self.0 {
            None => {
                self.0 = Some(0);
                Turn::Ask
            }
            Some(missed) => {
                let missed = missed.saturating_add(1);
                self.0 = Some(missed);
                if missed < PATIENCE { Turn::Wait } else { Turn::Silent }
            }
        }
    }

    /// It has answered; whether it was asked.
    pub(crate) fn answered(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Logs that a helper is ended for its silence, at once: one that waits in the kernel (state `D`, mostly for a disk)
/// ends only when that is over, and is told among the incidents then. It is ended all the same, since its client has
/// waited for as long, and what the session left is replayed. The state is that of its main thread, where the
/// system shows it to the daemon.
pub(crate) fn tell(session: u64, process: &Process) {
    let (program, pid) = (process.program, process.pid);
    let state = process.state().map(tracing::field::display);
    tracing::warn!(session, %program, pid, state, "a helper does not answer, and is ended");
}

/// Tells each session in which somebody has logged in when its turn is, once in `heartbeat_seconds`, spread over
/// these seconds by their numbers. Runs for as long as the daemon does.
pub(crate) async fn beat(daemon: Rc<Daemon>) {
    let mut ticks = tokio::time::interval(TICK);
    // Those that were missed are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = 0_u64;
    loop {
        ticks.tick().await;
        tick = tick.wrapping_add(1);
        let every = daemon.settings().config.heartbeat.as_secs().max(1);
        for (id, entry) in daemon.sessions.borrow().iter() {
            let serves = entry.control.serving.borrow().is_some();
            if serves && is_turn(tick, id.0, every) {
                drop(entry.control.events.send(Event::Beat));
            }
        }
    }
}

fn is_turn(tick: u64, session: u64, every: u64) -> bool {
    tick.wrapping_add(session).is_multiple_of(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_once_until_it_answers_and_silent_at_the_second_turn_after() {
        let mut heartbeat = Heartbeat::default();
        assert_eq!(heartbeat.turn(), Turn::Ask);
        assert!(heartbeat.answered());
        assert!(!heartbeat.answered(), "nobody asked");
        assert_eq!(
            [(); 4].map(|()| heartbeat.turn()),
            [Turn::Ask, Turn::Wait, Turn::Silent, Turn::Silent]
        );
        assert!(heartbeat.answered(), "it may be in time after all");
        assert_eq!(heartbeat.turn(), Turn::Ask);
    }

    #[test]
    fn each_has_one_turn_in_a_period_and_they_are_spread() {
        for every in [1, 7, 20] {
            let mut largest = 0;
            let mut turns = [0; 1000];
            for tick in 1..=every {
                let due = (0..1000_u64).filter(|id| is_turn(tick, *id, every));
                let due: Vec<u64> = due.collect();
                largest = largest.max(due.len() as u64);
                due.iter().for_each(|id| turns[*id as usize] += 1);
            }
            assert_eq!(turns, [1; 1000]);
            assert_eq!(largest, 1000_u64.div_ceil(every));
        }
    }
}

//! The end: sessions first, which may take their time, then the helpers.
//!
//! What does not end in time is left to the next start, which replays it; nothing acknowledged depends on this.

use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::session::Event;
use crate::spawn::Spawner;

/// How long the replays of sessions that were cut off by the shutdown may take. What is not replayed then
/// is at the next start.
const LAST_REPLAYS: Duration = Duration::from_secs(30);

/// How long the last helpers may take to be reaped.
const LAST_HELPERS: Duration = Duration::from_secs(5);

/// How long what other threads have begun below `users/` may take.
pub(crate) const LAST_WORK: Duration = Duration::from_secs(5);

/// The longest that the end takes after the grace time, with some seconds to spare.
pub(crate) const AFTER_GRACE: Duration = LAST_REPLAYS
    .saturating_add(LAST_HELPERS)
    .saturating_add(LAST_WORK)
    .saturating_add(Duration::from_secs(10));

/// The signals that stop the daemon.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// They end the program no more by themselves.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// No new connections; running transfers may end within the grace time, or until a second signal.
pub(crate) async fn stop_sessions(daemon: &Rc<Daemon>, signals: &mut Signals) {
    daemon.stopping.raise();
    let grace = daemon.settings().config.shutdown_grace;
    let tell = |event: &dyn Fn() -> Event| {
        for (_, entry) in daemon.sessions.borrow().iter() {
            drop(entry.control.events.send(event()));
        }
    };
    tell(&|| Event::Shutdown(grace.as_secs() as u32));
    tokio::select! {
        () = daemon.no_sessions() => return,
        () = tokio::time::sleep(grace) => {}
        _ = signals.next() => {}
    }
    tell(&|| Event::Kill(KillReason::Shutdown));
    if tokio::time::timeout(LAST_REPLAYS, daemon.no_sessions()).await.is_err() {
        tracing::warn!("sessions are left; the next start replays them");
    }
}

/// Ends spares and those at work for the daemon itself, and waits until they are reaped.
pub(crate) async fn stop_helpers(daemon: &Daemon, spawner: &Spawner) {
    // Its filers are killed.
    daemon.clearing_ends.raise();
    daemon.workers.stop();
    daemon.filers.stop();
    if tokio::time::timeout(LAST_HELPERS, spawner.all_reaped()).await.is_err() {
        tracing::warn!("helpers are left; the next start waits for them");
    }
    tracing::info!("stopped");
}

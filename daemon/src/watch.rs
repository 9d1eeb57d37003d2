//! Looks once a second after tickets that are held for too long, and after those who wait for one whose
//! holder hangs.
//!
//! What is late at one turn has until the next: a turn comes only while this daemon runs, and at least [`EVERY`]
//! after the one before, so that a service that was stopped as a whole (`systemctl freeze`, a virtual machine that
//! was paused) makes nobody late.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::serve::STUCK;
use crate::session::Event;

const EVERY: Duration = Duration::from_secs(1);

/// A ticket that is held for longer is logged: a rename may wait for the file system's journal.
const WARN: Duration = Duration::from_secs(1);

/// Runs for as long as the daemon does.
pub(crate) async fn watch_tickets(daemon: Rc<Daemon>) {
    let mut ticks = tokio::time::interval(EVERY);
    // Turns that were missed are not made up for at once: between two there is time to hear the holders.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stuck = daemon.tickets.borrow_mut().stuck(STUCK, Instant::now());
        for user in stuck {
            tracing::warn!(%user, "a dead holder of the ticket is not replayed yet; nobody waits for it");
            daemon.turn_away_from(&user);
        }
        let slow =
            daemon.tickets.borrow_mut().slow(WARN, daemon.settings().config.ticket, Instant::now());
        for holder in slow {
            // A verification bounds itself how long it holds the ticket.
            if daemon.holds.borrow().has(holder.session) {
                continue;
            }
            let (session, user) = (holder.session.0, &holder.user);
            let ms = holder.held.as_millis() as u64;
            tracing::warn!(session, %user, ms, overdue = holder.overdue, "the ticket is held for long");
            if !holder.overdue {
                continue;
            }
            if let Some(control) = daemon.control(holder.session) {
                drop(control.events.send(Event::Kill(KillReason::KeptTicket)));
            }
        }
    }
}

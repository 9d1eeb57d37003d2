//! What an administrator, and the disk, do to a user's round while its operations are under way.
//!
//! Events come when they are due, one after the other, or at the round's end at the latest, so that a seed's events
//! all happen.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use berth_common::entry::Limits;

use super::arena::Arena;
use super::bounds::sums_of;
use super::events::{Event, What};
use super::guest;
use super::session::user_name;
use super::shared::Shared;

/// Carries the events of a round out. `over` is closed when its operations have ended.
///
/// # Panics
/// When the server does what it must never do.
pub(super) fn work(
    arena: &Arena,
    shared: &Shared,
    user: usize,
    events: &[Event],
    over: &Receiver<()>,
) {
    let begun = Instant::now();
    for Event { after, what } in events {
        // Nothing is ever sent: this ends early when the round does.
        let _: Result<(), RecvTimeoutError> =
            over.recv_timeout(after.saturating_sub(begun.elapsed()));
        match what {
            What::Limits(limits) => change_limits(arena, shared, user, *limits),
            What::Outage(lasts) => arena.outage(*lasts, &user_name(user)),
            What::Guest(seed) => guest::comes_and_goes(arena, user, *seed),
        }
    }
}

/// The judge knows the moment when they were asked for, that of the answer, and what was there afterwards: from
/// then on nothing may grow beyond both.
fn change_limits(arena: &Arena, shared: &Shared, user: usize, limits: Limits) {
    let name = user_name(user);
    let asked = shared.tick();
    shared.bounds().may_change(limits, asked);
    arena.set_limits(&name, limits);
    let answered = shared.tick();
    shared.bounds().have_changed(answered);
    arena.tally.limits_changed();

    let asked = shared.tick();
    let usage = arena.usage(&name);
    let span = shared.since(asked);
    shared.check_usage(&usage, span);
    let there = sums_of(&usage).expect("sums that can be added");
    shared.bounds().was_seen(there, span);
}

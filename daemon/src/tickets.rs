//! The tickets: for each user, who may change names in the home, and who waits for it. Pure.
//!
//! A holder that dies keeps the home locked until its rows are replayed (rule R11). A session that dies
//! while it waits loses its place. `P` is what the grant answers with: the names of the intent.
//!
//! What is late is found at the turns of [`crate::watch`], and counts from the second on that finds it: where all
//! of the service was stopped, much time may have passed in which no holder could give its ticket back.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use berth_common::admin_protocol::TicketTimes;
use berth_common::ids::{OpId, SessionId, UserName};

use crate::holding::Holding;

/// The tickets of all users; users without a holder have no entry.
#[derive(Debug)]
pub(crate) struct Tickets<P> {
    homes: HashMap<UserName, Home<P>>,
    holding: Holding,
}

#[derive(Debug)]
struct Home<P> {
    holder: Holder,
    since: Instant,
    warned: bool,
    found: Found,
    waiting: VecDeque<Grant<P>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A session, for one operation.
    Live(SessionId, OpId),
    /// A session that died while it held the ticket; its rows are not replayed yet.
    Dead(SessionId),
}

/// What the turns of the watch have found of a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    InTime,
    /// At one turn.
    Late,
    /// At two or more in a row, between which it could run and be heard.
    Overdue,
}

impl Found {
    /// Another turn. Whether it is overdue.
    fn turn(&mut self, is_late: bool) -> bool {
        *self = match (is_late, *self) {
            (false, _) => Self::InTime,
            (true, Self::InTime) => Self::Late,
            (true, Self::Late | Self::Overdue) => Self::Overdue,
        };
        *self == Self::Overdue
    }
}

/// Who gets the ticket, and with what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant<P> {
    pub(crate) session: SessionId,
    pub(crate) op: OpId,
    pub(crate) payload: P,
}

/// A holder that has had the ticket for long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) user: UserName,
    pub(crate) session: SessionId,
    pub(crate) held: Duration,
    /// Past the deadline at this turn and the one before, so that the holder is to be killed; else only to be
    /// logged, once.
    pub(crate) overdue: bool,
}

impl<P> Default for Tickets<P> {
    fn default() -> Self {
        Self { homes: HashMap::new(), holding: Holding::default() }
    }
}

impl<P> Tickets<P> {
    /// Asks for a user's ticket. Returns the grant when it is free; else the question waits its turn.
    pub(crate) fn request(
        &mut self,
        user: &UserName,
        ask: Grant<P>,
        now: Instant,
    ) -> Option<Grant<P>> {
        if let Some(home) = self.homes.get_mut(user) {
            home.waiting.push_back(ask);
            return None;
        }
        let holder = Holder::Live(ask.session, ask.op);
        let found = Found::default();
        let home = Home { holder, since: now, warned: false, found, waiting: VecDeque::new() };
        self.homes.insert(user.clone(), home);
        self.holding.granted();
        Some(ask)
    }

    /// Gives the ticket back, and to the next in line. `Err` when this is not the holder.
    pub(crate) fn release(
        &mut self,
        user: &UserName,
        session: SessionId,
        op: OpId,
        now: Instant,
    ) -> Result<Option<Grant<P>>, NotHolder> {
        match self.homes.get(user) {
            Some(home) if home.holder == Holder::Live(session, op) => {
                self.holding.ended(now.saturating_duration_since(home.since));
                Ok(self.pass_on(user, now))
            }
            _ => Err(NotHolder),
        }
    }

    /// A session ends: it waits no longer, and what it holds is locked until [`Tickets::replayed`].
    /// Returns whether it held the ticket.
    pub(crate) fn died(&mut self, user: &UserName, session: SessionId, now: Instant) -> bool {
        let Some(home) = self.homes.get_mut(user) else {
            return false;
        };
        home.waiting.retain(|ask| ask.session != session);
        let held = matches!(home.holder, Holder::Live(holder, _) if holder == session);
        if held {
            self.holding.ended(now.saturating_duration_since(home.since));
            home.holder = Holder::Dead(session);
            home.since = now;
            home.found = Found::default();
        }
        held
    }

    /// What those wait with who wait for this user's ticket.
    pub(crate) fn waiting(&self, user: &UserName) -> impl Iterator<Item = &P> {
        self.homes.get(user).into_iter().flat_map(|home| &home.waiting).map(|ask| &ask.payload)
    }

    /// A dead session's rows are replayed: what it held passes on.
    pub(crate) fn replayed(
        &mut self,
        user: &UserName,
        session: SessionId,
        now: Instant,
    ) -> Option<Grant<P>> {
        match self.homes.get(user) {
            Some(home) if home.holder == Holder::Dead(session) => self.pass_on(user, now),
            _ => None,
        }
    }

    /// Whether a turn has found that a holder is dead for too long without being replayed: it hangs in the
    /// kernel, and changes are refused instead of waiting.
    pub(crate) fn is_stuck(&self, user: &UserName) -> bool {
        self.homes.get(user).is_some_and(|home| {
            matches!(home.holder, Holder::Dead(_)) && home.found == Found::Overdue
        })
    }

    /// A turn of the watch: the users for whose ticket somebody waits, and whose holder has been dead for longer
    /// than this, at the turn before too.
    pub(crate) fn stuck(&mut self, patience: Duration, now: Instant) -> Vec<UserName> {
        let mut stuck = Vec::new();
        for (user, home) in &mut self.homes {
            let Holder::Dead(_) = home.holder else {
                continue;
            };
            let is_late = now.saturating_duration_since(home.since) > patience;
            if home.found.turn(is_late) && !home.waiting.is_empty() {
                stuck.push(user.clone());
            }
        }
        stuck
    }

    /// Takes all who wait for this user's ticket out of the line, to be refused.
    pub(crate) fn turn_away(&mut self, user: &UserName) -> Vec<Grant<P>> {
        self.homes.get_mut(user).map(|home| home.waiting.drain(..).collect()).unwrap_or_default()
    }

    /// A turn of the watch: live holders that have had the ticket for at least `warn`, each once, or for at least
    /// `deadline`, at the turn before too.
    pub(crate) fn slow(&mut self, warn: Duration, deadline: Duration, now: Instant) -> Vec<Slow> {
        let mut slow = Vec::new();
        for (user, home) in &mut self.homes {
            let Holder::Live(session, _) = home.holder else {
                continue;
            };
            let held = now.saturating_duration_since(home.since);
            let overdue = home.found.turn(held >= deadline);
            if overdue || (held >= warn && !home.warned) {
                home.warned = true;
                slow.push(Slow { user: user.clone(), session, held, overdue });
            }
        }
        slow
    }

    /// How many were granted, and how long they were held.
    pub(crate) fn times(&self) -> TicketTimes {
        self.holding.times()
    }

    fn pass_on(&mut self, user: &UserName, now: Instant) -> Option<Grant<P>> {
        let home = self.homes.get_mut(user)?;
        let Some(next) = home.waiting.pop_front() else {
            self.homes.remove(user);
            return None;
        };
        home.holder = Holder::Live(next.session, next.op);
        home.since = now;
        home.warned = false;
        home.found = Found::default();
        self.holding.granted();
        Some(next)
    }
}

/// A session gave back a ticket that it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it released a ticket that it does not hold")]
pub(crate) struct NotHolder;

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);
    const C: SessionId = SessionId(3);
    const OP: OpId = OpId(7);

    fn alice() -> UserName {
        UserName::new("alice").unwrap()
    }

    fn ask(session: SessionId) -> Grant<&'static str> {
        Grant { session, op: OP, payload: "names" }
    }

    fn table() -> (Tickets<&'static str>, Instant) {
        (Tickets::default(), Instant::now())
    }

    #[test]
    fn one_holds_and_the_others_wait_in_order() {
        let (mut tickets, now) = table();
        assert_eq!(tickets.request(&alice(), ask(A), now), Some(ask(A)));
        assert_eq!(tickets.request(&alice(), ask(B), now), None);
        assert_eq!(tickets.request(&alice(), ask(C), now), None);
        assert_eq!(tickets.release(&alice(), A, OP, now), Ok(Some(ask(B))));
        assert_eq!(tickets.release(&alice(), B, OP, now), Ok(Some(ask(C))));
        assert_eq!(tickets.release(&alice(), C, OP, now), Ok(None));
        assert!(tickets.homes.is_empty());
    }

    #[test]
    fn users_do_not_wait_for_each_other() {
        let (mut tickets, now) = table();
        let bob = UserName::new("bob").unwrap();
        assert!(tickets.request(&alice(), ask(A), now).is_some());
        assert!(tickets.request(&bob, ask(B), now).is_some());
    }

    #[test]
    fn only_the_holder_can_release_and_only_for_its_operation() {
        let (mut tickets, now) = table();
        assert_eq!(tickets.release(&alice(), A, OP, now), Err(NotHolder));
        tickets.request(&alice(), ask(A), now);
        tickets.request(&alice(), ask(B), now);
        assert_eq!(tickets.release(&alice(), B, OP, now), Err(NotHolder));
        assert_eq!(tickets.release(&alice(), A, OpId(8), now), Err(NotHolder));
        assert_eq!(tickets.release(&alice(), A, OP, now), Ok(Some(ask(B))));
        assert_eq!(tickets.release(&alice(), A, OP, now), Err(NotHolder));
    }

    #[test]
    fn a_dead_holders_ticket_passes_on_after_its_replay_and_not_before() {
        let (mut tickets, now) = table();
        tickets.request(&alice(), ask(A), now);
        tickets.request(&alice(), ask(B), now);
        tickets.died(&alice(), A, now);
        assert_eq!(tickets.release(&alice(), A, OP, now), Err(NotHolder));
        assert_eq!(tickets.request(&alice(), ask(C), now), None);
        assert_eq!(tickets.replayed(&alice(), B, now), None, "B did not hold it");
        assert_eq!(tickets.replayed(&alice(), A, now), Some(ask(B)));
        assert_eq!(tickets.replayed(&alice(), A, now), None, "only once");
    }

    #[test]
    fn who_dies_waiting_loses_its_place() {
        let (mut tickets, now) = table();
        tickets.request(&alice(), ask(A), now);
        tickets.request(&alice(), ask(B), now);
        tickets.request(&alice(), ask(C), now);
        tickets.died(&alice(), B, now);
        assert_eq!(tickets.release(&alice(), A, OP, now), Ok(Some(ask(C))));
        assert_eq!(tickets.replayed(&alice(), B, now), None);
    }

    #[test]
    fn a_slow_holder_is_told_of_once_and_then_overdue() {
        let (mut tickets, start) = table();
        let (warn, deadline) = (Duration::from_secs(1), Duration::from_secs(30));
        tickets.request(&alice(), ask(A), start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(tickets.slow(warn, deadline, after(0)), []);
        assert!(!tickets.slow(warn, deadline, after(2))[0].overdue);
        assert_eq!(tickets.slow(warn, deadline, after(3)), []);
        assert_eq!(tickets.slow(warn, deadline, after(30)), []);
        assert!(tickets.slow(warn, deadline, after(31))[0].overdue);
        tickets.died(&alice(), A, after(31));
        assert_eq!(tickets.slow(warn, deadline, after(32)), [], "it is being ended");
    }

    #[test]
    fn a_holder_that_was_stopped_with_all_the_service_has_a_turn_to_be_heard() {
        let (mut tickets, start) = table();
        let (warn, deadline) = (Duration::from_secs(1), Duration::from_secs(30));
        let after = |seconds| start + Duration::from_secs(seconds);
        tickets.request(&alice(), ask(A), start);
        tickets.request(&alice(), ask(B), start);
        assert_eq!(tickets.slow(warn, deadline, after(0)), []);
        // Nobody ran for a day.
        let day = 24 * 3600;
        assert!(!tickets.slow(warn, deadline, after(day))[0].overdue);
        assert_eq!(tickets.release(&alice(), A, OP, after(day)), Ok(Some(ask(B))));
        assert_eq!(tickets.slow(warn, deadline, after(day)), [], "B is another");
        // And again, under one that does not give it back.
        assert!(!tickets.slow(warn, deadline, after(2 * day))[0].overdue);
        assert!(tickets.slow(warn, deadline, after(2 * day + 1))[0].overdue);
    }

    #[test]
    fn a_deadline_that_is_put_off_makes_nobody_late() {
        let (mut tickets, start) = table();
        let warn = Duration::from_secs(1);
        tickets.request(&alice(), ask(A), start);
        let mut is_overdue = |deadline, at| {
            let at = start + Duration::from_secs(at);
            tickets.slow(warn, Duration::from_secs(deadline), at).iter().any(|slow| slow.overdue)
        };
        assert_eq!([is_overdue(30, 30), is_overdue(60, 31), is_overdue(30, 32)], [false; 3]);
        assert!(is_overdue(30, 33));
    }

    #[test]
    fn the_clock_starts_anew_for_the_next_holder() {
        let (mut tickets, start) = table();
        let (warn, deadline) = (Duration::from_secs(1), Duration::from_secs(30));
        tickets.request(&alice(), ask(A), start);
        tickets.request(&alice(), ask(B), start);
        let later = start + Duration::from_secs(29);
        assert!(tickets.release(&alice(), A, OP, later).is_ok());
        assert_eq!(tickets.slow(warn, deadline, later + Duration::from_millis(500)), []);
    }

    #[test]
    fn each_holder_counts_from_its_own_grant_to_its_release_or_death() {
        let (mut tickets, start) = table();
        let after = |ms| start + Duration::from_millis(ms);
        tickets.request(&alice(), ask(A), start);
        tickets.request(&alice(), ask(B), start);
        tickets.request(&alice(), ask(C), start);
        assert!(tickets.release(&alice(), A, OP, after(4)).is_ok());
        tickets.died(&alice(), B, after(5));
        assert_eq!(tickets.times().granted, 2, "C waits for the replay");
        tickets.replayed(&alice(), B, after(500));
        assert!(tickets.release(&alice(), C, OP, after(501)).is_ok());
        let times = tickets.times();
        assert_eq!(times.granted, 3);
        assert!((1_000..1_100).contains(&times.p50_us), "{times:?}");
        assert!((4_000..4_100).contains(&times.most_us), "{times:?}");
    }

    #[test]
    fn those_who_wait_behind_a_dead_holder_are_found_after_a_while() {
        let (mut tickets, start) = table();
        let patience = Duration::from_secs(15);
        let after = |seconds| start + Duration::from_secs(seconds);
        tickets.request(&alice(), ask(A), start);
        tickets.request(&alice(), ask(B), start);
        assert!(tickets.stuck(patience, after(60)).is_empty(), "a live one has its own deadline");
        tickets.died(&alice(), A, after(60));
        assert!(tickets.stuck(patience, after(75)).is_empty());
        assert!(
            tickets.stuck(patience, after(76)).is_empty(),
            "it may be replayed by the next turn"
        );
        assert!(!tickets.is_stuck(&alice()));
        assert_eq!(tickets.stuck(patience, after(77)), [alice()]);
        assert!(tickets.is_stuck(&alice()));
        assert_eq!(tickets.turn_away(&alice()), [ask(B)]);
        assert!(tickets.stuck(patience, after(78)).is_empty(), "nobody waits any more");
        assert!(tickets.is_stuck(&alice()), "and nobody begins to");
        assert_eq!(tickets.replayed(&alice(), A, after(80)), None);
        assert!(!tickets.is_stuck(&alice()));
        assert!(tickets.request(&alice(), ask(C), after(80)).is_some());
    }

    #[test]
    fn all_who_wait_can_be_turned_away() {
        let (mut tickets, now) = table();
        tickets.request(&alice(), ask(A), now);
        tickets.request(&alice(), ask(B), now);
        assert_eq!(tickets.turn_away(&alice()), [ask(B)]);
        assert_eq!(tickets.release(&alice(), A, OP, now), Ok(None));
    }
}

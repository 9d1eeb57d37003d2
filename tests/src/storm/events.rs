//! What happens to a round from beside, determined by the storm's seed: limits that change, a ledger that
//! cannot be written, and users who come and go. Pure.
//!
//! [`super::administrator`] carries it out.

use std::time::Duration;

use berth_common::entry::Limits;

use super::plan::{self, moment};
use super::random::Random;

/// Rounds of a hundred in which limits change.
const LIMITS_PERCENT: u64 = 25;

/// Rounds of a thousand in which the ledger cannot be written for a while.
const OUTAGE_PERMILLE: u64 = 25;

/// Rounds of a hundred in which a guest comes and goes.
const GUEST_PERCENT: u64 = 6;

/// Something that happens to a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// So long after the round has begun.
    pub after: Duration,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The user gets other limits.
    Limits(Limits),
    /// The ledger cannot be written for so long, and as much longer as the daemon takes to try again.
    Outage(Duration),
    /// Somebody is added, works, and is removed, as these random numbers say.
    Guest(u64),
}

/// What happens to a user's round, in its order.
#[must_use]
pub fn in_round(seed: u64, user: usize, round: u64) -> Vec<Event> {
    // A stream of its own beside those of the sessions.
    let mut random = Random::of(&[seed, user as u64, round, u64::MAX]);
    let mut events = Vec::new();
    if random.chance(LIMITS_PERCENT) {
        // Down, and as likely as not up again.
        for _ in 0..=random.below(2) {
            let limits = plan::some_limits(&mut random, user);
            events.push(Event { after: some_time(&mut random), what: What::Limits(limits) });
        }
    }
    if random.below(1000) < OUTAGE_PERMILLE {
        let lasts = Duration::from_millis(20 + random.below(130));
        events.push(Event { after: some_time(&mut random), what: What::Outage(lasts) });
    }
    if random.chance(GUEST_PERCENT) {
        events.push(Event { after: some_time(&mut random), what: What::Guest(random.next()) });
    }
    events.sort_by_key(|event| event.after);
    events
}

/// Within the time that most rounds take.
fn some_time(random: &mut Random) -> Duration {
    moment(random) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_what_happens_and_all_of_it_does() {
        let all = |seed| (0..400).flat_map(|round| in_round(seed, 1, round)).collect::<Vec<_>>();
        assert_eq!(all(5), all(5));
        assert_ne!(all(5), all(6));
        let count = |is: fn(&What) -> bool| all(5).iter().filter(|event| is(&event.what)).count();
        assert!(count(|what| matches!(what, What::Limits(_))) > 50);
        assert!(count(|what| matches!(what, What::Outage(_))) > 2);
        assert!(count(|what| matches!(what, What::Guest(_))) > 5);
    }
}

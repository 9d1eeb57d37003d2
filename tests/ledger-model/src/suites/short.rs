//! The protocol itself: nothing may go wrong. These take seconds, or a minute.

use crate::catalogue::{batches, beside, pairs as pairs_of, takers, with_entry_limit};
use crate::operation::Op;
use crate::power::Power;
use crate::rules::{Faults, Rules};
use crate::run::Run;

/// A power cut and the kill of one session.
pub(super) const CUT_AND_KILL: Faults = Faults { session_kills: 1, power_cuts: 1, ..Faults::NONE };

pub(super) fn pairs(run: &mut Run) {
    let protocol = Rules::protocol();
    let kills = |sessions, daemons| Rules::with(|it| it.faults = Faults::kills(sessions, daemons));
    let expiry = Rules::with(|it| it.expiry = true);
    let durable = Rules::with(|it| it.reserve_in_memory = false);
    run.holds("pairs, 1 session kill + 1 daemon kill", pairs_of(&protocol, 6));
    run.holds("pairs, 2 + 2", pairs_of(&kills(2, 2), 6));
    run.holds("pairs, limit 4 bytes, expiry, 1 + 1", pairs_of(&expiry, 4));
    let few_entries = with_entry_limit(pairs_of(&expiry, 6), 4);
    run.holds("pairs, limit 4 entries, expiry, 1 + 1", few_entries);
    run.holds("pairs, durable rows for all uploads, 1 + 1", pairs_of(&durable, 6));
    let lowered = beside(pairs_of(&protocol, 6), Op::Limit(2));
    run.holds("pairs beside a limit lowered to 2 bytes, 1 + 1", lowered);
}

pub(super) fn power(run: &mut Run) {
    let one_cut = Faults { power_cuts: 1, ..Faults::NONE };
    let two_cuts = Faults { power_cuts: 2, ..Faults::kills(1, 1) };
    for power in [Power::Ordered, Power::Weak] {
        let pairs = |faults| pairs_of(&Rules::with_power_cuts(power, faults), 6);
        run.holds(&format!("pairs, {power:?} disk, power cut"), pairs(one_cut));
        run.holds(&format!("pairs, {power:?} disk, power cut + session kill"), pairs(CUT_AND_KILL));
        run.holds(&format!("pairs, {power:?} disk, 2 power cuts, 1 + 1"), pairs(two_cuts));
    }
    batch_with_power_cuts(run, Power::Weak);
    let mut takeover = Rules::with_power_cuts(Power::Ordered, CUT_AND_KILL);
    takeover.expiry = true;
    run.holds("two takers, expiry, Ordered disk, power cut + session kill", takers(&takeover));
}

pub(super) fn batch(run: &mut Run) {
    let kills = Rules::with(|it| it.faults = Faults::kills(2, 1));
    run.holds("batch beside an operation or a batch, 1 + 1", batches(&Rules::protocol(), 6));
    run.holds("batch, limit 4 bytes, 2 + 1", batches(&kills, 4));
    run.holds("batch, limit 4 entries, 2 + 1", with_entry_limit(batches(&kills, 6), 4));
    batch_with_power_cuts(run, Power::Ordered);
}

fn batch_with_power_cuts(run: &mut Run, power: Power) {
    let batches = batches(&Rules::with_power_cuts(power, CUT_AND_KILL), 6);
    run.holds(&format!("batch, {power:?} disk, power cut + session kill"), batches);
}

pub(super) fn resume(run: &mut Run) {
    let kills = Rules::with(|it| {
        it.expiry = true;
        it.faults = Faults::kills(2, 1);
    });
    run.holds("two takers of one upload beside an operation, expiry, 2 + 1", takers(&kills));
}

pub(super) fn verify(run: &mut Run) {
    for (label, kills) in [("no fault", 0), ("1 session kill", 1)] {
        let rules = Rules::with(|it| it.faults = Faults::kills(kills, 0));
        let worlds = beside(pairs_of(&rules, 6), Op::Verify);
        run.holds(&format!("pairs beside quota verify, {label}"), worlds);
    }
}

//! A ledger that refuses every transaction for a while, beginning and ending at any step.

use super::short::CUT_AND_KILL;
use crate::catalogue::{batches, beside, few, one_two, pairs, takers, with_entry_limit};
use crate::operation::Op;
use crate::power::Power;
use crate::rules::{Faults, Rules, Unsettled};
use crate::run::Run;

/// One outage, and these kills.
pub(super) const fn outage(session_kills: u8, daemon_kills: u8) -> Faults {
    Faults { outages: 1, ..Faults::kills(session_kills, daemon_kills) }
}

/// One outage, a power cut, and the kill of one session.
const OUTAGE_CUT_KILL: Faults = Faults { outages: 1, ..CUT_AND_KILL };

fn rules(faults: Faults) -> Rules {
    Rules::with(|it| it.faults = faults)
}

pub(super) fn short(run: &mut Run) {
    run.holds("outage, pairs, 1 + 1", pairs(&rules(outage(1, 1)), 6));
    let tight = Rules::with(|it| {
        it.faults = outage(1, 1);
        it.expiry = true;
    });
    let tight = with_entry_limit(pairs(&tight, 4), 4);
    run.holds("outage, pairs, limits 4 bytes and 4 entries, expiry, 1 + 1", tight);
    let ends = Rules::with(|it| {
        it.faults = outage(1, 1);
        it.unsettled = Unsettled::EndsSession;
    });
    run.holds("outage, pairs, a refused settle ends its session, 1 + 1", pairs(&ends, 6));
    let beside_verify = beside(pairs(&rules(outage(0, 0)), 6), Op::Verify);
    run.holds("outage, pairs beside quota verify, no other fault", beside_verify);
    run.holds(
        "outage, 1 of few against 2, no other fault",
        one_two(&rules(outage(0, 0)), 6, &few()),
    );
}

pub(super) fn long(run: &mut Run) {
    let twice = Faults { outages: 2, ..outage(1, 1) };
    run.holds("2 outages, pairs, 1 + 1", pairs(&rules(twice), 6));
    let durable = Rules::with(|it| {
        it.faults = outage(1, 1);
        it.reserve_in_memory = false;
    });
    run.holds("outage, pairs, durable rows for all uploads, 1 + 1", pairs(&durable, 6));
    for power in [Power::Ordered, Power::Weak] {
        let pairs = pairs(&Rules::with_power_cuts(power, OUTAGE_CUT_KILL), 6);
        run.holds(&format!("outage, pairs, {power:?} disk, power cut + session kill"), pairs);
    }
    run.holds("outage, batch, 1 + 1", batches(&rules(outage(1, 1)), 6));
    let beside_verify = beside(pairs(&rules(outage(1, 0)), 6), Op::Verify);
    run.holds("outage, pairs beside quota verify, 1 session kill", beside_verify);
    let takeover = Rules::with(|it| {
        it.faults = outage(1, 0);
        it.expiry = true;
    });
    run.holds("outage, two takers of one upload, expiry, 1 session kill", takers(&takeover));
    run.holds("outage, 1 of few against 2, 1 + 1", one_two(&rules(outage(1, 1)), 6, &few()));
}

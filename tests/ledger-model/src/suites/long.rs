//! The protocol itself in longer programs. These take minutes, and up to 10 GB of memory.

use super::short::CUT_AND_KILL;
use crate::catalogue::{
    all, batches, beside, few, one_two as one_two_of, triples as triples_of, two_two as two_two_of,
};
use crate::operation::Op;
use crate::power::Power;
use crate::rules::{Faults, Rules};
use crate::run::Run;

pub(super) fn batch_verify(run: &mut Run) {
    let rules = Rules::with(|it| it.faults = Faults::kills(1, 0));
    let worlds = beside(batches(&rules, 6), Op::Verify);
    run.holds("batch beside an operation and quota verify, 1 session kill", worlds);
}

pub(super) fn triples(run: &mut Run) {
    run.holds("three sessions, 1 + 1", triples_of(&Rules::protocol(), 6));
}

pub(super) fn power_triples(run: &mut Run) {
    for power in [Power::Ordered, Power::Weak] {
        let rules = Rules::with_power_cuts(power, CUT_AND_KILL);
        let label = format!("three sessions, {power:?} disk, power cut + session kill");
        run.holds(&label, triples_of(&rules, 6));
    }
}

pub(super) fn one_two(run: &mut Run) {
    run.holds("1 operation against 2, 1 + 1", one_two_of(&Rules::protocol(), 6, &all()));
}

pub(super) fn power_one_two(run: &mut Run) {
    for power in [Power::Ordered, Power::Weak] {
        let rules = Rules::with_power_cuts(power, CUT_AND_KILL);
        let label = format!("1 of few against 2, {power:?} disk, power cut + session kill");
        run.holds(&label, one_two_of(&rules, 6, &few()));
    }
}

pub(super) fn two_two(run: &mut Run) {
    let calm = Rules::with(|it| it.faults = Faults::NONE);
    run.holds("2 of few against 2, no fault", two_two_of(&calm, 6));
    run.holds("2 of few against 2, 1 + 1", two_two_of(&Rules::protocol(), 6));
}

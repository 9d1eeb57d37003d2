//! Each rule taken away in turn. A suite that passes then is a failure of the model: it would not see the
//! fault that the rule prevents. Two cases that must pass say where a rule is not needed.

use super::short::CUT_AND_KILL;
use super::unwritable::outage;
use crate::catalogue::{
    beside, few, one_two, only, pairs, resumable, triples, with_entry_limit, without_rename_over,
    world,
};
use crate::operation::Op;
use crate::power::Power;
use crate::rules::{Faults, Pin, Rules, Unsettled};
use crate::run::Run;

const CUT: Faults = Faults { power_cuts: 1, ..Faults::NONE };

fn without(faults: Faults, change: impl FnOnce(&mut Rules)) -> Rules {
    Rules::with(|rules| {
        rules.faults = faults;
        change(rules);
    })
}

fn without_on(power: Power, faults: Faults, change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::with_power_cuts(power, faults);
    change(&mut rules);
    rules
}

pub(super) fn breaks(run: &mut Run) {
    admission_and_naming(run);
    durability(run);
    order(run);
    processes(run);
    rename_over(run);
    unwritable(run);
}

fn admission_and_naming(run: &mut Run) {
    let early = without(Faults::NONE, |it| it.resolve_under_ticket = false);
    run.breaks("R1 resolving under the ticket", pairs(&early, 6));
    let once = without(Faults::NONE, |it| it.admit_again = false);
    run.breaks("R2 admission at the intent, bytes", one_two(&once, 4, &few()));
    let entries = with_entry_limit(one_two(&once, 20, &few()), 4);
    run.breaks("R2 admission at the intent, entries", entries);
    let nameless = without(Faults::kills(1, 1), |it| it.inode_in_intent = false);
    run.breaks("R3 inode number in the intent", pairs(&nameless, 6));
    let checked = without(Faults::NONE, |it| it.check_used = true);
    run.breaks("R17 used may be below zero for a moment", triples(&checked, 6));
    let silent = without(Faults::NONE, |it| it.reports_to_verify = false);
    run.breaks("reports to quota verify", beside(pairs(&silent, 6), Op::Verify));
}

fn durability(run: &mut Run) {
    use Power::{Ordered, Weak};
    let data = without_on(Ordered, CUT, |it| it.sync_data = false);
    run.breaks("R4 fsync of data before the intent", pairs(&data, 6));
    let staging = without_on(Ordered, CUT, |it| it.sync_staging = false);
    run.breaks("R5 fsync of staging before the intent", pairs(&staging, 6));
    let act = without_on(Ordered, CUT, |it| it.sync_act = false);
    run.breaks("R6 fsync before the settle", pairs(&act, 6));
    let parents = without_on(Ordered, CUT_AND_KILL, |it| it.sync_parents = false);
    run.holds("not needed: fsync of the home's parents, Ordered disk", pairs(&parents, 6));
    let chain = without_on(Weak, CUT_AND_KILL, |it| it.sync_chain = false);
    run.breaks("R6 fsync of the chain of parents, Weak disk", pairs(&chain, 6));
    let replay = without_on(Ordered, CUT_AND_KILL, |it| it.sync_in_replay = false);
    run.breaks("R7 fsync in replay", pairs(&replay, 6));
}

fn order(run: &mut Run) {
    let kills = Faults::kills(1, 1);
    let settle = without(kills, |it| it.settle_before_unlink = false);
    run.breaks("R8 settle before the unlink", pairs(&settle, 6));
    let row = without(kills, |it| it.drop_before_unlink = false);
    run.breaks("R9 row dropped before the staged file is unlinked", pairs(&row, 6));
    let join = without(kills, |it| it.join_before_intent = false);
    run.breaks("the join of an append before its intent", pairs(&join, 6));
    let sweep = without(kills, |it| it.sweep = false);
    run.breaks("R12 sweep at the start", pairs(&sweep, 6));
    let lost = without_on(Power::Ordered, CUT_AND_KILL, |it| it.drop_lost_uploads = false);
    run.breaks("R13 lost uploads lose their row", pairs(&lost, 6));
}

fn processes(run: &mut Run) {
    let session = without(Faults::kills(1, 0), |it| it.reap = false);
    run.breaks("R10 reaping before replay", pairs(&session, 6));
    let takers = world(&session, 6, vec![vec![resumable()], vec![resumable()]]);
    run.breaks("R10 reaping before a takeover, partial files", only(vec![takers], "I4"));
    let daemon = without(Faults::kills(0, 1), |it| it.reap = false);
    run.breaks("R10 waiting for an earlier daemon's processes", pairs(&daemon, 6));
    let held = without(Faults::kills(1, 1), |it| it.replay_before_passing_on = false);
    run.breaks("R11 replay before the ticket passes on", pairs(&held, 6));
    run.holds("not needed: R11 without rename over a file", without_rename_over(pairs(&held, 6)));
}

fn rename_over(run: &mut Run) {
    let kills = Faults::kills(1, 1);
    let exchange = without(kills, |it| it.pin = Pin::Exchange);
    run.breaks("R14 the pin by a link", pairs(&exchange, 6));
    let early = without(kills, |it| it.pin = Pin::EarlyLink);
    run.breaks("R15 the pin under the ticket, credits", only(pairs(&early, 6), "I1"));
    let late = without(kills, |it| it.unpin_before_drop = false);
    run.breaks("R16 pin unlinked before its row is dropped", pairs(&late, 6));
}

fn unwritable(run: &mut Run) {
    let waits = without(outage(0, 0), |it| it.unsettled = Unsettled::Waits);
    run.breaks("R18 an unsettled row does not wait for its session", one_two(&waits, 6, &few()));
    let cleans = without(outage(0, 0), |it| it.unsettled = Unsettled::CleanedUp);
    run.breaks("R18 nothing is touched at an unsettled row's name", pairs(&cleans, 6));
    let cut = Faults { outages: 1, ..CUT };
    let acknowledged = without_on(Power::Ordered, cut, |it| it.sync_owed = false);
    run.breaks("R19 fsync before an owed delete is acknowledged", pairs(&acknowledged, 6));
    let swept = without(outage(0, 1), |it| it.spare_owed = false);
    run.breaks("R20 the sweep spares what is owed", pairs(&swept, 6));
    let in_place = without(outage(0, 1), |it| it.retake_owed = false);
    run.breaks("R21 what is owed is taken under a fresh name", pairs(&in_place, 6));
    let volatile = without_on(Power::Ordered, cut, |it| it.sync_retaken = false);
    run.breaks("R6 for what is owed: fsync before its settle", pairs(&volatile, 6));
    let blind = without(outage(0, 0), |it| it.verify_owed = false);
    run.breaks("R22 verify counts what is owed", beside(pairs(&blind, 6), Op::Verify));
}

//! The suites, by their names on the command line.

mod breaks;
mod long;
mod obvious;
mod short;
mod unwritable;

use crate::run::Run;

/// A suite's name, and what it runs.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Run),
}

const fn suite(name: &'static str, about: &'static str, run: fn(&mut Run)) -> Suite {
    Suite { name, about, run }
}

/// All of them, the short ones first.
pub(crate) const SUITES: [Suite; 15] = [
    suite("pairs", "every pair of operations, kills, expiry, limits", short::pairs),
    suite("batch", "batches, kills, a power cut", short::batch),
    suite("resume", "two sessions take over one upload", short::resume),
    suite("verify", "quota verify beside every pair", short::verify),
    suite("unwritable", "a ledger that cannot be written for a while", unwritable::short),
    suite("breaks", "each rule taken away: something must go wrong", breaks::breaks),
    suite(
        "power",
        "pairs, batches and takeovers with power cuts, on two kinds of disk",
        short::power,
    ),
    suite("obvious", "the protocol that one would build first", obvious::obvious),
    suite("batch-verify", "batches beside quota verify", long::batch_verify),
    suite("triples", "three sessions", long::triples),
    suite("power-triples", "three sessions with power cuts", long::power_triples),
    suite("onetwo", "one operation against two in a row", long::one_two),
    suite("power-onetwo", "the same with power cuts", long::power_one_two),
    suite("twotwo", "two operations against two", long::two_two),
    suite(
        "unwritable-long",
        "the same as unwritable, with more faults and power cuts",
        unwritable::long,
    ),
];

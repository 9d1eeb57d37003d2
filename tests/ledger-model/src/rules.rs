//! The rules of the protocol as switches. [`Rules::protocol`] is what `docs/LEDGER.md` describes; the suite
//! `breaks` takes the rules away one by one. [`Rules::obvious`] is the protocol that one would build first.

use crate::power::Power;

/// How the old file is kept in a rename over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pin {
    /// By exchanging the two names, and then moving the old file into staging.
    Exchange,
    /// By a link in staging, made under the ticket; then a plain rename.
    Link,
    /// The same, but linked before the intent and the ticket.
    EarlyLink,
}

/// What becomes of an intent whose settle the ledger has refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsettled {
    /// The daemon takes the row over and replays it when it can; the session goes on.
    Adopted,
    /// The daemon ends the session, so that its rows are replayed when they can be.
    EndsSession,
    /// It waits for the session to end by itself.
    Waits,
    /// The session cleans up as if it had been settled, then the daemon takes the row over.
    CleanedUp,
}

/// Every field is a rule, or a bound of the run.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Name changes of one user are serialised by the daemon.
    pub(crate) ticket: bool,
    /// R1: paths are resolved after the ticket is granted.
    pub(crate) resolve_under_ticket: bool,
    /// R2: admission again in the intent's transaction, for what stands there; the filer compares under the
    /// ticket.
    pub(crate) admit_again: bool,
    /// Overwriting reserves the whole new size, not only the growth.
    pub(crate) reserve_whole_size: bool,
    /// R3: the intent has the staged inode's number.
    pub(crate) inode_in_intent: bool,
    /// R4: data is durable before the intent.
    pub(crate) sync_data: bool,
    /// R5: staging is durable before the intent.
    pub(crate) sync_staging: bool,
    /// The joined file of an append has the upload's name before the intent.
    pub(crate) join_before_intent: bool,
    /// R6: staging (and for renames the parents) is durable before the settle.
    pub(crate) sync_act: bool,
    /// With R6 also the home's directories that were touched.
    pub(crate) sync_parents: bool,
    /// With R6 also every directory from the home's root down.
    pub(crate) sync_chain: bool,
    /// R7: replay makes staging durable before it settles.
    pub(crate) sync_in_replay: bool,
    /// R8: the credit is durable before what was taken is unlinked.
    pub(crate) settle_before_unlink: bool,
    /// R9: the row of what did not happen is dropped before the staged file is unlinked.
    pub(crate) drop_before_unlink: bool,
    /// R10: worker and filer are reaped before their rows are replayed or taken over.
    pub(crate) reap: bool,
    /// R11: a dead holder's ticket passes on only after its rows are replayed.
    pub(crate) replay_before_passing_on: bool,
    /// R12: at the start, names in staging without a row are removed.
    pub(crate) sweep: bool,
    /// R13: at the start, open uploads whose file is gone lose their row.
    pub(crate) drop_lost_uploads: bool,
    /// R14 and R15.
    pub(crate) pin: Pin,
    /// R16: replay unlinks a pin before it drops the row.
    pub(crate) unpin_before_drop: bool,
    /// The opposite of R17: the ledger refuses `used` below zero.
    pub(crate) check_used: bool,
    /// Reservations of short uploads live in the daemon's memory.
    pub(crate) reserve_in_memory: bool,
    /// Filers report to `quota verify` what enters and leaves the home.
    pub(crate) reports_to_verify: bool,

    /// R18.
    pub(crate) unsettled: Unsettled,
    /// R18: replay looks, and unlinks pins, also while the ledger cannot be written; then the dead holder's
    /// ticket passes on.
    pub(crate) look_while_unwritable: bool,
    /// R19: an owed delete is durable before it is acknowledged.
    pub(crate) sync_owed: bool,
    /// R20: the sweep spares what is owed.
    pub(crate) spare_owed: bool,
    /// R21: what is owed is taken under a fresh name with an intent, not settled where it stands.
    pub(crate) retake_owed: bool,
    /// R6 for what is owed: staging is durable before its settle.
    pub(crate) sync_retaken: bool,
    /// R22: `quota verify` counts what is owed as used.
    pub(crate) verify_owed: bool,

    /// The daemon may expire uploads that nobody holds.
    pub(crate) expiry: bool,
    pub(crate) power: Power,
    /// How many faults of each kind there may be in a run.
    pub(crate) faults: Faults,
}

/// Faults that may still come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Faults {
    /// A session's worker and filer, or a recovering filer, are killed.
    pub(crate) session_kills: u8,
    pub(crate) daemon_kills: u8,
    pub(crate) power_cuts: u8,
    /// The ledger cannot be written for a while.
    pub(crate) outages: u8,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { session_kills: 0, daemon_kills: 0, power_cuts: 0, outages: 0 };

    /// So many kills of sessions and of the daemon.
    pub(crate) const fn kills(session_kills: u8, daemon_kills: u8) -> Self {
        Self { session_kills, daemon_kills, ..Self::NONE }
    }
}

impl Rules {
    /// The protocol, with up to one kill of each kind.
    pub(crate) fn protocol() -> Self {
        Self {
            ticket: true,
            resolve_under_ticket: true,
            admit_again: true,
            reserve_whole_size: false,
            inode_in_intent: true,
            sync_data: true,
            sync_staging: true,
            join_before_intent: true,
            sync_act: true,
            sync_parents: true,
            sync_chain: false,
            sync_in_replay: true,
            settle_before_unlink: true,
            drop_before_unlink: true,
            reap: true,
            replay_before_passing_on: true,
            sweep: true,
            drop_lost_uploads: true,
            pin: Pin::Link,
            unpin_before_drop: true,
            check_used: false,
            reserve_in_memory: true,
            reports_to_verify: true,
            unsettled: Unsettled::Adopted,
            look_while_unwritable: true,
            sync_owed: true,
            spare_owed: true,
            retake_owed: true,
            sync_retaken: true,
            verify_owed: true,
            expiry: false,
            power: Power::Off,
            faults: Faults::kills(1, 1),
        }
    }

    /// The protocol that one would build first, read kindly: everything is synced at the right time.
    pub(crate) fn obvious(faults: Faults) -> Self {
        Self {
            ticket: false,
            resolve_under_ticket: false,
            admit_again: false,
            inode_in_intent: false,
            replay_before_passing_on: false,
            pin: Pin::Exchange,
            reserve_in_memory: false,
            faults,
            ..Self::protocol()
        }
    }

    /// The protocol with something changed.
    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut rules = Self::protocol();
        change(&mut rules);
        rules
    }

    /// The protocol with power cuts on such a disk. The weak one needs the whole chain of directories.
    pub(crate) fn with_power_cuts(power: Power, faults: Faults) -> Self {
        Self::with(|rules| {
            rules.power = power;
            rules.sync_chain = power == Power::Weak;
            rules.faults = faults;
        })
    }
}

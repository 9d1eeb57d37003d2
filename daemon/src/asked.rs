//! What a filer may send in which phase, and what it has asked that is not answered: pure.
//!
//! A filer that sends what its phase does not allow, or exceeds the bounds of [`bounds`] and [`names`], is ended with
//! its session.

mod bounds;
mod names;
mod notes;

use berth_common::ids::OpId;
use berth_common::ledger_protocol::FilerToDaemon;

pub(crate) use bounds::{Asked, AskedTooMuch, check_changes, check_names};
pub(crate) use names::Names;
pub(crate) use notes::Notes;

/// Where a filer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilerPhase {
    /// Spawned; sets itself up.
    Starting,
    /// Waits for its role.
    Spare,
    /// Has its role; demotes itself to its directories.
    Joining,
    /// Serves a session.
    Serving,
    /// Recovers, by orders.
    Recovering,
    /// Walks a home, by orders.
    Walking,
}

/// The table: whether a filer may send this now.
pub(crate) fn may_send(phase: FilerPhase, message: &FilerToDaemon) -> bool {
    use FilerPhase as P;
    use FilerToDaemon as M;
    match (phase, message) {
        (P::Starting, M::Ready)
        | (P::Joining, M::Joined)
        | (
            P::Serving,
            M::ReserveUpload { .. }
            | M::Reserve { .. }
            | M::ReserveFiles { .. }
            | M::Lease { .. }
            | M::Extend { .. }
            | M::Room { .. }
            | M::Claim { .. }
            | M::Drop { .. }
            | M::LetGo { .. }
            | M::Intent { .. }
            | M::Ticket { .. }
            | M::Reports { .. }
            | M::Released { .. }
            | M::Settle { .. }
            | M::Gone { .. }
            | M::Usage { .. }
            | M::Uploads { .. }
            | M::StagingSyncFailed
            | M::OutcomeUnknown,
        )
        | (P::Recovering, M::Findings { .. } | M::OwedNames { .. } | M::SyncFailed { .. })
        | (P::Walking, M::Listed { .. } | M::Walked { .. })
        | (P::Recovering | P::Walking, M::Done { .. } | M::Failed { .. })
        | (P::Serving | P::Recovering, M::Alive) => true,
        (P::Starting | P::Spare | P::Serving | P::Recovering | P::Walking, M::Joined)
        | (P::Spare | P::Joining | P::Serving | P::Recovering | P::Walking, M::Ready)
        | (
            P::Starting | P::Spare | P::Joining | P::Recovering | P::Walking,
            M::ReserveUpload { .. }
            | M::Reserve { .. }
            | M::ReserveFiles { .. }
            | M::Lease { .. }
            | M::Extend { .. }
            | M::Room { .. }
            | M::Claim { .. }
            | M::Drop { .. }
            | M::LetGo { .. }
            | M::Intent { .. }
            | M::Ticket { .. }
            | M::Reports { .. }
            | M::Released { .. }
            | M::Settle { .. }
            | M::Gone { .. }
            | M::Usage { .. }
            | M::Uploads { .. }
            | M::StagingSyncFailed
            | M::OutcomeUnknown,
        )
        | (
            P::Starting | P::Spare | P::Joining | P::Serving | P::Walking,
            M::Findings { .. } | M::OwedNames { .. } | M::SyncFailed { .. },
        )
        | (
            P::Starting | P::Spare | P::Joining | P::Serving | P::Recovering,
            M::Listed { .. } | M::Walked { .. },
        )
        | (P::Starting | P::Spare | P::Joining | P::Serving, M::Done { .. } | M::Failed { .. })
        | (P::Starting | P::Spare | P::Joining | P::Walking, M::Alive) => false,
    }
}

/// Which order a recovering or walking filer answers; `None` for what it may not send.
pub(crate) fn answers(phase: FilerPhase, message: &FilerToDaemon) -> Option<OpId> {
    match message {
        FilerToDaemon::Findings { op, .. }
        | FilerToDaemon::OwedNames { op, .. }
        | FilerToDaemon::Listed { op, .. }
        | FilerToDaemon::Walked { op, .. }
        | FilerToDaemon::Done { op }
        | FilerToDaemon::Failed { op, .. }
        | FilerToDaemon::SyncFailed { op, .. }
            if may_send(phase, message) =>
        {
            Some(*op)
        }
        _ => None,
    }
}

/// What a message is called in the log; its content never is.
pub(crate) fn name(message: &FilerToDaemon) -> &'static str {
    match message {
        FilerToDaemon::Ready => "Ready",
        FilerToDaemon::Joined => "Joined",
        FilerToDaemon::ReserveUpload { .. } => "ReserveUpload",
        FilerToDaemon::Reserve { .. } => "Reserve",
        FilerToDaemon::ReserveFiles { .. } => "ReserveFiles",
        FilerToDaemon::Lease { .. } => "Lease",
        FilerToDaemon::Extend { .. } => "Extend",
        FilerToDaemon::Room { .. } => "Room",
        FilerToDaemon::Claim { .. } => "Claim",
        FilerToDaemon::Drop { .. } => "Drop",
        FilerToDaemon::LetGo { .. } => "LetGo",
        FilerToDaemon::Intent { .. } => "Intent",
        FilerToDaemon::Ticket { .. } => "Ticket",
        FilerToDaemon::Reports { .. } => "Reports",
        FilerToDaemon::Released { .. } => "Released",
        FilerToDaemon::Settle { .. } => "Settle",
        FilerToDaemon::Gone { .. } => "Gone",
        FilerToDaemon::Usage { .. } => "Usage",
        FilerToDaemon::Uploads { .. } => "Uploads",
        FilerToDaemon::StagingSyncFailed => "StagingSyncFailed",
        FilerToDaemon::OutcomeUnknown => "OutcomeUnknown",
        FilerToDaemon::Alive => "Alive",
        FilerToDaemon::Findings { .. } => "Findings",
        FilerToDaemon::OwedNames { .. } => "OwedNames",
        FilerToDaemon::Listed { .. } => "Listed",
        FilerToDaemon::Walked { .. } => "Walked",
        FilerToDaemon::Done { .. } => "Done",
        FilerToDaemon::Failed { .. } => "Failed",
        FilerToDaemon::SyncFailed { .. } => "SyncFailed",
    }
}

/// What a message costs, by the rate at which a filer may send: one for each name or change in it.
pub(crate) fn weight(message: &FilerToDaemon) -> usize {
    match message {
        FilerToDaemon::Intent { items, settle, .. } => {
            items.len() + settle.as_ref().map_or(0, |settle| settle.items.len())
        }
        FilerToDaemon::ReserveFiles { files, .. } => files.len(),
        FilerToDaemon::Settle { items, .. } => items.len(),
        FilerToDaemon::Gone { names } => names.len(),
        FilerToDaemon::Reports { reports } => reports.len(),
        FilerToDaemon::Findings { .. }
        | FilerToDaemon::OwedNames { .. }
        | FilerToDaemon::Listed { .. }
        | FilerToDaemon::Walked { .. }
        | FilerToDaemon::Done { .. }
        | FilerToDaemon::Failed { .. }
        | FilerToDaemon::SyncFailed { .. }
        | FilerToDaemon::Ready
        | FilerToDaemon::Joined
        | FilerToDaemon::ReserveUpload { .. }
        | FilerToDaemon::Reserve { .. }
        | FilerToDaemon::Lease { .. }
        | FilerToDaemon::Extend { .. }
        | FilerToDaemon::Room { .. }
        | FilerToDaemon::Claim { .. }
        | FilerToDaemon::Drop { .. }
        | FilerToDaemon::LetGo { .. }
        | FilerToDaemon::Ticket { .. }
        | FilerToDaemon::Released { .. }
        | FilerToDaemon::Usage { .. }
        | FilerToDaemon::Uploads { .. }
        | FilerToDaemon::StagingSyncFailed
        | FilerToDaemon::OutcomeUnknown
        | FilerToDaemon::Alive => 1,
    }
}

#[cfg(test)]
mod tests {
    use berth_common::entry::SourceFingerprint;
    use berth_common::ids::{StagingName, UploadToken};
    use berth_common::ledger_protocol::{HomeSum, IntentItem, Outcome, SettleItem, Settling};
    use berth_common::rel_path::RelPath;

    use super::*;

    const OP: OpId = OpId(1);

    fn messages() -> [FilerToDaemon; 29] {
        let name = StagingName(1);
        let source = SourceFingerprint { size: 0, mtime_ns: 0, ctime_ns: 0, inode: 0 };
        [
            FilerToDaemon::Ready,
            FilerToDaemon::Joined,
            FilerToDaemon::ReserveUpload {
                op: OP,
                path: RelPath::root(),
                source,
                token: UploadToken([0; 16]),
                growth: 0,
                entries: 0,
            },
            FilerToDaemon::Reserve { op: OP, growth: 0, entries: 0, stages: None },
            FilerToDaemon::ReserveFiles { op: OP, files: vec![] },
            FilerToDaemon::Lease { op: OP, entries: 0, replaces: 0 },
            FilerToDaemon::Extend { op: OP, name, least: 0 },
            FilerToDaemon::Room { op: OP },
            FilerToDaemon::Claim { op: OP, name },
            FilerToDaemon::Drop { op: OP, name },
            FilerToDaemon::LetGo { name },
            FilerToDaemon::Intent { op: OP, items: vec![], settle: None },
            FilerToDaemon::Ticket { op: OP },
            FilerToDaemon::Reports { reports: vec![] },
            FilerToDaemon::Released { op: OP },
            FilerToDaemon::Settle { op: OP, items: vec![] },
            FilerToDaemon::Gone { names: vec![] },
            FilerToDaemon::Usage { op: OP },
            FilerToDaemon::Uploads { op: OP, after: None },
            FilerToDaemon::StagingSyncFailed,
            FilerToDaemon::OutcomeUnknown,
            FilerToDaemon::Alive,
            FilerToDaemon::Findings { op: OP, findings: vec![] },
            FilerToDaemon::OwedNames { op: OP, names: vec![] },
            FilerToDaemon::Listed { op: OP, done: true },
            FilerToDaemon::Walked { op: OP, sum: HomeSum::default() },
            FilerToDaemon::Done { op: OP },
            FilerToDaemon::Failed { op: OP, reason: String::new() },
            FilerToDaemon::SyncFailed { op: OP, reason: String::new() },
        ]
    }

    #[test]
    fn the_table_is_this_one_over_all_pairs() {
        let table = [
            (FilerPhase::Starting, "x............................"),
            (FilerPhase::Spare, "............................."),
            (FilerPhase::Joining, ".x..........................."),
            (FilerPhase::Serving, "..xxxxxxxxxxxxxxxxxxxx......."),
            (FilerPhase::Recovering, ".....................xxx..xxx"),
            (FilerPhase::Walking, "........................xxxx."),
        ];
        for (phase, row) in table {
            for (message, letter) in messages().iter().zip(row.chars()) {
                let name = name(message);
                assert_eq!(may_send(phase, message), letter == 'x', "{phase:?} {name}");
            }
        }
    }

    #[test]
    fn a_message_weighs_what_the_ledger_has_to_do_for_it() {
        let items = vec![IntentItem::Take; 5];
        let item = SettleItem { name: StagingName(1), outcome: Outcome::NotHappened };
        let settle = Some(Settling { op: OP, items: vec![item; 7] });
        assert_eq!(weight(&FilerToDaemon::Intent { op: OP, items, settle }), 12);
        assert_eq!(weight(&FilerToDaemon::Gone { names: vec![StagingName(1); 9] }), 9);
        assert_eq!(weight(&FilerToDaemon::Usage { op: OP }), 1);
    }

    #[test]
    fn only_the_answers_of_those_who_take_orders_are_answers() {
        for message in messages() {
            for phase in [FilerPhase::Recovering, FilerPhase::Walking] {
                let is_one = may_send(phase, &message) && message != FilerToDaemon::Alive;
                assert_eq!(answers(phase, &message).is_some(), is_one);
            }
            assert_eq!(answers(FilerPhase::Serving, &message), None);
        }
    }
}

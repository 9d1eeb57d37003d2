//! What a filer may send in which phase, and what it has asked that is not answered: pure.
//!
//! The bounds here are those by which answers always fit a filer's socket buffer. A filer that exceeds
//! them, or sends what its phase does not allow, is ended with its session.

use std::collections::HashSet;

use berth_common::ids::OpId;
use berth_common::ledger_protocol::FilerToDaemon;
use berth_common::limits::{CHANGES_PER_MESSAGE, MAX_FILER_REQUESTS, NAMES_PER_MESSAGE};

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

/// Names in messages that are not answered, and that the ledger has not dealt with yet. An honest filer
/// has no more than the ledger lets it have of left-overs, with a batch, and than it may have open files.
const MAX_NOTED: usize = 32_768;

/// What a serving filer has asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    open: HashSet<OpId>,
    noted: usize,
    ticket: Option<OpId>,
}

/// How a filer broke the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskedTooMuch {
    /// Of all.
    #[error("it has more than {MAX_FILER_REQUESTS} requests outstanding")]
    Requests,
    /// Of those that are not answered.
    #[error("it tells of names faster than the ledger can take note")]
    Notes,
    /// The number is another request's.
    #[error("it used an operation's number twice")]
    Number,
    /// For the ticket.
    #[error("it asked for the ticket while it has it, or waits for it")]
    Ticket,
    /// It has no ticket for this operation.
    #[error("it released a ticket that it does not hold")]
    Release,
    /// Of its heart.
    #[error("it answered what was not asked")]
    Beat,
    /// In one message.
    #[error("it sent an empty message, or one of too many items")]
    Items,
}

impl Asked {
    /// A request that will be answered.
    pub(crate) fn ask(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.open.len() >= MAX_FILER_REQUESTS {
            return Err(AskedTooMuch::Requests);
        }
        if self.open.insert(op) { Ok(()) } else { Err(AskedTooMuch::Number) }
    }

    /// A request that will be answered by the ticket.
    pub(crate) fn ask_ticket(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.ticket.is_some() {
            return Err(AskedTooMuch::Ticket);
        }
        self.ask(op)?;
        self.ticket = Some(op);
        Ok(())
    }

    /// It was answered; with the ticket, if it asked for that.
    pub(crate) fn answered(&mut self, op: OpId) {
        self.open.remove(&op);
    }

    /// It was refused, and what it asked for is not granted.
    pub(crate) fn refused(&mut self, op: OpId) {
        self.open.remove(&op);
        if self.ticket == Some(op) {
            self.ticket = None;
        }
    }

    /// A message about so many names that is not answered, but takes memory until it is dealt with.
    pub(crate) fn note(&mut self, names: usize) -> Result<(), AskedTooMuch> {
        self.noted += names;
        if self.noted > MAX_NOTED {
            return Err(AskedTooMuch::Notes);
        }
        Ok(())
    }

    /// It was dealt with.
    pub(crate) fn noted(&mut self, names: usize) {
        self.noted = self.noted.saturating_sub(names);
    }

    /// The ticket was given back.
    pub(crate) fn released(&mut self, op: OpId) -> Result<(), AskedTooMuch> {
        if self.ticket != Some(op) || self.open.contains(&op) {
            return Err(AskedTooMuch::Release);
        }
        self.ticket = None;
        Ok(())
    }
}

/// Whether a message has a sensible number of names.
pub(crate) fn check_names(count: usize) -> Result<(), AskedTooMuch> {
    if (1..=NAMES_PER_MESSAGE).contains(&count) { Ok(()) } else { Err(AskedTooMuch::Items) }
}

/// Whether an intent or a settle has a sensible number of changes: the ledger's thread is everybody's.
pub(crate) fn check_changes(count: usize) -> Result<(), AskedTooMuch> {
    if (1..=CHANGES_PER_MESSAGE).contains(&count) { Ok(()) } else { Err(AskedTooMuch::Items) }
}

/// What a message costs, by the rate at which a filer may send: one for each name or change in it.
pub(crate) fn weight(message: &FilerToDaemon) -> usize {
    match message {
        FilerToDaemon::Intent { items, settle, .. } => {
            items.len() + settle.as_ref().map_or(0, |settle| settle.items.len())
        }
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

    fn messages() -> [FilerToDaemon; 28] {
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
            (FilerPhase::Starting, "x..........................."),
            (FilerPhase::Spare, "............................"),
            (FilerPhase::Joining, ".x.........................."),
            (FilerPhase::Serving, "..xxxxxxxxxxxxxxxxxxx......."),
            (FilerPhase::Recovering, "....................xxx..xxx"),
            (FilerPhase::Walking, ".......................xxxx."),
        ];
        for (phase, row) in table {
            for (message, letter) in messages().iter().zip(row.chars()) {
                let name = name(message);
                assert_eq!(may_send(phase, message), letter == 'x', "{phase:?} {name}");
            }
        }
    }

    #[test]
    fn requests_are_bounded_and_their_numbers_single() {
        let mut asked = Asked::default();
        for n in 0..MAX_FILER_REQUESTS as u32 {
            asked.ask(OpId(n)).unwrap();
        }
        assert_eq!(asked.ask(OpId(99)), Err(AskedTooMuch::Requests));
        asked.answered(OpId(5));
        assert_eq!(asked.ask(OpId(6)), Err(AskedTooMuch::Number));
        asked.ask(OpId(5)).unwrap();
    }

    #[test]
    fn one_ticket_is_asked_for_at_a_time_and_its_release_precedes_the_next() {
        let mut asked = Asked::default();
        asked.ask_ticket(OpId(1)).unwrap();
        assert_eq!(asked.ask_ticket(OpId(2)), Err(AskedTooMuch::Ticket));
        assert_eq!(asked.released(OpId(1)), Err(AskedTooMuch::Release), "not granted yet");
        asked.answered(OpId(1));
        assert_eq!(asked.ask_ticket(OpId(2)), Err(AskedTooMuch::Ticket));
        assert_eq!(asked.released(OpId(2)), Err(AskedTooMuch::Release));
        asked.released(OpId(1)).unwrap();
        assert_eq!(asked.released(OpId(1)), Err(AskedTooMuch::Release), "only once");
        asked.ask_ticket(OpId(2)).unwrap();
        asked.refused(OpId(2));
        asked.ask_ticket(OpId(3)).unwrap();
    }

    #[test]
    fn what_is_not_answered_is_bounded_too() {
        let mut asked = Asked::default();
        asked.note(MAX_NOTED).unwrap();
        assert_eq!(asked.note(1), Err(AskedTooMuch::Notes));
        let mut asked = Asked::default();
        for _ in 0..3 {
            asked.note(MAX_NOTED).unwrap();
            asked.noted(MAX_NOTED);
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
    fn empty_and_endless_messages_are_refused() {
        for (check, most) in [
            (check_names as fn(usize) -> _, NAMES_PER_MESSAGE),
            (check_changes, CHANGES_PER_MESSAGE),
        ] {
            assert_eq!(check(0), Err(AskedTooMuch::Items));
            assert_eq!(check(most), Ok(()));
            assert_eq!(check(most + 1), Err(AskedTooMuch::Items));
        }
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

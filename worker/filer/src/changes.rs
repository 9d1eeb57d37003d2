//! Which changes go under one ticket, and whose turn it is: decided without a channel or a clock.
//!
//! Changes that come while the ticket is asked for or held wait, and go together next: one intent with a row
//! for each, one ticket, the acts one after the other in the order in which they came. Nothing waits for a
//! batch to become larger. [`crate::ledger`] carries out what is decided here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OwedName, StagingName};
use berth_common::ledger_protocol::IntentItem;
use berth_common::limits::CHANGES_PER_MESSAGE;

/// Most changes in a batch, and most settles in one message: both fit a packet together.
pub(crate) const MAX_BATCH: usize = CHANGES_PER_MESSAGE;

/// After acting for so long the ticket is given back and asked for again, so that a large batch does not hold
/// up the user's other sessions.
pub(crate) const MOST_ACTING: Duration = Duration::from_millis(50);

/// The changes of a session that have not acted yet. `A` is what waits for its turn.
#[derive(Debug)]
pub(crate) struct Changes<A> {
    /// Not asked for yet.
    waiting: VecDeque<Waiting<A>>,
    /// Their rows are durable, if they have any: they only need the ticket.
    written: VecDeque<Turn<A>>,
    ticket: Ticket<A>,
}

#[derive(Debug)]
struct Waiting<A> {
    intent: Option<IntentItem>,
    /// It was refused in a batch, by whosoever fault.
    alone: bool,
    waiter: A,
}

/// Where this session stands with the ticket.
#[derive(Debug)]
enum Ticket<A> {
    /// It has not asked.
    None,
    /// It has asked, and these intents are not known to be written.
    Asked(Vec<Waiting<A>>),
    /// It has asked again, for those whose rows are written.
    AskedAgain,
    /// It holds it, and one of those that were written acts.
    Held { since: Instant },
}

/// Whose turn it is to act, under which name if it has an intent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn<A> {
    pub(crate) waiter: A,
    pub(crate) to: Option<TakeTo>,
}

/// The name that a change has in staging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeTo {
    /// That of an intent, which is to be settled.
    Intent(StagingName),
    /// One without an intent, because the ledger cannot be written: nothing is settled by this session.
    Owed(OwedName),
}

impl TakeTo {
    /// The entry's name in the staging directory.
    pub(crate) fn file_name(self) -> String {
        match self {
            Self::Intent(name) => name.file_name(),
            Self::Owed(name) => name.file_name(),
        }
    }
}

/// How the ticket is to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// With these intents.
    Intent(Vec<IntentItem>),
    /// Alone.
    Ticket,
}

/// What follows an act.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<A> {
    /// Another one, under the same ticket.
    Act(Turn<A>),
    /// The ticket is to be given back at once.
    Release,
}

/// The daemon's answer fits no question, or cannot be lived with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Another number of names than of intents, or a ticket that was not asked for.
    Answer,
    /// The ticket is refused to changes whose rows are durable: replay has to end these.
    Written,
}

impl<A> Default for Changes<A> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), written: VecDeque::new(), ticket: Ticket::None }
    }
}

impl<A> Changes<A> {
    /// A change that waits from now on.
    pub(crate) fn wait(&mut self, intent: Option<IntentItem>, waiter: A) {
        self.waiting.push_back(Waiting { intent, alone: false, waiter });
    }

    /// How the ticket is to be asked for now, if it is.
    pub(crate) fn ask(&mut self) -> Option<Asking> {
        if !matches!(self.ticket, Ticket::None) {
            return None;
        }
        if !self.written.is_empty() {
            self.ticket = Ticket::AskedAgain;
            return Some(Asking::Ticket);
        }
        let together = self.waiting.iter().take(MAX_BATCH).take_while(|it| !it.alone).count();
        let count = together.max(1).min(self.waiting.len());
        let batch: Vec<_> = self.waiting.drain(..count).collect();
        if batch.is_empty() {
            return None;
        }
        let items: Vec<_> = batch.iter().filter_map(|it| it.intent.clone()).collect();
        self.ticket = Ticket::Asked(batch);
        Some(if items.is_empty() { Asking::Ticket } else { Asking::Intent(items) })
    }

    /// The ticket is this session's, with a name for each intent. Whose turn it is.
    pub(crate) fn granted(
        &mut self,
        names: Vec<StagingName>,
        now: Instant,
    ) -> Result<Turn<A>, Unfit> {
        let batch = match std::mem::replace(&mut self.ticket, Ticket::Held { since: now }) {
            Ticket::Asked(batch) => batch,
            Ticket::AskedAgain => Vec::new(),
            Ticket::None | Ticket::Held { .. } => return Err(Unfit::Answer),
        };
        let mut names = names.into_iter();
        for Waiting { intent, waiter, .. } in batch {
            let to = match intent {
                Some(_) => Some(TakeTo::Intent(names.next().ok_or(Unfit::Answer)?)),
                None => None,
            };
            self.written.push_back(Turn { waiter, to });
        }
        match (names.next(), self.written.pop_front()) {
            (None, Some(first)) => Ok(first),
            _ => Err(Unfit::Answer),
        }
    }

    /// The ticket is this session's, and nothing was written: the one that asked may take what it is about
    /// to this name.
    pub(crate) fn owing(&mut self, name: OwedName, now: Instant) -> Result<Turn<A>, Unfit> {
        let held = Ticket::Held { since: now };
        let Ticket::Asked(mut batch) = std::mem::replace(&mut self.ticket, held) else {
            return Err(Unfit::Answer);
        };
        match (batch.pop(), batch.is_empty()) {
            (Some(Waiting { intent: Some(IntentItem::Take), waiter, .. }), true) => {
                Ok(Turn { waiter, to: Some(TakeTo::Owed(name)) })
            }
            _ => Err(Unfit::Answer),
        }
    }

    /// The ticket is refused, and nothing was written. Who is told so; the others ask again, each by itself.
    pub(crate) fn refused(&mut self, error: &ErrorCode) -> Result<Vec<A>, Unfit> {
        let batch = match std::mem::replace(&mut self.ticket, Ticket::None) {
            Ticket::Asked(batch) => batch,
            Ticket::AskedAgain => return Err(Unfit::Written),
            Ticket::None | Ticket::Held { .. } => return Err(Unfit::Answer),
        };
        // Without an intent none of them was at fault: together again they would only be refused again.
        let has_intents = batch.iter().any(|it| it.intent.is_some());
        if batch.len() == 1 || !has_intents || is_everybodys(error) {
            return Ok(batch.into_iter().map(|it| it.waiter).collect());
        }
        for change in batch.into_iter().rev() {
            // One without an intent cannot have been at fault beside those with one.
            let alone = change.intent.is_some();
            self.waiting.push_front(Waiting { alone, ..change });
        }
        Ok(Vec::new())
    }

    /// Until when those who hold the ticket may act.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.ticket {
            Ticket::Held { since } => Some(since + MOST_ACTING),
            Ticket::None | Ticket::Asked(_) | Ticket::AskedAgain => None,
        }
    }

    /// Whether the ticket is given back when the one whose turn it is has acted.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.written.is_empty() || self.until().is_none_or(|until| now >= until)
    }

    /// These had their turn and no time to act: the ticket is asked for again, and they are the first.
    pub(crate) fn put_back(&mut self, turns: impl DoubleEndedIterator<Item = Turn<A>>) {
        turns.rev().for_each(|turn| self.written.push_front(turn));
    }

    /// The one whose turn it was has acted.
    pub(crate) fn acted(&mut self, now: Instant) -> Next<A> {
        if !self.is_over(now)
            && let Some(next) = self.written.pop_front()
        {
            return Next::Act(next);
        }
        self.ticket = Ticket::None;
        Next::Release
    }
}

/// Whether each of a batch would be refused in the same way by itself. Not while the ledger cannot be
/// written: what is taken out of the home can be owed then, and what needs no intent goes on.
fn is_everybodys(error: &ErrorCode) -> bool {
    matches!(error, ErrorCode::ReadOnly | ErrorCode::Busy)
}

#[cfg(test)]
mod tests {
    use berth_common::channel::Channel;
    use berth_common::ids::OpId;
    use berth_common::ledger_protocol::{
        DaemonToFiler, FilerToDaemon, Outcome, SettleItem, Settling,
    };

    use super::*;

    fn names(count: u64) -> Vec<StagingName> {
        (0..count).map(StagingName).collect()
    }

    fn turn(waiter: u32, name: Option<u64>) -> Turn<u32> {
        Turn { waiter, to: name.map(|name| TakeTo::Intent(StagingName(name))) }
    }

    /// Changes 0 and up, each an intent.
    fn waiting(count: u32) -> Changes<u32> {
        let mut changes = Changes::default();
        (0..count).for_each(|n| changes.wait(Some(IntentItem::Take), n));
        changes
    }

    fn quota() -> ErrorCode {
        ErrorCode::DiskFull
    }

    #[test]
    fn what_comes_while_the_ticket_is_asked_for_or_held_goes_together_next() {
        let (mut changes, now) = (waiting(1), Instant::now());
        assert_eq!(
            changes.ask(),
            Some(Asking::Intent(vec![IntentItem::Take])),
            "it waits for none"
        );
        changes.wait(Some(IntentItem::Over), 1);
        assert_eq!(changes.ask(), None);
        assert_eq!(changes.granted(names(1), now), Ok(turn(0, Some(0))));
        changes.wait(None, 2);
        changes.wait(Some(IntentItem::Take), 3);
        assert_eq!(changes.ask(), None);
        assert_eq!(changes.acted(now), Next::Release);
        let items = vec![IntentItem::Over, IntentItem::Take];
        assert_eq!(changes.ask(), Some(Asking::Intent(items)));
        assert_eq!(changes.granted(names(2), now), Ok(turn(1, Some(0))));
        assert_eq!(changes.acted(now), Next::Act(turn(2, None)), "it rides along");
        assert_eq!(changes.acted(now), Next::Act(turn(3, Some(1))));
        assert_eq!(changes.acted(now), Next::Release);
        assert_eq!(changes.ask(), None);
    }

    #[test]
    fn what_had_no_time_to_act_is_the_first_when_the_ticket_is_granted_again() {
        let (mut changes, start) = (waiting(4), Instant::now());
        changes.ask();
        assert_eq!(changes.until(), None);
        changes.granted(names(4), start).unwrap();
        assert_eq!(changes.until(), Some(start + MOST_ACTING));
        for n in 1..3 {
            assert!(!changes.is_over(start));
            assert_eq!(changes.acted(start), Next::Act(turn(n, Some(n.into()))));
        }
        // 0 acted, 1 and 2 did not, and 3 had no turn.
        let later = start + MOST_ACTING;
        changes.put_back([1, 2].map(|n| turn(n, Some(n.into()))).into_iter());
        assert!(changes.is_over(later));
        assert_eq!(changes.acted(later), Next::Release);
        assert_eq!(changes.ask(), Some(Asking::Ticket));
        assert_eq!(changes.granted(vec![], later), Ok(turn(1, Some(1))));
        assert_eq!(changes.acted(later), Next::Act(turn(2, Some(2))));
        assert_eq!(changes.acted(later), Next::Act(turn(3, Some(3))));
        assert!(changes.is_over(later));
    }

    #[test]
    fn changes_without_intent_ask_for_the_ticket_alone() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.wait(None, 0);
        changes.wait(None, 1);
        assert_eq!(changes.ask(), Some(Asking::Ticket));
        assert_eq!(changes.granted(vec![], now), Ok(turn(0, None)));
        assert_eq!(changes.acted(now), Next::Act(turn(1, None)));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut changes = waiting(MAX_BATCH as u32 + 5);
        let sizes: Vec<usize> = std::iter::from_fn(|| match changes.ask()? {
            Asking::Intent(items) => {
                assert_eq!(changes.refused(&ErrorCode::Busy).unwrap().len(), items.len());
                Some(items.len())
            }
            Asking::Ticket => None,
        })
        .collect();
        assert_eq!(sizes, [MAX_BATCH, 5]);
    }

    #[test]
    fn the_largest_messages_fit_a_packet() {
        let stage = IntentItem::Stage {
            name: StagingName(u64::MAX),
            inode: u64::MAX,
            size: u64::MAX,
            replaces: Some(u64::MAX),
        };
        let outcome = Outcome::Removed { bytes: u64::MAX, entries: u64::MAX };
        let item = SettleItem { name: StagingName(u64::MAX), outcome };
        let settle = Settling { op: OpId(u32::MAX), items: vec![item; MAX_BATCH] };
        let (op, items) = (OpId(u32::MAX), vec![stage; MAX_BATCH]);
        let message = FilerToDaemon::Intent { op, items, settle: Some(settle) };
        let (filer, daemon) = Channel::<FilerToDaemon, DaemonToFiler>::pair().unwrap();
        filer.send(&message, &[]).unwrap();
        assert_eq!(daemon.recv().unwrap().message, message);
    }

    #[test]
    fn after_the_time_is_up_the_rest_asks_again_before_anything_else_does() {
        let (mut changes, start) = (waiting(3), Instant::now());
        changes.ask();
        changes.granted(names(3), start).unwrap();
        changes.wait(Some(IntentItem::Over), 9);
        let almost = start + MOST_ACTING - Duration::from_nanos(1);
        assert_eq!(changes.acted(almost), Next::Act(turn(1, Some(1))));
        assert_eq!(changes.acted(start + MOST_ACTING), Next::Release);
        assert_eq!(changes.ask(), Some(Asking::Ticket), "its row is there");
        assert_eq!(changes.ask(), None);
        let later = start + 2 * MOST_ACTING;
        assert_eq!(changes.granted(vec![], later), Ok(turn(2, Some(2))));
        assert_eq!(changes.acted(later), Next::Release);
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Over])));
    }

    #[test]
    fn each_gets_at_least_one_act_under_a_ticket() {
        let (mut changes, start) = (waiting(3), Instant::now());
        changes.ask();
        let mut acts = vec![changes.granted(names(3), start).unwrap().waiter];
        let slow = start + 10 * MOST_ACTING;
        while changes.acted(slow) == Next::Release && changes.ask().is_some() {
            acts.push(changes.granted(vec![], start).unwrap().waiter);
        }
        assert_eq!(acts, [0, 1, 2]);
    }

    #[test]
    fn a_refused_batch_asks_again_one_by_one_in_order() {
        let (mut changes, now) = (waiting(2), Instant::now());
        changes.wait(None, 2);
        changes.ask();
        changes.wait(Some(IntentItem::Over), 3);
        assert_eq!(changes.refused(&quota()), Ok(vec![]), "nobody yet");
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Take])));
        assert_eq!(changes.refused(&quota()), Ok(vec![0]), "its own answer");
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Take])));
        assert_eq!(changes.granted(names(1), now), Ok(turn(1, Some(0))));
        assert_eq!(changes.acted(now), Next::Release);
        // What came later, and what could not be at fault, go together again.
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Over])));
        assert_eq!(changes.granted(names(1), now), Ok(turn(2, None)));
        assert_eq!(changes.acted(now), Next::Act(turn(3, Some(0))));
    }

    #[test]
    fn what_is_everybodys_fault_refuses_everybody() {
        for error in [ErrorCode::ReadOnly, ErrorCode::Busy] {
            let mut changes = waiting(3);
            changes.ask();
            assert_eq!(changes.refused(&error), Ok(vec![0, 1, 2]));
            assert_eq!(changes.ask(), None);
        }
    }

    #[test]
    fn while_the_ledger_cannot_be_written_each_asks_alone_and_removals_are_owed() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.wait(Some(IntentItem::Over), 0);
        changes.wait(Some(IntentItem::Take), 1);
        assert!(matches!(changes.ask(), Some(Asking::Intent(items)) if items.len() == 2));
        assert_eq!(changes.owing(OwedName(5), now), Err(Unfit::Answer), "which of them?");
        let mut changes = Changes::default();
        changes.wait(Some(IntentItem::Over), 0);
        changes.wait(Some(IntentItem::Take), 1);
        changes.wait(None, 2);
        changes.ask();
        let error = ErrorCode::LedgerUnavailable;
        assert_eq!(changes.refused(&error), Ok(vec![]));
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Over])));
        assert_eq!(changes.refused(&error), Ok(vec![0]));
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Take])));
        let owed = Turn { waiter: 1, to: Some(TakeTo::Owed(OwedName(5))) };
        assert_eq!(changes.owing(OwedName(5), now), Ok(owed));
        assert_eq!(changes.acted(now), Next::Release);
        assert_eq!(changes.ask(), Some(Asking::Ticket), "it needs no ledger");
        assert_eq!(changes.granted(vec![], now), Ok(turn(2, None)));
        assert_eq!(changes.owing(OwedName(6), now), Err(Unfit::Answer), "it has not asked");
    }

    #[test]
    fn changes_without_intent_that_are_refused_together_are_all_told() {
        let error = ErrorCode::LedgerUnavailable;
        let mut changes = Changes::default();
        (0..2).for_each(|n| changes.wait(None, n));
        assert_eq!(changes.ask(), Some(Asking::Ticket));
        assert_eq!(changes.refused(&error), Ok(vec![0, 1]));
        assert_eq!(changes.ask(), None, "nobody waits for ever");
        let items = [Some(IntentItem::Over), None, None];
        (0..).zip(items).for_each(|(n, item)| changes.wait(item, n));
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Over])));
        assert_eq!(changes.refused(&error), Ok(vec![]));
        assert_eq!(changes.ask(), Some(Asking::Intent(vec![IntentItem::Over])));
        assert_eq!(changes.refused(&error), Ok(vec![0]));
        assert_eq!(changes.ask(), Some(Asking::Ticket));
        assert_eq!(changes.refused(&error), Ok(vec![1, 2]));
        assert_eq!(changes.ask(), None);
    }

    #[test]
    fn answers_that_do_not_fit_are_told() {
        let now = Instant::now();
        for count in [0, 1, 3] {
            let mut changes = waiting(2);
            changes.ask();
            assert_eq!(changes.granted(names(count), now), Err(Unfit::Answer));
        }
        assert_eq!(waiting(1).granted(names(1), now), Err(Unfit::Answer));
        assert_eq!(waiting(1).refused(&quota()), Err(Unfit::Answer));
        let mut changes = waiting(2);
        changes.ask();
        changes.granted(names(2), now).unwrap();
        changes.acted(now + MOST_ACTING);
        changes.ask();
        assert_eq!(changes.refused(&ErrorCode::Busy), Err(Unfit::Written));
    }
}

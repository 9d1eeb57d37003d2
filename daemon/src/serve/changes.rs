//! What moves a user's sums: reservations in memory, intents with the ticket, settles.
//!
//! The ticket is asked for only when the intents are durable.

use std::time::{Duration, Instant};

use berth_common::entry::Usage;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::{
    DaemonToFiler, FileReservation, IntentItem, ReservationResult, SettleItem, Settling,
};
use berth_common::points::{Point, reach};

use super::{Given, Serving};
use crate::asked::AskedTooMuch;
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::free_space::room;
use crate::ledger::LedgerError;

/// How long changes wait for a dead holder's replay before they are refused.
pub(crate) const STUCK: Duration = Duration::from_secs(15);

/// How long an upload of unknown size waits for bytes to be unlinked, and how often that is looked at.
const UNLINKING: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Serving {
    pub(super) async fn reserve(&self, op: OpId, growth: u64, entries: u64, stages: Option<u64>) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        if let Some(bytes) = stages
            && let Some(error) = self.refuses_staging(bytes).await
        {
            return self.refuse(op, error);
        }
        let ledger = &self.daemon.ledger;
        let reserved = ledger.reserve(&self.user, self.session, growth, entries).await;
        self.give(reserved.iter().copied());
        if let (Ok(name), Some(size @ 1..)) = (&reserved, stages) {
            self.writes(|writing| writing.open(*name, size, false));
        }
        self.answer(op, reserved.map(|name| DaemonToFiler::Reserved { op, name }));
    }

    /// For files that the filer writes itself: the worker may write nothing more for them. They are asked for
    /// together and find the disk's room together. Other batches that are asked for before these are written find the
    /// same room: less than 2 MiB in all of a session.
    pub(super) async fn reserve_files(&self, op: OpId, files: Vec<FileReservation>) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        let stages = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.stages));
        if let Some(error) = self.refuses_staging(stages).await {
            return self.refuse(op, error);
        }
        let ledger = &self.daemon.ledger;
        let reserved = ledger.reserve_files(&self.user, self.session, files).await;
        let given = reserved.iter().flatten().filter_map(|result| match result {
            ReservationResult::Reserved(name) => Some(*name),
            ReservationResult::Refused(_) => None,
        });
        self.give(given);
        self.answer(op, reserved.map(|results| DaemonToFiler::FilesReserved { op, results }));
    }

    /// Begins the reservation of an upload of unknown size. It lives in memory: without a fingerprint of its
    /// source an upload cannot be resumed, so that nothing of it has to outlive the daemon.
    pub(super) async fn lease(&self, op: OpId, entries: u64, replaces: u64) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        let room = match self.room_on_disk().await {
            Ok(room) => room,
            Err(error) => return self.refuse(op, error),
        };
        let ledger = &self.daemon.ledger;
        let leased = ledger.lease(&self.user, self.session, entries, room).await;
        if let Ok((name, bytes)) = &leased {
            self.give([*name]);
            self.writes(|writing| writing.lease(*name, replaces, *bytes));
        }
        self.answer(op, leased.map(|(name, bytes)| DaemonToFiler::Leased { op, name, bytes }));
    }

    /// Has such a reservation grow. Bytes that only have to be unlinked are waited for: nothing of the upload could
    /// be gone on with after a refusal.
    pub(super) async fn extend(&self, op: OpId, name: StagingName, least: u64) {
        let begun = Instant::now();
        let ledger = &self.daemon.ledger;
        let extended = loop {
            // Unlinking frees space too.
            if let Some(error) = self.refuses_changes() {
                return self.refuse(op, error);
            }
            let room = match self.room_if_any().await {
                Ok(room) => room,
                Err(error) => return self.refuse(op, error),
            };
            let extended = ledger.extend(&self.user, self.session, name, least, room).await;
            let busy = extended == Err(LedgerError::Refused(ErrorCode::Busy));
            if !busy || begun.elapsed() >= UNLINKING {
                break extended;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.over.up() => break extended,
            }
        };
        if let Ok(bytes) = &extended {
            self.writes(|writing| writing.extend(name, *bytes));
        }
        self.answer(op, extended.map(|bytes| DaemonToFiler::Extended { op, bytes }));
    }

    /// Tells how much may be written.
    pub(super) async fn room(&self, op: OpId) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        match self.room_if_any().await {
            Ok(bytes) => self.answer(op, Ok(DaemonToFiler::Room { op, bytes })),
            Err(error) => self.refuse(op, error),
        }
    }

    /// The intent is durable before the ticket is asked for.
    pub(super) async fn intent(&self, op: OpId, items: Vec<IntentItem>) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        let can_be_owed = can_be_owed(&items);
        let written = self.daemon.ledger.intent(&self.user, self.session, items).await;
        reach(Point::IntentDurable);
        self.intended(op, can_be_owed, written).await;
    }

    /// A batch's intent with the settle of the one before, in one transaction.
    pub(super) async fn settle_and_intent(
        &self,
        settle: Settling,
        op: OpId,
        items: Vec<IntentItem>,
    ) {
        if let Some(error) = self.refuses_changes() {
            self.refuse(op, error);
            // What keeps changes from beginning need not keep them from ending.
            return self.settle(settle.op, settle.items).await;
        }
        let can_be_owed = can_be_owed(&items);
        reach(Point::SettleAsked);
        let ledger = &self.daemon.ledger;
        let (settled, written) =
            ledger.settle_and_intent(&self.user, self.session, settle.items, items).await;
        reach(Point::SettleDurable);
        reach(Point::IntentDurable);
        self.settled(settle.op, settled);
        self.intended(op, can_be_owed, written).await;
    }

    async fn intended(
        &self,
        op: OpId,
        can_be_owed: bool,
        written: Result<Vec<StagingName>, LedgerError>,
    ) {
        match written {
            Err(LedgerError::Unavailable) if can_be_owed => self.owe(op).await,
            Err(error) => self.answer(op, Err(error)),
            // The row is there: the replay that follows the session's end sees to it.
            Ok(_) if self.over.is_up() => {}
            // A refusal would let the filer unlink what the row speaks of.
            Ok(_) if self.daemon.is_read_only(&self.user) => {
                self.kill(KillReason::Internal("the home is read-only".to_owned()));
            }
            Ok(names) => self.request_ticket(op, Given::Names(names)),
        }
    }

    /// The ticket with a name of which no row speaks: it may be given up at any time.
    async fn owe(&self, op: OpId) {
        let owed = self.daemon.ledger.owe().await;
        reach(Point::Owing);
        match owed {
            Err(error) => self.answer(op, Err(error)),
            Ok(_) if self.over.is_up() => {}
            Ok(name) => match self.refuses_changes() {
                Some(error) => self.refuse(op, error),
                None => self.request_ticket(op, Given::Owed(name)),
            },
        }
    }

    fn request_ticket(&self, op: OpId, given: Given) {
        self.daemon.request_ticket(&self.user, self.session, op, given);
    }

    /// The ticket alone, for a change that moves no sum.
    pub(super) fn ticket(&self, op: OpId) {
        match self.refuses_changes() {
            Some(error) => self.refuse(op, error),
            None => self.request_ticket(op, Given::Names(Vec::new())),
        }
    }

    pub(super) fn released(&self, op: OpId) -> Result<(), AskedTooMuch> {
        let mut tickets = self.daemon.tickets.borrow_mut();
        let next = tickets.release(&self.user, self.session, op, Instant::now());
        drop(tickets);
        self.daemon.deliver(next.map_err(|_| AskedTooMuch::Release)?);
        self.note_what_is_owed();
        Ok(())
    }

    pub(super) async fn settle(&self, op: OpId, items: Vec<SettleItem>) {
        if self.daemon.is_read_only(&self.user) {
            return self.leave_to_replay("the home is read-only");
        }
        reach(Point::SettleAsked);
        let settled = self.daemon.ledger.settle(&self.user, self.session, items).await;
        reach(Point::SettleDurable);
        self.settled(op, settled);
    }

    fn settled(&self, op: OpId, settled: Result<Usage, LedgerError>) {
        match settled {
            Ok(usage) => self.answer(op, Ok(DaemonToFiler::Settled { op, usage })),
            Err(error) => {
                self.look_at(&error);
                self.leave_to_replay(&error.to_string());
            }
        }
    }

    /// A change cannot be settled. It has happened, or may have, and must not be told to have failed: nothing
    /// is acknowledged, and what is true is found out and settled by the replay, which waits for the ledger,
    /// or for the next start where the home is read-only (R18).
    fn leave_to_replay(&self, reason: &str) {
        let reason = format!("a change cannot be settled: {reason}");
        self.kill(KillReason::Internal(reason));
    }

    pub(super) fn refuses_changes(&self) -> Option<ErrorCode> {
        if self.daemon.is_read_only(&self.user) {
            return Some(ErrorCode::ReadOnly);
        }
        if self.daemon.is_unrecovered(&self.user) {
            return Some(ErrorCode::LedgerUnavailable);
        }
        let stuck = self.daemon.tickets.borrow().is_stuck(&self.user);
        stuck.then_some(ErrorCode::Busy)
    }

    /// What is staged takes its whole size until it is placed, however little the home grows by it.
    async fn refuses_staging(&self, bytes: u64) -> Option<ErrorCode> {
        match self.room_on_disk().await {
            Ok(room) if room >= bytes => None,
            Ok(_) => Some(ErrorCode::DiskFull),
            Err(error) => Some(error),
        }
    }

    /// Bytes above the floor of free space; 0 also below it, for what may need none.
    pub(super) async fn room_if_any(&self) -> Result<u64, ErrorCode> {
        match self.room_on_disk().await {
            Err(ErrorCode::DiskFull) => Ok(0),
            room => room,
        }
    }

    /// Bytes above the floor of free space. Refused below it, for what has come to refuse changes while the disk was
    /// asked, and when the session ends meanwhile: its end does not wait for a disk that hangs.
    async fn room_on_disk(&self) -> Result<u64, ErrorCode> {
        let Daemon { free_space, homes, .. } = &*self.daemon;
        let free = tokio::select! {
            biased;
            () = self.over.up() => None,
            free = free_space.bytes(homes) => free,
        };
        if let Some(error) = self.refuses_changes() {
            return Err(error);
        }
        room(free, self.daemon.settings().config.min_free_bytes)
    }
}

/// What is deleted frees space, and need not wait until the ledger can be written.
fn can_be_owed(items: &[IntentItem]) -> bool {
    *items == [IntentItem::Take]
}

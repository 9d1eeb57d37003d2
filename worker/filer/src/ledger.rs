//! What an operation may ask of the daemon: reserve, intent and ticket, settle.
//!
//! The ticket is handed out as the time of one synchronous call ([`Ledger::with_ticket`]), or of several in a
//! row: the release is sent before any of them goes on, so that no fsync, no network and no ledger come under
//! it. Files that are placed where nothing stands only say so in their turn ([`Ledger::with_ticket_to_place`]), and
//! are placed together before anything else acts and before the ticket is given back. What becomes ready in the same
//! turn of the loop goes together: changes in one intent, settles in one message, both in one where both are there
//! ([`Ledger::send_waiting`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use berth_common::channel::ChannelError;
use berth_common::entry::{SourceFingerprint, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FileReservation, FilerToDaemon, HomeReport, IntentItem, Outcome,
    ReservationResult, SettleItem, Settling, UploadRow,
};
use berth_common::limits::{NAMES_PER_MESSAGE, REPORTS_PER_MESSAGE};
use berth_common::points::{Point, reach};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

pub(crate) use crate::changes::TakeTo;
use crate::changes::{Asking, Changes, MAX_BATCH, Next, Turn, Unfit};
use crate::helper::Names;
use crate::home::{Home, Parent, Place};
use crate::questions::{Purpose, Questions, Queue};
use crate::renames::{self, Rename};
use crate::run::DaemonChannel;
use crate::session::{Broken, End};
use crate::tasks::{Filler, Slot, slot};

/// A question that gets its number when it is sent.
type Question = Box<dyn FnOnce(OpId) -> FilerToDaemon>;

/// Who waits for an answer.
enum Waiting {
    /// An operation.
    One(Filler<DaemonToFiler>),
    /// The operations whose intents one message settles.
    Settles(Vec<Filler<DaemonToFiler>>),
    /// The changes of the table.
    Changes,
}

/// A change's turn: the ticket is held, under the intent's name if there is one; or it is refused.
type Granted = Result<Option<TakeTo>, ErrorCode>;

/// A rename under the ticket.
enum Renamed {
    /// It was carried out, or failed.
    Done(Result<(), Errno>),
    /// There was no time for it: its turn comes again.
    Again(Slot<Granted>),
}

/// The daemon's channel, with the tables of what is asked and what waits.
pub(crate) struct Ledger {
    channel: DaemonChannel,
    end: Rc<End>,
    questions: RefCell<Questions<Question, Waiting>>,
    changes: RefCell<Changes<Filler<Granted>>>,
    names: Names,
    /// Those whose turn it was, in their order, with the names of their intents.
    renames: RefCell<Vec<(Rename, Filler<Renamed>)>>,
    /// They have acted, and go on when the ticket is given back.
    acted: RefCell<Vec<Filler<()>>>,
    settles: RefCell<VecDeque<(SettleItem, Filler<DaemonToFiler>)>>,
    gone: RefCell<Vec<StagingName>>,
    /// Whether the home was being verified when the ticket was last granted.
    reporting: Cell<bool>,
    /// What is to be told of it, in the order of events.
    reports: RefCell<Vec<HomeReport>>,
    /// Where the last file was placed under the ticket that is held. No directory has moved since.
    parent: RefCell<Parent>,
}

/// An upload that the ledger has for this session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    pub(crate) name: StagingName,
    pub(crate) resumed: bool,
    pub(crate) superseded: Option<StagingName>,
}

impl Ledger {
    pub(crate) fn new(channel: DaemonChannel, end: Rc<End>, names: Names) -> Self {
        Self {
            channel,
            end,
            questions: RefCell::default(),
            changes: RefCell::default(),
            names,
            renames: RefCell::default(),
            acted: RefCell::default(),
            settles: RefCell::default(),
            gone: RefCell::default(),
            reporting: Cell::default(),
            reports: RefCell::default(),
            parent: RefCell::default(),
        }
    }

    /// The channel, to wait for its messages and to receive them.
    pub(crate) fn channel(&self) -> &DaemonChannel {
        &self.channel
    }

    /// Hands an answer of the daemon's to the operation that waits for it.
    pub(crate) fn deliver(&self, message: DaemonToFiler) {
        let Some(op) = operation(&message) else {
            return self
                .end
                .broken(format!("the daemon said what a session is not told: {message:?}"));
        };
        let granted =
            matches!(message, DaemonToFiler::Granted { .. } | DaemonToFiler::Owing { .. });
        if let DaemonToFiler::Granted { reporting, .. } = message {
            self.reporting.set(reporting);
        }
        let waiting = self.questions.borrow_mut().answered(op, granted);
        match waiting {
            Some(Waiting::One(filler)) => filler.fill(message),
            Some(Waiting::Settles(fillers)) => {
                fillers.into_iter().for_each(|filler| filler.fill(message.clone()));
            }
            Some(Waiting::Changes) => self.ticket_answered(message),
            None => self.end.broken(format!("the daemon answered what was not asked: {message:?}")),
        }
    }

    fn ticket_answered(&self, message: DaemonToFiler) {
        let mut changes = self.changes.borrow_mut();
        let unfit = match message {
            DaemonToFiler::Granted { names, .. } => match changes.granted(names, Instant::now()) {
                Ok(Turn { waiter, to }) => return waiter.fill(Ok(to)),
                Err(unfit) => unfit,
            },
            DaemonToFiler::Owing { name, .. } => match changes.owing(name, Instant::now()) {
                Ok(Turn { waiter, to }) => return waiter.fill(Ok(to)),
                Err(unfit) => unfit,
            },
            DaemonToFiler::Refused { error, .. } => match changes.refused(&error) {
                Ok(refused) => {
                    return refused.into_iter().for_each(|it| it.fill(Err(error.clone())));
                }
                Err(unfit) => unfit,
            },
            _ => Unfit::Answer,
        };
        self.end.broken(match unfit {
            Unfit::Answer => "the daemon's answer fits no question for the ticket".to_owned(),
            Unfit::Written => "the ticket is refused to intents that are written".to_owned(),
        });
    }

    /// Sets bytes and entries aside in the daemon's memory, for what has so many bytes to be written to staging.
    pub(crate) async fn reserve(
        &self,
        growth: u64,
        entries: u64,
        stages: Option<u64>,
    ) -> Result<StagingName, ErrorCode> {
        let question = move |op| FilerToDaemon::Reserve { op, growth, entries, stages };
        match self.ask(Queue::Reserving, question).await? {
            DaemonToFiler::Reserved { name, .. } => Ok(name),
            other => self.unexpected(other).await,
        }
    }

    /// Sets bytes and entries aside for several files, each of which may be refused by itself.
    pub(crate) async fn reserve_files(
        &self,
        files: Vec<FileReservation>,
    ) -> Result<Vec<Result<StagingName, ErrorCode>>, ErrorCode> {
        let count = files.len();
        let question = move |op| FilerToDaemon::ReserveFiles { op, files };
        match self.ask(Queue::Reserving, question).await? {
            DaemonToFiler::FilesReserved { results, .. } if results.len() == count => {
                let results = results.into_iter().map(|result| match result {
                    ReservationResult::Reserved(name) => Ok(name),
                    ReservationResult::Refused(error) => Err(error),
                });
                Ok(results.collect())
            }
            other => self.unexpected(other).await,
        }
    }

    /// Begins the reservation of an upload of unknown size, which may replace so many bytes: its name, and the
    /// bytes that it has.
    pub(crate) async fn lease(
        &self,
        entries: u64,
        replaces: u64,
    ) -> Result<(StagingName, u64), ErrorCode> {
        let question = move |op| FilerToDaemon::Lease { op, entries, replaces };
        match self.ask(Queue::Reserving, question).await? {
            DaemonToFiler::Leased { name, bytes, .. } => Ok((name, bytes)),
            other => self.unexpected(other).await,
        }
    }

    /// Has such a reservation grow to at least so many bytes: the bytes that it has then.
    pub(crate) async fn extend(&self, name: StagingName, least: u64) -> Result<u64, ErrorCode> {
        let question = move |op| FilerToDaemon::Extend { op, name, least };
        match self.ask(Queue::Reserving, question).await? {
            DaemonToFiler::Extended { bytes, .. } => Ok(bytes),
            other => self.unexpected(other).await,
        }
    }

    /// How many bytes may be written to the disk above its floor of free space.
    pub(crate) async fn room(&self) -> Result<u64, ErrorCode> {
        match self.ask(Queue::Reserving, |op| FilerToDaemon::Room { op }).await? {
            DaemonToFiler::Room { bytes, .. } => Ok(bytes),
            other => self.unexpected(other).await,
        }
    }

    /// Whether the disk has room for bytes that no reservation told the daemon of.
    ///
    /// # Errors
    /// `DiskFull` when it has not; the daemon's.
    pub(crate) async fn check_room(&self, bytes: u64) -> Result<(), ErrorCode> {
        if bytes == 0 || self.room().await? >= bytes { Ok(()) } else { Err(ErrorCode::DiskFull) }
    }

    /// Opens or resumes a resumable upload.
    pub(crate) async fn reserve_upload(
        &self,
        path: RelPath,
        source: SourceFingerprint,
        token: UploadToken,
        growth: u64,
        entries: u64,
    ) -> Result<Reserved, ErrorCode> {
        let question =
            move |op| FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries };
        match self.ask(Queue::Reserving, question).await? {
            DaemonToFiler::UploadReserved { name, resumed, superseded, .. } => {
                Ok(Reserved { name, resumed, superseded })
            }
            other => self.unexpected(other).await,
        }
    }

    /// Makes an upload this session's, so that it can be aborted.
    pub(crate) async fn claim(&self, name: StagingName) -> Result<(), ErrorCode> {
        self.ask_for_done(move |op| FilerToDaemon::Claim { op, name }).await
    }

    /// Drops a reservation or an open upload; its files must be gone.
    pub(crate) async fn drop_row(&self, name: StagingName) -> Result<(), ErrorCode> {
        self.ask_for_done(move |op| FilerToDaemon::Drop { op, name }).await
    }

    /// Writes an intent if there is one, waits for the ticket, calls `act` with the intent's name, and
    /// returns when the ticket is given back. A refusal means that nothing was written and `act` was not
    /// called. Changes that wait at the same time share one intent message and one ticket.
    ///
    /// When `act` finds what cannot be, the process ends with the ticket in its hands: it is passed on only
    /// after the daemon has looked at what is there.
    pub(crate) async fn with_ticket<R>(
        &self,
        intent: Option<IntentItem>,
        act: impl FnOnce(Option<StagingName>) -> Result<R, Broken>,
    ) -> Result<(Option<StagingName>, R), ErrorCode> {
        let moves_directories = !matches!(intent, Some(IntentItem::Stage { .. }));
        let to = self.turn_to_act(intent).await?;
        if moves_directories {
            self.parent.take();
        }
        let name = match to {
            None => None,
            Some(TakeTo::Intent(name)) => Some(name),
            Some(TakeTo::Owed(_)) => return self.unexpected(to).await,
        };
        Ok((name, self.release_after(act(name)).await))
    }

    /// As [`Ledger::with_ticket`], to take one thing out of the home, which goes on also while the ledger
    /// cannot be written.
    pub(crate) async fn with_ticket_to_take<R>(
        &self,
        act: impl FnOnce(TakeTo) -> Result<R, Broken>,
    ) -> Result<(TakeTo, R), ErrorCode> {
        let to = self.turn_to_act(Some(IntentItem::Take)).await?;
        self.parent.take();
        match to {
            Some(to) => Ok((to, self.release_after(act(to)).await)),
            None => self.unexpected("an intent without a name").await,
        }
    }

    /// As [`Ledger::with_ticket`], for a staged file that is renamed to where nothing stands: `resolve` says where,
    /// under the ticket, and what the rename came to is returned. It is called again where there was no time for the
    /// rename, under the ticket that is granted then.
    pub(crate) async fn with_ticket_to_place(
        &self,
        intent: IntentItem,
        resolve: impl Fn() -> Result<Rename, ErrorCode>,
    ) -> Result<Result<Result<(), Errno>, ErrorCode>, ErrorCode> {
        let mut to = self.turn(Some(intent)).await?;
        loop {
            let Some(TakeTo::Intent(_)) = to else {
                return self.unexpected(to).await;
            };
            let renamed = resolve().map(|rename| {
                let (filler, renamed) = slot();
                self.renames.borrow_mut().push((rename, filler));
                renamed
            });
            if renamed.is_err() {
                reach(Point::Acted);
            }
            self.acted().await;
            reach(Point::Released);
            to = match renamed {
                Ok(renamed) => match renamed.await {
                    Renamed::Done(result) => return Ok(Ok(result)),
                    Renamed::Again(turn) => turn.await?,
                },
                Err(error) => return Ok(Err(error)),
            };
            reach(Point::Granted);
        }
    }

    /// Carries out the renames that were resolved under the ticket that is held, and tells of them. Those for which
    /// there is no time have their turn when the ticket is granted again.
    async fn carry_out_renames(&self) {
        let waiting = self.renames.take();
        if waiting.is_empty() {
            return;
        }
        let Some(until) = self.changes.borrow().until() else {
            return self.end.broken("renames wait without the ticket".to_owned());
        };
        let (renames, fillers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let carry_out = move || renames::carry_out(renames, until);
        let results = match fillers.len() < renames::FEW {
            true => carry_out(),
            false => self.names.run_next(carry_out).await,
        };
        let mut again = Vec::new();
        for ((rename, result), filler) in results.into_iter().zip(fillers) {
            let Rename { name, inode, bytes, .. } = rename;
            let Some(result) = result else {
                let (waiter, turn) = slot();
                again.push(Turn { waiter, to: Some(TakeTo::Intent(name)) });
                filler.fill(Renamed::Again(turn));
                continue;
            };
            if result.is_ok() {
                self.report(HomeReport::Stands { inode, bytes });
            }
            filler.fill(Renamed::Done(result));
        }
        self.changes.borrow_mut().put_back(again.into_iter());
    }

    /// Waits until it is this change's turn to act, and what had its turn before is done.
    async fn turn_to_act(&self, intent: Option<IntentItem>) -> Granted {
        let to = self.turn(intent).await?;
        self.carry_out_renames().await;
        Ok(to)
    }

    /// Waits until it is this change's turn.
    async fn turn(&self, intent: Option<IntentItem>) -> Granted {
        reach(Point::BeforeIntent);
        let (filler, turn) = slot();
        self.changes.borrow_mut().wait(intent, filler);
        let to = turn.await?;
        reach(Point::Granted);
        Ok(to)
    }

    /// Gives the ticket back, under which this was done, when all of the batch have acted.
    async fn release_after<R>(&self, acted: Result<R, Broken>) -> R {
        match acted {
            Ok(done) => {
                reach(Point::Acted);
                self.acted().await;
                reach(Point::Released);
                done
            }
            Err(Broken(reason)) => {
                self.end.broken(reason);
                std::future::pending().await
            }
        }
    }

    /// Lets the next of the batch act, or gives the ticket back; returns when it is given back.
    async fn acted(&self) {
        let (filler, released) = slot();
        self.acted.borrow_mut().push(filler);
        let mut now = Instant::now();
        let is_over = self.changes.borrow().is_over(now);
        if is_over {
            self.carry_out_renames().await;
            // Later than when there was no time for some of them.
            now = Instant::now();
        }
        let next = self.changes.borrow_mut().acted(now);
        match next {
            Next::Act(Turn { waiter, to }) => {
                if self.renames.borrow().is_empty() {
                    reach(Point::BetweenActs);
                }
                waiter.fill(Ok(to));
            }
            Next::Release => {
                self.parent.take();
                let holder = self.questions.borrow_mut().release();
                self.send_reports();
                if let Some(op) = holder {
                    self.send(&FilerToDaemon::Released { op });
                }
                self.acted.take().into_iter().for_each(|filler| filler.fill(()));
            }
        }
        released.await;
    }

    /// The place that `path` names now, for an act under the ticket that places what is staged: files that come
    /// one after the other into one directory find it once.
    ///
    /// # Errors
    /// As [`Home::place`].
    pub(crate) fn place(&self, home: &Home, path: &RelPath) -> Result<Place, ErrorCode> {
        home.place_beside(path, &mut self.parent.borrow_mut())
    }

    /// Whether what happens to the home is to be told.
    pub(crate) fn is_reporting(&self) -> bool {
        self.reporting.get()
    }

    /// Tells what happened to the home, if it is being verified. What an act tells is sent before the
    /// ticket is given back, anything else with the next [`Ledger::send_reports`].
    pub(crate) fn report(&self, report: HomeReport) {
        if self.reporting.get() {
            self.reports.borrow_mut().push(report);
        }
    }

    /// Sends what was reported, in as many messages as it takes.
    pub(crate) fn send_reports(&self) {
        let mut reports = self.reports.take().into_iter().peekable();
        while reports.peek().is_some() {
            let mut room = REPORTS_PER_MESSAGE;
            let mut part = Vec::new();
            // The first one always fits.
            while let Some(report) =
                reports.next_if(|report| part.is_empty() || report.weight() <= room)
            {
                room = room.saturating_sub(report.weight());
                part.push(report);
            }
            self.send(&FilerToDaemon::Reports { reports: part });
        }
    }

    /// Ends an intent; what happened must be durable on disk.
    pub(crate) async fn settle(
        &self,
        name: StagingName,
        outcome: Outcome,
    ) -> Result<Usage, ErrorCode> {
        reach(Point::Synced);
        let (filler, answer) = slot();
        self.settles.borrow_mut().push_back((SettleItem { name, outcome }, filler));
        let answer = answer.await;
        reach(Point::Settled);
        match answer {
            DaemonToFiler::Settled { usage, .. } => Ok(usage),
            DaemonToFiler::Refused { error, .. } => Err(error),
            other => self.unexpected(other).await,
        }
    }

    /// Limits and usage now.
    pub(crate) async fn usage(&self) -> Result<Usage, ErrorCode> {
        match self.ask(Queue::Other, |op| FilerToDaemon::Usage { op }).await? {
            DaemonToFiler::Usage { usage, .. } => Ok(usage),
            other => self.unexpected(other).await,
        }
    }

    /// Some open uploads after this one, and whether they are the last.
    pub(crate) async fn uploads(
        &self,
        after: Option<StagingName>,
    ) -> Result<(Vec<UploadRow>, bool), ErrorCode> {
        let question = move |op| FilerToDaemon::Uploads { op, after };
        match self.ask(Queue::Other, question).await? {
            DaemonToFiler::Uploads { uploads, last, .. } => Ok((uploads, last)),
            other => self.unexpected(other).await,
        }
    }

    /// Nothing stands at this name any more, which was settled or dropped.
    pub(crate) fn gone(&self, name: StagingName) {
        self.gone.borrow_mut().push(name);
    }

    /// This session works on the upload no longer.
    pub(crate) fn let_go(&self, name: StagingName) {
        self.send(&FilerToDaemon::LetGo { name });
    }

    /// An fsync of staging failed; nothing more may be settled for this user.
    pub(crate) fn staging_sync_failed(&self) {
        self.send(&FilerToDaemon::StagingSyncFailed);
    }

    /// A change was made and cannot be acknowledged; the daemon ends this process.
    pub(crate) fn outcome_unknown(&self) {
        self.send(&FilerToDaemon::OutcomeUnknown);
    }

    /// Tells the daemon. The channel blocks, since the daemon always reads; one that is gone ends all.
    pub(crate) fn send(&self, message: &FilerToDaemon) {
        match self.channel.send(message, &[]) {
            Ok(()) => {}
            Err(ChannelError::Closed) => self.end.closed(),
            Err(error) => self.end.broken(format!("cannot tell the daemon: {error}")),
        }
    }

    async fn ask(
        &self,
        queue: Queue,
        question: impl FnOnce(OpId) -> FilerToDaemon + 'static,
    ) -> Result<DaemonToFiler, ErrorCode> {
        let (filler, answer) = slot();
        self.questions.borrow_mut().ask(queue, Box::new(question), Waiting::One(filler));
        match answer.await {
            DaemonToFiler::Refused { error, .. } => Err(error),
            other => Ok(other),
        }
    }

    async fn ask_for_done(
        &self,
        question: impl FnOnce(OpId) -> FilerToDaemon + 'static,
    ) -> Result<(), ErrorCode> {
        match self.ask(Queue::Other, question).await? {
            DaemonToFiler::Done { .. } => Ok(()),
            other => self.unexpected(other).await,
        }
    }

    /// Sends what may be sent. The loop calls it at the end of each of its turns: nothing waits for longer.
    pub(crate) fn send_waiting(&self) {
        let gone = self.gone.take();
        for names in gone.chunks(NAMES_PER_MESSAGE) {
            self.send(&FilerToDaemon::Gone { names: names.to_vec() });
        }
        while self.send_batch() {}
        loop {
            let next = self.questions.borrow_mut().next();
            let Some((op, question)) = next else { return };
            self.send(&question(op));
        }
    }

    /// Sends settles that are ready and asks for the ticket, in one message where both are to be done.
    /// A settle never waits for an intent, nor an intent for a settle.
    fn send_batch(&self) -> bool {
        let settle = self.settling();
        let asking = {
            let mut questions = self.questions.borrow_mut();
            let may_ask = questions.may_ask_for_ticket() && questions.room() > 0;
            let asking = may_ask.then(|| self.changes.borrow_mut().ask()).flatten();
            asking.map(|asking| (questions.begin(Purpose::Ticket, Waiting::Changes), asking))
        };
        let alone = match (settle, asking) {
            (settle, Some((op, Asking::Intent(items)))) => {
                self.send(&FilerToDaemon::Intent { op, items, settle });
                return true;
            }
            (settle, Some((op, Asking::Ticket))) => {
                self.send(&FilerToDaemon::Ticket { op });
                settle
            }
            (settle, None) => settle,
        };
        let Some(Settling { op, items }) = alone else { return false };
        self.send(&FilerToDaemon::Settle { op, items });
        true
    }

    /// The settles that may be sent now.
    fn settling(&self) -> Option<Settling> {
        let mut questions = self.questions.borrow_mut();
        let mut settles = self.settles.borrow_mut();
        if settles.is_empty() || questions.room() == 0 {
            return None;
        }
        let count = settles.len().min(MAX_BATCH);
        let (items, fillers) = settles.drain(..count).unzip();
        let op = questions.begin(Purpose::Settle, Waiting::Settles(fillers));
        Some(Settling { op, items })
    }

    /// An answer of the wrong kind ends the process; the operation goes no further.
    async fn unexpected<T>(&self, answer: impl std::fmt::Debug) -> Result<T, ErrorCode> {
        self.end.broken(format!("the daemon's answer is of another kind: {answer:?}"));
        std::future::pending().await
    }
}

/// The question that a message answers; `None` for what a serving filer is not told.
fn operation(message: &DaemonToFiler) -> Option<OpId> {
    match message {
        DaemonToFiler::Reserved { op, .. }
        | DaemonToFiler::FilesReserved { op, .. }
        | DaemonToFiler::Leased { op, .. }
        | DaemonToFiler::Extended { op, .. }
        | DaemonToFiler::Room { op, .. }
        | DaemonToFiler::UploadReserved { op, .. }
        | DaemonToFiler::Granted { op, .. }
        | DaemonToFiler::Owing { op, .. }
        | DaemonToFiler::Settled { op, .. }
        | DaemonToFiler::Usage { op, .. }
        | DaemonToFiler::Uploads { op, .. }
        | DaemonToFiler::Done { op }
        | DaemonToFiler::Refused { op, .. } => Some(*op),
        DaemonToFiler::Join(_)
        | DaemonToFiler::Ping
        | DaemonToFiler::Examine { .. }
        | DaemonToFiler::Look { .. }
        | DaemonToFiler::Remove { .. }
        | DaemonToFiler::Keep { .. }
        | DaemonToFiler::Sweep { .. }
        | DaemonToFiler::ListOwed { .. }
        | DaemonToFiler::TakeOwed { .. }
        | DaemonToFiler::Empty { .. } => None,
        DaemonToFiler::Reports { .. } | DaemonToFiler::List { .. } | DaemonToFiler::Sum { .. } => {
            None
        }
    }
}

#[cfg(test)]
mod tests;

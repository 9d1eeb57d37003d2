//! What an operation may ask of the daemon: reserve, intent and ticket, settle.
//!
//! The ticket is handed out as the time of one synchronous call ([`Ledger::with_ticket`]): the release is
//! sent before anything else can happen, so that no fsync, no network and no ledger come under it.

use std::cell::RefCell;
use std::rc::Rc;

use berth_common::channel::ChannelError;
use berth_common::entry::{SourceFingerprint, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, OwedName, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, IntentItem, Outcome, SettleItem, UploadRow,
};
use berth_common::rel_path::RelPath;

use crate::questions::{Purpose, Questions};
use crate::run::DaemonChannel;
use crate::session::{Broken, End};
use crate::tasks::{Filler, slot};

/// A question that gets its number when it is sent.
type Question = Box<dyn FnOnce(OpId) -> FilerToDaemon>;

/// The daemon's channel, with the table of questions.
pub(crate) struct Ledger {
    channel: DaemonChannel,
    end: Rc<End>,
    questions: RefCell<Questions<Question, Filler<DaemonToFiler>>>,
}

/// An upload that the ledger has for this session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    pub(crate) name: StagingName,
    pub(crate) resumed: bool,
    pub(crate) superseded: Option<StagingName>,
}

/// Where something may be taken to, out of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeTo {
    /// The name of an intent, which is to be settled.
    Intent(StagingName),
    /// A name without an intent, because the ledger cannot be written: nothing is settled by this session.
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

impl Ledger {
    pub(crate) fn new(channel: DaemonChannel, end: Rc<End>) -> Self {
        Self { channel, end, questions: RefCell::default() }
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
        let waiting = self.questions.borrow_mut().answered(op, granted);
        match waiting {
            Some(filler) => filler.fill(message),
            None => self.end.broken(format!("the daemon answered what was not asked: {message:?}")),
        }
        self.send_waiting();
    }

    /// Sets bytes and entries aside in the daemon's memory.
    pub(crate) async fn reserve(
        &self,
        growth: u64,
        entries: u64,
    ) -> Result<StagingName, ErrorCode> {
        let question = move |op| FilerToDaemon::Reserve { op, growth, entries };
        match self.ask(Purpose::Reserving, question).await? {
            DaemonToFiler::Reserved { name, .. } => Ok(name),
            other => self.unexpected(other).await,
        }
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
        match self.ask(Purpose::Reserving, question).await? {
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
    /// gives the ticket back. A refusal means that nothing was written and `act` was not called.
    ///
    /// When `act` finds what cannot be, the process ends with the ticket in its hands: it is passed on only
    /// after the daemon has looked at what is there.
    pub(crate) async fn with_ticket<R>(
        &self,
        intent: Option<IntentItem>,
        act: impl FnOnce(Option<StagingName>) -> Result<R, Broken>,
    ) -> Result<(Option<StagingName>, R), ErrorCode> {
        let items: Vec<IntentItem> = intent.into_iter().collect();
        let wanted = items.len();
        let question = move |op| match items.is_empty() {
            true => FilerToDaemon::Ticket { op },
            false => FilerToDaemon::Intent { op, items },
        };
        let name = match self.ask(Purpose::Ticket, question).await? {
            DaemonToFiler::Granted { names, .. } if names.len() == wanted => names.first().copied(),
            other => return self.unexpected(other).await,
        };
        Ok((name, self.release_after(act(name)).await))
    }

    /// As [`Ledger::with_ticket`], to take one thing out of the home, which goes on also while the ledger
    /// cannot be written.
    pub(crate) async fn with_ticket_to_take<R>(
        &self,
        act: impl FnOnce(TakeTo) -> Result<R, Broken>,
    ) -> Result<(TakeTo, R), ErrorCode> {
        let question = |op| FilerToDaemon::Intent { op, items: vec![IntentItem::Take] };
        let to = match self.ask(Purpose::Ticket, question).await? {
            DaemonToFiler::Granted { names, .. } if names.len() == 1 => TakeTo::Intent(names[0]),
            DaemonToFiler::Owing { name, .. } => TakeTo::Owed(name),
            other => return self.unexpected(other).await,
        };
        Ok((to, self.release_after(act(to)).await))
    }

    /// Gives the ticket back, under which this was done.
    async fn release_after<R>(&self, acted: Result<R, Broken>) -> R {
        match acted {
            Ok(done) => {
                let holder = self.questions.borrow_mut().release();
                if let Some(op) = holder {
                    self.send(&FilerToDaemon::Released { op });
                }
                self.send_waiting();
                done
            }
            Err(Broken(reason)) => {
                self.end.broken(reason);
                std::future::pending().await
            }
        }
    }

    /// Ends an intent; what happened must be durable on disk.
    pub(crate) async fn settle(
        &self,
        name: StagingName,
        outcome: Outcome,
    ) -> Result<Usage, ErrorCode> {
        let items = vec![SettleItem { name, outcome }];
        let question = move |op| FilerToDaemon::Settle { op, items };
        match self.ask(Purpose::Other, question).await? {
            DaemonToFiler::Settled { usage, .. } => Ok(usage),
            other => self.unexpected(other).await,
        }
    }

    /// Limits and usage now.
    pub(crate) async fn usage(&self) -> Result<Usage, ErrorCode> {
        match self.ask(Purpose::Other, |op| FilerToDaemon::Usage { op }).await? {
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
        match self.ask(Purpose::Other, question).await? {
            DaemonToFiler::Uploads { uploads, last, .. } => Ok((uploads, last)),
            other => self.unexpected(other).await,
        }
    }

    /// Nothing stands at this name any more, which was settled or dropped.
    pub(crate) fn gone(&self, name: StagingName) {
        self.send(&FilerToDaemon::Gone { names: vec![name] });
    }

    /// This session works on the upload no longer.
    pub(crate) fn let_go(&self, name: StagingName) {
        self.send(&FilerToDaemon::LetGo { name });
    }

    /// An fsync of staging failed; nothing more may be settled for this user.
    pub(crate) fn staging_sync_failed(&self) {
        self.send(&FilerToDaemon::StagingSyncFailed);
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
        purpose: Purpose,
        question: impl FnOnce(OpId) -> FilerToDaemon + 'static,
    ) -> Result<DaemonToFiler, ErrorCode> {
        let (filler, answer) = slot();
        self.questions.borrow_mut().ask(purpose, Box::new(question), filler);
        self.send_waiting();
        match answer.await {
            DaemonToFiler::Refused { error, .. } => Err(error),
            other => Ok(other),
        }
    }

    async fn ask_for_done(
        &self,
        question: impl FnOnce(OpId) -> FilerToDaemon + 'static,
    ) -> Result<(), ErrorCode> {
        match self.ask(Purpose::Other, question).await? {
            DaemonToFiler::Done { .. } => Ok(()),
            other => self.unexpected(other).await,
        }
    }

    fn send_waiting(&self) {
        loop {
            let next = self.questions.borrow_mut().next();
            let Some((op, question)) = next else { return };
            self.send(&question(op));
        }
    }

    /// An answer of the wrong kind ends the process; the operation goes no further.
    async fn unexpected<T>(&self, answer: DaemonToFiler) -> Result<T, ErrorCode> {
        self.end.broken(format!("the daemon's answer is of another kind: {answer:?}"));
        std::future::pending().await
    }
}

/// The question that a message answers; `None` for what a serving filer is not told.
fn operation(message: &DaemonToFiler) -> Option<OpId> {
    match message {
        DaemonToFiler::Reserved { op, .. }
        | DaemonToFiler::UploadReserved { op, .. }
        | DaemonToFiler::Granted { op, .. }
        | DaemonToFiler::Owing { op, .. }
        | DaemonToFiler::Settled { op, .. }
        | DaemonToFiler::Usage { op, .. }
        | DaemonToFiler::Uploads { op, .. }
        | DaemonToFiler::Done { op }
        | DaemonToFiler::Refused { op, .. } => Some(*op),
        DaemonToFiler::Join(_)
        | DaemonToFiler::Examine { .. }
        | DaemonToFiler::Remove { .. }
        | DaemonToFiler::Keep { .. }
        | DaemonToFiler::Sweep { .. }
        | DaemonToFiler::ListOwed { .. }
        | DaemonToFiler::TakeOwed { .. }
        | DaemonToFiler::Empty { .. } => None,
    }
}

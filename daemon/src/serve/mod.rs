//! A session's filer at work: its questions to the ledger and for the ticket, answered as they are ready.
//!
//! Each question is a task of its own, so that neither the channel nor any other session ever waits for
//! the ledger or for a ticket. It decides nothing itself: [`crate::asked`] bounds what a filer may ask,
//! [`crate::tickets`] who may change names, the ledger everything else.

mod changes;
mod noting;
mod uploads;
mod writing;

pub(crate) use changes::STUCK;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, OwedName, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, IntentItem};

use crate::asked::{
    self, Asked, AskedTooMuch, FilerPhase, Names, Notes, check_changes, check_names,
};
use crate::daemon::Daemon;
use crate::distrust;
use crate::exit::KillReason;
use crate::filer_handle::Filer;
use crate::heartbeat::{self, Heartbeat, Turn};
use crate::ledger::{LedgerError, Note, UploadRequest};
use crate::lines::{Lines, REFUSALS, some};
use crate::process::Process;
use crate::tasks::{Flag, Tasks};
use writing::Writing;

/// What comes with the ticket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// The names of intents; none for a change that moves no sum.
    Names(Vec<StagingName>),
    /// A name to take something to without an intent, because the ledger cannot be written.
    Owed(OwedName),
}

impl Given {
    /// The intents' names.
    pub(crate) fn names(&self) -> &[StagingName] {
        match self {
            Self::Names(names) => names,
            Self::Owed(_) => &[],
        }
    }
}

/// A session's filer.
pub(crate) struct Serving {
    daemon: Rc<Daemon>,
    pub(crate) user: UserName,
    session: SessionId,
    filer: Rc<Filer>,
    worker: Rc<Process>,
    /// How large a file the worker may write.
    writing: RefCell<Writing>,
    asked: RefCell<Asked>,
    names: RefCell<Names>,
    notes: RefCell<Notes>,
    /// It has got an owed name, and has not told yet that it is done with it.
    owes: Cell<bool>,
    /// It has said that staging could not be made durable.
    distrusts: Cell<bool>,
    /// Log lines for what it is refused.
    refusals: RefCell<Lines>,
    heartbeat: Cell<Heartbeat>,
    tasks: Tasks,
    /// Up when the session is over: what the filer still sends counts no more.
    over: Flag,
}

impl Serving {
    /// For a filer that has joined.
    pub(crate) fn new(
        daemon: Rc<Daemon>,
        user: UserName,
        session: SessionId,
        filer: Rc<Filer>,
        worker: Rc<Process>,
    ) -> Rc<Self> {
        Rc::new(Self {
            daemon,
            user,
            session,
            filer,
            worker,
            writing: RefCell::default(),
            asked: RefCell::default(),
            names: RefCell::default(),
            notes: RefCell::default(),
            owes: Cell::default(),
            distrusts: Cell::default(),
            refusals: RefCell::new(Lines::new(REFUSALS, Instant::now())),
            heartbeat: Cell::default(),
            tasks: Tasks::default(),
            over: Flag::default(),
        })
    }

    /// The worker's process.
    pub(crate) fn worker(&self) -> &Rc<Process> {
        &self.worker
    }

    /// The process.
    pub(crate) fn filer(&self) -> &Rc<Filer> {
        &self.filer
    }

    /// Refusals that the log does not tell of.
    pub(crate) fn refusals_left_out(&self) -> u64 {
        self.refusals.borrow().left_out()
    }

    /// Answers the filer until it ends, or breaks the rules and is killed.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let received = self.filer.recv().await.and_then(|message| {
                // One is charged by the receipt.
                self.filer.charge(asked::weight(&message).saturating_sub(1))?;
                Ok(message)
            });
            let message = match received {
                Ok(message) => message,
                Err(error) => {
                    if let Some(reason) = error.kill_reason() {
                        self.kill(reason);
                    }
                    return;
                }
            };
            if self.over.is_up() {
                continue;
            }
            let name = asked::name(&message);
            if !asked::may_send(FilerPhase::Serving, &message) {
                self.broke(format!("{name} is not for a filer that serves"));
            } else if let Err(error) = self.handle(message) {
                self.broke(format!("{name}: {error}"));
            }
        }
    }

    /// The session is over: nothing that comes from the filer counts any more, and what it waits for is
    /// not granted. Call it when the filer is reaped; [`Serving::kill`] does so before.
    pub(crate) fn stop(&self) {
        if !self.over.is_up() {
            self.over.raise();
            let mut tickets = self.daemon.tickets.borrow_mut();
            if tickets.died(&self.user, self.session, Instant::now()) {
                // What it did under the ticket it tells no more.
                self.daemon.windows.borrow_mut().blur(&self.user);
            }
        }
    }

    /// Ends the filer at once. Nothing that it has sent counts from now on: replay finds out what is true.
    /// The ticket is known to be a dead session's even while the process hangs in the kernel.
    pub(crate) fn kill(&self, reason: KillReason) {
        self.stop();
        self.filer.process().kill(reason);
    }

    /// Asks the filer whether it still runs; `true` when it has not answered for too long, and was ended.
    pub(crate) fn beat(&self) -> bool {
        let mut heartbeat = self.heartbeat.get();
        let turn = heartbeat.turn();
        self.heartbeat.set(heartbeat);
        match turn {
            Turn::Ask => self.filer.send(&DaemonToFiler::Ping, &[]),
            Turn::Wait => {}
            Turn::Silent => {
                heartbeat::tell(self.session.0, self.filer.process());
                self.kill(KillReason::TimedOut(heartbeat::SILENT));
            }
        }
        turn == Turn::Silent
    }

    /// Waits until no question to the ledger is under way. After [`Serving::stop`] none is begun.
    pub(crate) async fn quiet(&self) {
        self.tasks.over().await;
    }

    /// The ticket is this session's.
    pub(crate) fn granted(&self, op: OpId, given: Given) {
        self.asked.borrow_mut().answered(op);
        let answer = match given {
            Given::Names(names) => {
                self.give(names.iter().copied());
                let reporting = self.daemon.windows.borrow().is_open(&self.user);
                DaemonToFiler::Granted { op, names, reporting }
            }
            Given::Owed(name) => {
                self.owes.set(true);
                DaemonToFiler::Owing { op, name }
            }
        };
        self.filer.send(&answer, &[]);
    }

    /// The ticket does not come: its holder hangs.
    pub(crate) fn turned_away(&self, op: OpId, given: &Given) {
        match given {
            Given::Names(names) if !names.is_empty() => {
                // The rows are there. A refusal would let the filer unlink what they speak of.
                self.kill(KillReason::Internal("another session's change hangs".to_owned()));
            }
            Given::Names(_) | Given::Owed(_) => self.refuse(op, ErrorCode::Busy),
        }
    }

    /// Whether something may stand at an owed name that nobody was told of.
    pub(crate) fn owes(&self) -> bool {
        self.owes.get()
    }

    /// What the filer has taken to an owed name is there by now, or will never be: it has said so, or is
    /// reaped.
    pub(crate) fn note_what_is_owed(&self) {
        if self.owes.take() {
            self.daemon.owes(&self.user);
        }
    }

    fn broke(&self, how: String) {
        self.kill(KillReason::Broken(how));
    }

    fn handle(self: &Rc<Self>, message: FilerToDaemon) -> Result<(), AskedTooMuch> {
        let this = self.clone();
        let mut asked = self.asked.borrow_mut();
        match message {
            FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries } => {
                asked.ask(op)?;
                let request = UploadRequest { path, source, token, growth, entries };
                self.question(async move { this.reserve_upload(op, request).await });
            }
            FilerToDaemon::Reserve { op, growth, entries, stages } => {
                asked.ask(op)?;
                self.question(async move { this.reserve(op, growth, entries, stages).await });
            }
            FilerToDaemon::Lease { op, entries, replaces } => {
                asked.ask(op)?;
                self.question(async move { this.lease(op, entries, replaces).await });
            }
            FilerToDaemon::Extend { op, name, least } => {
                asked.ask(op)?;
                self.question(async move { this.extend(op, name, least).await });
            }
            FilerToDaemon::Room { op } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.room(op).await });
            }
            FilerToDaemon::Claim { op, name } => {
                asked.ask(op)?;
                self.question(async move { this.claim(op, name).await });
            }
            FilerToDaemon::Drop { op, name } => {
                asked.ask(op)?;
                self.question(async move { this.drop_name(op, name).await });
            }
            FilerToDaemon::LetGo { name } => {
                self.names.borrow_mut().take_back(&[name])?;
                self.writes(|writing| writing.close(name));
                drop(asked);
                self.note(Note::LetGo(name))?;
            }
            FilerToDaemon::Intent { op, items, settle: None } => {
                check_changes(items.len())?;
                asked.ask_ticket(op)?;
                self.committing(&items);
                self.question(async move { this.intent(op, items).await });
            }
            FilerToDaemon::Intent { op, items, settle: Some(settle) } => {
                check_changes(items.len())?;
                check_changes(settle.items.len())?;
                asked.ask_ticket(op)?;
                asked.ask(settle.op)?;
                self.committing(&items);
                self.question(async move { this.settle_and_intent(settle, op, items).await });
            }
            FilerToDaemon::Ticket { op } => {
                asked.ask_ticket(op)?;
                drop(asked);
                self.ticket(op);
            }
            FilerToDaemon::Reports { reports } => {
                check_names(reports.len())?;
                self.daemon.windows.borrow_mut().report(&self.user, reports);
            }
            FilerToDaemon::Released { op } => {
                asked.released(op)?;
                drop(asked);
                self.released(op)?;
            }
            FilerToDaemon::Settle { op, items } => {
                check_changes(items.len())?;
                asked.ask(op)?;
                self.question(async move { this.settle(op, items).await });
            }
            FilerToDaemon::Gone { names } => {
                check_names(names.len())?;
                self.names.borrow_mut().take_back(&names)?;
                drop(asked);
                self.note(Note::Gone(names))?;
            }
            FilerToDaemon::Usage { op } => {
                asked.ask(op)?;
                self.question(async move { this.usage(op).await });
            }
            FilerToDaemon::Uploads { op, after } => {
                asked.ask(op)?;
                self.question(async move { this.list_uploads(op, after).await });
            }
            FilerToDaemon::StagingSyncFailed => {
                drop(asked);
                if self.distrusts.replace(true) {
                    return Ok(());
                }
                distrust::staging(&self.daemon, &self.user);
            }
            FilerToDaemon::OutcomeUnknown => {
                let reason = "a change was made and could not be made durable";
                self.kill(KillReason::Internal(reason.to_owned()));
            }
            FilerToDaemon::Alive => {
                let mut heartbeat = self.heartbeat.get();
                if !heartbeat.answered() {
                    return Err(AskedTooMuch::Beat);
                }
                self.heartbeat.set(heartbeat);
            }
            // The table has refused these.
            FilerToDaemon::Ready
            | FilerToDaemon::Joined
            | FilerToDaemon::Findings { .. }
            | FilerToDaemon::OwedNames { .. }
            | FilerToDaemon::Listed { .. }
            | FilerToDaemon::Walked { .. }
            | FilerToDaemon::Done { .. }
            | FilerToDaemon::Failed { .. }
            | FilerToDaemon::SyncFailed { .. } => {}
        }
        Ok(())
    }

    /// Something changes in what the worker may write, and its limit with it. Call it before the filer is told
    /// what was granted, since the worker writes as soon as it has heard of it.
    fn writes(&self, change: impl FnOnce(&mut Writing)) {
        let mut writing = self.writing.borrow_mut();
        let before = writing.limit();
        change(&mut writing);
        let now = writing.limit();
        if now != before
            && let Err(error) = self.worker.limit_file_sizes(Some(now))
        {
            self.kill(KillReason::Internal(format!(
                "cannot bound what the worker writes: {error}"
            )));
        }
    }

    /// The worker has closed what is committed; nobody writes to it any more.
    fn committing(&self, items: &[IntentItem]) {
        self.writes(|writing| {
            for item in items {
                match item {
                    IntentItem::Stage { name, .. } => writing.close(*name),
                    IntentItem::Take | IntentItem::Over => {}
                }
            }
        });
    }

    async fn usage(&self, op: OpId) {
        let usage = self.daemon.ledger.usage(&self.user).await;
        self.answer(op, usage.map(|usage| DaemonToFiler::Usage { op, usage }));
    }

    fn answer(&self, op: OpId, answer: Result<DaemonToFiler, LedgerError>) {
        match answer {
            Ok(message) => {
                self.asked.borrow_mut().answered(op);
                self.filer.send(&message, &[]);
            }
            Err(error) => {
                self.look_at(&error);
                self.refuse(op, error.code());
            }
        }
    }

    /// What the daemon itself does about an error of the ledger's.
    fn look_at(&self, error: &LedgerError) {
        match error {
            LedgerError::Protocol(_) => self.broke(error.to_string()),
            LedgerError::Imbalance => self.daemon.make_read_only_for_imbalance(&self.user),
            LedgerError::Damaged(_) => {
                self.daemon.make_read_only(&self.user, &error.to_string());
            }
            LedgerError::Unavailable => {
                // The ledger itself has logged it, once.
                tracing::debug!(session = self.session.0, user = %self.user, "{error}");
            }
            LedgerError::Refused(_)
            | LedgerError::NoSuchUser
            | LedgerError::UserExists
            | LedgerError::UserGoing => {}
        }
    }

    fn refuse(&self, op: OpId, error: ErrorCode) {
        let line = self.refusals.borrow_mut().one_more(Instant::now());
        if let Some(left_out) = line.map(some) {
            tracing::info!(session = self.session.0, user = %self.user, %error, left_out, "refused");
        }
        self.asked.borrow_mut().refused(op);
        self.filer.send(&DaemonToFiler::Refused { op, error }, &[]);
    }
}

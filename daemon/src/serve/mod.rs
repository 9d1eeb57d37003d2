//! A session's filer at work: its questions to the ledger and for the ticket, answered as they are ready.
//!
//! Each question is a task of its own, so that neither the channel nor any other session ever waits for
//! the ledger or for a ticket. It decides nothing itself: [`crate::asked`] bounds what a filer may ask,
//! [`crate::tickets`] who may change names, the ledger everything else.

mod changes;
mod uploads;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};

use crate::asked::{self, Asked, AskedTooMuch, FilerPhase, check_items};
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::filer_handle::Filer;
use crate::ledger::{LedgerError, UploadRequest};
use crate::recovery::patiently;
use crate::tasks::{Flag, Tasks};

/// A session's filer.
pub(crate) struct Serving {
    daemon: Rc<Daemon>,
    pub(crate) user: UserName,
    session: SessionId,
    filer: Rc<Filer>,
    asked: RefCell<Asked>,
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
    ) -> Rc<Self> {
        let (asked, tasks, over) = Default::default();
        Rc::new(Self { daemon, user, session, filer, asked, tasks, over })
    }

    /// The process.
    pub(crate) fn filer(&self) -> &Rc<Filer> {
        &self.filer
    }

    /// Answers the filer until it ends, or breaks the rules and is killed.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let message = match self.filer.recv().await {
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

    /// Waits until no question to the ledger is under way. After [`Serving::stop`] none is begun.
    pub(crate) async fn quiet(&self) {
        self.tasks.over().await;
    }

    /// The ticket is this session's.
    pub(crate) fn granted(&self, op: OpId, names: Vec<StagingName>) {
        self.asked.borrow_mut().answered(op);
        let reporting = self.daemon.windows.borrow().is_open(&self.user);
        self.filer.send(&DaemonToFiler::Granted { op, names, reporting }, &[]);
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
                self.tasks.spawn(async move { this.reserve_upload(op, request).await });
            }
            FilerToDaemon::Reserve { op, growth, entries } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.reserve(op, growth, entries).await });
            }
            FilerToDaemon::Lease { op, entries } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.lease(op, entries).await });
            }
            FilerToDaemon::Extend { op, name, least } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.extend(op, name, least).await });
            }
            FilerToDaemon::Claim { op, name } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.claim(op, name).await });
            }
            FilerToDaemon::Drop { op, name } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.drop_name(op, name).await });
            }
            FilerToDaemon::LetGo { name } => {
                asked.note(1)?;
                self.tasks.spawn(async move { this.let_go(name).await });
            }
            FilerToDaemon::Intent { op, items, settle: None } => {
                check_items(items.len())?;
                asked.ask_ticket(op)?;
                self.tasks.spawn(async move { this.intent(op, items).await });
            }
            FilerToDaemon::Intent { op, items, settle: Some(settle) } => {
                check_items(items.len())?;
                check_items(settle.items.len())?;
                asked.ask_ticket(op)?;
                asked.ask(settle.op)?;
                self.tasks.spawn(async move { this.settle_and_intent(settle, op, items).await });
            }
            FilerToDaemon::Ticket { op } => {
                asked.ask_ticket(op)?;
                drop(asked);
                self.ticket(op);
            }
            FilerToDaemon::Reports { reports } => {
                check_items(reports.len())?;
                self.daemon.windows.borrow_mut().report(&self.user, reports);
            }
            FilerToDaemon::Released { op } => {
                asked.released(op)?;
                drop(asked);
                self.released(op)?;
            }
            FilerToDaemon::Settle { op, items } => {
                check_items(items.len())?;
                asked.ask(op)?;
                self.tasks.spawn(async move { this.settle(op, items).await });
            }
            FilerToDaemon::Gone { names } => {
                check_items(names.len())?;
                asked.note(names.len())?;
                self.tasks.spawn(async move { this.gone(names).await });
            }
            FilerToDaemon::Usage { op } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.usage(op).await });
            }
            FilerToDaemon::Uploads { op, after } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.list_uploads(op, after).await });
            }
            FilerToDaemon::StagingSyncFailed => {
                drop(asked);
                self.daemon.make_read_only(&self.user, "staging could not be made durable");
                self.tasks.spawn(async move { this.distrust().await });
            }
            // The table has refused these.
            FilerToDaemon::Ready
            | FilerToDaemon::Joined
            | FilerToDaemon::Findings { .. }
            | FilerToDaemon::Listed { .. }
            | FilerToDaemon::Walked { .. }
            | FilerToDaemon::Done { .. }
            | FilerToDaemon::Failed { .. } => {}
        }
        Ok(())
    }

    async fn usage(&self, op: OpId) {
        let usage = self.daemon.ledger.usage(&self.user).await;
        self.answer(op, usage.map(|usage| DaemonToFiler::Usage { op, usage }));
    }

    /// A restart alone does not let changes in again: what is on the disk is not what was settled. Where
    /// the ledger cannot be written either, only this daemon knows.
    async fn distrust(&self) {
        let marked = patiently(async || self.daemon.ledger.mark_unverified(&self.user).await);
        if let Err(error) = marked.await {
            tracing::error!(user = %self.user, %error, "cannot be marked as unverified");
        }
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

    /// What is not answered is done, for so many names.
    fn noted(&self, names: usize, done: Result<(), LedgerError>) {
        self.asked.borrow_mut().noted(names);
        if let Err(error) = done {
            self.look_at(&error);
        }
    }

    /// What the daemon itself does about an error of the ledger's.
    fn look_at(&self, error: &LedgerError) {
        match error {
            LedgerError::Protocol(_) => self.broke(error.to_string()),
            LedgerError::Imbalance => self.daemon.make_read_only_for_imbalance(&self.user),
            LedgerError::Unavailable => {
                tracing::error!(session = self.session.0, user = %self.user, "{error}");
            }
            LedgerError::Refused(_)
            | LedgerError::NoSuchUser
            | LedgerError::UserExists
            | LedgerError::UserGoing => {}
        }
    }

    fn refuse(&self, op: OpId, error: ErrorCode) {
        tracing::info!(session = self.session.0, user = %self.user, %error, "refused");
        self.asked.borrow_mut().refused(op);
        self.filer.send(&DaemonToFiler::Refused { op, error }, &[]);
    }
}

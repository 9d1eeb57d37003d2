//! A session's filer at work: its questions to the ledger and for the ticket, answered as they are ready.
//!
//! Each question is a task of its own, so that neither the channel nor any other session ever waits for
//! the ledger or for a ticket. It decides nothing itself: [`crate::asked`] bounds what a filer may ask,
//! [`crate::tickets`] who may change names, the ledger everything else.

mod changes;
mod granted;
mod noting;
mod questions;
mod replies;
mod uploads;
mod writing;

pub(crate) use changes::STUCK;
pub(crate) use granted::Given;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use berth_common::ids::{SessionId, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, IntentItem};

use crate::asked::{self, Asked, FilerPhase, Names, Notes};
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::filer_handle::Filer;
use crate::heartbeat::{self, Heartbeat, Turn};
use crate::lines::{Lines, REFUSALS};
use crate::process::Process;
use crate::tasks::{Flag, Tasks};
use writing::Writing;

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

    /// Ends the filer at once. Nothing more of what it has sent is begun; what is under way, and the notes that were
    /// taken, still count, and replay finds out the rest. The ticket is known to be a dead session's even while the
    /// process hangs in the kernel.
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

    fn broke(&self, how: String) {
        self.kill(KillReason::Broken(how));
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
}

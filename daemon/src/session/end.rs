//! The end of a session: its programs are ended, both processes are reaped, what they left is replayed, and who waits goes on. What is
//! left over in staging is removed by others, without the session.

use std::time::{Duration, Instant};

use berth_common::admin_protocol::IncidentKind;
use berth_common::broker_protocol::CloseReason;
use berth_common::points::{Rule, is_off};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Event, FAREWELL, Session};
use crate::accept::Admission;
use crate::exit::{ExitReport, KillReason};
use crate::lines::some;
use crate::process::{PeerError, Process};
use crate::recovery;
use crate::serve::Serving;

/// How long a filer may take to finish what it has begun when its worker has ended: what it settles
/// itself need not be replayed.
const FINISH: Duration = Duration::from_secs(5);

/// How long it may take to read what a dead filer had sent.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a worker that has lost its filer is heard.
pub(super) const HEAR_OUT: Duration = Duration::from_millis(250);

/// How long it may take after that to tell its client. What the session left is replayed after it, and within a
/// second.
const BEREAVED: Duration = Duration::from_millis(500);

/// How a session comes to its end.
pub(super) enum End {
    /// The worker ends by itself; its filer may finish.
    Worker,
    /// The filer has ended.
    Filer,
    /// Both are killed at once.
    Kill(KillReason),
}

impl Session {
    /// Both processes end and are reaped, what they left is replayed, and those who wait go on; its left-overs
    /// in staging are to be cleared then. An order to kill that comes meanwhile takes what patience is
    /// left away.
    pub(super) async fn end(
        mut self,
        end: End,
        admission: Admission,
        inbox: &mut mpsc::UnboundedReceiver<Event>,
    ) {
        if let Some(beside) = self.beside.take() {
            beside.abort();
        }
        // First of all: whoever left has no use for what they write.
        let programs = self.programs.stop();
        let worker = self.worker.process().clone();
        let (serving, task) = self.serving.take().unzip();
        let kill = |reason: KillReason| {
            worker.kill(reason.of_worker());
            if let Some(serving) = &serving {
                serving.kill(reason.of_filer());
            }
        };
        let (worker_patience, filer_patience, late) = match end {
            End::Worker => (FAREWELL, FINISH, KillReason::TimedOut("did not end")),
            End::Filer => (BEREAVED, BEREAVED, KillReason::Partner),
            End::Kill(reason) => {
                kill(reason);
                (Duration::ZERO, Duration::ZERO, KillReason::Partner)
            }
        };
        let closing = self.closing.clone();
        let reaped = async {
            worker.end_within(worker_patience, late).await;
            // The client's place is free when its worker is gone.
            drop(admission);
            worker.report(closing.as_ref()).await;
            if let Some(serving) = &serving {
                reap_filer(serving, filer_patience).await;
            }
            programs.await;
        };
        tokio::pin!(reaped);
        loop {
            tokio::select! {
                biased;
                () = &mut reaped => break,
                // The session's control holds a sender, so there is always an event to wait for.
                Some(event) = inbox.recv() => if let Event::Kill(reason) = event {
                    kill(reason);
                },
            }
        }
        if let (Some(serving), Some(task)) = (&serving, task) {
            self.settle_what_is_left(serving, task).await;
        }
        self.report(&worker, serving.as_deref()).await;
        self.control.gone.raise();
        if let Some(serving) = &serving {
            recovery::clear_later(&self.daemon, &serving.user, self.id);
        }
    }

    /// What the filer had sent before it ended still counts, unless it was killed. Then the rest is
    /// replayed, and the ticket passes on (R11).
    async fn settle_what_is_left(&self, serving: &Serving, task: JoinHandle<()>) {
        // Its channel ends with it, so the bound is for one whose end somebody else has come to hold.
        let abort = task.abort_handle();
        if tokio::time::timeout(LAST_WORDS, task).await.is_err() {
            abort.abort();
        }
        serving.stop();
        serving.quiet().await;
        serving.note_what_is_owed();
        self.daemon.sessions.borrow_mut().set_reaped(self.id);
        recovery::after_session(&self.daemon, &serving.user, self.id).await;
        self.control.serving.take();
        let mut tickets = self.daemon.tickets.borrow_mut();
        let next = tickets.replayed(&serving.user, self.id, Instant::now());
        drop(tickets);
        self.daemon.deliver(next);
    }

    /// Logs the end.
    async fn report(&self, worker: &Process, serving: Option<&Serving>) {
        let closing = self.closing.as_ref();
        let report = worker.report(closing).await;
        let filer = match serving {
            Some(serving) => Some(serving.filer().process().report(None).await),
            None => None,
        };
        let mut reports = filer.iter().chain([&report]);
        let filer_charged = serving.map(|serving| serving.filer().charged());
        let badly = reports.any(|report| report.incident().is_some() || report.blames_its_worker());
        let refusals_left_out = serving.map_or(0, Serving::refusals_left_out);
        let left_out = some(self.lines.left_out() + refusals_left_out);
        self.log_end(&report, filer.as_ref(), closing, badly, (filer_charged, left_out));
    }

    fn log_end(
        &self,
        report: &ExitReport,
        filer: Option<&ExitReport>,
        closing: Option<&CloseReason>,
        badly: bool,
        (filer_charged, left_out): (Option<u64>, Option<u64>),
    ) {
        let sessions = self.daemon.sessions.borrow();
        let Some(entry) = sessions.get(self.id) else {
            return;
        };
        let (session, user) = (self.id.0, entry.user.as_ref().map(|user| user.as_str()));
        let filer = filer.map(tracing::field::display);
        let closing = closing.map(tracing::field::debug);
        let (received, sent) = (entry.received, entry.sent);
        tracing::debug!(
            session,
            user,
            worker = self.worker.charged(),
            filer = filer_charged,
            "messages of the session's processes"
        );
        let seconds = entry.age(Instant::now()).as_secs();
        let addr = self.peer;
        // The same line at more than one level: the level is part of what tracing fixes at compile time.
        if matches!(report, ExitReport::Killed(KillReason::Displaced)) {
            // A flood of connections is to be no flood of log lines; its networks are named by `accept`.
            tracing::debug!(session, %addr, worker = %report, seconds, "session ended");
        } else if badly {
            tracing::warn!(
                session, user, %addr, worker = %report, filer, closing, received, sent, seconds, left_out,
                "session ended badly"
            );
        } else {
            tracing::info!(
                session, user, %addr, worker = %report, filer, closing, received, sent, seconds, left_out,
                "session ended"
            );
        }
    }
}

async fn reap_filer(serving: &Serving, patience: Duration) {
    if is_off(Rule::R10) {
        return;
    }
    let filer = serving.filer().process();
    if tokio::time::timeout(patience, filer.reaped()).await.is_err() {
        // Not only the process: it may hang in the kernel, and others wait for its ticket.
        serving.kill(KillReason::TimedOut("did not end with its worker"));
    }
    let report = filer.report(None).await;
    if report.blames_its_worker() {
        serving.worker().add_incident(IncidentKind::Broke, report.to_string());
    }
}

/// The worker's channel tells nothing more.
pub(super) fn lost(error: &PeerError) -> End {
    match error.kill_reason() {
        Some(reason) => End::Kill(reason),
        None => End::Worker,
    }
}

pub(super) fn broke(how: String) -> End {
    End::Kill(KillReason::Broken(how))
}

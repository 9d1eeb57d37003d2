//! One session, from its connection until nothing of it is left.
//!
//! A task owns the session: it reads what the worker asks ([`crate::broker`] says what may be asked when),
//! takes events of its own helpers and of others who want to end it, and at the end sees to it that both
//! processes are reaped and what they left is replayed. Waiting for the ledger or a filer is done beside
//! it, in [`login`], so that it always hears its worker.

mod login;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::broker_protocol::{CloseReason, Direction, WorkerToDaemon};
use berth_common::error_code::ErrorCode;
use berth_common::ids::SessionId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::auth::{self, AwaitingFinal, AwaitingPassword};
use crate::broker::{self, Phase, Step};
use crate::certificate_verify::is_certificate_verify;
use crate::daemon::{Control, Daemon};
use crate::exit::{ExitReport, KillReason};
use crate::listener::Connection;
use crate::process::PeerError;
use crate::recovery;
use crate::serve::Serving;
use crate::sessions::Transfer;
use crate::tasks::Flag;
use crate::worker_handle::SharedWorker;

use login::{Outcome, PasswordOutcome};

/// Seconds beyond the worker's own bound after which the daemon ends a login.
const LOGIN_SLACK: Duration = Duration::from_secs(5);

/// How long a worker that was told to end may take to tell its client.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a filer may take to finish what it has begun when its worker has ended: what it settles
/// itself need not be replayed.
const FINISH: Duration = Duration::from_secs(5);

/// How long it may take to read what a dead filer had sent.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a worker may take to tell its client when its filer has ended.
const BEREAVED: Duration = Duration::from_secs(1);

/// What happens to a session besides its worker's messages.
pub(crate) enum Event {
    /// End at once.
    Kill(KillReason),
    /// The server stops: end when the transfers have, or after so many seconds.
    Shutdown(u32),
    /// A login came so far.
    Login(Outcome),
    /// A change of password came so far.
    Password(PasswordOutcome),
    /// The filer has ended.
    FilerEnded,
}

/// What the session knows in its phase.
enum Stage {
    Handshake,
    Signed,
    SitePending { challenge: [u8; 32] },
    LoginPending,
    LoginLookup,
    LoginChallenged(Box<AwaitingFinal>),
    LoginChecking,
    Serving,
    PasswordLookup,
    PasswordChallenged(Box<AwaitingPassword>),
    PasswordChecking,
    Closing,
}

impl Stage {
    fn phase(&self) -> Phase {
        match self {
            Self::Handshake => Phase::Handshake,
            Self::Signed => Phase::Signed,
            Self::SitePending { .. } => Phase::SitePending,
            Self::LoginPending => Phase::LoginPending,
            Self::LoginLookup => Phase::LoginLookup,
            Self::LoginChallenged(_) => Phase::LoginChallenged,
            Self::LoginChecking => Phase::LoginChecking,
            Self::Serving => Phase::Serving,
            Self::PasswordLookup => Phase::PasswordLookup,
            Self::PasswordChallenged(_) => Phase::PasswordChallenged,
            Self::PasswordChecking => Phase::PasswordChecking,
            Self::Closing => Phase::Closing,
        }
    }
}

/// How a session comes to its end.
enum End {
    /// The worker ends by itself; its filer may finish.
    Worker,
    /// The filer has ended.
    Filer,
    /// Both are killed at once.
    Kill(KillReason),
}

/// What the session has of the bounds on connections, until its worker is reaped.
pub(crate) struct Admission {
    _permit: OwnedSemaphorePermit,
    _address: CountedAddress,
}

impl Admission {
    /// One of the connections that may be there, counted for its address.
    pub(crate) fn new(permit: OwnedSemaphorePermit, address: CountedAddress) -> Self {
        Self {
            _permit: permit,
            _address: address,
        }
    }
}

/// A connection that is counted for its address.
pub(crate) struct CountedAddress {
    pub(crate) daemon: Rc<Daemon>,
    pub(crate) peer: SocketAddr,
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        self.daemon.addresses.borrow_mut().leave(self.peer.ip());
    }
}

struct Session {
    daemon: Rc<Daemon>,
    id: SessionId,
    peer: SocketAddr,
    worker: SharedWorker,
    control: Rc<Control>,
    stage: Stage,
    /// The daemon's knowledge of the TLS channel, as the worker told it once.
    exporter: [u8; 32],
    serving: Option<(Rc<Serving>, JoinHandle<()>)>,
    /// The lookup or check that is under way.
    beside: Option<JoinHandle<()>>,
    closing: Option<CloseReason>,
    deadline: Option<(tokio::time::Instant, KillReason)>,
}

/// Serves a client's connection by this worker. Returns when nothing of the session is left.
pub(crate) async fn run(
    daemon: Rc<Daemon>,
    worker: SharedWorker,
    connection: Connection,
    admission: Admission,
) {
    let Connection { socket, peer } = connection;
    let id = daemon.sessions.borrow_mut().number();
    let (events, mut inbox) = mpsc::unbounded_channel();
    let control = Rc::new(Control {
        events,
        serving: Default::default(),
        gone: Flag::default(),
    });
    let pid = worker.process().pid;
    let now = Instant::now();
    daemon
        .sessions
        .borrow_mut()
        .insert(id, peer, pid, control.clone(), now);
    tracing::info!(session = id.0, addr = %peer, worker = pid, "connection");
    let deadline = tokio::time::Instant::now() + daemon.config.login + LOGIN_SLACK;
    let mut session = Session {
        daemon: daemon.clone(),
        id,
        peer,
        worker,
        control: control.clone(),
        stage: Stage::Handshake,
        exporter: [0; 32],
        serving: None,
        beside: None,
        closing: None,
        deadline: Some((deadline, KillReason::TimedOut("did not log in"))),
    };
    daemon.activity.handshake_begins();
    let end = match session.begin(socket) {
        Ok(()) => session.talk(&mut inbox).await,
        Err(error) => End::Kill(KillReason::Internal(error.to_string())),
    };
    session.leave_handshake();
    session.end(end, admission).await;
    daemon.sessions.borrow_mut().remove(id);
    control.gone.raise();
    daemon.session_gone.notify_waiters();
}

impl Session {
    fn begin(&mut self, socket: rustix::fd::OwnedFd) -> Result<(), getrandom::Error> {
        let challenge = match &self.daemon.site_secret {
            Some(_) => Some(auth::site_challenge()?),
            None => None,
        };
        self.worker.give_client(self.id, socket, challenge);
        if let Some(challenge) = challenge {
            // Kept until the handshake is over.
            self.exporter = challenge;
        }
        Ok(())
    }

    /// Until the session has to end.
    async fn talk(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) -> End {
        loop {
            let deadline = self.deadline.clone();
            let overdue = async move {
                match deadline {
                    Some((at, reason)) => {
                        tokio::time::sleep_until(at).await;
                        reason
                    }
                    None => std::future::pending().await,
                }
            };
            let end = tokio::select! {
                biased;
                // The session's control holds a sender, so there is always an event to wait for.
                Some(event) = inbox.recv() => self.event(event),
                reason = overdue => Some(End::Kill(reason)),
                message = self.worker.recv() => match message {
                    Ok(message) => self.message(message),
                    Err(error) => Some(lost(&error)),
                },
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// What the worker says or asks.
    fn message(&mut self, message: WorkerToDaemon) -> Option<End> {
        self.daemon.activity.touch();
        let phase = self.stage.phase();
        let step = broker::step(phase, &message);
        match (step, message) {
            (Step::Sign, WorkerToDaemon::Sign { scheme, message }) => self.sign(scheme, &message),
            (Step::Handshaken, WorkerToDaemon::Handshaken { exporter }) => {
                self.handshaken(exporter);
                None
            }
            (Step::SiteProof, WorkerToDaemon::SiteProof { proof }) => {
                self.site_proof(&proof);
                None
            }
            (Step::LoginFirst, WorkerToDaemon::LoginFirst { message }) => {
                self.login_first(&message);
                None
            }
            (Step::LoginFinal, WorkerToDaemon::LoginFinal { message }) => {
                self.login_final(message);
                None
            }
            (Step::PasswordFirst, WorkerToDaemon::PasswordFirst { message, verifier }) => {
                self.password_first(message, verifier);
                None
            }
            (Step::PasswordFinal, WorkerToDaemon::PasswordFinal { message }) => {
                self.password_final(message);
                None
            }
            (Step::Note, message) => self.note(message),
            (Step::Closing, WorkerToDaemon::Closing { reason }) => {
                self.closing = Some(reason);
                Some(End::Worker)
            }
            (Step::Ignore, _) => None,
            (_, message) => {
                let name = broker::name(&message);
                Some(broke(format!(
                    "{name} is not allowed in the phase {phase:?}"
                )))
            }
        }
    }

    /// What happens besides.
    fn event(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Kill(reason) => Some(End::Kill(reason)),
            Event::Shutdown(grace_seconds) => {
                self.worker.shut_down(grace_seconds);
                None
            }
            Event::Login(outcome) => self.login_outcome(outcome),
            Event::Password(outcome) => {
                self.password_outcome(outcome);
                None
            }
            Event::FilerEnded => Some(End::Filer),
        }
    }

    /// The one signature of the handshake.
    fn sign(&mut self, scheme: u16, content: &[u8]) -> Option<End> {
        let identity = &self.daemon.identity;
        if scheme != identity.scheme() || !is_certificate_verify(content) {
            return Some(broke(
                "it asked to sign what is no CertificateVerify".to_owned(),
            ));
        }
        match identity.sign(content) {
            Ok(signature) => {
                self.worker.give_signature(signature);
                self.stage = Stage::Signed;
                None
            }
            Err(error) => Some(End::Kill(KillReason::Internal(format!(
                "cannot sign: {error}"
            )))),
        }
    }

    fn handshaken(&mut self, exporter: [u8; 32]) {
        self.leave_handshake();
        let challenge = std::mem::replace(&mut self.exporter, exporter);
        self.stage = match self.daemon.site_secret {
            Some(_) => Stage::SitePending { challenge },
            None => Stage::LoginPending,
        };
    }

    fn leave_handshake(&self) {
        if self.stage.phase().is_handshake() {
            self.daemon.activity.handshake_ends();
        }
    }

    /// Tells the worker to end, and why.
    fn refuse(&mut self, error: ErrorCode) {
        self.leave_handshake();
        self.worker.refuse(error);
        self.stage = Stage::Closing;
        let at = tokio::time::Instant::now() + FAREWELL;
        self.deadline = Some((at, KillReason::TimedOut("did not end when it was told to")));
    }

    /// For the log and the table.
    fn note(&mut self, message: WorkerToDaemon) -> Option<End> {
        let (daemon, session, now) = (&self.daemon, self.id.0, Instant::now());
        let user = self
            .serving
            .as_ref()
            .map(|(serving, _)| serving.user.as_str());
        let mut sessions = daemon.sessions.borrow_mut();
        match message {
            WorkerToDaemon::TransferStarted {
                id,
                direction,
                path,
                size,
            } => {
                tracing::debug!(
                    session,
                    user,
                    addr = %self.peer,
                    transfer = id.0,
                    path = ?path.as_str(),
                    size,
                    "transfer begins"
                );
                let transfer = Transfer {
                    direction,
                    path,
                    size,
                    begun: now,
                };
                let most = daemon.config.max_transfers;
                if !sessions.transfer_started(self.id, id, transfer, most) {
                    return Some(broke("it began a transfer too many".to_owned()));
                }
            }
            WorkerToDaemon::Progress { received, sent } => {
                sessions.progress(self.id, received, sent, now);
            }
            WorkerToDaemon::TransferEnded {
                id,
                resumed_leaves,
                moved_leaves,
                error,
            } => {
                let Some(transfer) = sessions.transfer_ended(self.id, id, now) else {
                    return Some(broke(
                        "it ended a transfer that it had not begun".to_owned(),
                    ));
                };
                let direction = match transfer.direction {
                    Direction::Put => "put",
                    Direction::Get => "get",
                };
                let ms = now.saturating_duration_since(transfer.begun).as_millis() as u64;
                tracing::info!(
                    session,
                    user,
                    addr = %self.peer,
                    transfer = id.0,
                    direction,
                    path = ?transfer.path.as_str(),
                    size = transfer.size,
                    resumed_leaves,
                    moved_leaves,
                    ms,
                    error = error.as_ref().map(tracing::field::display),
                    "transfer"
                );
            }
            _ => {}
        }
        None
    }

    /// Both processes end and are reaped, what they left is replayed, and those who wait go on.
    async fn end(mut self, end: End, admission: Admission) {
        if let Some(beside) = self.beside.take() {
            beside.abort();
        }
        let worker = self.worker.process().clone();
        let serving = self.serving.take();
        let filer = serving
            .as_ref()
            .map(|(serving, _)| serving.filer().process().clone());
        let (worker_patience, filer_patience, reason) = match end {
            End::Worker => (FAREWELL, FINISH, KillReason::Partner),
            End::Filer => (BEREAVED, Duration::ZERO, KillReason::Partner),
            End::Kill(reason) => {
                worker.kill(reason.clone());
                if let Some((serving, _)) = &serving {
                    // From now on nothing that it has sent counts: replay finds out what is true.
                    serving.stop();
                    serving.filer().process().kill(reason.clone());
                }
                (Duration::ZERO, Duration::ZERO, reason)
            }
        };
        let closing = self.closing.take();
        let worker_status = worker.end_within(worker_patience, reason.clone()).await;
        drop(admission);
        let report = ExitReport::new(worker_status, worker.killed(), closing.as_ref());
        let mut crashed = u64::from(report.is_a_crash());
        let mut filer_report = None;
        if let (Some(filer), Some((serving, task))) = (filer, serving) {
            let status = filer.end_within(filer_patience, reason).await;
            // What it had sent before it ended still counts, unless the session was stopped. Its channel
            // ends with it, so the bound is for one whose end somebody else has come to hold.
            let abort = task.abort_handle();
            if tokio::time::timeout(LAST_WORDS, task).await.is_err() {
                abort.abort();
            }
            serving.stop();
            serving.quiet().await;
            let report = ExitReport::new(status, filer.killed(), None);
            crashed += u64::from(report.is_a_crash());
            filer_report = Some(report);
            recovery::after_session(&self.daemon, &serving.user, self.id).await;
            self.control.serving.take();
            let passed_on =
                self.daemon
                    .tickets
                    .borrow_mut()
                    .replayed(&serving.user, self.id, Instant::now());
            self.daemon.deliver(passed_on);
        }
        self.daemon.crashes.set(self.daemon.crashes.get() + crashed);
        self.log_end(
            &report,
            filer_report.as_ref(),
            closing.as_ref(),
            crashed > 0,
        );
    }

    fn log_end(
        &self,
        report: &ExitReport,
        filer: Option<&ExitReport>,
        closing: Option<&CloseReason>,
        crashed: bool,
    ) {
        let sessions = self.daemon.sessions.borrow();
        let Some(entry) = sessions.get(self.id) else {
            return;
        };
        let (session, user) = (self.id.0, entry.user.as_ref().map(|user| user.as_str()));
        let filer = filer.map(tracing::field::display);
        let closing = closing.map(tracing::field::debug);
        let (received, sent) = (entry.received, entry.sent);
        let seconds = entry.age(Instant::now()).as_secs();
        let addr = self.peer;
        // The same line at two levels: the level is part of what tracing fixes at compile time.
        if crashed {
            tracing::warn!(
                session, user, %addr, worker = %report, filer, closing, received, sent, seconds,
                "session ended badly"
            );
        } else {
            tracing::info!(
                session, user, %addr, worker = %report, filer, closing, received, sent, seconds,
                "session ended"
            );
        }
    }
}

/// The worker's channel tells nothing more.
fn lost(error: &PeerError) -> End {
    match error.kill_reason() {
        Some(reason) => End::Kill(reason),
        None => End::Worker,
    }
}

fn broke(how: String) -> End {
    End::Kill(KillReason::Broken(how))
}

#[cfg(test)]
mod tests;

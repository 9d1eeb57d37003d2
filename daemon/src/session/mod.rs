//! One session, from its connection until it is reaped and replayed.
//!
//! A task owns the session: it reads what the worker asks ([`crate::broker`] says what may be asked when),
//! takes events of its own helpers and of others who want to end it, and at the end sees to it that both
//! processes are reaped and what they left is replayed ([`end`]). Waiting for the ledger or a filer is done
//! beside it ([`login`], [`join`], [`credentials`], [`attempt`], [`exec`]), so that it always hears its worker.

mod attempt;
mod credentials;
mod end;
mod exec;
mod join;
mod login;
mod note;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::broker_protocol::{CloseReason, WorkerToDaemon};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, SessionId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::accept::Admission;
use crate::auth::{self, AwaitingCredential, AwaitingFinal, AwaitingJoin, DeviceLogin};
use crate::broker::{self, Phase, Step};
use crate::bucket::{Bucket, PROGRESS, SELDOM};
use crate::certificate_verify::is_certificate_verify;
use crate::daemon::{Control, Daemon};
use crate::exec::Outcome;
use crate::exit::KillReason;
use crate::heartbeat::{self, Heartbeat, Turn};
use crate::identity::Identity;
use crate::incidents::Task;
use crate::lines::{Lines, TRANSFERS};
use crate::listener::Connection;
use crate::serve::Serving;
use crate::tasks::Flag;
use crate::worker_handle::{MadeWith, SharedWorker};

use credentials::{CHANGES, CredentialOutcome};
use end::{End, HEAR_OUT, broke, lost};
use exec::{BEGINNINGS, Programs};
use join::JoinOutcome;
use login::Outcome as LoginOutcome;

/// Seconds beyond the worker's own bound after which the daemon ends a login.
const LOGIN_SLACK: Duration = Duration::from_secs(5);

/// How long a worker that was told to end may take to tell its client.
const FAREWELL: Duration = Duration::from_secs(5);

/// What happens to a session besides its worker's messages.
pub(crate) enum Event {
    /// End at once.
    Kill(KillReason),
    /// The server stops: end when the transfers have, or after so many seconds.
    Shutdown(u32),
    /// A login came so far.
    Login(LoginOutcome),
    /// An account by an invitation came so far.
    Join(JoinOutcome),
    /// What is done with credentials came so far.
    Credential(CredentialOutcome),
    /// Nothing of a program is left.
    Program(RequestId, Outcome),
    /// Worker and filer are to be asked whether they still run.
    Beat,
    /// The filer has ended.
    FilerEnded,
}

/// What a client must prove after the handshake, where the site has a secret: the one of its connection's time.
struct SiteChallenge {
    challenge: [u8; 32],
    secret: Rc<[u8]>,
}

/// What the session knows in its phase.
enum Stage {
    /// With the identity whose certificates the worker has.
    Handshake {
        identity: Rc<Identity>,
        site: Option<SiteChallenge>,
    },
    Signed {
        site: Option<SiteChallenge>,
    },
    SitePending(SiteChallenge),
    LoginPending,
    LoginLookup,
    LoginChallenged(Box<AwaitingFinal>),
    LoginChecking,
    JoinLookup,
    JoinChallenged(Box<AwaitingJoin>),
    JoinChecking,
    Serving,
    CredentialLookup,
    CredentialChallenged(Box<AwaitingCredential>),
    CredentialChecking,
    Closing,
}

impl Stage {
    fn phase(&self) -> Phase {
        match self {
            Self::Handshake { .. } => Phase::Handshake,
            Self::Signed { .. } => Phase::Signed,
            Self::SitePending(_) => Phase::SitePending,
            Self::LoginPending => Phase::LoginPending,
            Self::LoginLookup => Phase::LoginLookup,
            Self::LoginChallenged(_) => Phase::LoginChallenged,
            Self::LoginChecking => Phase::LoginChecking,
            Self::JoinLookup => Phase::JoinLookup,
            Self::JoinChallenged(_) => Phase::JoinChallenged,
            Self::JoinChecking => Phase::JoinChecking,
            Self::Serving => Phase::Serving,
            Self::CredentialLookup => Phase::CredentialLookup,
            Self::CredentialChallenged(_) => Phase::CredentialChallenged,
            Self::CredentialChecking => Phase::CredentialChecking,
            Self::Closing => Phase::Closing,
        }
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
    max_transfers: u32,
    serving: Option<(Rc<Serving>, JoinHandle<()>)>,
    /// The lookup or check that is under way.
    beside: Option<JoinHandle<()>>,
    closing: Option<CloseReason>,
    seldom: Bucket,
    progress: Bucket,
    credentials: Bucket,
    programs: Programs,
    beginnings: Bucket,
    /// For its transfers.
    lines: Lines,
    heartbeat: Heartbeat,
    deadline: Option<(tokio::time::Instant, KillReason)>,
}

/// Serves a client's connection by this worker. Returns when the session is reaped and replayed.
pub(crate) async fn run(
    daemon: Rc<Daemon>,
    worker: SharedWorker,
    made_with: MadeWith,
    connection: Connection,
    admission: Admission,
) {
    let Connection { socket, peer } = connection;
    let MadeWith { identity, max_transfers } = made_with;
    let id = admission.session;
    let (events, mut inbox) = mpsc::unbounded_channel();
    let control = Rc::new(Control { events, serving: Default::default(), gone: Flag::default() });
    let pid = worker.process().pid;
    worker.process().set_task(Task { session: Some(id), user: None, peer: Some(peer) });
    let now = Instant::now();
    daemon.sessions.borrow_mut().insert(id, peer, pid, control.clone(), now);
    tracing::info!(session = id.0, addr = %peer, worker = pid, "connection");
    let deadline = tokio::time::Instant::now() + daemon.settings().config.login + LOGIN_SLACK;
    let mut session = Session {
        daemon: daemon.clone(),
        id,
        peer,
        worker,
        control,
        stage: Stage::Handshake { identity, site: None },
        exporter: [0; 32],
        max_transfers,
        serving: None,
        beside: None,
        closing: None,
        seldom: Bucket::new(SELDOM, now),
        progress: Bucket::new(PROGRESS, now),
        credentials: Bucket::new(CHANGES, now),
        programs: Programs::default(),
        beginnings: Bucket::new(BEGINNINGS, now),
        lines: Lines::new(TRANSFERS, now),
        heartbeat: Heartbeat::default(),
        deadline: Some((deadline, KillReason::TimedOut("did not log in"))),
    };
    daemon.activity.handshake_begins();
    let end = match session.begin(socket) {
        // It was accepted just before, and not in the table yet when it was to be told.
        Ok(()) if daemon.stopping.is_up() => End::Kill(KillReason::Shutdown),
        Ok(()) if !daemon.pending.borrow().has(id) => End::Kill(KillReason::Displaced),
        Ok(()) => session.talk(&mut inbox).await,
        Err(error) => End::Kill(KillReason::Internal(error.to_string())),
    };
    session.leave_handshake();
    session.end(end, admission, &mut inbox).await;
    daemon.sessions.borrow_mut().remove(id);
    daemon.session_gone.notify_waiters();
}

impl Session {
    fn begin(&mut self, socket: rustix::fd::OwnedFd) -> Result<(), getrandom::Error> {
        let challenged = match &self.daemon.settings().site_secret {
            Some(secret) => {
                Some(SiteChallenge { challenge: auth::site_challenge()?, secret: secret.clone() })
            }
            None => None,
        };
        let challenge = challenged.as_ref().map(|site| site.challenge);
        self.worker.give_client(self.id, socket, challenge);
        if let Stage::Handshake { site, .. } = &mut self.stage {
            *site = challenged;
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
            match end {
                Some(End::Filer) => return self.hear_out(inbox).await,
                Some(end) => return end,
                None => {}
            }
        }
    }

    /// The filer has ended, by itself or since the worker did. What the worker has said until then counts, its last
    /// transfers and why it ends.
    async fn hear_out(&mut self, inbox: &mut mpsc::UnboundedReceiver<Event>) -> End {
        let until = tokio::time::Instant::now() + HEAR_OUT;
        loop {
            let end = tokio::select! {
                biased;
                Some(event) = inbox.recv() => match event {
                    Event::Kill(reason) => Some(End::Kill(reason)),
                    _ => None,
                },
                message = self.worker.recv() => match message {
                    Ok(message) => self.message(message),
                    Err(error) => Some(lost(&error)),
                },
                () = tokio::time::sleep_until(until) => Some(End::Filer),
            };
            match end {
                Some(End::Worker) => return End::Filer,
                Some(end) => return end,
                None => {}
            }
        }
    }

    /// What the worker says or asks.
    fn message(&mut self, message: WorkerToDaemon) -> Option<End> {
        // No client waits for this one.
        if message != WorkerToDaemon::Alive {
            self.daemon.activity.touch();
        }
        let bucket = match &message {
            WorkerToDaemon::Progress { .. } => Some(&mut self.progress),
            message => broker::is_seldom(message).then_some(&mut self.seldom),
        };
        if bucket.is_some_and(|bucket| !bucket.take(1, Instant::now())) {
            let name = broker::name(&message);
            return Some(broke(format!("it sends {name} more often than any honest one does")));
        }
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
            (Step::LoginDevice, WorkerToDaemon::LoginDevice { user, key, signature }) => {
                self.login_device(DeviceLogin { user, key, signature });
                None
            }
            (Step::JoinFirst, WorkerToDaemon::JoinFirst { message, account }) => {
                self.join_first(&message, account);
                None
            }
            (Step::JoinFinal, WorkerToDaemon::JoinFinal { message }) => {
                self.join_final(&message);
                None
            }
            (Step::CredentialFirst, WorkerToDaemon::CredentialFirst { message, credential }) => {
                self.credential_first(message, credential)
            }
            (Step::CredentialFinal, WorkerToDaemon::CredentialFinal { message }) => {
                self.credential_final(message);
                None
            }
            (Step::Devices, WorkerToDaemon::Devices) => {
                self.devices();
                None
            }
            (Step::RevokeDevices, WorkerToDaemon::RevokeDevices { devices }) => {
                self.revoke_devices(devices);
                None
            }
            (Step::ExecStart, WorkerToDaemon::ExecStart { id, program, arguments, directory }) => {
                self.exec_start(id, program, arguments, directory)
            }
            (Step::ExecStop, WorkerToDaemon::ExecStop { id, why }) => {
                self.exec_stop(id, why);
                None
            }
            (Step::Note, message) => self.note(message),
            (Step::Alive, _) if self.heartbeat.answered() => None,
            (Step::Alive, _) => Some(broke("it answered what was not asked".to_owned())),
            (Step::Closing, WorkerToDaemon::Closing { reason }) => {
                self.closing = Some(reason);
                Some(End::Worker)
            }
            (Step::Ignore, _) => None,
            (_, message) => {
                let name = broker::name(&message);
                Some(broke(format!("{name} is not allowed in the phase {phase:?}")))
            }
        }
    }

    /// What happens besides.
    fn event(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Kill(reason) => Some(End::Kill(reason)),
            // It waits for the signature and nothing else; nobody has logged in.
            Event::Shutdown(_) if self.stage.phase().is_handshake() => {
                Some(End::Kill(KillReason::Shutdown))
            }
            Event::Shutdown(grace_seconds) => {
                self.worker.shut_down(grace_seconds);
                None
            }
            Event::Login(outcome) => {
                self.login_outcome(outcome);
                None
            }
            Event::Join(outcome) => {
                self.join_outcome(outcome);
                None
            }
            Event::Credential(outcome) => {
                self.credential_outcome(outcome);
                None
            }
            Event::Program(id, outcome) => {
                self.program_over(id, outcome);
                None
            }
            Event::Beat => self.beat(),
            Event::FilerEnded => Some(End::Filer),
        }
    }

    /// Asks both whether they still run. Who has not answered for too long is ended, and its partner is not blamed.
    fn beat(&mut self) -> Option<End> {
        // One that was told to end has a deadline for that.
        if self.stage.phase() == Phase::Closing {
            return None;
        }
        let (serving, _) = self.serving.as_ref()?;
        let filer_is_silent = serving.beat();
        match self.heartbeat.turn() {
            Turn::Ask => self.worker.ping(),
            Turn::Wait => {}
            Turn::Silent => {
                heartbeat::tell(self.id.0, self.worker.process());
                return Some(End::Kill(KillReason::TimedOut(heartbeat::SILENT)));
            }
        }
        // Its worker can still tell the client.
        filer_is_silent.then_some(End::Filer)
    }

    /// The one signature of the handshake, by the key of the certificate that the worker has.
    fn sign(&mut self, scheme: u16, content: &[u8]) -> Option<End> {
        let Stage::Handshake { identity, site } = &mut self.stage else {
            return None;
        };
        if scheme != identity.scheme() || !is_certificate_verify(content) {
            return Some(broke("it asked to sign what is no CertificateVerify".to_owned()));
        }
        match identity.sign(content) {
            Ok(signature) => {
                self.worker.give_signature(signature);
                self.stage = Stage::Signed { site: site.take() };
                None
            }
            Err(error) => Some(End::Kill(KillReason::Internal(format!("cannot sign: {error}")))),
        }
    }

    fn handshaken(&mut self, exporter: [u8; 32]) {
        let Stage::Signed { site } = &mut self.stage else {
            return;
        };
        let site = site.take();
        self.leave_handshake();
        self.daemon.pending.borrow_mut().shake_hands(self.id);
        self.exporter = exporter;
        self.stage = match site {
            Some(site) => Stage::SitePending(site),
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
}

#[cfg(test)]
mod tests;

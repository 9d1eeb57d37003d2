//! What the daemon does to a worker. What a worker may ask in return is in [`crate::broker`].

use std::rc::Rc;

use berth_common::broker_protocol::{DaemonToWorker, WorkerSetup, WorkerToDaemon};
use berth_common::credentials::DeviceSummary;
use berth_common::error_code::ErrorCode;
use berth_common::exec::ExecEnd;
use berth_common::ids::{RequestId, SessionId, UserName};
use berth_common::journal::BootId;
use rustix::fd::{AsFd as _, OwnedFd};

use crate::activity::Activity;
use crate::broker::{self, Phase, Step};
use crate::config::Config;
use crate::identity::Identity;
use crate::process::Peer;
use crate::program::Program;
use crate::spares::{Setup, SparePhase, Spares};
use crate::spawn::Spawner;

/// A worker.
pub(crate) type Worker = Peer<DaemonToWorker, WorkerToDaemon>;

/// The spare workers, each with what it was set up with.
pub(crate) type SpareWorkers = Spares<DaemonToWorker, WorkerToDaemon, MadeWith>;

/// What of a worker's setup the daemon holds it to for as long as it lives, whatever was reloaded since.
#[derive(Clone)]
pub(crate) struct MadeWith {
    /// It has the certificates, so its handshake is signed with their key.
    pub(crate) identity: Rc<Identity>,
    /// It begins no more than these at once.
    pub(crate) max_transfers: u32,
}

/// Keeps as many spare workers as the configuration says.
pub(crate) fn spares(
    config: &Config,
    identity: &Rc<Identity>,
    boot: BootId,
    spawner: &Rc<Spawner>,
    activity: &Rc<Activity>,
) -> Rc<SpareWorkers> {
    let setup = setup(config, identity, boot);
    let (spawner, activity) = (spawner.clone(), activity.clone());
    Spares::start(Program::Worker, config.spare_workers, spawner, activity, setup, may_send)
}

/// What every new worker is sent first.
pub(crate) fn setup(
    config: &Config,
    identity: &Rc<Identity>,
    boot: BootId,
) -> Setup<DaemonToWorker, MadeWith> {
    let seconds = |duration: std::time::Duration| duration.as_secs() as u32;
    let first = DaemonToWorker::Setup(WorkerSetup {
        sandbox: config.sandbox,
        certificates: identity.certificates().map(|der| der.to_vec().into()).collect(),
        signature_scheme: identity.scheme(),
        server: concat!("berthd/", env!("CARGO_PKG_VERSION")).to_owned(),
        boot_id: *boot.as_bytes(),
        idle_seconds: seconds(config.idle),
        stall_seconds: seconds(config.stall),
        login_seconds: seconds(config.login),
        max_transfers: config.max_transfers,
    });
    let kept = MadeWith { identity: identity.clone(), max_transfers: config.max_transfers };
    Setup { first: Some(first), kept }
}

/// What a worker may send before it has a client, by the broker's table.
fn may_send(phase: SparePhase, message: &WorkerToDaemon) -> bool {
    let phase = match phase {
        SparePhase::Starting => Phase::Starting,
        SparePhase::Spare => Phase::Spare,
    };
    broker::step(phase, message) == Step::Ready
}

impl Worker {
    /// Hands a client's socket over; the daemon's copy is closed.
    pub(crate) fn give_client(
        &self,
        session: SessionId,
        socket: OwnedFd,
        site_challenge: Option<[u8; 32]>,
    ) {
        let site_challenge = site_challenge.map(serde_bytes::ByteArray::new);
        self.send(&DaemonToWorker::Client { session, site_challenge }, &[socket.as_fd()]);
    }

    /// Answers the request for a signature.
    pub(crate) fn give_signature(&self, signature: Vec<u8>) {
        self.send(&DaemonToWorker::Signed { signature }, &[]);
    }

    /// The site proof is right.
    pub(crate) fn accept_site(&self) {
        self.send(&DaemonToWorker::SiteAccepted, &[]);
    }

    /// Relays the server's first SCRAM message.
    pub(crate) fn challenge_login(&self, message: Vec<u8>) {
        self.send(&DaemonToWorker::LoginChallenge { message }, &[]);
    }

    /// The login is accepted: hands over the channel to the filer, which has joined.
    pub(crate) fn accept_login(&self, message: Vec<u8>, user: &UserName, filer: OwnedFd) {
        let accepted = DaemonToWorker::LoginAccepted { message, user: user.clone() };
        self.send(&accepted, &[filer.as_fd()]);
    }

    /// Relays the server's first SCRAM message of an invitation.
    pub(crate) fn challenge_join(&self, message: Vec<u8>) {
        self.send(&DaemonToWorker::JoinChallenge { message }, &[]);
    }

    /// The account is there.
    pub(crate) fn accept_join(&self, message: Vec<u8>) {
        self.send(&DaemonToWorker::Joined { message }, &[]);
    }

    /// Relays the server's first SCRAM message of a new credential.
    pub(crate) fn challenge_credential(&self, message: Vec<u8>) {
        self.send(&DaemonToWorker::CredentialChallenge { message }, &[]);
    }

    /// What was asked of the credentials was done.
    pub(crate) fn accept_credentials(&self) {
        self.send(&DaemonToWorker::CredentialsChanged, &[]);
    }

    /// It was not done; the session goes on.
    pub(crate) fn refuse_credentials(&self, error: ErrorCode) {
        self.send(&DaemonToWorker::CredentialsRefused { error }, &[]);
    }

    /// The user's devices.
    pub(crate) fn tell_devices(&self, devices: Vec<DeviceSummary>) {
        self.send(&DaemonToWorker::Devices { devices }, &[]);
    }

    /// Hands over its ends of a program's pipes: the input's, the output's and the errors'.
    pub(crate) fn program_started(&self, id: RequestId, output_bytes: u64, pipes: &[OwnedFd; 3]) {
        let pipes = pipes.each_ref().map(|pipe| pipe.as_fd());
        self.send(&DaemonToWorker::ExecStarted { id, output_bytes }, &pipes);
    }

    /// A program was not run, or is not wanted any more.
    pub(crate) fn program_failed(&self, id: RequestId, error: ErrorCode) {
        self.send(&DaemonToWorker::ExecFailed { id, error }, &[]);
    }

    /// A program has ended.
    pub(crate) fn program_ended(&self, id: RequestId, end: ExecEnd) {
        self.send(&DaemonToWorker::ExecEnded { id, end }, &[]);
    }

    /// Asks whether it still runs.
    pub(crate) fn ping(&self) {
        self.send(&DaemonToWorker::Ping, &[]);
    }

    /// Lets the worker tell its client why, and end.
    pub(crate) fn refuse(&self, error: ErrorCode) {
        self.send(&DaemonToWorker::Refuse { error }, &[]);
    }

    /// Lets running transfers end within a grace time.
    pub(crate) fn shut_down(&self, grace_seconds: u32) {
        self.send(&DaemonToWorker::Shutdown { grace_seconds }, &[]);
    }
}

/// A worker that is shared between a session and those who may end it.
pub(crate) type SharedWorker = Rc<Worker>;

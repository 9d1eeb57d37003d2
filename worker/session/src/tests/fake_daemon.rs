//! A daemon that accepts every login, signs, and notes what it is told.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::thread;

use berth_common::broker_protocol::{DaemonToWorker, WorkerSetup, WorkerToDaemon};
use berth_common::channel::Channel;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, UserName};
use rcgen::SigningKey as _;
use serde_bytes::{ByteArray, ByteBuf};

use super::fake_filer::{FakeFiler, Home};

type DaemonEnd = Channel<DaemonToWorker, WorkerToDaemon>;

/// The right answer to a site challenge, for this daemon.
pub(super) const SITE_PROOF: [u8; 32] = [42; 32];

/// The message that this daemon takes for a wrong proof.
pub(super) const WRONG: &[u8] = b"wrong";

pub(super) struct FakeDaemon {
    channel: Arc<DaemonEnd>,
    thread: thread::JoinHandle<Vec<WorkerToDaemon>>,
}

impl FakeDaemon {
    /// Sets the worker up and hands it a client, whose end is returned.
    pub(super) fn start(
        channel: DaemonEnd,
        mut setup: WorkerSetup,
        site_challenge: Option<[u8; 32]>,
        home: Arc<Mutex<Home>>,
    ) -> (Self, TcpStream) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        setup.certificates = vec![ByteBuf::from(certificate.der().to_vec())];
        channel.send(&DaemonToWorker::Setup(setup), &[]).unwrap();
        assert_eq!(channel.recv().unwrap().message, WorkerToDaemon::Ready);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let client = DaemonToWorker::Client {
            session: SessionId(1),
            site_challenge: site_challenge.map(ByteArray::new),
        };
        channel.send(&client, &[far.as_fd()]).unwrap();
        drop(far);

        let channel = Arc::new(channel);
        let end = Arc::clone(&channel);
        let thread = thread::spawn(move || serve(&end, &key, &home));
        (Self { channel, thread }, near)
    }

    /// Orders something.
    pub(super) fn order(&self, order: &DaemonToWorker) {
        self.channel.send(order, &[]).unwrap();
    }

    /// All that the worker said, without its questions, once it has ended.
    pub(super) fn into_reports(self) -> Vec<WorkerToDaemon> {
        self.thread.join().unwrap()
    }
}

fn serve(
    channel: &DaemonEnd,
    key: &rcgen::KeyPair,
    home: &Arc<Mutex<Home>>,
) -> Vec<WorkerToDaemon> {
    let mut reports = Vec::new();
    let refuse = |error| channel.send(&DaemonToWorker::Refuse { error }, &[]).unwrap();
    while let Ok(received) = channel.recv() {
        let answer = match received.message {
            WorkerToDaemon::Sign { scheme, message } => {
                assert_eq!(scheme, 0x0403);
                DaemonToWorker::Signed { signature: key.sign(&message).unwrap() }
            }
            WorkerToDaemon::SiteProof { proof } if proof == SITE_PROOF => {
                DaemonToWorker::SiteAccepted
            }
            WorkerToDaemon::LoginFirst { message } => {
                DaemonToWorker::LoginChallenge { message: [b"challenge ", &message[..]].concat() }
            }
            WorkerToDaemon::SiteProof { .. } => {
                refuse(ErrorCode::LoginRefused);
                continue;
            }
            WorkerToDaemon::LoginFinal { message } if message == WRONG => {
                refuse(ErrorCode::LoginRefused);
                continue;
            }
            WorkerToDaemon::LoginFinal { message } => {
                let filer = FakeFiler::start(Arc::clone(home));
                let user = UserName::new("alice").unwrap();
                let accepted = DaemonToWorker::LoginAccepted { message, user };
                channel.send(&accepted, &[filer.as_fd()]).unwrap();
                continue;
            }
            WorkerToDaemon::LoginDevice { user, signature, .. } => {
                if signature == [0; 64] {
                    refuse(ErrorCode::LoginRefused);
                    continue;
                }
                let filer = FakeFiler::start(Arc::clone(home));
                let accepted = DaemonToWorker::LoginAccepted { message: Vec::new(), user };
                channel.send(&accepted, &[filer.as_fd()]).unwrap();
                continue;
            }
            WorkerToDaemon::JoinFirst { message, .. } => DaemonToWorker::JoinChallenge { message },
            WorkerToDaemon::JoinFinal { message } if message == WRONG => {
                refuse(ErrorCode::NotInvited);
                continue;
            }
            WorkerToDaemon::JoinFinal { message } => DaemonToWorker::Joined { message },
            WorkerToDaemon::Devices => DaemonToWorker::Devices { devices: Vec::new() },
            WorkerToDaemon::RevokeDevices { devices } if devices.is_empty() => {
                DaemonToWorker::CredentialsRefused { error: ErrorCode::LedgerUnavailable }
            }
            WorkerToDaemon::RevokeDevices { .. } => DaemonToWorker::CredentialsChanged,
            WorkerToDaemon::CredentialFirst { message, .. } => {
                DaemonToWorker::CredentialChallenge { message }
            }
            WorkerToDaemon::CredentialFinal { message } if message == WRONG => {
                DaemonToWorker::CredentialsRefused { error: ErrorCode::PasswordRefused }
            }
            WorkerToDaemon::CredentialFinal { .. } => DaemonToWorker::CredentialsChanged,
            WorkerToDaemon::ExecStart { id, .. } => {
                DaemonToWorker::ExecFailed { id, error: ErrorCode::ProgramNotAllowed }
            }
            report @ (WorkerToDaemon::Ready
            | WorkerToDaemon::Handshaken { .. }
            | WorkerToDaemon::TransferStarted { .. }
            | WorkerToDaemon::Progress { .. }
            | WorkerToDaemon::TransferEnded { .. }
            | WorkerToDaemon::BatchEnded { .. }
            | WorkerToDaemon::ExecStop { .. }
            | WorkerToDaemon::Alive
            | WorkerToDaemon::Closing { .. }) => {
                reports.push(report);
                continue;
            }
        };
        channel.send(&answer, &[]).unwrap();
    }
    reports
}

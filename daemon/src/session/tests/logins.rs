//! Logins, the site secret, invitations, new credentials and devices, through a session.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::credentials::{
    DeviceKey, DeviceName, InvitationSecret, NewAccount, NewCredential, login_statement,
};
use berth_common::entry::Limits;
use berth_common::error_code::ErrorCode;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role};
use berth_common::scram::{ChannelBinding, ClientFirst, ScramVerifier, site_proof};

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::fakes::{EXPORTER, FakeWorker, Fakes, PASSWORD, SITE_SECRET, run, user};
use super::*;
use crate::ledger::Invitation;

#[test]
fn a_wrong_password_is_refused_and_its_session_ends() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker) = fakes.connect("wrong").await;
        let refused = DaemonToWorker::Refuse { error: ErrorCode::LoginRefused };
        assert_eq!(worker.recv().await, refused);
        let reason = CloseReason::Refused { error: ErrorCode::LoginRefused };
        worker.send(&WorkerToDaemon::Closing { reason });
        worker.crash();
        fakes.no_sessions().await;
        assert_eq!(
            fakes.daemon.incidents.told().total(),
            1,
            "it died by a signal that nobody sent"
        );
    });
}

#[test]
fn a_session_too_many_is_refused() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_sessions_per_user = 1).await;
        let (_client, _worker, _filer) = fakes.session().await;
        let (_client, worker) = fakes.connect(PASSWORD).await;
        let error = ErrorCode::TooManySessions { limit: 1 };
        assert_eq!(worker.recv().await, DaemonToWorker::Refuse { error });
    });
}

#[test]
fn the_login_has_a_deadline_of_the_daemons_own() {
    run(|| async {
        let fakes = Fakes::start(|config| config.login = Duration::ZERO).await;
        let worker = fakes.worker().await;
        let addr = fakes.daemon.listen.borrow()[0];
        let _client = std::net::TcpStream::connect(addr).unwrap();
        assert!(matches!(worker.recv().await, DaemonToWorker::Client { .. }));
        worker.ended().await;
        fakes.no_sessions().await;
        fakes.daemon.workers.stop();
        fakes.daemon.filers.stop();
        fakes.spawner.all_reaped().await;
    });
}

#[test]
fn without_the_site_secret_nobody_gets_to_the_login() {
    run(|| async {
        let fakes = Fakes::start(|config| config.site_secret_file = Some("any".into())).await;
        let (_client, worker, challenge) = fakes.handshake().await;
        worker.send(&WorkerToDaemon::SiteProof {
            proof: site_proof(b"guess", &challenge.unwrap(), &EXPORTER),
        });
        let refused = DaemonToWorker::Refuse { error: ErrorCode::LoginRefused };
        assert_eq!(worker.recv().await, refused);

        let (_client, worker, _) = fakes.handshake().await;
        worker.send(&WorkerToDaemon::LoginFirst { message: vec![] });
        worker.ended().await;
    });
}

#[test]
fn with_the_site_secret_the_login_follows() {
    run(|| async {
        let fakes = Fakes::start(|config| config.site_secret_file = Some("any".into())).await;
        let (_client, worker, challenge) = fakes.handshake().await;
        worker.send(&WorkerToDaemon::SiteProof {
            proof: site_proof(SITE_SECRET, &challenge.unwrap(), &EXPORTER),
        });
        assert_eq!(worker.recv().await, DaemonToWorker::SiteAccepted);
        worker.log_in(PASSWORD).await;
        let filer = fakes.filer().await;
        assert!(matches!(filer.recv().await, DaemonToFiler::Join(_)));
        filer.send(&FilerToDaemon::Joined);
        assert!(matches!(worker.recv().await, DaemonToWorker::LoginAccepted { .. }));
    });
}

#[test]
fn a_filer_that_ends_before_it_has_joined_is_replaced() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker) = fakes.connect(PASSWORD).await;
        let first = fakes.filer().await;
        assert!(matches!(first.recv().await, DaemonToFiler::Join(_)));
        first.crash();
        let second = fakes.filer().await;
        assert!(matches!(second.recv().await, DaemonToFiler::Join(Role::Serve { .. })));
        second.send(&FilerToDaemon::Joined);
        assert!(matches!(worker.recv().await, DaemonToWorker::LoginAccepted { .. }));
    });
}

#[test]
fn a_client_is_told_when_no_filer_joins() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker) = fakes.connect(PASSWORD).await;
        for _ in 0..2 {
            let filer = fakes.filer().await;
            assert!(matches!(filer.recv().await, DaemonToFiler::Join(_)));
            filer.crash();
        }
        let refused = DaemonToWorker::Refuse { error: ErrorCode::Internal };
        assert_eq!(worker.recv().await, refused);
    });
}

/// Asks for a change of password; what the daemon answers in the end.
async fn change(worker: &FakeWorker, password: &str, new: &ScramVerifier) -> DaemonToWorker {
    store(worker, password, &NewCredential::Password(new.clone())).await
}

/// Asks for a credential to be stored; what the daemon answers in the end.
async fn store(worker: &FakeWorker, password: &str, new: &NewCredential) -> DaemonToWorker {
    let binding = ChannelBinding::new_credential(&EXPORTER, new);
    let first = ClientFirst::new("alice", binding).unwrap();
    worker.send(&WorkerToDaemon::CredentialFirst {
        message: first.message().to_vec(),
        credential: new.clone(),
    });
    let message = match worker.recv().await {
        DaemonToWorker::CredentialChallenge { message } => message,
        other => return other,
    };
    let answer = first.answer(password, &message).unwrap();
    worker.send(&WorkerToDaemon::CredentialFinal { message: answer.message().to_vec() });
    worker.recv().await
}

#[test]
fn a_password_is_changed_by_whoever_knows_the_current_one() {
    run(|| async {
        let fakes = Fakes::start(|config| config.failures.refuse_after = 2).await;
        let new = ScramVerifier::from_password("new", vec![2; 16], 4096).unwrap();
        let (_client, worker, _filer) = fakes.session().await;
        let stored = async || {
            let record = fakes.daemon.ledger.user(&user("alice")).await.unwrap();
            record.unwrap().verifier
        };
        let old = stored().await;
        let refused = DaemonToWorker::CredentialsRefused { error: ErrorCode::PasswordRefused };
        assert_eq!(change(&worker, "guess", &new).await, refused);
        assert_eq!(stored().await, old);
        assert_eq!(change(&worker, PASSWORD, &new).await, DaemonToWorker::CredentialsChanged);
        assert_eq!(stored().await, new);

        // The old one is a wrong one now; a session is no way to try out any number.
        assert_eq!(change(&worker, PASSWORD, &old).await, refused);
        let held_off = change(&worker, "new", &old).await;
        let DaemonToWorker::CredentialsRefused { error } = held_off else { panic!("{held_off:?}") };
        assert!(matches!(error, ErrorCode::TooManyFailures { .. }), "{error}");
        assert_eq!(stored().await, new);
        // The session goes on.
        worker.send(&WorkerToDaemon::Progress { received: 1, sent: 0 });
        fakes.sessions(1).await;
    });
}

#[test]
fn a_session_whose_client_tries_passwords_is_ended_and_its_worker_is_not_blamed() {
    run(|| async {
        let fakes = Fakes::start(|config| config.failures.refuse_after = 1).await;
        let new = ScramVerifier::from_password("new", vec![2; 16], 4096).unwrap();
        let (_client, worker, _filer) = fakes.session().await;
        let refused = DaemonToWorker::CredentialsRefused { error: ErrorCode::PasswordRefused };
        assert_eq!(change(&worker, "guess", &new).await, refused);
        let control = fakes.daemon.control(SessionId(1)).unwrap();
        let process = control.serving.borrow().as_ref().unwrap().worker().clone();
        // Its address is refused from now on, at once, and each time with a line in the log.
        let message = b"n,,n=alice,r=x".to_vec();
        let credential = NewCredential::Password(new);
        let question = WorkerToDaemon::CredentialFirst { message, credential };
        while worker.try_send(&question).is_ok() && worker.next().await.is_some() {}
        fakes.no_sessions().await;
        assert_eq!(process.killed(), Some(&KillReason::CredentialTries));
        assert_eq!(fakes.daemon.incidents.told().total(), 0, "an honest worker relays that too");
    });
}

fn device_key() -> (Ed25519KeyPair, DeviceKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = DeviceKey(pair.public_key().as_ref().try_into().unwrap());
    (pair, key)
}

fn by_device() -> WorkerToDaemon {
    let (pair, key) = device_key();
    let statement = login_statement(&EXPORTER, &user("alice"), &key);
    let signature = pair.sign(&statement).as_ref().try_into().unwrap();
    WorkerToDaemon::LoginDevice { user: user("alice"), key, signature }
}

impl Fakes {
    /// A session of alice's, who logs in by her device.
    async fn session_by_device(
        &self,
    ) -> (std::net::TcpStream, FakeWorker, super::fakes::FakeFiler) {
        let (client, worker, _) = self.handshake().await;
        worker.send(&by_device());
        let filer = self.filer().await;
        assert!(matches!(filer.recv().await, DaemonToFiler::Join(_)));
        filer.send(&FilerToDaemon::Joined);
        let accepted = worker.recv().await;
        let DaemonToWorker::LoginAccepted { message, user: name } = accepted else {
            panic!("{accepted:?}")
        };
        assert_eq!((message, name), (vec![], user("alice")));
        (client, worker, filer)
    }
}

#[test]
fn a_device_that_was_registered_by_a_second_proof_logs_in_until_it_is_revoked() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _) = fakes.handshake().await;
        worker.send(&by_device());
        let refused = DaemonToWorker::Refuse { error: ErrorCode::LoginRefused };
        assert_eq!(worker.recv().await, refused, "it is not registered yet");

        let (_client, first, _filer) = fakes.session().await;
        let (_, key) = device_key();
        let device = NewCredential::Device { key, name: DeviceName::new("laptop").unwrap() };
        assert_eq!(store(&first, PASSWORD, &device).await, DaemonToWorker::CredentialsChanged);
        let (_client, second, _filer) = fakes.session_by_device().await;
        first.send(&WorkerToDaemon::Devices);
        let DaemonToWorker::Devices { devices } = first.recv().await else { panic!() };
        assert_eq!(
            (devices.len(), devices[0].device, devices[0].name.as_str()),
            (1, key.id(), "laptop")
        );

        // Its session ends, and no other.
        first.send(&WorkerToDaemon::RevokeDevices { devices: vec![key.id()] });
        second.ended().await;
        assert_eq!(first.recv().await, DaemonToWorker::CredentialsChanged);
        let (_client, worker, _) = fakes.handshake().await;
        worker.send(&by_device());
        assert_eq!(worker.recv().await, refused);
        first.send(&WorkerToDaemon::Progress { received: 1, sent: 0 });
    });
}

#[test]
fn a_device_that_revokes_itself_is_told_so() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, first, _filer) = fakes.session().await;
        let (_, key) = device_key();
        let device = NewCredential::Device { key, name: DeviceName::new("laptop").unwrap() };
        assert_eq!(store(&first, PASSWORD, &device).await, DaemonToWorker::CredentialsChanged);
        let (_client, worker, _filer) = fakes.session_by_device().await;
        worker.send(&WorkerToDaemon::RevokeDevices { devices: vec![key.id()] });
        assert_eq!(worker.recv().await, DaemonToWorker::CredentialsChanged);
    });
}

/// Somebody joins by this secret; what the daemon answers in the end.
async fn join(worker: &FakeWorker, secret: InvitationSecret, name: &str) -> DaemonToWorker {
    let verifier = ScramVerifier::from_password(PASSWORD, vec![3; 16], 4096).unwrap();
    let account = NewAccount { user: user(name), verifier };
    let binding = ChannelBinding::new_account(&EXPORTER, &account);
    let first = ClientFirst::new(&secret.id().to_string(), binding).unwrap();
    let message = first.message().to_vec();
    worker.send(&WorkerToDaemon::JoinFirst { message, account });
    let DaemonToWorker::JoinChallenge { message } = worker.recv().await else { panic!() };
    let answer = first.answer(&secret.as_password(), &message).unwrap();
    worker.send(&WorkerToDaemon::JoinFinal { message: answer.message().to_vec() });
    worker.recv().await
}

#[test]
fn whoever_was_invited_makes_an_account_once_and_logs_in_on_the_same_connection() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let secret = InvitationSecret([4; 16]);
        let verifier =
            ScramVerifier::from_password(&secret.as_password(), vec![5; 16], 4096).unwrap();
        let limits = Limits { bytes: Some(77), entries: None };
        let invitation = Invitation { verifier, user: None, limits };
        let ledger = &fakes.daemon.ledger;
        ledger.add_invitation(secret.id(), invitation, 100).await.unwrap();

        let refused = async |secret, name, error| {
            let (_client, worker, _) = fakes.handshake().await;
            assert_eq!(join(&worker, secret, name).await, DaemonToWorker::Refuse { error });
        };
        refused(InvitationSecret([9; 16]), "bob", ErrorCode::NotInvited).await;
        refused(secret, "alice", ErrorCode::NameTaken).await;
        // Somebody's files are left, as after a restore.
        fakes.daemon.homes.off_thread(|homes| homes.make(&user("carol"))).await.unwrap();
        refused(secret, "carol", ErrorCode::NameTaken).await;

        let (_client, worker, _) = fakes.handshake().await;
        let joined = join(&worker, secret, "bob").await;
        assert!(matches!(joined, DaemonToWorker::Joined { .. }), "{joined:?}");
        let bob = ledger.user(&user("bob")).await.unwrap().unwrap();
        assert!(bob.may_log_in());
        assert_eq!(bob.usage.limits, limits);
        worker.log_in_as("bob", PASSWORD).await;
        let filer = fakes.filer().await;
        assert!(matches!(filer.recv().await, DaemonToFiler::Join(_)));
        filer.send(&FilerToDaemon::Joined);
        assert!(matches!(worker.recv().await, DaemonToWorker::LoginAccepted { .. }));
        refused(secret, "dora", ErrorCode::NotInvited).await;
    });
}

#[test]
fn guessing_invitations_is_held_back_like_guessing_passwords() {
    run(|| async {
        let fakes = Fakes::start(|config| config.failures.refuse_after = 1).await;
        let (_client, worker, _) = fakes.handshake().await;
        let refused = DaemonToWorker::Refuse { error: ErrorCode::NotInvited };
        assert_eq!(join(&worker, InvitationSecret([9; 16]), "bob").await, refused);
        let (_client, worker, _) = fakes.handshake().await;
        worker.send(&by_device());
        let answer = worker.recv().await;
        let DaemonToWorker::Refuse { error } = answer else { panic!("{answer:?}") };
        assert!(matches!(error, ErrorCode::TooManyFailures { .. }), "{error}");
    });
}

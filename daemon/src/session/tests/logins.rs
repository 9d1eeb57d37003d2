//! Logins, the site secret and changes of password, through a session.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::error_code::ErrorCode;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role};
use berth_common::scram::{ChannelBinding, ClientFirst, ScramVerifier, site_proof};

use super::fakes::{EXPORTER, FakeWorker, Fakes, PASSWORD, SITE_SECRET, run, user};
use super::*;

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
    let binding = ChannelBinding::covering(&EXPORTER, new);
    let first = ClientFirst::new("alice", binding).unwrap();
    worker.send(&WorkerToDaemon::PasswordFirst {
        message: first.message().to_vec(),
        verifier: new.clone(),
    });
    let message = match worker.recv().await {
        DaemonToWorker::PasswordChallenge { message } => message,
        other => return other,
    };
    let answer = first.answer(password, &message).unwrap();
    worker.send(&WorkerToDaemon::PasswordFinal { message: answer.message().to_vec() });
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
        let refused = DaemonToWorker::PasswordRefused;
        assert_eq!(change(&worker, "guess", &new).await, refused);
        assert_eq!(stored().await, old);
        assert_eq!(change(&worker, PASSWORD, &new).await, DaemonToWorker::PasswordChanged);
        assert_eq!(stored().await, new);

        // The old one is a wrong one now; a session is no way to try out any number.
        assert_eq!(change(&worker, PASSWORD, &old).await, refused);
        assert_eq!(change(&worker, "new", &old).await, refused);
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
        assert_eq!(change(&worker, "guess", &new).await, DaemonToWorker::PasswordRefused);
        let control = fakes.daemon.control(SessionId(1)).unwrap();
        let process = control.serving.borrow().as_ref().unwrap().worker().clone();
        // Its address is refused from now on, at once, and each time with a line in the log.
        let message = b"n,,n=alice,r=x".to_vec();
        let question = WorkerToDaemon::PasswordFirst { message, verifier: new };
        while worker.try_send(&question).is_ok() && worker.next().await.is_some() {}
        fakes.no_sessions().await;
        assert_eq!(process.killed(), Some(&KillReason::PasswordTries));
        assert_eq!(fakes.daemon.incidents.told().total(), 0, "an honest worker relays that too");
    });
}

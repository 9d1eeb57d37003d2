//! Reloads while sessions are there: a worker's handshake is signed with the key of its own certificate, and
//! what has begun goes on as it began.

use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::broker_protocol::{DaemonToWorker, Direction, WorkerToDaemon};
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::journal::BootId;
use berth_common::rel_path::RelPath;
use berth_common::scram::site_proof;

use super::fakes::{EXPORTER, FakeWorker, Fakes, SITE_SECRET, run};
use crate::config::Config;
use crate::daemon::Settings;
use crate::identity::Identity;
use crate::worker_handle;

/// Another certificate, whose key is of another kind, so that its signatures can be told by their scheme.
fn ed25519() -> Identity {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let (certificate_file, key_file) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&certificate_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    Identity::read(&certificate_file, &key_file).unwrap()
}

/// Sets this identity and this secret, and what is changed in the configuration.
pub(super) fn set(
    fakes: &Fakes,
    secret: Option<&[u8]>,
    change: impl FnOnce(&mut Config),
) -> Rc<Identity> {
    let (identity, mut config) = (Rc::new(ed25519()), fakes.daemon.settings().config.clone());
    change(&mut config);
    let workers = worker_handle::setup(&config, &identity, BootId::UNKNOWN);
    let settings =
        Settings { config, identity: identity.clone(), site_secret: secret.map(Into::into) };
    fakes.daemon.set(settings, workers);
    identity
}

fn certificate_verify() -> Vec<u8> {
    [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
}

async fn client(fakes: &Fakes, worker: &FakeWorker) -> (std::net::TcpStream, Option<[u8; 32]>) {
    let client = std::net::TcpStream::connect(fakes.daemon.listen.borrow()[0]).unwrap();
    let DaemonToWorker::Client { site_challenge, .. } = worker.receive().await.message else {
        panic!()
    };
    (client, site_challenge.map(|bytes| bytes.into_array()))
}

#[test]
fn a_handshake_under_way_is_signed_with_the_key_of_its_workers_certificate() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let old = Rc::downgrade(&fakes.daemon.settings().identity);
        let scheme = fakes.daemon.settings().identity.scheme();
        let worker = fakes.worker().await;
        let (_client, _) = client(&fakes, &worker).await;
        let spare = fakes.worker().await;

        let new = set(&fakes, None, |_| {});
        assert_ne!(new.scheme(), scheme);
        spare.ended().await;
        worker.send(&WorkerToDaemon::Sign { scheme, message: certificate_verify() });
        assert!(matches!(worker.recv().await, DaemonToWorker::Signed { .. }));
        worker.send(&WorkerToDaemon::Handshaken { exporter: EXPORTER });
        worker.log_in("wrong").await;
        let refused = DaemonToWorker::Refuse { error: ErrorCode::LoginRefused };
        assert_eq!(worker.recv().await, refused);
        assert!(old.upgrade().is_none(), "nobody needs the old key any more");

        let worker = fakes.worker().await;
        let (_client, _) = client(&fakes, &worker).await;
        worker.send(&WorkerToDaemon::Sign { scheme, message: certificate_verify() });
        worker.ended().await;
    });
}

#[test]
fn spares_are_made_anew_with_the_new_certificate() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let spare = fakes.worker().await;
        let new = set(&fakes, None, |config| config.idle = Duration::from_secs(77));
        spare.ended().await;
        let (_worker, setup) = fakes.worker_set_up().await;
        let own: Vec<_> = new.certificates().map(|der| der.to_vec()).collect();
        assert_eq!(setup.certificates.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), own);
        assert_eq!((setup.signature_scheme, setup.idle_seconds), (new.scheme(), 77));
    });
}

#[test]
fn a_client_is_asked_for_the_site_secret_of_its_connections_time() {
    run(|| async {
        let fakes = Fakes::start(|config| config.site_secret_file = Some("any".into())).await;
        let (_client, worker, challenge) = fakes.handshake().await;
        let proof = site_proof(SITE_SECRET, &challenge.unwrap(), &EXPORTER);
        set(&fakes, None, |_| {});
        worker.send(&WorkerToDaemon::SiteProof { proof });
        assert_eq!(worker.recv().await, DaemonToWorker::SiteAccepted);
    });
}

#[test]
fn a_session_keeps_the_transfers_that_its_worker_was_promised() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_transfers = 2).await;
        let (_client, worker, _filer) = fakes.session().await;
        set(&fakes, None, |config| config.max_transfers = 1);
        for id in [1, 2] {
            worker.send(&WorkerToDaemon::TransferStarted {
                id: RequestId(id),
                direction: Direction::Put,
                path: RelPath::new("file").unwrap(),
                size: Some(1),
            });
        }
        let transfers =
            || fakes.daemon.sessions.borrow().page(None, 1, Instant::now()).0[0].transfers;
        while transfers() != 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

//! Helpers that were taken over, and say what no honest one does: their own session ends, and no other.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::channel::ChannelError;
use berth_common::exec::{Arguments, MAX_ARGUMENTS, ProgramName};
use berth_common::ids::RequestId;
use berth_common::ledger_protocol::{FilerToDaemon, HomeReport, IntentItem};
use berth_common::limits::CHANGES_PER_MESSAGE;
use berth_common::rel_path::RelPath;

use super::fakes::{FakeWorker, Fakes, run};
use super::*;
use crate::program::Program;

/// What a handshake has signed, in this context.
fn content(context: &[u8]) -> Vec<u8> {
    [&[b' '; 64][..], context, &[7; 32]].concat()
}

fn sign(fakes: &Fakes, message: Vec<u8>) -> WorkerToDaemon {
    WorkerToDaemon::Sign { scheme: fakes.daemon.settings().identity.scheme(), message }
}

/// A worker that has a client.
async fn with_a_client(fakes: &Fakes) -> (std::net::TcpStream, FakeWorker) {
    let worker = fakes.worker().await;
    let client = std::net::TcpStream::connect(fakes.daemon.listen.borrow()[0]).unwrap();
    assert!(matches!(worker.recv().await, DaemonToWorker::Client { .. }));
    (client, worker)
}

/// The last incident's sentence, of a worker or filer.
fn blamed(fakes: &Fakes, program: Program) -> String {
    let told = fakes.daemon.incidents.told();
    assert_eq!(told.total(), 1, "{:?}", told.latest);
    let incident = told.latest.last().unwrap();
    assert_eq!(incident.program, program.as_str());
    assert_eq!(incident.kind.name(), "broke");
    incident.what.clone()
}

#[test]
fn the_key_signs_nothing_but_a_servers_handshake() {
    for (scheme, message) in [
        (0, content(b"TLS 1.3, client CertificateVerify\0")),
        (0, b"a certificate".to_vec()),
        (0, vec![b' '; 100_000]),
        (1, content(b"TLS 1.3, server CertificateVerify\0")),
    ] {
        run(|| async {
            let fakes = Fakes::start(|_| {}).await;
            let (_client, worker) = with_a_client(&fakes).await;
            let scheme = fakes.daemon.settings().identity.scheme() + scheme;
            worker.send(&WorkerToDaemon::Sign { scheme, message });
            worker.ended_untold().await;
            fakes.no_sessions().await;
            let what = blamed(&fakes, Program::Worker);
            assert!(what.contains("no CertificateVerify"), "{what}");
        });
    }
}

#[test]
fn a_worker_that_asks_for_programs_without_end_is_ended_for_what_its_arguments_cost() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _filer) = fakes.session().await;
        let mut asked = 0;
        loop {
            let order = WorkerToDaemon::ExecStart {
                id: RequestId(asked),
                program: ProgramName::new("no-such-program").unwrap(),
                arguments: Arguments::new(vec![vec![b'x']; MAX_ARGUMENTS]).unwrap(),
                directory: RelPath::root(),
            };
            match worker.try_send(&order) {
                Ok(()) => asked += 1,
                Err(ChannelError::WouldBlock) => tokio::task::yield_now().await,
                Err(_) => break,
            }
        }
        worker.ended().await;
        fakes.no_sessions().await;
        let what = blamed(&fakes, Program::Worker);
        assert!(what.contains("more messages"), "{what}");
        assert!(asked < 1000, "{asked}");
    });
}

#[test]
fn a_second_signature_ends_the_session_before_and_after_login() {
    for logged_in in [false, true] {
        run(|| async {
            let fakes = Fakes::start(|_| {}).await;
            let (_client, worker, _) = fakes.handshake().await;
            if logged_in {
                worker.log_in(super::fakes::PASSWORD).await;
            }
            worker.send(&sign(&fakes, content(b"TLS 1.3, server CertificateVerify\0")));
            worker.ended().await;
            fakes.no_sessions().await;
            let what = blamed(&fakes, Program::Worker);
            assert!(what.contains("Sign is not allowed in the phase"), "{what}");
        });
    }
}

#[test]
fn a_worker_before_login_may_say_a_few_things_and_no_more() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _) = fakes.handshake().await;
        worker.log_in("wrong").await;
        // Told to end, after which what was under way is not held against it; but not for ever.
        assert!(matches!(worker.recv().await, DaemonToWorker::Refuse { .. }));
        for _ in 0..100 {
            worker.send(&WorkerToDaemon::SiteProof { proof: [0; 32] });
        }
        worker.ended().await;
        fakes.no_sessions().await;
        let what = blamed(&fakes, Program::Worker);
        assert!(what.contains("more messages than any honest one"), "{what}");
    });
}

#[test]
fn progress_that_is_told_all_the_time_ends_the_session() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let progress = WorkerToDaemon::Progress { received: u64::MAX, sent: u64::MAX };
        while let Ok(()) | Err(ChannelError::WouldBlock) = worker.try_send(&progress) {
            tokio::task::yield_now().await;
        }
        worker.ended().await;
        filer.ended().await;
        fakes.no_sessions().await;
        let what = blamed(&fakes, Program::Worker);
        assert!(what.contains("it sends Progress more often"), "{what}");
    });
}

#[test]
fn progress_of_an_hour_that_comes_at_once_counts_and_ends_nobody() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        // As after the daemon alone was stopped for an hour.
        for _ in 0..720 {
            let progress = WorkerToDaemon::Progress { received: 2, sent: 1 };
            while let Err(ChannelError::WouldBlock) = worker.try_send(&progress) {
                tokio::task::yield_now().await;
            }
        }
        let moved = || {
            let sessions = fakes.daemon.sessions.borrow();
            sessions.get(SessionId(1)).map(|entry| (entry.received, entry.sent))
        };
        while moved().is_some_and(|moved| moved != (1440, 720)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(moved(), Some((1440, 720)));
        reserve(&filer, 1).await;
    });
}

#[test]
fn a_filers_messages_count_by_what_they_hold() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (_other_client, _other_worker, other) = fakes.session().await;
        let reports = vec![HomeReport::Left { inode: 1 }; 4096];
        let flood = || filer.try_send(&FilerToDaemon::Reports { reports: reports.clone() });
        while let Ok(()) | Err(ChannelError::WouldBlock) = flood() {
            tokio::task::yield_now().await;
        }
        filer.ended().await;
        worker.ended().await;
        fakes.sessions(1).await;
        let what = blamed(&fakes, Program::Filer);
        assert!(what.contains("more messages than any honest one"), "{what}");
        reserve(&other, 1).await;
    });
}

#[test]
fn a_batch_has_a_bound() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let items = vec![IntentItem::Take; CHANGES_PER_MESSAGE + 1];
        filer.send(&FilerToDaemon::Intent { op: OP, items, settle: None });
        filer.ended_untold().await;
        worker.ended().await;
        fakes.no_sessions().await;
        let what = blamed(&fakes, Program::Filer);
        assert!(what.contains("too many items"), "{what}");
    });
}

#[test]
fn who_breaks_the_protocol_is_blamed_and_not_the_partner() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let (id, error) = (RequestId(1), None);
        worker.send(&WorkerToDaemon::TransferEnded {
            id,
            resumed_leaves: 0,
            moved_leaves: 0,
            error,
        });
        worker.ended().await;
        filer.ended().await;
        fakes.no_sessions().await;
        let what = blamed(&fakes, Program::Worker);
        assert!(what.contains("ended a transfer that it had not begun"), "{what}");
    });
}

#[test]
fn a_worker_that_says_that_it_ends_and_stays_is_told_as_stalled() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _) = fakes.handshake().await;
        worker.send(&WorkerToDaemon::Closing { reason: CloseReason::ClientLeft });
        worker.ended().await;
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.incidents.told().workers.stalled, 1);
    });
}

//! How sessions end, and who may begin one.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use tokio::task::{spawn_local, yield_now};

use super::fakes::{Fakes, run};
use super::*;
use crate::accept::accept;
use crate::listener::Bound;

#[test]
fn a_session_that_is_ending_by_itself_can_still_be_killed_at_once() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let id = SessionId(1);
        let begun = Instant::now();
        // It says so, but goes on living.
        worker.send(&WorkerToDaemon::Closing { reason: CloseReason::ClientLeft });
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(fakes.daemon.end_session(id, KillReason::Administrator).await);
        worker.ended().await;
        filer.ended().await;
        assert!(begun.elapsed() < FAREWELL);
    });
}

#[test]
fn what_a_worker_has_said_counts_though_its_filer_ended_first() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _filer) = fakes.session().await;
        // Both are there when the session looks, and this one it sees first.
        let control = fakes.daemon.control(SessionId(1)).unwrap();
        drop(control.events.send(Event::FilerEnded));
        worker.send(&WorkerToDaemon::Progress { received: 5, sent: 0 });
        loop {
            let received = fakes.daemon.sessions.borrow().get(SessionId(1)).map(|it| it.received);
            if received.expect("it was not heard until the end") == 5 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        worker.ended().await;
        fakes.no_sessions().await;
    });
}

#[test]
fn a_handshake_ends_when_the_server_stops() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let worker = fakes.worker().await;
        let addr = fakes.daemon.listen.borrow()[0];
        let _client = std::net::TcpStream::connect(addr).unwrap();
        assert!(matches!(worker.recv().await, DaemonToWorker::Client { .. }));
        let control = fakes.daemon.control(SessionId(1)).unwrap();
        drop(control.events.send(Event::Shutdown(100)));
        worker.ended().await;
        fakes.no_sessions().await;
    });
}

#[test]
fn a_listener_without_clients_keeps_no_place_from_another() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_connections = 1).await;
        let bound = Bound::new("127.0.0.1:0".parse().unwrap(), 8).unwrap();
        let second = bound.start().unwrap();
        let addr = second.addr;
        spawn_local(accept(fakes.daemon.clone(), second));
        let worker = fakes.worker().await;
        let _client = std::net::TcpStream::connect(addr).unwrap();
        assert!(matches!(worker.recv().await, DaemonToWorker::Client { .. }));
    });
}

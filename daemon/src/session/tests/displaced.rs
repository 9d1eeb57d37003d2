//! Who has not logged in makes room for others; who has is left alone.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use berth_common::broker_protocol::DaemonToWorker;
use berth_common::ids::SessionId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use tokio::io::AsyncReadExt as _;

use super::fakes::{FakeWorker, Fakes, PASSWORD, run};
use super::reloads::set;
use super::reserve;

const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 7, 1];

/// A connection from this address that says nothing.
fn stranger(fakes: &Fakes, from: [u8; 4]) -> TcpStream {
    let to = fakes.daemon.listen.borrow()[0];
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}

/// The same, with its worker.
async fn held(fakes: &Fakes, from: [u8; 4]) -> (TcpStream, FakeWorker) {
    let worker = fakes.worker().await;
    let client = stranger(fakes, from);
    assert!(matches!(worker.recv().await, DaemonToWorker::Client { .. }));
    (client, worker)
}

/// Waits until the daemon has closed it.
async fn closed(client: TcpStream) {
    client.set_nonblocking(true).unwrap();
    let mut client = tokio::net::TcpStream::from_std(client).unwrap();
    assert!(matches!(client.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

/// Waits until only so many of these workers live.
async fn left_of(mut workers: Vec<FakeWorker>, count: usize) -> Vec<FakeWorker> {
    while workers.len() > count {
        tokio::time::sleep(Duration::from_millis(2)).await;
        workers
            .retain(|worker| Path::new(&format!("/proc/{}", worker.pid.as_raw_nonzero())).exists());
    }
    workers
}

#[test]
fn one_of_the_network_with_most_makes_room_for_a_newcomer() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_logins_pending = 2).await;
        let (_client, one) = held(&fakes, HERE).await;
        let (_other_client, other) = held(&fakes, HERE).await;
        let (_newcomer, worker) = held(&fakes, ELSEWHERE).await;
        let mut stay = left_of(vec![one, other], 1).await;
        stay.push(worker);
        fakes.sessions(2).await;
        let scheme = fakes.daemon.settings().identity.scheme();
        for worker in stay {
            worker.shake_hands(scheme).await;
        }
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

#[test]
fn a_newcomer_of_the_network_with_most_is_closed_and_costs_no_worker() {
    run(|| async {
        // They are spared for a second, which a busy machine may take to get so far.
        while !is_closed_beside_others_of_its_network().await {}
    });
}

async fn is_closed_beside_others_of_its_network() -> bool {
    let fakes = Fakes::start(|config| config.max_logins_pending = 2).await;
    let (_client, one) = held(&fakes, HERE).await;
    let (_other_client, other) = held(&fakes, HERE).await;
    let spare = fakes.worker().await;
    let is_closed = closed(stranger(&fakes, HERE));
    if tokio::time::timeout(Duration::from_secs(1), is_closed).await.is_err() {
        return false;
    }
    let _newcomer = stranger(&fakes, ELSEWHERE);
    assert!(matches!(spare.recv().await, DaemonToWorker::Client { .. }), "it is still there");
    let stay = left_of(vec![one, other], 1).await;
    stay[0].shake_hands(fakes.daemon.settings().identity.scheme()).await;
    true
}

#[test]
fn without_a_place_for_it_a_newcomer_gets_a_strangers_and_no_users() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_connections = 4).await;
        let (_alice, _worker, filer) = fakes.session().await;
        let (_client1, first) = held(&fakes, HERE).await;
        let (_client2, second) = held(&fakes, HERE).await;
        let (_client3, third) = held(&fakes, HERE).await;
        let (_newcomer, _its_worker) = held(&fakes, ELSEWHERE).await;
        let (_next, _next_worker) = held(&fakes, [127, 0, 9, 1]).await;
        left_of(vec![first, second, third], 1).await;
        fakes.sessions(4).await;
        reserve(&filer, 1).await;
    });
}

#[test]
fn whose_proof_is_right_is_not_ended_for_others_while_a_filer_joins() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_logins_pending = 1).await;
        let (_client, worker) = fakes.connect(PASSWORD).await;
        let filer = fakes.filer().await;
        assert!(matches!(filer.receive().await.message, DaemonToFiler::Join(_)));
        assert!(!fakes.daemon.pending.borrow().has(SessionId(1)));
        let (_stranger, _its_worker) = held(&fakes, ELSEWHERE).await;
        filer.send(&FilerToDaemon::Joined);
        assert!(matches!(worker.recv().await, DaemonToWorker::LoginAccepted { .. }));
        reserve(&filer, 1).await;
        fakes.sessions(2).await;
    });
}

#[test]
fn a_reload_bounds_those_who_come_from_then_on() {
    run(|| async {
        let fakes = Fakes::start(|config| config.max_logins_pending = 1).await;
        let (_first_client, _first) = held(&fakes, HERE).await;
        let old_spare = fakes.worker().await;
        set(&fakes, None, |config| config.max_logins_pending = 2);
        old_spare.ended().await;
        let (_second_client, _second) = held(&fakes, HERE).await;
        fakes.sessions(2).await;
    });
}

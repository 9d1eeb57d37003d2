//! Clients that take their time: a byte now and then, at every stage. What comes slowly does not put a deadline
//! off, and others are served meanwhile.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::encode_message;
use berth_common::ids::RequestId;
use berth_tests::client::at_once;
use berth_tests::raw::leaving::{has_news, is_closed};
use berth_tests::raw::{tcp, tls_config};
use berth_tests::wait::within;
use berth_tests::{Options, wait_until};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::scene::Scene;
use crate::transfers::{begin, header, open, put};

/// Between two bytes: so long that nothing comes to its end, and so short that no deadline passes between.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends byte after byte until the server has something to say to that, or has closed the connection. Those that
/// were sent are far fewer than `bytes`, or the server has no deadline.
#[track_caller]
fn drip(socket: &TcpStream, bytes: &[u8], mut send: impl FnMut(u8) -> std::io::Result<()>) {
    for byte in bytes {
        let answered = within(PAUSE, || has_news(socket).then_some(()));
        if answered.is_some() || send(*byte).is_err() {
            return;
        }
    }
    panic!("{} bytes were sent one by one, and the server still waits", bytes.len());
}

/// A real `ClientHello`, which a client would send at once.
fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from("berth").unwrap();
    let mut tls = ClientConnection::new(tls_config().into(), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

fn login_deadline() -> Scene {
    Scene::new(Options::new().set("login_seconds = 3"))
}

#[test]
fn a_login_that_comes_byte_by_byte_ends_at_its_deadline() {
    let scene = login_deadline();
    let mute = tcp(scene.address(), None).unwrap();
    let slow = || {
        let socket = tcp(scene.address(), None).unwrap();
        drip(&socket, &client_hello(), |byte| (&socket).write_all(&[byte]));
        wait_until("the handshake's time is over", || is_closed(&socket));
    };
    let slow_hello = || {
        let mut raw = scene.attacker(false);
        let versions = vec![1; 16];
        let hello = ClientToWorker::Hello { versions, client: "x".repeat(128) };
        let socket = raw.socket().try_clone().unwrap();
        drip(&socket, &encode_message(&hello).unwrap(), |byte| raw.try_send_bytes(&[byte]));
        assert_eq!(raw.closing(), Some(ErrorCode::TimedOut));
    };
    let slow_proof = || {
        let mut raw = scene.attacker(false);
        raw.hello();
        let first = ClientToWorker::LoginFirst { message: vec![b'x'; 1000] };
        let socket = raw.socket().try_clone().unwrap();
        drip(&socket, &encode_message(&first).unwrap(), |byte| raw.try_send_bytes(&[byte]));
        assert_eq!(raw.closing(), Some(ErrorCode::TimedOut));
    };
    let bob = || wait_until("bob is served beside them", || serve_bob(&scene));
    let jobs: [&(dyn Fn() + Sync); 4] = [&slow, &slow_hello, &slow_proof, &bob];
    at_once(jobs.map(|job| || job()).into());
    wait_until("a client that says nothing is ended too", || is_closed(&mute));
    scene.assert_unharmed();
}

/// Whether bob could log in: on a busy machine he may be too slow himself.
fn serve_bob(scene: &Scene) -> bool {
    scene.server.client("bob", "b").run(&["ls"]).code == Some(0)
}

#[test]
fn a_frame_that_comes_byte_by_byte_does_not_keep_a_session_alive() {
    let scene = Scene::new(Options::new().set("idle_seconds = 3").set("stall_seconds = 2"));
    let slow = |frame: Vec<u8>| {
        let mut raw = scene.mallory();
        let socket = raw.socket().try_clone().unwrap();
        drip(&socket, &frame, |byte| raw.try_send_bytes(&[byte]));
        assert_eq!(raw.closing(), Some(ErrorCode::TimedOut));
    };
    let path = berth_common::rel_path::RelPath::new(&"x".repeat(200)).unwrap();
    let request = encode_message(&ClientToWorker::Stat { id: RequestId(1), path }).unwrap();
    // A block for no upload, so that there is no transfer whose own deadline would count.
    let data = [1; 1000];
    let mut block = header(RequestId(9), 0, &data).encode(1000).unwrap();
    block.extend_from_slice(&data);
    let in_a_message = || slow(request.clone());
    let in_a_block = || slow(block.clone());
    let bob = || wait_until("bob is served beside them", || serve_bob(&scene));
    let jobs: [&(dyn Fn() + Sync); 3] = [&in_a_message, &in_a_block, &bob];
    at_once(jobs.map(|job| || job()).into());
    scene.assert_unharmed();
}

#[test]
fn uploads_that_are_declared_and_never_sent_end_by_themselves_and_then_their_session() {
    let scene = Scene::new(Options::new().set("idle_seconds = 3").set("stall_seconds = 2"));
    let mut raw = scene.mallory();
    let small = open(&mut raw, put("small", 10));
    let large = open(&mut raw, put("large", 5 << 20));
    let began = begin(&mut raw, put("half", 5 << 20));
    assert!(matches!(raw.message(), WorkerToClient::PutReady { .. }));
    let data = vec![1; 1 << 20];
    raw.send_block(&header(began, 0, &data), &data);
    let mut stalled = Vec::new();
    loop {
        match raw.message() {
            WorkerToClient::Failed { id, error: ErrorCode::Stalled { seconds: 2 } } => {
                stalled.push(id);
            }
            WorkerToClient::Refused { error: ErrorCode::TimedOut } => break,
            other => panic!("{other:?}"),
        }
    }
    stalled.sort_unstable();
    assert_eq!(stalled, [small, large, began]);
    assert_eq!(raw.closing(), None);
    scene.only_spares_are_left();
    assert_eq!(scene.uploads(), ["half", "large"]);
    scene.assert_unharmed();
}

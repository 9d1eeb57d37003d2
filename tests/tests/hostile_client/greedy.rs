//! Clients that ask and do not take the answers: what waits for them is bounded, and then nothing more is read.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::encode_message;
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use berth_tests::files::Content;
use berth_tests::raw::records;
use berth_tests::wait::within;
use berth_tests::{Options, Raw, process, report};
use rustls::ContentType;

use crate::scene::Scene;
use crate::transfers::{begin, put};

/// The most memory that a worker may have whose client takes nothing.
const MOST_OF_A_WORKER: u64 = 64 << 20;

/// So long has nothing more to be taken by the server until it is said to have stopped reading. That it was only
/// slow lets a test pass which would have to fail, never the other way round.
const STILL: Duration = Duration::from_secs(1);

/// Requests in one TLS record, so that the client is faster than the server.
const TOGETHER: usize = 100;

/// Many times what fits the sockets' buffers.
const MOST_RECORDS: usize = 20_000;

/// Sends what `next` makes without waiting, until the server takes nothing more; how many of them it took.
#[track_caller]
fn send_until_full(
    socket: &TcpStream,
    most: usize,
    mut next: impl FnMut(usize) -> Vec<u8>,
) -> usize {
    socket.set_nonblocking(true).unwrap();
    for number in 0..most {
        let bytes = next(number);
        let mut left = &bytes[..];
        while !left.is_empty() {
            match (&*socket).write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let sent = within(STILL, || {
                        let count = (&*socket).write(left).ok()?;
                        left = &left[count..];
                        Some(())
                    });
                    if sent.is_none() {
                        return number;
                    }
                }
                Err(error) => panic!("the server has gone after {number}: {error}"),
            }
        }
    }
    panic!("the server took {most} requests of a client that reads nothing");
}

/// A connection of mallory's whose records are made by hand, so that no buffer of ours stands between.
fn by_hand(scene: &Scene) -> records::Records {
    let socket = berth_tests::raw::tcp(scene.address(), None).unwrap();
    let mut raw = Raw::configured(socket, records::config()).unwrap();
    raw.authenticate("mallory", "m").unwrap();
    raw.by_hand()
}

fn greedy(scene: &Scene, request: impl Fn(RequestId) -> ClientToWorker) {
    let mut records = by_hand(scene);
    let worker = scene.worker();
    let socket = records.socket().try_clone().unwrap();
    let mut id = 10;
    let taken = send_until_full(&socket, MOST_RECORDS, |_| {
        let mut frames = Vec::new();
        for _ in 0..TOGETHER {
            frames.extend(encode_message(&request(RequestId(id))).unwrap());
            id += 1;
        }
        records.record(ContentType::ApplicationData, &frames)
    }) * TOGETHER;
    let peak = process::peak_bytes(worker);
    report(&format!("{taken} requests taken, the worker's peak {} KiB", peak / 1024));
    assert!(peak <= MOST_OF_A_WORKER, "{peak} bytes");
    scene.bob_is_served();
    drop((records, socket));
    scene.only_spares_are_left();
}

/// Tells the ledger of files that were put into mallory's home beside it.
fn count_what_was_placed(scene: &Scene) {
    let corrected = scene.server.berthctl(&["quota", "verify", "mallory", "--fix"]);
    assert!(matches!(corrected.code, Some(0 | 7)), "{corrected:?}");
}

#[test]
fn a_flood_before_the_login_ends_at_its_first_message_out_of_order() {
    let scene = Scene::roomy();
    let hello = ClientToWorker::Hello { versions: vec![1], client: "x".repeat(100) };
    let first = ClientToWorker::LoginFirst { message: b"p=tls-exporter,,n=mallory,r=abc".to_vec() };
    for message in [hello, first] {
        let mut raw = scene.attacker(false);
        raw.hello();
        let flood = encode_message(&message).unwrap().repeat(5000);
        // It may be ended before it has sent all of them.
        let _ = raw.try_send_bytes(&flood);
        assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{message:?}");
    }
    scene.assert_unharmed();
}

#[test]
fn answers_that_nobody_reads_stop_the_reading_of_requests() {
    let scene = Scene::roomy();
    for number in 0..300 {
        let name = scene.server.home("mallory").join(format!("{number}-{}", "x".repeat(200)));
        std::fs::write(&name, "").unwrap();
        berth_tests::account::give(&name);
    }
    count_what_was_placed(&scene);
    greedy(&scene, |id| ClientToWorker::List { id, path: RelPath::root(), notes: false });
    greedy(&scene, |id| ClientToWorker::Usage { id });
    greedy(&scene, |id| ClientToWorker::Echo { id, payload: vec![7; 100] });
    let missing = RelPath::new("missing").unwrap();
    greedy(&scene, |id| ClientToWorker::Get { id, path: missing.clone(), resume: None });
    scene.assert_unharmed();
}

#[test]
fn a_download_that_is_taken_byte_by_byte_or_not_at_all_stalls() {
    let scene = Scene::new(Options::new().set("stall_seconds = 2"));
    let home = scene.server.home("mallory").join("large");
    Content::seed(1).write(&home, 32 << 20);
    berth_tests::account::give(&home);
    count_what_was_placed(&scene);
    for reads in [false, true] {
        let mark = scene.server.log().mark();
        let mut raw = scene.mallory();
        let worker = scene.worker();
        let path = RelPath::new("large").unwrap();
        let id = raw.id();
        raw.send(&ClientToWorker::Get { id, path, resume: None });
        let over = || {
            let ended = |line: &berth_tests::log::Line| {
                line.number("moved_leaves").is_some()
                    && line.number("transfer") == Some(id.0.into())
            };
            scene.server.log().after(mark, ended).into_iter().next()
        };
        let line = berth_tests::wait_for("the download ends", || {
            if reads {
                // As slowly as can be; what TLS makes of single bytes does not matter.
                let _ =
                    rustix::net::recv(raw.socket(), &mut [0; 1], rustix::net::RecvFlags::DONTWAIT);
                let _ = within(Duration::from_millis(100), || over().map(|_| ()));
            }
            over()
        });
        let error = line.text("error").unwrap_or_default();
        assert!(error.contains("no byte moved"), "{error:?}");
        let peak = process::peak_bytes(worker);
        report(&format!("a stalled download: the worker's peak {} KiB", peak / 1024));
        assert!(peak <= MOST_OF_A_WORKER, "{peak} bytes");
        scene.bob_is_served();
        drop(raw);
        scene.only_spares_are_left();
    }
    scene.assert_unharmed();
}

#[test]
fn puts_by_the_thousand_without_reading_are_refused_but_for_as_many_as_there_may_be() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    let puts: Vec<_> = (0..3000).map(|n| begin(&mut raw, put(&format!("f{n}"), 10))).collect();
    let (mut ready, mut refused) = (0, 0);
    for _ in &puts {
        match raw.message() {
            WorkerToClient::PutReady { .. } => ready += 1,
            WorkerToClient::Failed { error: ErrorCode::TooManyTransfers { limit: 8 }, .. } => {
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ready, refused), (8, puts.len() - 8));
    drop(raw);
    scene.assert_unharmed();
    scene.server.assert_at_rest("mallory");
}

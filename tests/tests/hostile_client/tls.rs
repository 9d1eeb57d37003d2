//! TLS as no honest client speaks it. What is not TLS 1.3 with `berth/1` is refused; floods of records that mean
//! nothing end the connection, or are paid for by the worker alone until its deadline.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_tests::raw::leaving::is_closed;
use berth_tests::raw::{records, tcp, tls_config};
use berth_tests::wait::DEADLINE;
use berth_tests::{Options, Raw, wait_until};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ContentType};

use crate::scene::Scene;

fn connect(scene: &Scene) -> TcpStream {
    let socket = tcp(scene.address(), None).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// What the server answers to these bytes, until it closes the connection.
fn answer_to(scene: &Scene, bytes: &[u8]) -> Vec<u8> {
    let mut socket = connect(scene);
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// The bytes of a client's first flight.
fn first_flight(config: ClientConfig) -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from("berth").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    (tls, hello)
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &length, content].concat()
}

fn handshake(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind][..], &length[1..], content].concat()
}

/// A `ClientHello` of TLS 1.2: without `supported_versions`.
fn old_hello() -> Vec<u8> {
    let suites = [0xc0, 0x2f, 0xc0, 0x30, 0xc0, 0x2b, 0x00, 0x9c];
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let schemes = [0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    let extensions = [&groups[..], &schemes].concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.push(0);
    body.extend_from_slice(&[0, 8]);
    body.extend_from_slice(&suites);
    body.extend_from_slice(&[1, 0]);
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extensions);
    handshake(1, &body)
}

#[test]
fn other_versions_and_other_protocols_are_refused_by_an_alert() {
    let scene = Scene::roomy();
    let is_alert = |answer: &[u8]| answer.len() == 7 && answer[0] == 21;
    assert!(is_alert(&answer_to(&scene, &record(22, &old_hello()))), "TLS 1.2");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls12 = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    assert!(is_alert(&answer_to(&scene, &first_flight(tls12).1)), "a real client of TLS 1.2");
    for names in [vec![b"http/1.1".to_vec()], vec![b"berth/2".to_vec()], vec![b"berth".to_vec()]] {
        let mut config = tls_config();
        config.alpn_protocols = names;
        assert!(Raw::configured(connect(&scene), config).is_err());
    }
    // Without ALPN TLS itself is content; the server is not.
    let mut config = tls_config();
    config.alpn_protocols.clear();
    if let Ok(mut raw) = Raw::configured(connect(&scene), config) {
        assert_eq!(raw.closing(), None);
    }
    scene.assert_unharmed();
}

#[test]
fn a_hello_in_a_thousand_pieces_is_a_hello_and_one_without_end_is_not() {
    let scene = Scene::roomy();
    // As long as a hello may sensibly be, in records of a few bytes.
    let mut config = tls_config();
    config.alpn_protocols = (0..64).map(|n: u8| vec![n; 250]).collect();
    config.alpn_protocols.push(b"berth/1".to_vec());
    let (mut tls, hello) = first_flight(config);
    let mut content = Vec::new();
    let mut rest = &hello[..];
    while let [22, _, _, high, low, following @ ..] = rest {
        let (fragment, next) = following.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        content.extend_from_slice(fragment);
        rest = next;
    }
    assert!(content.len() > 16_000, "{}", content.len());
    let pieces: Vec<u8> = content.chunks(16).flat_map(|piece| record(22, piece)).collect();
    let mut socket = connect(&scene);
    socket.write_all(&pieces).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).expect("the handshake goes on");
    }
    assert_eq!(tls.alpn_protocol(), Some(&b"berth/1"[..]));
    drop(socket);

    // A hello of 16 MiB, of which the first half comes.
    let huge = [&[1, 0xff, 0xff, 0xff][..], &vec![0; 8 << 20]].concat();
    let pieces: Vec<u8> = huge.chunks(16 << 10).flat_map(|piece| record(22, piece)).collect();
    assert!(answer_to(&scene, &pieces).len() < 100);
    // Other messages first, an empty record, early data, and a hello twice.
    for kind in [0, 2, 4, 5, 8, 11, 13, 15, 20, 24, 254] {
        assert!(answer_to(&scene, &record(22, &handshake(kind, &[0; 40]))).len() < 100, "{kind}");
    }
    for kind in [0, 20, 21, 23, 24, 25, 255] {
        let flood = record(kind, &[1]).repeat(5000);
        assert!(answer_to(&scene, &flood).len() < 100, "records of type {kind}");
    }
    assert!(answer_to(&scene, &record(22, &[]).repeat(5000)).len() < 100);
    let early = [hello_bytes(), record(23, &[0; 100]).repeat(2000)].concat();
    answer_to(&scene, &early);
    // Announced as TLS has it, and more of it than any server passes over.
    let announced =
        [announcing_early_data(&hello_bytes()), record(23, &[0; 16000]).repeat(100)].concat();
    answer_to(&scene, &announced);
    answer_to(&scene, &[hello_bytes(), hello_bytes()].concat());
    scene.assert_unharmed();
}

/// A hello with one more extension, `early_data`, which is empty.
fn announcing_early_data(hello: &[u8]) -> Vec<u8> {
    const RECORD: usize = 5;
    let mut body = hello[RECORD..].to_vec();
    // Behind type and length: version, random, session, suites, compressions.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(body[at]);
    at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    at += 1 + usize::from(body[at]);
    let extensions = u16::from_be_bytes([body[at], body[at + 1]]) + 4;
    assert_eq!(usize::from(extensions), body.len() + 4 - at - 2, "the extensions come last");
    body[at..at + 2].copy_from_slice(&extensions.to_be_bytes());
    body.extend_from_slice(&[0, 42, 0, 0]);
    record(22, &handshake(1, &body[4..]))
}

fn hello_bytes() -> Vec<u8> {
    first_flight(tls_config()).1
}

#[test]
fn a_client_with_a_certificate_is_served_like_any_other() {
    let scene = Scene::roomy();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = rcgen::generate_simple_self_signed(["mallory".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let key = provider.key_provider.load_private_key(key.unwrap()).unwrap();
    let chain = vec![certified.cert.der().clone()];
    let mut config = tls_config();
    config.client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key)));
    let mut raw = Raw::configured(connect(&scene), config).unwrap();
    raw.authenticate("mallory", "m").unwrap();
    drop(raw);
    scene.assert_unharmed();
}

#[test]
fn ten_thousand_key_updates_end_the_connection() {
    let scene = Scene::roomy();
    for logged_in in [false, true] {
        let mut raw = scene.attacker(logged_in);
        let ended = (0..10_000).any(|_| raw.update_keys().is_err());
        if !ended {
            assert_eq!(raw.closing(), None, "logged in: {logged_in}");
        }
    }
    scene.assert_unharmed();
}

/// What TLS may carry within its encryption and no client sends.
fn floods() -> Vec<(&'static str, ContentType, Vec<u8>)> {
    let warning = vec![1, 90];
    vec![
        ("alerts", ContentType::Alert, warning),
        ("a broken alert", ContentType::Alert, vec![1]),
        ("empty alerts", ContentType::Alert, vec![]),
        ("a hello, as to renegotiate", ContentType::Handshake, old_hello()),
        ("a hello of the server's", ContentType::Handshake, handshake(2, &[0; 60])),
        ("a request to renegotiate", ContentType::Handshake, handshake(0, &[])),
        ("a certificate that nobody asked for", ContentType::Handshake, handshake(11, &[0; 4])),
        ("the end of early data", ContentType::Handshake, handshake(5, &[])),
        ("a ticket", ContentType::Handshake, handshake(4, &[0; 20])),
        ("a second end of the handshake", ContentType::Handshake, handshake(20, &[0; 48])),
        ("a key update of no kind", ContentType::Handshake, handshake(24, &[7])),
        ("a message without end", ContentType::Handshake, vec![24, 0xff, 0xff, 0xff, 0]),
        ("empty messages", ContentType::Handshake, vec![]),
        ("a heartbeat", ContentType::Heartbeat, vec![1, 0xff, 0xff, 0]),
        ("a change of cipher", ContentType::ChangeCipherSpec, vec![1]),
        ("a record of no type", ContentType::Unknown(0), vec![0]),
        ("another one", ContentType::Unknown(99), vec![1; 100]),
    ]
}

#[test]
fn records_that_mean_nothing_end_the_connection() {
    let scene = Scene::roomy();
    for logged_in in [false, true] {
        for (what, kind, content) in floods() {
            let mut records = by_hand(&scene, logged_in);
            for _ in 0..10_000 {
                if records.send(kind, &content).is_err() {
                    break;
                }
            }
            closed(&records, &format!("{what}, logged in: {logged_in}"));
        }
    }
    scene.assert_unharmed();
}

fn by_hand(scene: &Scene, logged_in: bool) -> records::Records {
    let mut raw = Raw::configured(connect(scene), records::config()).unwrap();
    if logged_in {
        raw.authenticate("mallory", "m").unwrap();
    } else {
        assert!(matches!(raw.hello(), WorkerToClient::Hello { .. }));
    }
    raw.by_hand()
}

/// Waits until the server has closed a connection, reading what it said last.
#[track_caller]
fn closed(records: &records::Records, what: &str) {
    let mut rest = Vec::new();
    let end = { records.socket() }.read_to_end(&mut rest);
    let silent = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!silent, "{what}: the connection is still open");
}

#[test]
fn empty_records_without_end_put_no_deadline_off() {
    let scene = Scene::new(Options::new().set("login_seconds = 3").set("idle_seconds = 3"));
    for logged_in in [false, true] {
        let mut records = by_hand(&scene, logged_in);
        let socket = records.socket().try_clone().unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // Until the server ends it. What ends it is the deadline, or TLS's patience with them.
        wait_until("a flood of empty records is ended", || {
            let flood: Vec<u8> =
                (0..100).flat_map(|_| records.record(ContentType::ApplicationData, &[])).collect();
            (&socket).write_all(&flood).is_err() || is_closed(&socket)
        });
    }
    wait_until("bob is served", || scene.server.client("bob", "b").run(&["ls"]).code == Some(0));
    scene.assert_unharmed();
}

#[test]
fn a_login_cut_off_by_tls_itself_is_no_crash() {
    let scene = Scene::roomy();
    for logged_in in [false, true] {
        let mut records = by_hand(&scene, logged_in);
        // A fatal alert, and then as if nothing had been.
        let _ = records.send(ContentType::Alert, &[2, 40]);
        let _ = records.send(ContentType::ApplicationData, &[0, 0, 0, 2, 0, 0xc1]);
        closed(&records, "after a fatal alert");
        let mut records = by_hand(&scene, logged_in);
        let _ = records.send(ContentType::Alert, &[1, 0]);
        let _ = records.send(ContentType::ApplicationData, &[0, 0, 0, 2, 0, 0xc1]);
        closed(&records, "after the end of the stream");
    }
    let mut raw = scene.attacker(false);
    raw.send_bytes(&[0, 0, 0, 2, 0, 0xc1]);
    assert_eq!(raw.closing(), Some(ErrorCode::Protocol));
    scene.assert_unharmed();
}

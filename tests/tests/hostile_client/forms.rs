//! Bytes that are no frame or no message: cut, nested, and of sizes that nobody could hold.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use berth_common::error_code::ErrorCode;
use berth_common::frame::encode_message;
use berth_common::ids::RequestId;
use berth_tests::files::Content;
use berth_tests::raw::leaving::Leaving;
use berth_tests::raw::tcp;
use berth_tests::wait::DEADLINE;

use crate::scene::Scene;
use crate::transfers::{header, put};

/// A frame of kind 0 around a body.
fn message(body: &[u8]) -> Vec<u8> {
    frame(0, body)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[kind], body].concat()
}

/// A MessagePack map of one entry.
fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xa0 | u8::try_from(key.len()).unwrap()];
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// `repeated` so many times, and then a nil.
fn nested(repeated: &[u8], times: usize) -> Vec<u8> {
    [&repeated.repeat(times)[..], &[0xc0]].concat()
}

#[test]
fn frames_cut_at_each_byte_end_as_a_client_that_left() {
    let scene = Scene::roomy();
    let hello = message(&entry("Hello", &[0x82]));
    let block = header(RequestId(1), 0, &[7; 100]).encode(100).unwrap();
    let mut closing = Vec::new();
    for logged_in in [false, true] {
        for cut in 0..=5 + 4 {
            let raw = cut_after(&scene, logged_in, &hello[..cut]);
            closing.push((raw, logged_in, cut));
        }
        // Before the login a block is refused as soon as its kind is known.
        let most = if logged_in { block.len() } else { 4 };
        for cut in (1..=most).filter(|cut| *cut <= 6 || cut % 7 == 0) {
            let raw = cut_after(&scene, logged_in, &block[..cut]);
            closing.push((raw, logged_in, cut));
        }
    }
    for (mut raw, logged_in, cut) in closing {
        assert_eq!(raw.closing(), None, "cut at {cut}, {logged_in}");
    }
    scene.assert_unharmed();
}

fn cut_after(scene: &Scene, logged_in: bool, bytes: &[u8]) -> berth_tests::Raw {
    let mut raw = scene.attacker(logged_in);
    raw.send_bytes(bytes);
    raw.leave(Leaving::HalfClose).expect("one direction is open")
}

#[test]
fn nesting_without_end_ends_the_session() {
    let scene = Scene::roomy();
    // Within what is allowed before the login, so that it is decoded there too.
    let shallow = 8_000;
    let mut bodies = vec![
        nested(&[0x91], shallow),
        nested(&[0x81], shallow),
        nested(&[0x81, 0xa1, b'x'], shallow / 3),
        nested(&[0xdd, 0, 0, 0, 1], shallow / 5),
        // Where fields that are unknown are passed over.
        entry("Hello", &entry("x", &nested(&[0x91], shallow - 20))),
        entry("Hello", &entry("x", &nested(&[0x81, 0xc0], shallow / 2 - 20))),
        entry("List", &entry("x", &nested(&[0x91], shallow - 20))),
        entry("Put", &entry("source", &nested(&[0x81, 0xa4, b'F', b'i', b'l', b'e'], 1000))),
        // Too long before the login whatever it is, and as deep as a frame can be after it.
        nested(&[0x91], 100_000),
        nested(&[0x81], 100_000),
        entry("Stat", &entry("x", &nested(&[0x91], 200_000))),
        entry("Stat", &entry("x", &nested(&[0x81, 0xa1, b'x'], 80_000))),
    ];
    bodies.push(nested(&[0x91], 25));
    assert_protocol(&scene, &bodies.iter().map(|body| message(body)).collect::<Vec<_>>());
    scene.assert_unharmed();
}

#[test]
fn sizes_that_nobody_could_hold_end_the_session_and_are_not_allocated() {
    let scene = Scene::roomy();
    let most = [0xff; 4];
    let array = [&[0xdd][..], &most, &[1]].concat();
    let map = [&[0xdf][..], &most, &[1]].concat();
    let text = [&[0xdb][..], &most, b"abc"].concat();
    let binary = [&[0xc6][..], &most, b"abc"].concat();
    let extension = [&[0xc9][..], &most, &[5, 1, 2]].concat();
    let mut frames = Vec::new();
    for value in [&array, &map, &text, &binary, &extension] {
        frames.push(message(value));
        frames.push(message(&entry("Hello", value)));
        frames.push(message(&entry("Hello", &entry("versions", value))));
        frames.push(message(&entry("Hello", &entry("client", value))));
        frames.push(message(&entry("Hello", &entry("unknown", value))));
        frames.push(message(&entry("LoginFirst", &entry("message", value))));
        frames.push(message(&entry("SiteProof", &entry("proof", value))));
        frames.push(message(&entry("Stat", &entry("path", value))));
        frames.push(message(&entry("JournalLeaves", &entry("leaves", value))));
        frames.push(message(&entry("Put", &entry("token", value))));
        frames.push(message(&entry("CredentialFirst", &entry("credential", value))));
        frames.push(message(&entry("LoginDevice", &entry("signature", value))));
        frames.push(message(&entry("JoinFirst", &entry("account", value))));
        frames.push(message(&entry("RevokeDevices", &entry("devices", value))));
    }
    assert_protocol(&scene, &frames);
    scene.assert_unharmed();
}

#[test]
fn frames_that_contradict_themselves_or_the_phase_end_the_session() {
    let scene = Scene::roomy();
    let mut frames = vec![
        // The kind of a block and nothing, or hardly anything, in it.
        frame(1, &[]),
        frame(1, &[0; 3]),
        frame(1, &[0; 13]),
        // Leaves that are not there, and more than there may be.
        frame(1, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
        frame(1, &[[0; 12].as_slice(), &[9], &[0; 500]].concat()),
        // Offsets within a leaf, and at the end of all numbers.
        frame(1, &[&[0, 0, 0, 1][..], &[0, 0, 0, 0, 0, 0, 0, 1], &[1], &[0; 20]].concat()),
        frame(1, &[&[0, 0, 0, 1][..], &[0xff; 8], &[1], &[0; 20]].concat()),
        // Messages with something behind them, and an empty one.
        message(&[0xa5, b'H', b'e', b'l', b'l', b'o', 0]),
        message(&[]),
        // A request that no client may make at any time.
        message(&entry("Refused", &entry("error", &[0xa8]))),
    ];
    let mut behind =
        encode_message(&berth_common::client_protocol::ClientToWorker::Usage { id: RequestId(1) })
            .unwrap();
    behind.push(0xc0);
    behind[3] += 1;
    frames.push(behind);
    assert_protocol(&scene, &frames);
    // Before the login a message of the protocol may not be as long as after it, nor may a block come.
    let long = put("x/".repeat(2000).trim_end_matches('/'), 1);
    let long = berth_common::client_protocol::ClientToWorker::Put(long);
    let mut padded = encode_message(&long).unwrap();
    padded.resize(9000, 0);
    padded[2..4].copy_from_slice(&(9000u16 - 4).to_be_bytes());
    for early in [padded, header(RequestId(1), 0, &[1]).encode(1).unwrap()] {
        let mut raw = scene.attacker(false);
        let _ = raw.try_send_bytes(&early);
        assert_eq!(raw.closing(), Some(ErrorCode::Protocol));
    }
    scene.assert_unharmed();
}

/// Sends each frame on a connection of its own, before and after login.
#[track_caller]
fn assert_protocol(scene: &Scene, frames: &[Vec<u8>]) {
    for logged_in in [false, true] {
        for (number, frame) in frames.iter().enumerate() {
            let mut raw = scene.attacker(logged_in);
            let _ = raw.try_send_bytes(frame);
            let reason = raw.closing();
            assert_eq!(reason, Some(ErrorCode::Protocol), "frame {number}, logged in: {logged_in}");
        }
    }
}

#[test]
fn garbage_of_every_length_without_tls_and_within_it_ends_the_connection() {
    let scene = Scene::roomy();
    let mut random = Content::seed(10);
    for length in [0, 1, 2, 3, 4, 5, 6, 11, 43, 517, 16 << 10, 17 << 10, 1 << 20] {
        let mut stream = tcp(scene.address(), None).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // Also with the beginning of a TLS record, so that it is not refused at its first byte.
        let mut garbage = random.bytes(length);
        if length % 2 == 1 && length > 3 {
            garbage[..3].copy_from_slice(&[0x16, 3, 1]);
        }
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100, "at most a TLS alert: {answer:?}");
    }
    for logged_in in [false, true] {
        for length in [5, 6, 100, 5000, 300 << 10] {
            let mut raw = scene.attacker(logged_in);
            // Of a kind that there is not, whatever the rest is.
            let mut garbage = random.bytes(length);
            garbage[4] |= 2;
            let _ = raw.try_send_bytes(&garbage);
            assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{length} {logged_in}");
        }
        // Within TLS's own records: what cannot be decrypted.
        let mut raw = scene.attacker(logged_in);
        let record = [&[0x17, 3, 3, 1, 0][..], &random.bytes(256)].concat();
        let mut socket = raw.socket();
        let _ = socket.write_all(&record);
        assert_eq!(raw.closing(), None);
    }
    scene.assert_unharmed();
}

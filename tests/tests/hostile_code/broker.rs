//! What a worker's puppet says to the daemon: out of phase, malformed, absurd, too often. Each ends that session
//! with a reason in the log, or is refused, and nobody else notices.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, Direction, WorkerToDaemon};
use berth_common::codec;
use berth_common::credentials::{DeviceKey, DeviceName, NewAccount, NewCredential};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UserName};
use berth_common::rel_path::RelPath;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramVerifier};
use berth_tests::Options;
use berth_tests::puppets::{Fate, Order, Puppet, Report, certificate_verify, log_in};

use crate::packets::broken;
use crate::scene::Scene;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub(crate) fn started(id: u32, size: Option<u64>) -> WorkerToDaemon {
    let (id, direction) = (RequestId(id), Direction::Put);
    WorkerToDaemon::TransferStarted { id, direction, path: path("a"), size }
}

pub(crate) fn ended(id: u32) -> WorkerToDaemon {
    let (id, error) = (RequestId(id), None);
    WorkerToDaemon::TransferEnded { id, resumed_leaves: u64::MAX, moved_leaves: u64::MAX, error }
}

pub(crate) fn progress() -> WorkerToDaemon {
    WorkerToDaemon::Progress { received: u64::MAX, sent: u64::MAX }
}

pub(crate) fn verifier() -> ScramVerifier {
    ScramVerifier::from_password("new", vec![1; 16], 4096).unwrap()
}

pub(crate) fn credential() -> NewCredential {
    NewCredential::Password(verifier())
}

pub(crate) fn refused() -> DaemonToWorker {
    DaemonToWorker::CredentialsRefused { error: ErrorCode::PasswordRefused }
}

/// One of each message, `Closing` left out: it ends a session in every phase.
fn messages() -> Vec<WorkerToDaemon> {
    let (alice, key) = (UserName::new("alice").unwrap(), DeviceKey([1; 32]));
    let account = NewAccount { user: alice.clone(), verifier: verifier() };
    vec![
        WorkerToDaemon::Ready,
        certificate_verify(),
        WorkerToDaemon::Handshaken { exporter: [5; 32] },
        WorkerToDaemon::SiteProof { proof: [0; 32] },
        WorkerToDaemon::LoginFirst { message: b"n,,n=alice,r=x".to_vec() },
        WorkerToDaemon::LoginFinal { message: b"c=biws,r=x,p=x".to_vec() },
        WorkerToDaemon::CredentialFirst {
            message: b"n,,n=alice,r=x".to_vec(),
            credential: credential(),
        },
        WorkerToDaemon::CredentialFinal { message: b"c=biws,r=x,p=x".to_vec() },
        started(1, None),
        progress(),
        ended(1),
        WorkerToDaemon::LoginDevice { user: alice, key, signature: [0; 64] },
        WorkerToDaemon::JoinFirst { message: b"p=tls-exporter,,n=x,r=x".to_vec(), account },
        WorkerToDaemon::JoinFinal { message: b"c=biws,r=x,p=x".to_vec() },
        WorkerToDaemon::Devices,
        WorkerToDaemon::RevokeDevices { devices: vec![key.id()] },
    ]
}

/// Takes a puppet so far.
type Reach = fn(&mut Puppet);

/// How far a puppet goes before it misbehaves, and the messages (by their places) that are right then.
const PHASES: [(&str, Reach, &[usize]); 5] = [
    ("handshake", |_| {}, &[1]),
    ("signed", signed, &[2]),
    ("before login", |puppet| drop(puppet.handshake().unwrap()), &[4, 11, 12]),
    ("challenged", challenged, &[5]),
    ("logged in", logged_in, &[6, 8, 9, 14, 15]),
];

fn logged_in(puppet: &mut Puppet) {
    log_in(puppet, "alice", "a");
}

fn signed(puppet: &mut Puppet) {
    let daemon = puppet.descriptor(0);
    puppet.send(daemon, &certificate_verify()).unwrap();
    puppet.receive::<DaemonToWorker>(daemon).unwrap();
}

fn challenged(puppet: &mut Puppet) {
    puppet.handshake().unwrap();
    let daemon = puppet.descriptor(0);
    let first = ClientFirst::new("alice", ChannelBinding::login(&[5; 32])).unwrap();
    let message = first.message().to_vec();
    puppet.send(daemon, &WorkerToDaemon::LoginFirst { message }).unwrap();
    puppet.receive::<DaemonToWorker>(daemon).unwrap();
}

/// Claims that the daemon has ended this puppet, and how.
#[track_caller]
fn assert_broke(scene: &Scene, mut puppet: Puppet, what: &str) {
    puppet.ended();
    let (worker, _) = scene.ends_of(puppet.pid());
    assert!(worker.contains("broke the protocol"), "{what}: {worker}");
}

#[test]
fn a_message_out_of_its_phase_ends_that_session_alone() {
    let scene = Scene::new();
    for (phase, reach, right) in PHASES {
        for (place, message) in messages().iter().enumerate() {
            if right.contains(&place) {
                continue;
            }
            let mut puppet = scene.server.puppet();
            reach(&mut puppet);
            let daemon = puppet.descriptor(0);
            // The daemon may be quicker than the report.
            let _ = puppet.send(daemon, message);
            assert_broke(&scene, puppet, &format!("{message:?} in {phase}"));
        }
        scene.assert_steady();
    }
    scene.assert_exact();
}

#[test]
fn a_packet_that_is_no_message_ends_that_session_alone() {
    let scene = Scene::new();
    for (what, packet) in broken(&progress()) {
        for logged_in in [false, true] {
            let mut puppet = scene.server.puppet();
            if logged_in {
                log_in(&mut puppet, "alice", "a");
            }
            let daemon = puppet.descriptor(0);
            match puppet.send_bytes(daemon, packet.clone()) {
                // It does not fit the socket, so that the daemon never sees it.
                Err(Fate::Refused(_)) if packet.len() > 128 * 1024 => continue,
                _ => {}
            }
            assert_broke(&scene, puppet, what);
        }
    }
    scene.assert_exact();
}

/// The bytes of a message with the first occurrence of some bytes replaced.
fn altered(message: &WorkerToDaemon, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_into(message, &mut bytes).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes.splice(at..at + from.len(), to.iter().copied());
    bytes
}

#[test]
fn values_that_no_type_has_end_the_session() {
    let scene = Scene::new();
    let wrong = [
        ("a path that climbs", altered(&started(1, None), b"\xa1a", b"\xa2..")),
        ("an absolute path", altered(&started(1, None), b"\xa1a", b"\xa2/a")),
        ("a path with a zero byte", altered(&started(1, None), b"\xa1a", b"\xa2a\0")),
        ("a direction that there is not", altered(&started(1, None), b"\xa3Put", b"\xa3Pot")),
        ("a request's number below zero", altered(&ended(77), b"\x4d", b"\xff")),
        ("a request's number beyond all", altered(&ended(77), b"\x4d", b"\xcf\x01\0\0\0\0\0\0\0")),
    ];
    for (what, packet) in wrong {
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        let _ = puppet.send_bytes(daemon, packet);
        assert_broke(&scene, puppet, what);
    }
    // Fewer iterations than are safe would make the password cheap to guess; more, every login dear.
    let first = b"n,,n=alice,r=x".to_vec();
    let message = WorkerToDaemon::CredentialFirst { message: first, credential: credential() };
    for iterations in [b"\xcd\x00\x01", b"\xcd\xff\x00"] {
        let mut packet = altered(&message, b"\xcd\x10\x00", iterations);
        if iterations[1] == 0xff {
            packet = altered(&message, b"\xcd\x10\x00", b"\xce\xff\xff\xff\xff");
        }
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        let _ = puppet.send_bytes(daemon, packet);
        assert_broke(&scene, puppet, "iterations out of bounds");
    }
    scene.assert_exact();
}

#[test]
fn absurd_numbers_are_counted_and_break_nothing() {
    let scene = Scene::new();
    let (mut puppet, _) = scene.worker_after_login();
    let daemon = puppet.descriptor(0);
    for message in [started(u32::MAX, Some(u64::MAX)), progress(), progress(), ended(u32::MAX)] {
        puppet.send(daemon, &message).unwrap();
    }
    scene.assert_steady();
    scene.server.berthctl(&["session", "list"]).ok();
    drop(puppet);
    for messages in [
        vec![ended(1)],
        vec![started(1, None), started(1, None)],
        (0..9).map(|id| started(id, None)).collect(),
    ] {
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        for message in &messages {
            let _ = puppet.send(daemon, message);
        }
        assert_broke(&scene, puppet, "transfers that are none");
    }
    scene.assert_exact();
}

#[test]
fn nobody_logs_in_or_makes_a_credential_for_another() {
    let scene = Scene::new();
    // A login that is bound to another channel than was told, which a relay's would be.
    let mut puppet = scene.server.puppet();
    puppet.handshake().unwrap();
    let daemon = puppet.descriptor(0);
    let first = ClientFirst::new("alice", ChannelBinding::login(&[6; 32])).unwrap();
    let message = first.message().to_vec();
    puppet.send(daemon, &WorkerToDaemon::LoginFirst { message }).unwrap();
    let DaemonToWorker::LoginChallenge { message } = puppet.receive(daemon).unwrap().0 else {
        panic!("no challenge");
    };
    let message = first.answer("a", &message).unwrap().message().to_vec();
    puppet.send(daemon, &WorkerToDaemon::LoginFinal { message }).unwrap();
    let (answer, _) = puppet.receive::<DaemonToWorker>(daemon).unwrap();
    assert!(matches!(answer, DaemonToWorker::Refuse { .. }), "{answer:?}");
    drop(puppet);

    // alice's worker knows bob's password, even: the session is alice's.
    let new = credential();
    for (user, password) in [("bob", "b"), ("alice", "wrong"), ("nobody", "x")] {
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        let binding = ChannelBinding::new_credential(&[5; 32], &new);
        let first = ClientFirst::new(user, binding).unwrap();
        let message = first.message().to_vec();
        let question = WorkerToDaemon::CredentialFirst { message, credential: new.clone() };
        puppet.send(daemon, &question).unwrap();
        let (mut answer, _) = puppet.receive::<DaemonToWorker>(daemon).unwrap();
        if let DaemonToWorker::CredentialChallenge { message } = answer {
            let message = first.answer(password, &message).unwrap().message().to_vec();
            puppet.send(daemon, &WorkerToDaemon::CredentialFinal { message }).unwrap();
            answer = puppet.receive(daemon).unwrap().0;
        }
        assert_eq!(answer, refused(), "{user}");
    }
    // A proof for one credential does not pass for another, nor does what a worker makes up in place of it.
    let other = ScramVerifier::from_password("other", vec![2; 16], 4096).unwrap();
    let device = NewCredential::Device {
        key: DeviceKey([7; 32]),
        name: DeviceName::new("the worker's own").unwrap(),
    };
    for swapped in [NewCredential::Password(other), device] {
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        let binding = ChannelBinding::new_credential(&[5; 32], &new);
        let first = ClientFirst::new("alice", binding).unwrap();
        let message = first.message().to_vec();
        let question = WorkerToDaemon::CredentialFirst { message, credential: swapped };
        puppet.send(daemon, &question).unwrap();
        let (answer, _) = puppet.receive(daemon).unwrap();
        let DaemonToWorker::CredentialChallenge { message } = answer else {
            panic!("no challenge");
        };
        let message = first.answer("a", &message).unwrap().message().to_vec();
        puppet.send(daemon, &WorkerToDaemon::CredentialFinal { message }).unwrap();
        let (answer, _) = puppet.receive::<DaemonToWorker>(daemon).unwrap();
        assert_eq!(answer, refused());
    }
    // Nor does a device log in that nobody has registered, whatever its worker says of it.
    let mut puppet = scene.server.puppet();
    puppet.handshake().unwrap();
    let daemon = puppet.descriptor(0);
    let (user, key) = (UserName::new("alice").unwrap(), DeviceKey([7; 32]));
    let login = WorkerToDaemon::LoginDevice { user, key, signature: [1; 64] };
    puppet.send(daemon, &login).unwrap();
    let (answer, _) = puppet.receive::<DaemonToWorker>(daemon).unwrap();
    assert!(matches!(answer, DaemonToWorker::Refuse { .. }), "{answer:?}");
    drop(puppet);
    scene.assert_exact();
}

#[test]
fn scram_messages_out_of_bounds_are_refused() {
    let scene = Scene::new();
    let long = [b"n,,n=".to_vec(), vec![b'a'; 1100], b",r=x".to_vec()].concat();
    let huge = vec![b'n'; 100_000];
    for message in [long, huge, Vec::new(), vec![0xff; 64], b"n,,n=alice".to_vec()] {
        let mut puppet = scene.server.puppet();
        puppet.handshake().unwrap();
        let daemon = puppet.descriptor(0);
        let _ = puppet.send(daemon, &WorkerToDaemon::LoginFirst { message });
        // Refused, or ended: never challenged.
        match puppet.receive::<DaemonToWorker>(daemon) {
            Ok((DaemonToWorker::Refuse { .. }, _)) | Err(_) => {}
            Ok((other, _)) => panic!("{other:?}"),
        }
    }
    scene.assert_exact();
}

#[test]
fn a_worker_gets_one_signature_and_only_for_a_handshake() {
    let scene = Scene::new();
    let WorkerToDaemon::Sign { scheme, message } = certificate_verify() else { unreachable!() };
    let client = message.windows(6).position(|window| window == b"server").unwrap();
    let mut of_a_client = message.clone();
    of_a_client[client..client + 6].copy_from_slice(b"client");
    let wrong = [
        (scheme, Vec::new()),
        (scheme, b"-----BEGIN CERTIFICATE-----".to_vec()),
        (scheme, message[1..].to_vec()),
        (scheme, [message.clone(), vec![0; 1]].concat()),
        (scheme, [message.clone(), vec![0; 100_000]].concat()),
        (scheme, of_a_client),
        (0x0804, message.clone()),
        (0, message.clone()),
        (u16::MAX, message),
    ];
    for (scheme, message) in wrong {
        let mut puppet = scene.server.puppet();
        let daemon = puppet.descriptor(0);
        let _ = puppet.send(daemon, &WorkerToDaemon::Sign { scheme, message });
        assert_broke(&scene, puppet, "what is no CertificateVerify");
    }
    let mut puppet = scene.server.puppet();
    signed(&mut puppet);
    let daemon = puppet.descriptor(0);
    let _ = puppet.send(daemon, &certificate_verify());
    assert_broke(&scene, puppet, "a second signature");
    scene.assert_exact();
}

#[test]
fn a_worker_that_reads_no_answers_and_one_that_hangs_are_ended() {
    let scene = Scene::with(Options::new().set("login_seconds = 1"));
    let mut puppet = scene.server.puppet();
    puppet.begin(&Order::Hang);
    scene.assert_steady();
    puppet.ended();
    let (worker, _) = scene.ends_of(puppet.pid());
    assert!(worker.contains("did not log in"), "{worker}");
    // Told to end, it does not.
    let mut puppet = scene.server.puppet();
    puppet.handshake().unwrap();
    let daemon = puppet.descriptor(0);
    puppet.send(daemon, &WorkerToDaemon::LoginFirst { message: Vec::new() }).unwrap();
    puppet.ended();
    let (worker, _) = scene.ends_of(puppet.pid());
    assert!(worker.contains("too slow"), "{worker}");
    drop(puppet);
    scene.assert_exact();
}

#[test]
fn what_a_worker_says_at_its_end_is_only_logged() {
    let scene = Scene::new();
    for reason in [
        CloseReason::ClientLeft,
        CloseReason::Told,
        CloseReason::Refused { error: ErrorCode::Internal },
    ] {
        let (mut puppet, _) = scene.worker_after_login();
        let daemon = puppet.descriptor(0);
        puppet.send(daemon, &WorkerToDaemon::Closing { reason }).unwrap();
        // It does not end by itself, as it has said.
        puppet.begin(&Order::Hang);
        puppet.ended();
        scene.end_of(puppet.pid());
    }
    scene.assert_exact();
}

#[test]
fn standard_error_is_cut_off_and_escaped() {
    let scene = Scene::new();
    let (mut puppet, _) = scene.worker_after_login();
    let bytes = b"\x1b[31mroot logged in\r\n{\"level\":\"INFO\"}\n".to_vec();
    let report = puppet.order(&Order::Complain { bytes, times: 1_000_000 }).unwrap();
    let Report::Sent { times, errno } = report else { panic!("{report:?}") };
    assert!(times < 10_000 && errno == libc::EPIPE, "{times} times, errno {errno}");
    let pid = u64::from(puppet.pid());
    let lines = scene.server.log().after(0, |line| line.number("pid") == Some(pid));
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    assert!(!lines.is_empty() && bytes < 200_000, "{} lines, {bytes} bytes", lines.len());
    assert!(lines.iter().all(|line| !line.text.contains('\u{1b}')));
    drop(puppet);
    scene.assert_exact();
}

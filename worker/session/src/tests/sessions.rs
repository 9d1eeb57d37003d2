//! The conversation: handshake, login, requests, refusals, timeouts, ends.

use std::io::Write as _;
use std::time::Duration;

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::credentials::{DeviceKey, NewAccount, NewCredential};
use berth_common::digest;
use berth_common::error_code::ErrorCode;
use berth_common::frame::{self, FrameKind};
use berth_common::ids::{RequestId, UserName};
use berth_common::limits::{LEAF_SIZE, MAX_ECHO_BYTES};
use berth_common::scram::ScramVerifier;
use tokio::io::AsyncWriteExt as _;

use super::client::{Client, frame_of, path};
use super::fake_daemon::{SITE_PROOF, WRONG};
use super::fake_filer::{Home, usage};
use super::{Bench, Ending, setup};

fn refused(error: ErrorCode) -> WorkerToDaemon {
    WorkerToDaemon::Closing { reason: CloseReason::Refused { error } }
}

async fn ends_with(ending: Ending, last: WorkerToDaemon) {
    assert_eq!(ending.reports().await.last(), Some(&last));
}

fn closing(reason: CloseReason) -> WorkerToDaemon {
    WorkerToDaemon::Closing { reason }
}

#[tokio::test]
async fn a_login_is_relayed_and_requests_are_answered() {
    let home = Home::new();
    std::fs::write(home.lock().unwrap().file("a"), b"x").unwrap();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let id = RequestId(1);

    let entry = client.ask(&ClientToWorker::Stat { id, path: path("a") }).await;
    assert!(matches!(&entry, WorkerToClient::Entry { entry, .. } if entry.size == 1), "{entry:?}");
    let missing = client.ask(&ClientToWorker::Stat { id, path: path("b") }).await;
    assert_eq!(missing, WorkerToClient::Failed { id, error: ErrorCode::NotFound });
    let answer = client.ask(&ClientToWorker::Usage { id }).await;
    assert_eq!(answer, WorkerToClient::Usage { id, usage: usage() });
    let made =
        client.ask(&ClientToWorker::MakeDirectory { id, path: path("d"), parents: true }).await;
    assert_eq!(made, WorkerToClient::Done { id });

    let mut part = client.ask(&ClientToWorker::List { id, path: path(""), notes: false }).await;
    while let WorkerToClient::Entries { last: false, .. } = part {
        part = client.recv().await;
    }
    assert!(matches!(part, WorkerToClient::Entries { last: true, .. }));
    let first = client.ask(&ClientToWorker::Uploads { id }).await;
    assert!(matches!(first, WorkerToClient::Uploads { last: false, .. }));
    assert!(matches!(client.recv().await, WorkerToClient::Uploads { last: true, .. }));

    let exporter = {
        let (_, connection) = client.stream.get_ref();
        connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap()
    };
    drop(client);
    let reports = ending.reports().await;
    assert_eq!(
        reports,
        [WorkerToDaemon::Handshaken { exporter }, closing(CloseReason::ClientLeft)]
    );
}

#[tokio::test]
async fn a_thousand_pipelined_requests_are_all_answered() {
    let (mut client, _ending) = Bench::start(&Home::new()).log_in().await;
    for id in 0..1000 {
        client.send(&ClientToWorker::Usage { id: RequestId(id) }).await;
    }
    let mut answered = std::collections::HashSet::new();
    for _ in 0..1000 {
        match client.recv().await {
            WorkerToClient::Usage { id, .. } => assert!(answered.insert(id)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pipelined_echoes_come_back_in_order_with_their_bytes() {
    let (client, _ending) = Bench::start(&Home::new()).log_in().await;
    let Client { stream } = client;
    let (reader, mut writer) = tokio::io::split(stream);
    let payload = |id: u32| vec![id as u8; [0, 1, 1000, MAX_ECHO_BYTES][id as usize % 4]];
    let echoes = 400;
    let send = async {
        for id in 0..echoes {
            // A number may be used again at once.
            let message = ClientToWorker::Echo { id: RequestId(id % 8), payload: payload(id) };
            writer.write_all(&frame::encode_message(&message).unwrap()).await.unwrap();
        }
        writer.flush().await.unwrap();
    };
    let receive = async {
        let mut reader = reader;
        for id in 0..echoes {
            let (kind, body) = frame_of(&mut reader).await.unwrap();
            assert_eq!(kind, FrameKind::Message);
            let expected = WorkerToClient::Echoed { id: RequestId(id % 8), payload: payload(id) };
            assert!(frame::decode_message::<WorkerToClient>(&body).unwrap() == expected, "{id}");
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn an_echo_of_too_many_bytes_ends_the_session() {
    let (mut client, ending) = Bench::start(&Home::new()).log_in().await;
    let payload = vec![0; MAX_ECHO_BYTES + 1];
    let answer = client.ask(&ClientToWorker::Echo { id: RequestId(1), payload }).await;
    assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::Protocol });
    drop(client);
    ends_with(ending, refused(ErrorCode::Protocol)).await;
}

#[tokio::test]
async fn a_refused_login_is_told_and_ends_the_session() {
    let (mut client, ending) = Bench::start(&Home::new()).connect().await;
    client.greet().await;
    client.ask(&ClientToWorker::LoginFirst { message: b"first".to_vec() }).await;
    let answer = client.ask(&ClientToWorker::LoginFinal { message: WRONG.to_vec() }).await;
    assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::LoginRefused });
    drop(client);
    ends_with(ending, refused(ErrorCode::LoginRefused)).await;
}

#[tokio::test]
async fn a_site_secret_comes_before_the_login_and_hides_the_server() {
    for (proof, accepted) in [(SITE_PROOF, true), ([1; 32], false)] {
        let bench = Bench::start_with(&Home::new(), setup(), Some([7; 32]));
        let (mut client, ending) = bench.connect().await;
        let hello = client.greet().await;
        let WorkerToClient::Hello { server, site_challenge, .. } = hello else {
            panic!("{hello:?}")
        };
        assert_eq!((server.as_str(), site_challenge.map(|c| c.into_array())), ("", Some([7; 32])));
        let answer = client.ask(&ClientToWorker::SiteProof { proof }).await;
        if accepted {
            assert_eq!(answer, WorkerToClient::SiteAccepted);
        } else {
            assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::LoginRefused });
            ends_with(ending, refused(ErrorCode::LoginRefused)).await;
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_the_credentials_is_relayed() {
    let (mut client, _ending) = Bench::start(&Home::new()).log_in().await;
    let verifier = ScramVerifier::new(vec![1; 16], 4096, [2; 32], [3; 32]).unwrap();
    let id = RequestId(1);
    for (last, answer) in [
        (b"right".to_vec(), WorkerToClient::Done { id }),
        (WRONG.to_vec(), WorkerToClient::Failed { id, error: ErrorCode::PasswordRefused }),
    ] {
        let message = b"first".to_vec();
        let credential = NewCredential::Password(verifier.clone());
        let first = ClientToWorker::CredentialFirst { id, message: message.clone(), credential };
        let challenge = WorkerToClient::CredentialChallenge { id, message };
        assert_eq!(client.ask(&first).await, challenge);
        let last = ClientToWorker::CredentialFinal { id, message: last };
        assert_eq!(client.ask(&last).await, answer);
    }
    let devices = client.ask(&ClientToWorker::Devices { id }).await;
    assert_eq!(devices, WorkerToClient::Devices { id, devices: vec![] });
    let (some, none) = (vec![DeviceKey([1; 32]).id()], vec![]);
    let revoke = |devices| ClientToWorker::RevokeDevices { id, devices };
    assert_eq!(client.ask(&revoke(some)).await, WorkerToClient::Done { id });
    let failed = WorkerToClient::Failed { id, error: ErrorCode::LedgerUnavailable };
    assert_eq!(client.ask(&revoke(none)).await, failed);
}

fn by_device(signature: [u8; 64]) -> ClientToWorker {
    let user = UserName::new("alice").unwrap();
    ClientToWorker::LoginDevice { user, key: DeviceKey([1; 32]), signature }
}

#[tokio::test]
async fn a_devices_login_is_relayed() {
    let (mut client, _ending) = Bench::start(&Home::new()).connect().await;
    client.greet().await;
    let answer = client.ask(&by_device([1; 64])).await;
    assert!(matches!(answer, WorkerToClient::LoginAccepted { .. }), "{answer:?}");
    let (mut client, ending) = Bench::start(&Home::new()).connect().await;
    client.greet().await;
    let answer = client.ask(&by_device([0; 64])).await;
    assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::LoginRefused });
    drop(client);
    ends_with(ending, refused(ErrorCode::LoginRefused)).await;
}

#[tokio::test]
async fn an_invitation_is_relayed_and_a_login_may_follow_it() {
    let verifier = ScramVerifier::new(vec![1; 16], 4096, [2; 32], [3; 32]).unwrap();
    let account = NewAccount { user: UserName::new("alice").unwrap(), verifier };
    for invited in [true, false] {
        let (mut client, ending) = Bench::start(&Home::new()).connect().await;
        client.greet().await;
        let message = b"first".to_vec();
        let first =
            ClientToWorker::JoinFirst { message: message.clone(), account: account.clone() };
        assert_eq!(client.ask(&first).await, WorkerToClient::JoinChallenge { message });
        let message = if invited { b"right".to_vec() } else { WRONG.to_vec() };
        let answer = client.ask(&ClientToWorker::JoinFinal { message: message.clone() }).await;
        if invited {
            assert_eq!(answer, WorkerToClient::Joined { message });
            let answer = client.ask(&by_device([1; 64])).await;
            assert!(matches!(answer, WorkerToClient::LoginAccepted { .. }), "{answer:?}");
        } else {
            assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::NotInvited });
            drop(client);
            ends_with(ending, refused(ErrorCode::NotInvited)).await;
        }
    }
}

#[tokio::test]
async fn what_the_phase_does_not_allow_ends_the_session() {
    let (mut client, ending) = Bench::start(&Home::new()).connect().await;
    let answer = client.ask(&ClientToWorker::Usage { id: RequestId(1) }).await;
    assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::Protocol });
    ends_with(ending, refused(ErrorCode::Protocol)).await;
}

#[tokio::test]
async fn garbage_and_frames_too_long_are_refused() {
    let too_long_before_login = [0, 1, 0, 0, 0];
    let block_before_login = [0, 0, 0, 200, 1];
    let unknown_kind = [0, 0, 0, 2, 9];
    let four_gigabytes = [0xff, 0xff, 0xff, 0xff, 1];
    let not_a_message = [0, 0, 0, 3, 0, 0xc1, 0xc1, 0, 0, 0];
    for bytes in [
        &too_long_before_login[..],
        &block_before_login,
        &unknown_kind,
        &four_gigabytes,
        &not_a_message,
    ] {
        let (mut client, ending) = Bench::start(&Home::new()).connect().await;
        client.stream.write_all(bytes).await.unwrap();
        let answer = client.recv().await;
        assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::Protocol }, "{bytes:?}");
        drop(client);
        ends_with(ending, refused(ErrorCode::Protocol)).await;
    }
}

#[tokio::test]
async fn a_malformed_block_after_the_login_is_refused() {
    let (mut client, ending) = Bench::start(&Home::new()).log_in().await;
    client.stream.write_all(&[0, 0, 0, 4, 1, 1, 2, 3]).await.unwrap();
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::Protocol });
    ends_with(ending, refused(ErrorCode::Protocol)).await;
}

#[tokio::test]
async fn a_block_of_a_transfer_that_is_over_is_ignored() {
    let (mut client, _ending) = Bench::start(&Home::new()).log_in().await;
    let data = vec![1; LEAF_SIZE];
    client.send_block(5, 0, &data, digest::leaves(&data)).await;
    let id = RequestId(1);
    let answer = client.ask(&ClientToWorker::Usage { id }).await;
    assert_eq!(answer, WorkerToClient::Usage { id, usage: usage() });
}

#[tokio::test]
async fn who_does_not_speak_berth_over_tls_is_turned_away() {
    for (alpn, request) in [
        (None, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        (Some(&[b"h2"][..]), b""),
        (Some(&[][..]), b""),
    ] {
        let Bench { daemon, worker, mut socket } = Bench::start(&Home::new());
        match alpn {
            None => socket.write_all(request).unwrap(),
            Some(alpn) => {
                let alpn: Vec<&[u8]> = alpn.iter().map(|name: &&[u8; 2]| &name[..]).collect();
                // Without an offer the client's half of the handshake succeeds.
                drop(Client::connect(socket.try_clone().unwrap(), &alpn).await);
            }
        }
        let ending = Ending { daemon, worker };
        ends_with(ending, closing(CloseReason::Handshake)).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_is_no_failure() {
    let Bench { daemon, worker, socket } = Bench::start(&Home::new());
    drop(socket);
    ends_with(Ending { daemon, worker }, closing(CloseReason::ClientLeft)).await;
}

#[tokio::test]
async fn who_does_not_log_in_in_time_is_refused_and_so_is_an_idle_session() {
    let short = || {
        let mut setup = setup();
        (setup.login_seconds, setup.idle_seconds) = (1, 1);
        setup
    };
    let (mut client, ending) = Bench::start_with(&Home::new(), short(), None).connect().await;
    client.greet().await;
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::TimedOut });
    drop(client);
    ends_with(ending, refused(ErrorCode::TimedOut)).await;

    let silent = Bench::start_with(&Home::new(), short(), None);
    let Bench { daemon, worker, socket: _socket } = silent;
    ends_with(Ending { daemon, worker }, refused(ErrorCode::TimedOut)).await;

    let (mut client, ending) = Bench::start_with(&Home::new(), short(), None).log_in().await;
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::TimedOut });
    drop(client);
    ends_with(ending, refused(ErrorCode::TimedOut)).await;
}

#[tokio::test]
async fn a_shutdown_ends_an_idle_session_at_once() {
    let (mut client, ending) = Bench::start(&Home::new()).log_in().await;
    ending.daemon.order(&DaemonToWorker::Shutdown { grace_seconds: 100 });
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::ShuttingDown });
    drop(client);
    ends_with(ending, closing(CloseReason::Told)).await;
}

#[tokio::test]
async fn each_heartbeat_is_answered_once() {
    let (client, ending) = Bench::start(&Home::new()).log_in().await;
    for _ in 0..3 {
        ending.daemon.order(&DaemonToWorker::Ping);
    }
    // What comes after was heard after.
    ending.daemon.order(&DaemonToWorker::Shutdown { grace_seconds: 100 });
    drop(client);
    let reports = ending.reports().await;
    let answers = reports.iter().filter(|report| **report == WorkerToDaemon::Alive);
    assert_eq!(answers.count(), 3, "{reports:?}");
}

#[tokio::test]
async fn an_administrators_refusal_is_passed_on() {
    let (mut client, ending) = Bench::start(&Home::new()).log_in().await;
    ending.daemon.order(&DaemonToWorker::Refuse { error: ErrorCode::Ended });
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::Ended });
    drop(client);
    ends_with(ending, refused(ErrorCode::Ended)).await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_the_worker() {
    let (mut client, ending) = Bench::start(&Home::new()).connect().await;
    client.stream.write_all(&[0, 0, 0, 2, 9]).await.unwrap();
    let started = std::time::Instant::now();
    // The client stays, and neither reads nor closes.
    ends_with(ending, refused(ErrorCode::Protocol)).await;
    assert!(started.elapsed() < Duration::from_secs(10));
    drop(client);
}

//! What fails is an error with a variant of its own, and with its numbers.

use std::path::PathBuf;

use berth::{
    ConnectError, Connector, Distrust, ErrorCode, Fingerprint, GetOptions, LoginError, PutOptions,
    Resource, Speaks, TransferError,
};
use berth_tests::Server;

use super::{alice, connector, local, path, run, session};

#[test]
fn a_server_with_another_certificate_is_refused_and_shown() {
    let (server, _) = Server::with_alice("unlimited");
    let other = Fingerprint::from_bytes([7; 32]);
    run(async {
        let error = connector(&server).fingerprint(other).connect().await.unwrap_err();
        let ConnectError::Untrusted { fingerprint, reason, .. } = error else { panic!("{error}") };
        assert_eq!(fingerprint.to_string(), server.fingerprint());
        assert_eq!(reason, Distrust::NotThePinned);
        // Nobody vouches for the certificate that the server has made itself.
        let by_authorities = Connector::new(server.address().parse().unwrap());
        let error = by_authorities.connect().await.unwrap_err();
        let ConnectError::Untrusted { reason, .. } = error else { panic!("{error}") };
        assert_ne!(reason, Distrust::NotThePinned);
    });
}

#[test]
fn what_is_no_server_of_berths_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-Nothing\r\n").unwrap();
        // Until the client has gone.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    run(async {
        let error = Connector::new(address.parse().unwrap()).connect().await.unwrap_err();
        let expected = matches!(error, ConnectError::NotBerth { speaks: Speaks::NoTls, .. });
        assert!(expected, "{error}");
    });
    answer.join().unwrap();
    // The listener is closed now.
    run(async {
        let error = Connector::new(address.parse().unwrap()).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Tcp { .. }), "{error}");
    });
}

#[test]
fn a_wrong_password_is_refused_and_says_nothing_else() {
    let (server, _) = Server::with_alice("unlimited");
    run(async {
        let connected = connector(&server).connect().await.unwrap();
        assert_eq!(connected.fingerprint().to_string(), server.fingerprint());
        let error = connected.log_in(&alice("b")).await.unwrap_err();
        assert!(matches!(error, LoginError::Refused(ErrorCode::LoginRefused)), "{error}");
    });
}

#[test]
fn over_quota_has_its_numbers_and_the_session_goes_on() {
    let (server, _) = Server::with_alice("1MiB");
    let file = local(&server, "file", 3 << 20);
    run(async {
        let session = session(&server).await;
        let error = session.put(&file, &path("f"), &PutOptions::new()).await.unwrap_err();
        let TransferError::Server(code) = &error else { panic!("{error}") };
        let expected = ErrorCode::QuotaExceeded {
            resource: Resource::Bytes,
            limit: 1 << 20,
            used: 0,
            reserved: 0,
            requested: 3 << 20,
        };
        assert_eq!(*code, expected);
        assert!(!error.ends_session() && !error.passes());
        session.put_from(&b"small"[..], &path("f"), &PutOptions::new()).await.unwrap();
        assert_eq!(session.usage().await.unwrap().used_bytes, 5);
    });
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}

#[test]
fn what_is_wrong_with_a_file_has_a_variant_on_either_side() {
    let (server, client) = Server::with_alice("unlimited");
    let file = local(&server, "file", 5);
    let there = client.write("there", "something else");
    let directory = server.scratch();
    run(async {
        let session = session(&server).await;
        let put = async |local: PathBuf, remote| {
            session.put(local, &path(remote), &PutOptions::new()).await.unwrap_err()
        };
        let error = put(directory.clone(), "f").await;
        assert!(matches!(error, TransferError::SourceIsADirectory), "{error}");
        let error = put(directory.join("none"), "f").await;
        assert!(matches!(error, TransferError::Local { .. }), "{error}");
        let error = put(file.clone(), "none/f").await;
        assert!(matches!(error, TransferError::Server(ErrorCode::NotFound)), "{error}");

        session.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        let get = async |remote, local: PathBuf| {
            session.get(&path(remote), local, &GetOptions::new()).await.unwrap_err()
        };
        let error = get("f", there.clone()).await;
        assert!(matches!(error, TransferError::Exists { .. }), "{error}");
        let error = get("f", directory.clone()).await;
        assert!(matches!(error, TransferError::TargetIsADirectory { .. }), "{error}");
        let error = get("none", directory.join("new")).await;
        assert!(matches!(error, TransferError::Server(ErrorCode::NotFound)), "{error}");
        session.get(&path("f"), &there, &GetOptions::new().replace(true)).await.unwrap();
    });
    berth_tests::files::assert_same(&file, &there);
}

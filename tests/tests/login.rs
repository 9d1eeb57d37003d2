//! Logins: refusals tell nothing, repeated ones are slowed, and a site secret comes first.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use berth_common::scram::site_proof;
use berth_tests::exit::LOGIN;
use berth_tests::log::Line;
use berth_tests::{Options, Raw, Server};

/// A server with alice and with mallory, who is locked: made by an administrator, so that their challenges are what a
/// user's are.
fn server(options: Options) -> Server {
    let server = Server::start(options);
    for user in ["alice", "mallory"] {
        server.berthctl_with(&["user", "add", user, "--quota", "1MiB"], Some("right")).ok();
    }
    server.berthctl(&["user", "lock", "mallory"]).ok();
    server
}

/// The logins that have to look alike.
const REFUSED: [(&str, &str); 4] =
    [("alice", "wrong"), ("nobody", "right"), ("mallory", "right"), ("mallory", "wrong")];

#[test]
fn unknown_users_wrong_passwords_and_locked_users_look_alike() {
    // Held back as little as can be configured.
    let server = server(Options::new().set("failed_logins = 100"));
    let outcomes = REFUSED.map(|(user, password)| {
        let outcome = server.client(user, password).run(&["ls"]).code_is(LOGIN);
        (outcome.stdout, outcome.stderr.replace(user, "USER"))
    });
    for outcome in &outcomes {
        assert_eq!(outcome, &outcomes[0]);
    }
    assert!(outcomes[0].1.contains("login refused"), "{:?}", outcomes[0]);
}

#[test]
fn a_refusal_gives_the_same_work_to_the_daemon_whatever_its_reason() {
    let server = server(Options::new().set("failed_logins = 100"));
    let shape = |line: &Line| {
        let mut shape = line.message();
        for field in ["level", "reason"] {
            shape.push_str(&format!(" {field}={:?}", line.text(field).is_some()));
        }
        shape
    };
    let lines = REFUSED.map(|(user, password)| {
        let mark = server.log().mark();
        let refused = Raw::connect(&server).authenticate(user, password);
        assert!(matches!(refused, Err(ErrorCode::LoginRefused)), "{refused:?}");
        // Its last line; the log is read a little after it is written.
        let ended = |line: &Line| line.message() == "session ended";
        let session = server.log().wait_after(mark, "the session's end", ended).number("session");
        let mut counts = BTreeMap::new();
        // Neither berthctl's own questions nor another session's lines are part of it.
        for line in server.log().after(mark, |line| line.number("session") == session) {
            *counts.entry(shape(&line)).or_insert(0) += 1;
        }
        counts
    });
    for counts in &lines {
        assert_eq!(counts, &lines[0]);
    }
}

#[test]
fn the_challenge_for_an_unknown_user_is_like_a_real_one_and_stays_the_same() {
    let server = server(Options::new());
    let challenge = |user: &str| {
        let mut raw = Raw::connect(&server);
        raw.hello();
        let binding = berth_common::scram::ChannelBinding::login(raw.exporter());
        let first = berth_common::scram::ClientFirst::new(user, binding).unwrap();
        raw.send(&ClientToWorker::LoginFirst { message: first.message().to_vec() });
        match raw.message() {
            WorkerToClient::LoginChallenge { message } => {
                let text = String::from_utf8(message).unwrap();
                let (_, rest) = text.split_once(",s=").unwrap();
                rest.to_owned()
            }
            other => panic!("{other:?}"),
        }
    };
    let (known, unknown) = (challenge("alice"), challenge("nobody"));
    assert_eq!(known, challenge("alice"));
    assert_eq!(unknown, challenge("nobody"), "a salt that changes would betray the name");
    assert_ne!(known, unknown);
    assert_eq!(known.len(), unknown.len());
    assert_eq!(known.split_once(",i=").unwrap().1, unknown.split_once(",i=").unwrap().1);
}

#[test]
fn failures_are_slowed_then_refused_and_other_addresses_are_not_affected() {
    let options = Options::new().set("failed_logins = 4").set("failed_login_delay_seconds = 1");
    let server = server(options);
    let from = |address: &str| Some(SocketAddr::new(address.parse().unwrap(), 0));
    let attempt = |address: &str, password: &str| {
        let began = Instant::now();
        let answer = Raw::connect_from(&server, from(address))
            .expect("a connection")
            .authenticate("alice", password);
        (answer, began.elapsed())
    };
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..4 {
        let (answer, took) = attempt("127.0.0.2", "wrong");
        assert!(matches!(answer, Err(ErrorCode::LoginRefused)), "{answer:?}");
        slowest = slowest.max(took);
    }
    assert!(slowest.as_secs() >= 1, "none was held back: {slowest:?}");
    // Now the address is refused, with the right password too, and is told for how long.
    let (answer, _) = attempt("127.0.0.2", "right");
    match answer {
        Err(ErrorCode::TooManyFailures { retry_after_s }) => assert!(retry_after_s > 0),
        other => panic!("{other:?}"),
    }
    assert!(attempt("127.0.0.3", "right").0.is_ok());
}

#[test]
fn nothing_is_served_before_the_login() {
    let server = server(Options::new());
    let questions = [
        ClientToWorker::List { id: RequestId(1), path: RelPath::root(), notes: false },
        ClientToWorker::Usage { id: RequestId(1) },
        ClientToWorker::PutEnd {
            id: RequestId(1),
            digest: berth_common::digest::Md5::from_bytes([0; 16]),
            source: berth_common::entry::SourceFingerprint {
                size: 0,
                mtime_ns: 0,
                ctime_ns: 0,
                inode: 0,
            }
            .into(),
        },
        ClientToWorker::LoginFinal { message: b"c=biws,r=x,p=x".to_vec() },
    ];
    for question in questions {
        for after_hello in [false, true] {
            let mut raw = Raw::connect(&server);
            if after_hello {
                raw.hello();
            }
            raw.send(&question);
            assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{question:?} {after_hello}");
        }
    }
}

#[test]
fn a_second_login_in_a_session_is_no_way_to_another_user() {
    let server = server(Options::new());
    let mut raw = Raw::login(&server, "alice", "right");
    raw.send(&ClientToWorker::LoginFirst { message: b"p=tls-exporter,,n=mallory,r=abc".to_vec() });
    assert_eq!(raw.closing(), Some(ErrorCode::Protocol));
}

#[test]
fn a_connection_that_does_not_log_in_is_closed() {
    let server = server(Options::new().set("login_seconds = 1"));
    let mut raw = Raw::connect(&server);
    raw.hello();
    assert_eq!(raw.closing(), Some(ErrorCode::TimedOut));
}

#[test]
fn without_the_site_secret_a_client_learns_and_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let secret = directory.path().join("site.secret");
    std::fs::write(&secret, "open sesame\n").unwrap();
    berth_tests::account::give(&secret);
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let server = server(Options::new().set(&format!("site_secret_file = {secret:?}")));
    let challenge = |raw: &mut Raw| match raw.hello() {
        WorkerToClient::Hello { server, site_challenge: Some(challenge), .. } => {
            assert_eq!(server, "", "the server does not say what it is");
            *challenge
        }
        other => panic!("{other:?}"),
    };

    let mut stranger = Raw::connect(&server);
    let random = challenge(&mut stranger);
    let proof = site_proof(b"open says me", &random, stranger.exporter());
    stranger.send(&ClientToWorker::SiteProof { proof });
    assert_eq!(stranger.closing(), Some(ErrorCode::LoginRefused));

    let mut impatient = Raw::connect(&server);
    challenge(&mut impatient);
    impatient
        .send(&ClientToWorker::LoginFirst { message: b"p=tls-exporter,,n=alice,r=x".to_vec() });
    assert_eq!(impatient.closing(), Some(ErrorCode::Protocol));

    let mut insider = Raw::connect(&server);
    let random = challenge(&mut insider);
    let proof = site_proof(b"open sesame", &random, insider.exporter());
    insider.send(&ClientToWorker::SiteProof { proof });
    assert!(matches!(insider.message(), WorkerToClient::SiteAccepted));
}

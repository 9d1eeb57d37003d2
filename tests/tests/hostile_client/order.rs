//! Messages in themselves right, out of order, about what is somebody else's, or with absurd numbers.

use berth_common::client_protocol::{ClientToWorker, GetResume, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, HomeFingerprint, Limits, SourceEnd};
use berth_common::error_code::ErrorCode;
use berth_common::frame::BlockHeader;
use berth_common::ids::{RequestId, StagingName};
use berth_common::limits::{LEAF_SIZE, LEAVES_PER_MESSAGE, MAX_ECHO_BYTES};
use berth_common::rel_path::RelPath;
use berth_tests::{Options, Raw, Received};

use crate::scene::Scene;
use crate::transfers::{begin, end, header, open, put, send_all, small, stream};

const MD5: Md5 = Md5::from_bytes([7; 16]);

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn put_file(raw: &mut Raw, name: &str, content: &[u8]) {
    let id = open(raw, small(name, content.len()));
    send_all(raw, id, content);
    assert!(matches!(raw.message(), WorkerToClient::PutDone { .. }));
}

/// What a client does that ends its session.
type Offence = (&'static str, fn(&mut Raw));

const OFFENCES: &[Offence] = &[
    ("a request under the number of a transfer", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::Usage { id });
    }),
    ("an echo under the number of a transfer", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::Echo { id, payload: Vec::new() });
    }),
    ("an echo of too many bytes", |raw| {
        let id = raw.id();
        raw.send(&ClientToWorker::Echo { id, payload: vec![0; MAX_ECHO_BYTES + 1] });
    }),
    ("a put under the number of a put", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::Put(berth_common::client_protocol::Put { id, ..put("g", 10) }));
    }),
    ("a get under the number of a put", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::Get { id, path: path("there"), resume: None });
    }),
    ("the end of a put under the number of a get", |raw| {
        let id = get(raw, None);
        raw.send(&end(id, b""));
    }),
    ("what a get says under the number of a put", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::GetDone { id });
    }),
    ("again under the number of a put", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::Again { id, offset: 0 });
    }),
    ("leaves under the number of a put", |raw| {
        let id = open(raw, put("f", 10));
        raw.send(&ClientToWorker::JournalLeaves { id, leaves: vec![MD5] });
    }),
    ("more leaves than a message may have", |raw| {
        let id = get(raw, None);
        let leaves = vec![MD5; LEAVES_PER_MESSAGE + 1];
        raw.send(&ClientToWorker::JournalLeaves { id, leaves });
    }),
    ("leaves that were not asked for", |raw| {
        let id = get(raw, None);
        raw.send(&ClientToWorker::JournalLeaves { id, leaves: vec![MD5] });
    }),
    ("again from within a block", |raw| {
        let id = get(raw, None);
        raw.send(&ClientToWorker::Again { id, offset: 1 });
    }),
    ("again from the end of all numbers", |raw| {
        let id = get(raw, None);
        raw.send(&ClientToWorker::Again { id, offset: u64::MAX });
    }),
    ("a get that is done before its end", |raw| {
        raw.send(&ClientToWorker::Get { id: RequestId(77), path: path("large"), resume: None });
        raw.send(&ClientToWorker::GetDone { id: RequestId(77) });
    }),
    ("a put that ends before it was opened", |raw| {
        let id = begin(raw, put("f", 0));
        raw.send(&end(id, b""));
    }),
    ("a put that ends with less than it declared", |raw| {
        let id = open(raw, put("f", 10));
        let source = crate::transfers::source(10).into();
        raw.send(&ClientToWorker::PutEnd { id, digest: MD5, source });
    }),
    ("a put of a file that ends as a stream", |raw| {
        let id = open(raw, put("f", 10));
        let source = SourceEnd::Stream { size: u64::MAX };
        raw.send(&ClientToWorker::PutEnd { id, digest: MD5, source });
    }),
    ("a stream that ends at the end of all numbers", |raw| {
        let id = open(raw, stream("f"));
        let source = SourceEnd::Stream { size: u64::MAX };
        raw.send(&ClientToWorker::PutEnd { id, digest: MD5, source });
    }),
    ("a block beyond the declared size", |raw| {
        let id = open(raw, put("f", 10));
        raw.send_block(&header(id, 0, &[1; 11]), &[1; 11]);
    }),
    ("a block that is not the next one", |raw| {
        let id = open(raw, put("f", 1 << 20));
        raw.send_block(&header(id, LEAF_SIZE as u64, &[1; LEAF_SIZE]), &[1; LEAF_SIZE]);
    }),
    ("a block at the end of all offsets", |raw| {
        let id = open(raw, stream("f"));
        let offset = (i64::MAX as u64) / (LEAF_SIZE as u64) * LEAF_SIZE as u64;
        raw.send_block(&header(id, offset, &[1]), &[1]);
    }),
    ("a password's end without a beginning", |raw| {
        let id = raw.id();
        raw.send(&ClientToWorker::CredentialFinal { id, message: b"c=x,r=x,p=x".to_vec() });
    }),
    ("a SCRAM message that is too long", |raw| {
        let id = raw.id();
        raw.send(&ClientToWorker::CredentialFinal { id, message: vec![b'x'; 5000] });
    }),
    ("a second hello", |raw| {
        raw.send(&ClientToWorker::Hello { versions: vec![1], client: String::new() });
    }),
];

/// Begins a get of a file and reads until its end, so that no answer stands between.
fn get(raw: &mut Raw, resume: Option<GetResume>) -> RequestId {
    let id = raw.id();
    raw.send(&ClientToWorker::Get { id, path: path("there"), resume });
    loop {
        match raw.receive() {
            Received::Message(WorkerToClient::GetEnd { .. }) => return id,
            Received::Message(WorkerToClient::GetReady { .. }) | Received::Block(..) => {}
            other => panic!("instead of a file: {other:?}"),
        }
    }
}

#[test]
fn whatever_is_out_of_order_ends_the_session_and_nothing_else() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    put_file(&mut raw, "there", b"content");
    put_file(&mut raw, "large", &vec![5; 1 << 20]);
    drop(raw);
    for (what, offend) in OFFENCES {
        let mut raw = scene.mallory();
        offend(&mut raw);
        assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{what}");
    }
    let mut home: Vec<_> = berth_tests::disk::entries(&scene.server.home("mallory"));
    home.retain(|path| !path.ends_with("there") && !path.ends_with("large"));
    assert!(home.is_empty(), "an offence has left something: {home:?}");
    scene.assert_unharmed();
}

#[test]
fn absurd_greetings_end_the_session() {
    let options = Options::new().set("failed_login_delay_seconds = 0").set("failed_logins = 1000");
    let scene = Scene::new(options);
    let hello = |versions, client: &str| ClientToWorker::Hello { versions, client: client.into() };
    for (greeting, error) in [
        (hello(vec![1; 17], "x"), ErrorCode::Protocol),
        (hello(vec![1; 2000], "x"), ErrorCode::Protocol),
        (hello(vec![1], &"x".repeat(129)), ErrorCode::Protocol),
        (hello(vec![], "x"), ErrorCode::Version),
        (hello(vec![0, 2, u16::MAX], "x"), ErrorCode::Version),
    ] {
        let mut raw = scene.attacker(false);
        raw.send(&greeting);
        assert_eq!(raw.closing(), Some(error), "{greeting:?}");
    }
    let first = |message: Vec<u8>| ClientToWorker::LoginFirst { message };
    for message in [vec![], vec![0xff; 1024], b"p=tls-exporter,,n=,r=".to_vec(), vec![b','; 1000]] {
        let mut raw = scene.attacker(false);
        raw.hello();
        raw.send(&first(message.clone()));
        let reason = raw.closing();
        assert_eq!(reason, Some(ErrorCode::LoginRefused), "{message:?}");
    }
    let mut raw = scene.attacker(false);
    raw.hello();
    raw.send(&first(vec![b'x'; 1025]));
    assert_eq!(raw.closing(), Some(ErrorCode::Protocol));
    scene.assert_unharmed();
}

#[test]
fn what_is_about_nothing_is_ignored_and_the_session_goes_on() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    let nobody = RequestId(4_000_000_000);
    for late in [
        end(nobody, b"x"),
        ClientToWorker::Cancel { id: nobody },
        ClientToWorker::GetDone { id: nobody },
        ClientToWorker::Again { id: nobody, offset: u64::MAX },
        ClientToWorker::JournalLeaves { id: nobody, leaves: vec![MD5; LEAVES_PER_MESSAGE] },
    ] {
        raw.send(&late);
    }
    let data = [3; 1000];
    for _ in 0..50 {
        raw.send_block(&header(nobody, 0, &data), &data);
    }
    put_file(&mut raw, "there", b"content");
    // Blocks for a get are nobody's either.
    let id = get(&mut raw, None);
    raw.send_block(&header(id, 0, &data), &data);
    raw.send(&ClientToWorker::GetDone { id });
    let upload = |number| move |id| ClientToWorker::AbortUpload { id, upload: StagingName(number) };
    for number in [0, 1, u64::MAX, i64::MAX as u64, 1 << 63] {
        match raw.ask(upload(number)) {
            WorkerToClient::Failed { error: ErrorCode::NoSuchUpload, .. } => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    drop(raw);
    scene.assert_unharmed();
}

#[test]
fn sizes_beyond_all_bounds_are_refused_and_nothing_is_reserved() {
    let scene = Scene::roomy();
    let limits = Limits { bytes: Some(1 << 20), entries: None };
    scene.server.add_user_with("carol", "c", limits);
    let mut carol = Raw::login(&scene.server, "carol", "c");
    let mut mallory = scene.mallory();
    put_file(&mut mallory, "there", b"content");
    put_file(&mut carol, "there", b"content");
    let quota = 1 << 20;
    for existing in [Existing::Keep, Existing::Replace, Existing::Append] {
        for size in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64, i64::MAX as u64 - 7] {
            for raw in [&mut mallory, &mut carol] {
                for name in ["new", "there"] {
                    let put = berth_common::client_protocol::Put { existing, ..put(name, size) };
                    let id = begin(raw, put);
                    refused(raw, id, &format!("{size} {existing:?} {name}"));
                }
            }
        }
        let id = begin(&mut carol, put("new", quota + 1));
        match carol.message() {
            WorkerToClient::Failed { error: ErrorCode::QuotaExceeded { .. }, id: of } => {
                assert_eq!(of, id);
            }
            other => panic!("{other:?}"),
        }
    }
    for raw in [&mut mallory, &mut carol] {
        match raw.ask(|id| ClientToWorker::Usage { id }) {
            WorkerToClient::Usage { usage, .. } => {
                assert_eq!((usage.reserved_bytes, usage.reserved_entries), (0, 0));
                assert_eq!((usage.used_bytes, usage.used_entries), (7, 1));
            }
            other => panic!("{other:?}"),
        }
    }
    drop((mallory, carol));
    scene.assert_unharmed();
}

#[track_caller]
fn refused(raw: &mut Raw, id: RequestId, what: &str) {
    match raw.message() {
        WorkerToClient::Failed { id: of, error } => {
            assert_eq!(of, id, "{what}");
            let known = matches!(
                error,
                ErrorCode::QuotaExceeded { .. } | ErrorCode::DiskFull | ErrorCode::AlreadyExists
            );
            assert!(known, "{what}: {error:?}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_resume_of_more_leaves_than_there_are_does_not_count() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    put_file(&mut raw, "there", b"content");
    let entry = raw.ask(|id| ClientToWorker::Get { id, path: path("there"), resume: None });
    let WorkerToClient::GetReady { fingerprint, .. } = entry else { panic!("{entry:?}") };
    drop(raw);
    let other =
        HomeFingerprint { inode: u64::MAX, ctime_ns: i64::MIN, size: u64::MAX, digest: None };
    for leaves in [1, 2, 1 << 40, i64::MAX as u64, u64::MAX] {
        for fingerprint in [fingerprint, other] {
            let mut raw = scene.mallory();
            let resume = Some(GetResume { fingerprint, leaves });
            let answer = raw.ask(|id| ClientToWorker::Get { id, path: path("there"), resume });
            match answer {
                WorkerToClient::GetReady { leaves: 0, .. } => {}
                // One leaf is all that there is.
                WorkerToClient::GetReady { leaves: 1, .. } if leaves == 1 => {}
                WorkerToClient::Refused { error: ErrorCode::Protocol } if leaves > 1 => {}
                other => panic!("{leaves}: {other:?}"),
            }
        }
    }
    scene.assert_unharmed();
}

#[test]
fn times_and_bits_at_their_ends_do_no_harm() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    for (number, time) in [i64::MIN, -1, 0, i64::MAX].into_iter().enumerate() {
        let content = b"content";
        let fingerprint = berth_common::entry::SourceFingerprint {
            size: content.len() as u64,
            mtime_ns: time,
            ctime_ns: time,
            inode: u64::MAX,
        };
        let mut put = put(&format!("f{number}"), 0);
        (put.source, put.mode) = (fingerprint.into(), u16::MAX);
        let id = open(&mut raw, put);
        let leaves = berth_common::digest::leaves(content);
        raw.send_block(&BlockHeader { transfer: id, offset: 0, leaves }, content);
        let digest = crate::transfers::tree(content);
        raw.send(&ClientToWorker::PutEnd { id, digest, source: fingerprint.into() });
        let done = raw.message();
        assert!(matches!(done, WorkerToClient::PutDone { .. }), "{time}: {done:?}");
        let name = path(&format!("f{number}"));
        match raw.ask(|id| ClientToWorker::Stat { id, path: name }) {
            WorkerToClient::Entry { entry, .. } => assert_eq!(entry.mode & !0o777, 0),
            other => panic!("{other:?}"),
        }
    }
    drop(raw);
    scene.assert_unharmed();
}

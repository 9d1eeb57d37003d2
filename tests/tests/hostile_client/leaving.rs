//! Clients that leave in the middle of everything, in each way that there is: what they had begun is whole or
//! gone, but for uploads that can be resumed.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;

use berth_common::client_protocol::{ClientToWorker, GetResume, Put, WorkerToClient};
use berth_common::credentials::NewCredential;
use berth_common::entry::Existing;
use berth_common::frame::encode_message;
use berth_common::limits::BLOCK_SIZE;
use berth_common::rel_path::RelPath;
use berth_common::scram::{ChannelBinding, ClientFirst, ITERATIONS, SALT_SIZE, ScramVerifier};
use berth_tests::raw::leaving::{Leaving, leave};
use berth_tests::raw::{tcp, tls_config};
use berth_tests::{Raw, Received};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::scene::Scene;
use crate::transfers::{begin, end, header, open, put, send_blocks, stream, tree};

/// A file that is not resumable, and one that is.
const SMALL: usize = 300_000;
const LARGE: usize = 2 * BLOCK_SIZE + 77;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n / 7) as u8).collect()
}

#[test]
fn leaving_before_the_login_leaves_nothing() {
    let scene = Scene::roomy();
    let mut held: Vec<Raw> = Vec::new();
    let mut sockets: Vec<TcpStream> = Vec::new();
    for how in Leaving::ALL {
        // Before and within the handshake.
        for part in [0.0, 0.1, 0.5, 1.0] {
            let mut socket = tcp(scene.address(), None).unwrap();
            let name = ServerName::try_from("berth").unwrap();
            let mut tls = ClientConnection::new(Arc::new(tls_config()), name).unwrap();
            let mut hello = Vec::new();
            tls.write_tls(&mut hello).unwrap();
            hello.truncate((hello.len() as f64 * part) as usize);
            std::io::Write::write_all(&mut socket, &hello).unwrap();
            if leave(&socket, how) {
                sockets.push(socket);
            }
        }
        let steps: [fn(&mut Raw); 7] = [
            |_| (),
            |raw| raw.send_bytes(&[0, 0, 1]),
            |raw| raw.send(&ClientToWorker::Hello { versions: vec![1], client: "x".into() }),
            |raw| drop(raw.hello()),
            |raw| {
                raw.hello();
                let first = first(raw);
                raw.send(&ClientToWorker::LoginFirst { message: first.message().to_vec() });
            },
            |raw| drop(challenged(raw)),
            |raw| {
                let (first, challenge) = challenged(raw);
                let last = first.answer("m", &challenge).unwrap();
                raw.send(&ClientToWorker::LoginFinal { message: last.message().to_vec() });
            },
        ];
        for step in steps {
            let mut raw = Raw::connect(&scene.server);
            step(&mut raw);
            held.extend(raw.leave(how));
        }
    }
    // Also those whose clients go on to hold their half of the connection.
    scene.only_spares_are_left();
    drop((held, sockets));
    scene.server.assert_at_rest("mallory");
    scene.assert_unharmed();
}

fn first(raw: &Raw) -> ClientFirst {
    ClientFirst::new("mallory", ChannelBinding::login(raw.exporter())).unwrap()
}

fn challenged(raw: &mut Raw) -> (ClientFirst, Vec<u8>) {
    raw.hello();
    let first = first(raw);
    raw.send(&ClientToWorker::LoginFirst { message: first.message().to_vec() });
    match raw.message() {
        WorkerToClient::LoginChallenge { message } => (first, message),
        other => panic!("{other:?}"),
    }
}

/// What a client has done when it leaves. It uses the given name, and no other leaving client does.
type Step = (&'static str, fn(&mut Raw, &str));

const PUTS: &[Step] = &[
    ("nothing", |_, _| ()),
    ("half-a-frame", |raw, name| {
        let frame = encode_message(&ClientToWorker::Put(put(name, 10))).unwrap();
        raw.send_bytes(&frame[..frame.len() / 2]);
    }),
    ("small-asked", |raw, name| {
        begin(raw, put(name, SMALL as u64));
    }),
    ("small-opened", |raw, name| {
        open(raw, put(name, SMALL as u64));
    }),
    ("small-half", |raw, name| {
        let id = open(raw, put(name, SMALL as u64));
        let data = content(SMALL);
        raw.send_bytes(&header(id, 0, &data).encode(SMALL).unwrap());
        raw.send_bytes(&data[..SMALL / 2]);
    }),
    ("small-sent", |raw, name| {
        let id = open(raw, put(name, SMALL as u64));
        send_blocks(raw, id, &content(SMALL));
    }),
    ("small-ended", |raw, name| {
        let id = open(raw, put(name, SMALL as u64));
        send_blocks(raw, id, &content(SMALL));
        raw.send(&end(id, &content(SMALL)));
    }),
    ("small-cancelled", |raw, name| {
        let id = open(raw, put(name, SMALL as u64));
        raw.send(&ClientToWorker::Cancel { id });
    }),
    ("empty-ended", |raw, name| {
        let id = open(raw, put(name, 0));
        raw.send(&end(id, b""));
    }),
    ("stream-opened", |raw, name| {
        open(raw, stream(name));
    }),
    ("stream-sent", |raw, name| {
        let id = open(raw, stream(name));
        send_blocks(raw, id, &content(LARGE));
    }),
    ("stream-ended", |raw, name| {
        let id = open(raw, stream(name));
        send_blocks(raw, id, &content(SMALL));
        let source = berth_common::entry::SourceEnd::Stream { size: SMALL as u64 };
        raw.send(&ClientToWorker::PutEnd { id, digest: tree(&content(SMALL)), source });
    }),
    ("batch", |raw, name| {
        // As many as may be under way, all of them sent without an answer being read.
        for number in 0..8 {
            begin(raw, put(&format!("{name}-{number}"), 0));
        }
        for _ in 0..4 {
            if let WorkerToClient::PutReady { id, .. } = raw.message() {
                raw.send(&end(id, b""));
            }
        }
    }),
];

/// Those that may be gone on with.
const RESUMABLE: &[Step] = &[
    ("large-opened", |raw, name| {
        open(raw, put(name, LARGE as u64));
    }),
    ("large-half", |raw, name| {
        let id = open(raw, put(name, LARGE as u64));
        let data = content(LARGE);
        send_blocks(raw, id, &data[..BLOCK_SIZE]);
        let second = &data[BLOCK_SIZE..2 * BLOCK_SIZE];
        let header = header(id, BLOCK_SIZE as u64, second);
        raw.send_bytes(&header.encode(BLOCK_SIZE).unwrap());
        raw.send_bytes(&second[..BLOCK_SIZE / 2]);
    }),
    ("large-sent", |raw, name| {
        let id = open(raw, put(name, LARGE as u64));
        send_blocks(raw, id, &content(LARGE));
    }),
    ("large-cancelled", |raw, name| {
        let id = open(raw, put(name, LARGE as u64));
        raw.send(&ClientToWorker::Cancel { id });
    }),
    ("append-opened", |raw, name| {
        let put = Put { existing: Existing::Append, ..put(name, LARGE as u64) };
        open(raw, put);
    }),
];

/// Those that may have come to their end, and are resumable if not.
const EITHER: &[Step] = &[
    ("large-asked", |raw, name| {
        begin(raw, put(name, LARGE as u64));
    }),
    ("large-ended", |raw, name| {
        let id = open(raw, put(name, LARGE as u64));
        send_blocks(raw, id, &content(LARGE));
        raw.send(&end(id, &content(LARGE)));
    }),
    ("append-ended", |raw, name| {
        let put = Put { existing: Existing::Append, ..put(name, LARGE as u64) };
        let id = open(raw, put);
        send_blocks(raw, id, &content(LARGE));
        raw.send(&end(id, &content(LARGE)));
    }),
];

#[test]
fn leaving_in_the_middle_of_a_put_leaves_it_whole_or_resumable_or_gone() {
    let scene = Scene::roomy();
    let mut held = Vec::new();
    for how in Leaving::ALL {
        for (step, act) in PUTS.iter().chain(RESUMABLE).chain(EITHER) {
            let mut raw = scene.mallory();
            act(&mut raw, &format!("{step}-{how:?}"));
            held.extend(raw.leave(how));
        }
    }
    scene.only_spares_are_left();
    drop(held);
    let uploads: BTreeSet<String> = scene.uploads().into_iter().collect();
    let names = |steps: &[Step]| -> BTreeSet<String> {
        let all =
            steps.iter().flat_map(|(step, _)| Leaving::ALL.map(|how| format!("{step}-{how:?}")));
        all.collect()
    };
    let home = scene.server.home("mallory");
    let missing: Vec<_> = names(RESUMABLE).difference(&uploads).cloned().collect();
    assert!(missing.is_empty(), "not resumable any more: {missing:?}");
    for upload in uploads.difference(&names(RESUMABLE)) {
        assert!(names(EITHER).contains(upload), "an upload is left: {upload}");
        assert!(!home.join(upload).exists(), "{upload} is both there and open");
    }
    for file in berth_tests::disk::entries(&home) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let size = match name.split('-').next().unwrap() {
            "small" | "stream" => SMALL,
            "empty" | "batch" => 0,
            "large" | "append" => LARGE,
            other => panic!("{other} was never put"),
        };
        let whole = ["ended", "batch", "sent-", "asked"].iter().any(|part| name.contains(part));
        assert!(whole && !name.contains("sent-"), "{name} had not come to its end");
        assert!(std::fs::read(&file).unwrap() == content(size), "{name} is not whole");
    }
    scene.assert_unharmed();
}

/// What changes no file, or whole trees.
const REQUESTS: &[Step] = &[
    ("listing", |raw, _| {
        let id = raw.id();
        raw.send(&ClientToWorker::List { id, path: path("tree"), notes: false });
    }),
    ("half-a-listing", |raw, _| {
        let listed = raw.ask(|id| ClientToWorker::List { id, path: path("tree"), notes: false });
        assert!(matches!(listed, WorkerToClient::Entries { last: false, .. }), "{listed:?}");
    }),
    ("get", |raw, _| {
        let id = raw.id();
        raw.send(&ClientToWorker::Get { id, path: path("large"), resume: None });
    }),
    ("get-ready", |raw, _| {
        get_ready(raw, None);
    }),
    ("get-half", |raw, _| {
        get_ready(raw, None);
        assert!(matches!(raw.receive(), Received::Block(..)));
    }),
    ("get-ended", |raw, _| {
        get_ready(raw, None);
        while !matches!(raw.receive(), Received::Message(WorkerToClient::GetEnd { .. })) {}
    }),
    ("get-resumed", |raw, _| {
        let fingerprint = get_ready(raw, None);
        while !matches!(raw.receive(), Received::Message(WorkerToClient::GetEnd { .. })) {}
        get_ready(raw, Some(GetResume { fingerprint, leaves: 9 }));
    }),
    ("md5", |raw, _| {
        let id = raw.id();
        raw.send(&ClientToWorker::Md5 { id, path: path("large") });
    }),
    ("mkdir", |raw, name| {
        let id = raw.id();
        raw.send(&ClientToWorker::MakeDirectory { id, path: path(name), parents: true });
    }),
    ("rename", |raw, name| {
        let made =
            raw.ask(|id| ClientToWorker::MakeDirectory { id, path: path(name), parents: true });
        assert!(matches!(made, WorkerToClient::Done { .. }), "{made:?}");
        let (id, to) = (raw.id(), path(&format!("{name}-renamed")));
        raw.send(&ClientToWorker::Rename { id, from: path(name), to, overwrite: false });
    }),
    ("remove-a-tree", |raw, name| {
        for number in 0..30 {
            let path = path(&format!("{name}/a/{number}"));
            let made = raw.ask(|id| ClientToWorker::MakeDirectory { id, path, parents: true });
            assert!(matches!(made, WorkerToClient::Done { .. }), "{made:?}");
        }
        let id = raw.id();
        raw.send(&ClientToWorker::Remove { id, path: path(name), recursive: true });
    }),
    ("password", |raw, _| drop(credential_first(raw))),
    ("password-challenged", |raw, _| {
        credential_first(raw);
        assert!(matches!(raw.message(), WorkerToClient::CredentialChallenge { .. }));
    }),
    ("password-changed", |raw, _| {
        let (id, first) = credential_first(raw);
        let WorkerToClient::CredentialChallenge { message, .. } = raw.message() else {
            panic!("no challenge")
        };
        // The same password again, so that the next client can log in whether it was changed or not.
        let message = first.answer("m", &message).unwrap().message().to_vec();
        raw.send(&ClientToWorker::CredentialFinal { id, message });
    }),
];

fn get_ready(raw: &mut Raw, resume: Option<GetResume>) -> berth_common::entry::HomeFingerprint {
    match raw.ask(|id| ClientToWorker::Get { id, path: path("large"), resume }) {
        WorkerToClient::GetReady { fingerprint, .. } => fingerprint,
        other => panic!("{other:?}"),
    }
}

fn credential_first(raw: &mut Raw) -> (berth_common::ids::RequestId, ClientFirst) {
    let verifier = ScramVerifier::from_password("m", vec![8; SALT_SIZE], *ITERATIONS.start());
    let credential = NewCredential::Password(verifier.unwrap());
    let binding = ChannelBinding::new_credential(raw.exporter(), &credential);
    let first = ClientFirst::new("mallory", binding).unwrap();
    let (id, message) = (raw.id(), first.message().to_vec());
    raw.send(&ClientToWorker::CredentialFirst { id, message, credential });
    (id, first)
}

#[test]
fn leaving_in_the_middle_of_a_request_leaves_it_done_or_not() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    let id = open(&mut raw, put("large", LARGE as u64));
    crate::transfers::send_all(&mut raw, id, &content(LARGE));
    assert!(matches!(raw.message(), WorkerToClient::PutDone { .. }));
    let made =
        raw.ask(|id| ClientToWorker::MakeDirectory { id, path: path("tree"), parents: false });
    assert!(matches!(made, WorkerToClient::Done { .. }), "{made:?}");
    // More than fit one part of a listing.
    let most = 400;
    for number in 0..most {
        let path = path(&format!("tree/{number}-{}", "x".repeat(200)));
        let id = raw.id();
        raw.send(&ClientToWorker::MakeDirectory { id, path, parents: false });
    }
    for _ in 0..most {
        assert!(matches!(raw.message(), WorkerToClient::Done { .. }));
    }
    drop(raw);
    let mut held = Vec::new();
    for how in Leaving::ALL {
        for (step, act) in REQUESTS {
            let mut raw = scene.mallory();
            act(&mut raw, &format!("{step}-{how:?}"));
            held.extend(raw.leave(how));
        }
    }
    scene.only_spares_are_left();
    drop(held);
    assert!(std::fs::read(scene.server.home("mallory").join("large")).unwrap() == content(LARGE));
    scene.server.assert_at_rest("mallory");
    scene.assert_unharmed();
}

//! Escapes: nothing that a client says, and nothing that stands in a home, leads out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use berth_common::batch::{GetResult, StatResult};
use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{TreeDigest, leaves};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{BlockHeader, encode_message};
use berth_common::ids::UploadToken;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::{Client, Options, Raw, Received, Server, account};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const SECRET: &str = "what nobody may read";

/// A server with alice, and a directory beside her home that her home must not lead to. The
/// server's own user may read and write it: only Berth keeps a client out.
struct Scene {
    server: Server,
    alice: Client,
    outside: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(Options::new());
        server.add_user("alice", "a", "unlimited");
        server.add_user("bob", "b", "unlimited");
        let outside = server.directory().join("outside");
        account::make_dir(&outside);
        place(&outside.join("secret"), SECRET);
        place(&server.home("bob").join("secret"), SECRET);
        place(&server.home("alice").join("own"), "alice's own");
        let alice = server.client("alice", "a");
        Self { server, alice, outside }
    }

    fn home(&self) -> PathBuf {
        self.server.home("alice")
    }

    /// Claims that nothing outside has changed, and that nothing from outside was brought in.
    #[track_caller]
    fn assert_contained(&self, what: &str) {
        assert_eq!(names(&self.outside), ["secret"], "{what}");
        assert_eq!(fs::read_to_string(self.outside.join("secret")).unwrap(), SECRET, "{what}");
        assert_eq!(names(&self.server.home("bob")), ["secret"], "{what}");
        for file in berth_tests::disk::entries(&self.alice.files()) {
            let content = fs::read(&file).unwrap_or_default();
            assert!(!contains(&content, SECRET.as_bytes()), "{what}: {}", file.display());
        }
    }
}

fn place(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    account::give(path);
}

fn link(target: impl AsRef<Path>, path: &Path) {
    symlink(target, path).unwrap();
    account::give(path);
}

fn names(directory: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    berth_tests::disk::entries(directory).iter().map(name).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A MessagePack string of any bytes, which the product's own types would refuse to write.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = vec![0xda];
    encoded.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    encoded.extend_from_slice(bytes);
    encoded
}

/// A message as the product writes it, with another path in the place of its own.
fn with_path(message: &ClientToWorker, path: &[u8]) -> Vec<u8> {
    let frame = encode_message(message).unwrap();
    let body = &frame[5..];
    let marker = [&[0xa0 | MARKER.len() as u8], MARKER.as_bytes()].concat();
    let at = body.windows(marker.len()).position(|window| window == marker).unwrap();
    let body = [&body[..at], &string(path), &body[at + marker.len()..]].concat();
    let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[0], &body].concat()
}

/// The path that [`with_path`] replaces.
const MARKER: &str = "path-to-be-replaced";

/// Every request that names a path, with [`MARKER`] for it.
fn requests(raw: &mut Raw) -> Vec<ClientToWorker> {
    let path = || RelPath::new(MARKER).unwrap();
    let own = || RelPath::new("own").unwrap();
    let mut id = || raw.id();
    vec![
        ClientToWorker::Stat { id: id(), path: path() },
        ClientToWorker::List { id: id(), path: path(), notes: false },
        ClientToWorker::MakeDirectory { id: id(), path: path(), parents: true },
        ClientToWorker::Remove { id: id(), path: path(), recursive: true },
        ClientToWorker::Rename { id: id(), from: path(), to: own(), overwrite: true },
        ClientToWorker::Rename { id: id(), from: own(), to: path(), overwrite: true },
        ClientToWorker::SetNote { id: id(), path: path(), note: None },
        ClientToWorker::Md5 { id: id(), path: path() },
        ClientToWorker::GetFiles { id: id(), paths: vec![path()] },
        ClientToWorker::StatFiles { id: id(), paths: vec![path()] },
        ClientToWorker::Get { id: id(), path: path(), resume: None },
        ClientToWorker::Put(Put {
            id: id(),
            path: path(),
            source: SourceFingerprint { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1 }.into(),
            token: UploadToken([1; 16]),
            mode: 0o666,
            existing: Existing::Replace,
            base: None,
            note: NoteChange::Keep,
        }),
    ]
}

#[test]
fn a_path_that_is_none_ends_the_session() {
    let scene = Scene::new();
    let overlong = "x".repeat(5000);
    let long_name = "x".repeat(256);
    let absolute = scene.outside.join("secret").display().to_string();
    let paths: Vec<&[u8]> = vec![
        b"..",
        b"../..",
        b"../../bob/home/secret",
        b"a/..",
        b"a/../..",
        b"own/..",
        b".",
        b"./own",
        b"a/./b",
        b"/",
        b"/etc/passwd",
        b"//etc/passwd",
        b"/proc/self/root/etc/passwd",
        absolute.as_bytes(),
        b"a//b",
        b"a/",
        b"\0",
        b"own\0",
        b"own\0/../..",
        b"..\0",
        b"\xff\xfe",
        b"a/\xc0\xae\xc0\xae/b",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        overlong.as_bytes(),
        long_name.as_bytes(),
    ];
    let count = requests(&mut Raw::login(&scene.server, "alice", "a")).len();
    for (number, path) in paths.iter().enumerate() {
        // The path of every request is decoded by the same code: the first path is tried in each
        // of them, and each of the others in two, which change from path to path.
        let indices = match number {
            0 => (0..count).collect(),
            _ => vec![number % count, (number + 4) % count],
        };
        for index in indices {
            let mut raw = Raw::login(&scene.server, "alice", "a");
            let request = requests(&mut raw).swap_remove(index);
            raw.send_bytes(&with_path(&request, path));
            let what = format!("{request:?} with {}", path.escape_ascii());
            assert_eq!(raw.closing(), Some(ErrorCode::Protocol), "{what}");
            scene.assert_contained(&what);
        }
    }
    assert_eq!(names(&scene.home()), ["own"]);
    scene.server.wait_for_no_session_of("alice");
}

/// Symbolic links that an administrator, or an attacker with another way in, may have made.
fn make_links(scene: &Scene) -> Vec<String> {
    let home = scene.home();
    fs::create_dir(home.join("d")).unwrap();
    account::give(&home.join("d"));
    let targets: Vec<(String, PathBuf)> = vec![
        ("to-outside".into(), scene.outside.clone()),
        ("to-secret".into(), scene.outside.join("secret")),
        ("to-bob".into(), scene.server.home("bob")),
        ("to-bob-relative".into(), "../../bob/home".into()),
        ("to-bobs-secret".into(), "../../bob/home/secret".into()),
        ("to-parent".into(), "..".into()),
        ("to-root".into(), "/".into()),
        ("to-etc".into(), "/etc".into()),
        ("to-staging".into(), "../staging".into()),
        ("to-data".into(), scene.server.data()),
        ("to-ledger".into(), scene.server.data().join("ledger.sqlite")),
        ("to-proc-root".into(), "/proc/self/root".into()),
        ("to-proc-cwd".into(), "/proc/self/cwd".into()),
        ("to-proc-fd".into(), "/proc/self/fd".into()),
        ("to-fd-0".into(), "/proc/self/fd/0".into()),
        ("to-fd-3".into(), "/proc/self/fd/3".into()),
        ("to-dev-fd".into(), "/dev/fd/4".into()),
        ("to-dev-null".into(), "/dev/null".into()),
        ("to-itself".into(), "to-itself".into()),
        ("to-own".into(), "own".into()),
        ("to-d".into(), "d".into()),
        ("d/up-and-out".into(), "../to-outside".into()),
        ("d/two-up".into(), "../..".into()),
    ];
    for (name, target) in &targets {
        link(target, &home.join(name));
    }
    targets.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn symbolic_links_are_never_followed_wherever_they_stand() {
    let scene = Scene::new();
    let links = make_links(&scene);
    let before = berth_tests::disk::walk(&scene.home());
    let mut raw = Raw::login(&scene.server, "alice", "a");
    let mut attempts = 0;
    for name in &links {
        // The link itself, and the link in the middle and at the front of a longer path.
        let below = [
            format!("{name}/secret"),
            format!("{name}/new"),
            format!("{name}/secret/x"),
            format!("{name}/d/e"),
        ];
        for path in [name.clone()].iter().chain(&below) {
            for request in requests(&mut raw) {
                // Of the link itself, what would follow it. That it is shown, or removed or renamed
                // as an entry of its own, is no escape.
                let follows = matches!(
                    request,
                    ClientToWorker::Get { .. }
                        | ClientToWorker::Put(_)
                        | ClientToWorker::Md5 { .. }
                        | ClientToWorker::SetNote { .. }
                        | ClientToWorker::List { .. }
                );
                if path == name && !follows {
                    continue;
                }
                raw.send_bytes(&with_path(&request, path.as_bytes()));
                let answer = raw.message();
                let refused = match &answer {
                    WorkerToClient::Failed { .. } => true,
                    WorkerToClient::FilesGot { files, .. } => {
                        files.iter().all(|file| matches!(file, GetResult::Failed(_)))
                    }
                    WorkerToClient::FilesStated { results, .. } => {
                        results.iter().all(|result| matches!(result, StatResult::Failed(_)))
                    }
                    _ => false,
                };
                assert!(refused, "{request:?} with {path}: {answer:?}");
                attempts += 1;
            }
            scene.assert_contained(path);
        }
    }
    assert!(attempts >= 40, "{attempts}");
    assert_eq!(berth_tests::disk::walk(&scene.home()), before);
}

#[test]
fn the_client_shows_links_and_refuses_to_follow_them() {
    let scene = Scene::new();
    make_links(&scene);
    scene.alice.write("f", "brought in");
    let listed = scene.alice.run(&["stat", "--json", "to-outside"]).ok().json();
    assert_eq!(listed["kind"].as_str().unwrap().to_ascii_lowercase(), "symlink");
    let attempts: [&[&str]; 9] = [
        &["get", "-f", "to-secret", "--to", "out"],
        &["get", "-f", "to-outside/secret", "--to", "out"],
        &["get", "-f", "d/up-and-out/secret", "--to", "out"],
        &["put", "f", "--to", "to-secret"],
        &["put", "f", "--to", "to-outside/new"],
        &["put", "f", "--to", "to-bob/"],
        &["mkdir", "-p", "to-outside/d"],
        &["mv", "own", "to-outside/own"],
        &["rm", "-r", "to-bob/secret"],
    ];
    for attempt in attempts {
        scene.alice.run(attempt).failed();
        scene.assert_contained(&attempt.join(" "));
    }
}

#[test]
fn removing_a_tree_removes_links_and_not_what_they_name() {
    let scene = Scene::new();
    make_links(&scene);
    let below = scene.home().join("tree");
    fs::create_dir_all(below.join("deep")).unwrap();
    account::give(&below);
    account::give(&below.join("deep"));
    for (name, target) in [("out", &scene.outside), ("bob", &scene.server.home("bob"))] {
        link(target, &below.join(name));
        link(target, &below.join("deep").join(name));
    }
    // The ledger did not see these come, so what is checked is the disk.
    scene.server.berthctl(&["quota", "set", "alice", "--bytes", "unlimited"]).ok();
    let _ = scene.alice.run(&["rm", "-r", "tree"]);
    scene.assert_contained("rm -r tree");
}

#[test]
fn special_files_and_hard_links_are_not_served() {
    let scene = Scene::new();
    let fifo = scene.home().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    account::give(&fifo);
    fs::hard_link(scene.outside.join("secret"), scene.home().join("hard")).unwrap();
    for name in ["fifo", "hard"] {
        // A FIFO that is opened without care would hang the filer for ever.
        scene.alice.run(&["get", name, "--to", "out"]).failed();
        scene.alice.run(&["md5", name]).failed();
        scene.assert_contained(name);
    }
    scene.alice.run(&["ls"]).ok();
}

/// Swaps a directory and a link to the outside for each other until it is told to stop.
fn swap_while<T>(home: &Path, work: impl FnOnce() -> T) -> T {
    let (directory, link) = (home.join("swap"), home.join("evil"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let racer = scope.spawn(|| {
            let mut swaps = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::EXCHANGE;
                renameat_with(CWD, &directory, CWD, &link, flags).expect("an exchange");
                swaps += 1;
            }
            swaps
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        eprintln!("{} swaps", racer.join().unwrap());
        result
    })
}

#[test]
fn a_link_that_is_swapped_in_during_the_operation_leads_nowhere() {
    const ROUNDS: usize = 2000;
    let scene = Scene::new();
    let home = scene.home();
    account::make_dir(&home.join("swap"));
    place(&home.join("swap").join("secret"), "harmless");
    link(&scene.outside, &home.join("evil"));
    let mut raw = Raw::login(&scene.server, "alice", "a");
    let path = RelPath::new("swap/secret").unwrap();
    let mut refused = 0;
    swap_while(&home, || {
        for round in 0..ROUNDS {
            let id = raw.id();
            raw.send(&ClientToWorker::Get { id, path: path.clone(), resume: None });
            loop {
                match raw.receive() {
                    Received::Block(_, data) => assert_eq!(data, b"harmless"),
                    Received::Message(WorkerToClient::GetReady { entry, .. }) => {
                        assert_eq!(entry.size, 8);
                    }
                    Received::Message(WorkerToClient::GetEnd { .. }) => {
                        raw.send(&ClientToWorker::GetDone { id });
                        break;
                    }
                    Received::Message(WorkerToClient::Failed { .. }) => {
                        refused += 1;
                        break;
                    }
                    other => panic!("round {round}: {other:?}"),
                }
            }
            if round % 10 == 0 {
                put(&mut raw, "swap/new", b"x");
                let gone = RelPath::new("swap/new").unwrap();
                raw.ask(|id| ClientToWorker::Remove { id, path: gone, recursive: true });
                let made = RelPath::new("swap/made/deep").unwrap();
                raw.ask(|id| ClientToWorker::MakeDirectory { id, path: made, parents: true });
            }
        }
    });
    eprintln!("{refused} of {ROUNDS} gets met the link");
    assert!(refused > 0, "the race was never met");
    scene.assert_contained("swapping");
}

/// Puts a small file, if the server lets us.
fn put(raw: &mut Raw, path: &str, content: &[u8]) {
    let source =
        SourceFingerprint { size: content.len() as u64, mtime_ns: 0, ctime_ns: 0, inode: 1 };
    let path = RelPath::new(path).unwrap();
    let token = UploadToken([1; 16]);
    let ready = raw.ask(|id| {
        ClientToWorker::Put(Put {
            id,
            path,
            source: source.into(),
            token,
            mode: 0o644,
            existing: Existing::Replace,
            base: None,
            note: NoteChange::Keep,
        })
    });
    let WorkerToClient::PutReady { id, .. } = ready else {
        return;
    };
    let leaves = leaves(content);
    let mut tree = TreeDigest::new();
    tree.extend(&leaves);
    raw.send_block(&BlockHeader { transfer: id, offset: 0, leaves }, content);
    raw.send(&ClientToWorker::PutEnd { id, digest: tree.finish(), source: source.into() });
    raw.message();
}

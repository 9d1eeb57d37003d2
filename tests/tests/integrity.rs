//! Every byte is checked: what is corrupted behind TLS is noticed, named and repaired, in both
//! directions, and a source that changed starts over.

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{Md5, TreeDigest, leaves};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::frame::BlockHeader;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::disk::only_journal_leaves;
use berth_tests::files::{self, Content, assert_same, flip_byte, rot};
use berth_tests::{Options, Raw, Server, wait_until};

fn source(size: usize) -> SourceFingerprint {
    SourceFingerprint { size: size as u64, mtime_ns: 1_000_000_007, ctime_ns: 2, inode: 3 }
}

/// Opens an upload with the raw client; the server has nothing of it yet.
fn open(raw: &mut Raw, path: &str, size: usize) -> RequestId {
    let id = raw.id();
    raw.send(&ClientToWorker::Put(Put {
        id,
        path: RelPath::new(path).unwrap(),
        source: source(size).into(),
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    }));
    match raw.message() {
        WorkerToClient::PutReady { leaves: 0, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn header(transfer: RequestId, offset: usize, data: &[u8]) -> BlockHeader {
    BlockHeader { transfer, offset: offset as u64, leaves: leaves(data) }
}

fn tree(content: &[u8]) -> Md5 {
    let mut tree = TreeDigest::new();
    for block in content.chunks(BLOCK_SIZE) {
        tree.extend(&leaves(block));
    }
    tree.finish()
}

#[test]
fn a_corrupted_block_is_asked_for_again_and_the_file_is_whole() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    // A small upload and a resumable one; the bad block in the middle, and the last leaf of it.
    for size in [3 * LEAF_SIZE + 5, 5 * BLOCK_SIZE + 5] {
        let content = Content::seed(size as u64).bytes(size);
        let mut raw = Raw::login(&server, "alice", "a");
        let id = open(&mut raw, "f", size);
        let bad = size / 2 / BLOCK_SIZE * BLOCK_SIZE;
        for (number, block) in content.chunks(BLOCK_SIZE).enumerate() {
            let offset = number * BLOCK_SIZE;
            let header = header(id, offset, block);
            let mut data = block.to_vec();
            if offset == bad {
                *data.last_mut().unwrap() ^= 1;
            }
            raw.send_block(&header, &data);
        }
        match raw.message() {
            WorkerToClient::Again { offset, .. } => assert_eq!(offset, bad as u64),
            other => panic!("{other:?}"),
        }
        // All from there on; what was on its way is ignored.
        for (number, block) in content[bad..].chunks(BLOCK_SIZE).enumerate() {
            raw.send_block(&header(id, bad + number * BLOCK_SIZE, block), block);
        }
        raw.send(&ClientToWorker::PutEnd {
            id,
            digest: tree(&content),
            source: source(size).into(),
        });
        assert!(matches!(raw.message(), WorkerToClient::PutDone { .. }));
        drop(raw);
        server.assert_at_rest("alice");
        assert!(std::fs::read(server.home("alice").join("f")).unwrap() == content);
    }
}

#[test]
fn a_block_that_is_bad_twice_ends_the_transfer_and_names_the_offset() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let size = 3 * BLOCK_SIZE;
    let content = Content::seed(1).bytes(size);
    let mut raw = Raw::login(&server, "alice", "a");
    let id = open(&mut raw, "f", size);
    raw.send_block(&header(id, 0, &content[..BLOCK_SIZE]), &content[..BLOCK_SIZE]);
    let second = &content[BLOCK_SIZE..2 * BLOCK_SIZE];
    let wrong = vec![0; BLOCK_SIZE];
    raw.send_block(&header(id, BLOCK_SIZE, second), &wrong);
    assert!(matches!(raw.message(), WorkerToClient::Again { .. }));
    raw.send_block(&header(id, BLOCK_SIZE, second), &wrong);
    match raw.message() {
        WorkerToClient::Failed { error: ErrorCode::IntegrityMismatch { offset }, .. } => {
            assert_eq!(offset, BLOCK_SIZE as u64);
        }
        other => panic!("{other:?}"),
    }
    assert!(!server.home("alice").join("f").exists());
    // What came before it is verified, and the upload stays resumable.
    wait_until("the journal has the first block", || {
        only_journal_leaves(&server.staging("alice")) == (BLOCK_SIZE / LEAF_SIZE) as u64
    });
}

#[test]
fn a_tree_digest_that_differs_drops_the_upload() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    for size in [10, 2 * BLOCK_SIZE] {
        let content = Content::seed(1).bytes(size);
        let mut raw = Raw::login(&server, "alice", "a");
        let id = open(&mut raw, "f", size);
        for (number, block) in content.chunks(BLOCK_SIZE).enumerate() {
            raw.send_block(&header(id, number * BLOCK_SIZE, block), block);
        }
        let digest = Md5::from_bytes([0; 16]);
        raw.send(&ClientToWorker::PutEnd { id, digest, source: source(size).into() });
        match raw.message() {
            WorkerToClient::Failed { error: ErrorCode::DigestMismatch, .. } => {}
            other => panic!("{other:?}"),
        }
        drop(raw);
        server.assert_at_rest("alice");
        assert!(!server.home("alice").join("f").exists());
    }
}

#[test]
fn a_source_that_changed_between_tries_starts_over_and_says_so() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("big"), 200 << 20);
    let running = alice.spawn(&["put", "big"]);
    let journal = || only_journal_leaves(&server.staging("alice"));
    wait_until("the journal has grown", || journal() >= 100);
    running.kill();
    server.wait_for_no_session_of("alice");
    flip_byte(&alice.file("big"), 5);
    let mark = server.log().mark();
    alice.run(&["put", "big"]).ok().says("changed");
    let ended =
        server.log().wait_after(mark, "the transfer's end", |line| line.is_success_of("put"));
    assert_eq!(ended.number("resumed_leaves"), Some(0));
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
    server.assert_at_rest("alice");
}

#[test]
fn a_source_that_changes_during_a_put_is_not_committed() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("big"), 300 << 20);
    let running = alice.spawn(&["put", "big"]);
    wait_until("the journal has grown", || only_journal_leaves(&server.staging("alice")) >= 16);
    flip_byte(&alice.file("big"), 5);
    running.wait().failed().says("changed");
    assert!(!server.home("alice").join("big").exists());
}

#[test]
fn a_file_that_changed_in_the_home_is_got_anew() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("one"), 200 << 20);
    Content::seed(2).write(&alice.file("two"), 200 << 20);
    alice.run(&["put", "one", "--to", "f"]).ok();
    let running = alice.spawn(&["get", "f", "--to", "back"]);
    let journal = || only_journal_leaves(&alice.files());
    wait_until("the journal has grown", || journal() >= 100);
    running.kill();
    alice.run(&["put", "two", "--to", "f"]).ok();
    alice.run(&["get", "f", "--to", "back"]).ok();
    assert_same(&alice.file("two"), &alice.file("back"));
}

#[test]
fn rot_on_the_servers_disk_is_noticed_by_a_get() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("f"), 3 << 20);
    alice.run(&["put", "f"]).ok();
    let stored = server.home("alice").join("f");
    rot(&stored, 1 << 20);
    let outcome = alice.run(&["get", "f", "--to", "back"]);
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    assert!(!alice.file("back").exists());
    assert_ne!(files::md5(&stored), files::md5(&alice.file("f")));
}

//! Transfers that are declared and never sent: bounded in number, and what they reserve is given back.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_tests::{Options, Raw, wait_until};

use crate::scene::Scene;
use crate::transfers::{begin, open, put, stream};

const LARGE: u64 = 5 << 20;

fn reserved(raw: &mut Raw) -> (u64, u64) {
    match raw.ask(|id| ClientToWorker::Usage { id }) {
        WorkerToClient::Usage { usage, .. } => (usage.reserved_bytes, usage.reserved_entries),
        other => panic!("{other:?}"),
    }
}

#[test]
fn transfers_that_need_not_outlive_their_session_give_back_what_they_reserved() {
    let scene = Scene::roomy();
    let mut raw = scene.mallory();
    for number in 0..4 {
        open(&mut raw, put(&format!("small-{number}"), 1 << 20));
        open(&mut raw, stream(&format!("stream-{number}")));
    }
    let id = begin(&mut raw, put("one-more", 1));
    match raw.message() {
        WorkerToClient::Failed { id: of, error: ErrorCode::TooManyTransfers { limit: 8 } } => {
            assert_eq!(of, id);
        }
        other => panic!("{other:?}"),
    }
    let (bytes, entries) = reserved(&mut raw);
    assert!(bytes >= 4 << 20 && entries == 8, "{bytes} bytes and {entries} entries reserved");
    drop(raw);
    scene.server.assert_at_rest("mallory");
    assert_eq!(reserved(&mut scene.mallory()), (0, 0));
    scene.assert_unharmed();
}

#[test]
fn unfinished_uploads_are_bounded_and_go_when_they_are_aborted() {
    let scene = Scene::new(Options::new().set("max_uploads = 5").set("max_transfers = 3"));
    // In two sessions, of which the first has left what it declared.
    let mut raw = scene.mallory();
    for number in 0..3 {
        open(&mut raw, put(&format!("f{number}"), LARGE));
    }
    drop(raw);
    scene.server.wait_for_no_session_of("mallory");
    let mut raw = scene.mallory();
    for number in 3..5 {
        open(&mut raw, put(&format!("f{number}"), LARGE));
    }
    let id = begin(&mut raw, put("one-more", LARGE));
    match raw.message() {
        WorkerToClient::Failed { id: of, error: ErrorCode::TooManyUploads { limit: 5 } } => {
            assert_eq!(of, id);
        }
        other => panic!("{other:?}"),
    }
    // A small file needs no place among them.
    open(&mut raw, put("small", 1));
    assert_eq!(reserved(&mut raw), (5 * LARGE + 1, 6));
    drop(raw);
    scene.server.wait_for_no_session_of("mallory");
    assert_eq!(scene.uploads(), ["f0", "f1", "f2", "f3", "f4"]);
    let mut raw = scene.mallory();
    assert_eq!(reserved(&mut raw), (5 * LARGE, 5));
    let listed = raw.ask(|id| ClientToWorker::Uploads { id });
    let WorkerToClient::Uploads { uploads, last: true, .. } = listed else { panic!("{listed:?}") };
    for upload in uploads.iter().map(|upload| upload.upload) {
        let done = raw.ask(|id| ClientToWorker::AbortUpload { id, upload });
        assert!(matches!(done, WorkerToClient::Done { .. }), "{done:?}");
    }
    wait_until("what was reserved is given back", || reserved(&mut raw) == (0, 0));
    drop(raw);
    scene.server.assert_at_rest("mallory");
    scene.assert_unharmed();
}

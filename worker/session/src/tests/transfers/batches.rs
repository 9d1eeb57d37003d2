//! Small files that travel together: verified each by itself, answered in order, and bounded.

use berth_common::batch::{AT_ONCE, FILE_BYTES, GetResult, PutResult, SmallPut, StatResult};
use berth_common::broker_protocol::{CloseReason, Direction, WorkerToDaemon};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::note::NoteChange;

use super::client::path;
use super::fake_filer::{Home, usage};
use super::{Bench, ID, stored};

fn small(name: &str, content: &[u8]) -> SmallPut {
    SmallPut {
        path: path(name),
        content: content.to_vec(),
        md5: Md5::of(content),
        mtime_ns: 1,
        mode: 0o644,
        overwrite: false,
        note: NoteChange::Keep,
    }
}

#[tokio::test]
async fn a_file_that_was_damaged_on_its_way_is_not_stored_and_those_beside_it_are() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let mut files = vec![small("a", b"one"), small("b", b"two"), small("c", b""), small("a", b"x")];
    files[1].content[1] ^= 1;
    let put = client.ask(&ClientToWorker::PutFiles { id: ID, files }).await;
    let done = PutResult::Done { replaced: false };
    let damaged = PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 });
    let refused = PutResult::Failed(ErrorCode::AlreadyExists);
    let results = vec![done.clone(), damaged.clone(), done, refused];
    assert_eq!(put, WorkerToClient::FilesPut { id: ID, results, usage: Some(usage()) });
    assert!(stored(&home, "a") == b"one" && stored(&home, "c").is_empty());
    assert!(!home.lock().unwrap().file("b").exists());
    let mut files = vec![small("b", b"two")];
    files[0].content[1] ^= 1;
    let put = client.ask(&ClientToWorker::PutFiles { id: ID, files }).await;
    assert_eq!(put, WorkerToClient::FilesPut { id: ID, results: vec![damaged], usage: None });
    drop(client);
    let reports = ending.reports().await;
    let ended = |files, bytes, failed| {
        let direction = Direction::Put;
        WorkerToDaemon::BatchEnded { direction, files, bytes, failed }
    };
    for expected in [ended(2, 3, 2), ended(0, 0, 1)] {
        assert!(reports.contains(&expected), "{reports:?}");
    }
}

#[tokio::test]
async fn files_that_are_got_have_their_digests_and_rot_is_told() {
    let home = Home::new();
    for (name, content) in
        [("a", &b"content"[..]), ("rotten", b"other"), ("large", &[0; FILE_BYTES + 1])]
    {
        std::fs::write(home.lock().unwrap().file(name), content).unwrap();
    }
    home.lock().unwrap().digests.insert(path("rotten"), Md5::of(b"as it was stored"));
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let paths = ["a", "rotten", "large", "none"].map(path).to_vec();
    let got = client.ask(&ClientToWorker::GetFiles { id: ID, paths }).await;
    let WorkerToClient::FilesGot { id: ID, files } = got else { panic!("{got:?}") };
    assert!(
        matches!(&files[0], GetResult::File { content, md5, .. }
            if content == b"content" && *md5 == Md5::of(b"content")),
        "{files:?}"
    );
    assert_eq!(files[1], GetResult::Failed(ErrorCode::DigestMismatch));
    assert_eq!(files[2], GetResult::TooLarge);
    assert_eq!(files[3], GetResult::Failed(ErrorCode::NotFound));
    drop(client);
    let direction = Direction::Get;
    let ended = WorkerToDaemon::BatchEnded { direction, files: 1, bytes: 7, failed: 3 };
    let reports = ending.reports().await;
    assert!(reports.contains(&ended), "{reports:?}");
}

#[tokio::test]
async fn more_batches_than_are_carried_out_at_once_wait_and_are_all_answered() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let count = 4 * AT_ONCE as u32;
    for id in 0..count {
        let files = vec![small(&format!("f{id}"), &vec![id as u8; FILE_BYTES])];
        client.send(&ClientToWorker::PutFiles { id: RequestId(id), files }).await;
    }
    let mut answered = std::collections::HashSet::new();
    for _ in 0..count {
        match client.recv().await {
            WorkerToClient::FilesPut { id, results, .. } => {
                assert_eq!(results, [PutResult::Done { replaced: false }]);
                assert!(answered.insert(id));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_batch_ends_the_session() {
    for files in [vec![], vec![small("a", &vec![0; FILE_BYTES + 1])]] {
        let (mut client, ending) = Bench::start(&Home::new()).log_in().await;
        let answer = client.ask(&ClientToWorker::PutFiles { id: ID, files }).await;
        assert_eq!(answer, WorkerToClient::Refused { error: ErrorCode::Protocol });
        drop(client);
        let reason = CloseReason::Refused { error: ErrorCode::Protocol };
        assert_eq!(ending.reports().await.last(), Some(&WorkerToDaemon::Closing { reason }));
    }
}

#[tokio::test]
async fn what_stands_at_many_paths_is_answered_in_order() {
    let home = Home::new();
    std::fs::write(home.lock().unwrap().file("a"), b"content").unwrap();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let paths = ["none", "a"].map(path).to_vec();
    let told = client.ask(&ClientToWorker::StatFiles { id: ID, paths }).await;
    let WorkerToClient::FilesStated { id: ID, results } = told else { panic!("{told:?}") };
    assert_eq!(results[0], StatResult::Failed(ErrorCode::NotFound));
    assert!(matches!(&results[1], StatResult::Entry(entry) if entry.size == 7), "{results:?}");
    let told = client.ask(&ClientToWorker::StatFiles { id: ID, paths: vec![] }).await;
    assert_eq!(told, WorkerToClient::Refused { error: ErrorCode::Protocol });
}

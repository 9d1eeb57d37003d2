//! Puts of unknown size: room that is asked for, what happens when there is none, and how they end.

use std::fs;
use std::time::Instant;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest;
use berth_common::entry::{Existing, PutSource, SourceEnd};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LEASE_BYTES};
use berth_common::note::NoteChange;

use super::client::{Client, PATIENCE, content, path, source, tree_digest};
use super::fake_filer::Home;
use super::{Bench, ID, closed, failed, put_done, setup, stored};

const MIB: usize = 1 << 20;

fn end(file: &[u8], size: usize) -> ClientToWorker {
    let source = SourceEnd::Stream { size: size as u64 };
    ClientToWorker::PutEnd { id: ID, digest: tree_digest(file), source }
}

async fn begin(client: &mut Client) {
    let put = Put {
        id: ID,
        path: path("a"),
        source: PutSource::Stream,
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    };
    let ready = client.ask(&ClientToWorker::Put(put)).await;
    assert_eq!(
        ready,
        WorkerToClient::PutReady { id: ID, leaves: 0, started_over: false, based: false }
    );
}

async fn send_all(client: &mut Client, file: &[u8]) -> WorkerToClient {
    begin(client).await;
    client.send_blocks(1, file, 0, file.len()).await;
    client.ask(&end(file, file.len())).await
}

#[tokio::test]
async fn a_stream_of_any_size_arrives_byte_for_byte() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let mut replaced = false;
    for size in [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 40 * MIB + 3] {
        let file = content(size);
        assert_eq!(send_all(&mut client, &file).await, put_done(replaced), "{size}");
        assert!(stored(&home, "a") == file, "{size}");
        replaced = true;
    }
    let home = home.lock().unwrap();
    let lease = LEASE_BYTES;
    assert_eq!(home.extends, [lease, 2 * lease, 3 * lease][..home.extends.len()], "asked ahead");
    assert!(home.extends.len() >= 2);
}

#[tokio::test]
async fn a_stream_that_just_fits_is_stored_and_one_byte_more_leaves_nothing() {
    let home = Home::new();
    let size = LEASE_BYTES as usize + 5;
    home.lock().unwrap().room = size as u64;
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let file = content(size + 1);
    assert_eq!(send_all(&mut client, &file[..size]).await, put_done(false));
    begin(&mut client).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    assert_eq!(client.recv().await, failed(ErrorCode::DiskFull), "whatever the refusal says");
    closed(&home, &[false]).await;
    assert!(stored(&home, "a") == file[..size]);
    // Nothing was asked for again and again.
    assert!(home.lock().unwrap().extends.len() <= 4);
    let answer = send_all(&mut client, b"small").await;
    assert_eq!(answer, put_done(true), "the session goes on");
}

#[tokio::test]
async fn a_damaged_block_of_a_stream_is_asked_for_again() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let file = content(2 * BLOCK_SIZE + 7);
    begin(&mut client).await;
    client.send_blocks(1, &file, 0, 2 * BLOCK_SIZE).await;
    let mut bad = file[2 * BLOCK_SIZE..].to_vec();
    let leaves = digest::leaves(&bad);
    bad[3] ^= 1;
    client.send_block(1, 2 * BLOCK_SIZE, &bad, leaves).await;
    client.send(&end(&file, file.len())).await;
    let again = WorkerToClient::Again { id: ID, offset: 2 * BLOCK_SIZE as u64 };
    assert_eq!(client.recv().await, again);
    client.send_blocks(1, &file, 2 * BLOCK_SIZE, file.len()).await;
    assert_eq!(client.ask(&end(&file, file.len())).await, put_done(false));
    assert!(stored(&home, "a") == file);
}

#[tokio::test]
async fn an_end_that_contradicts_what_came_ends_the_session() {
    let file = content(BLOCK_SIZE + 5);
    let ends = [
        end(&file, file.len() - 1),
        end(&file, file.len() + 1),
        ClientToWorker::PutEnd { id: ID, digest: tree_digest(&file), source: source(&file).into() },
    ];
    for end in ends {
        let home = Home::new();
        let (mut client, _ending) = Bench::start(&home).log_in().await;
        begin(&mut client).await;
        client.send_blocks(1, &file, 0, file.len()).await;
        let refused = WorkerToClient::Refused { error: ErrorCode::Protocol };
        assert_eq!(client.ask(&end).await, refused, "{end:?}");
        assert!(!home.lock().unwrap().file("a").exists());
    }
}

#[tokio::test]
async fn another_digest_and_a_cancellation_drop_a_stream() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let file = content(BLOCK_SIZE);
    begin(&mut client).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let answer = client.ask(&end(b"another", file.len())).await;
    assert_eq!(answer, failed(ErrorCode::DigestMismatch));
    begin(&mut client).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let answer = client.ask(&ClientToWorker::Cancel { id: RequestId(1) }).await;
    assert_eq!(answer, failed(ErrorCode::Cancelled));
    closed(&home, &[false, true]).await;
    assert!(home.lock().unwrap().open.is_empty(), "nothing can be gone on with");
    assert!(fs::metadata(home.lock().unwrap().file("a")).is_err());
}

#[tokio::test]
async fn a_stream_ends_only_when_what_it_has_asked_for_is_answered() {
    // Cancelled, at its end, and with a block that waits for the answer.
    for (size, ends) in [(9 * MIB, false), (9 * MIB, true), (17 * MIB, false), (17 * MIB, true)] {
        let home = Home::new();
        home.lock().unwrap().holds_extends = true;
        let (mut client, _ending) = Bench::start(&home).log_in().await;
        let file = content(size);
        begin(&mut client).await;
        client.send_blocks(1, &file, 0, file.len()).await;
        let deadline = Instant::now() + PATIENCE;
        while home.lock().unwrap().extends.is_empty() {
            assert!(Instant::now() < deadline, "nothing was asked for ahead");
            tokio::task::yield_now().await;
        }
        client
            .send(&match ends {
                true => end(&file, file.len()),
                false => ClientToWorker::Cancel { id: ID },
            })
            .await;
        // Another put tells that all before it was heard, and that it was not answered.
        let other = Put {
            id: RequestId(2),
            path: path("b"),
            source: source(b"").into(),
            token: UploadToken([9; 16]),
            mode: 0o644,
            existing: Existing::Replace,
            base: None,
            note: NoteChange::Keep,
        };
        let ready = client.ask(&ClientToWorker::Put(other)).await;
        assert!(matches!(ready, WorkerToClient::PutReady { .. }), "{ready:?}");
        assert!(home.lock().unwrap().closed.is_empty());
        assert!(!home.lock().unwrap().file("a").exists());
        client.send(&ClientToWorker::Usage { id: RequestId(3) }).await;
        let mut answers = [client.recv().await, client.recv().await];
        answers.sort_by_key(|answer| matches!(answer, WorkerToClient::Usage { .. }));
        let expected = if ends { put_done(false) } else { failed(ErrorCode::Cancelled) };
        assert_eq!(answers[0], expected, "{size} {ends}");
    }
}

#[tokio::test]
async fn a_stream_that_pauses_is_not_given_up() {
    let home = Home::new();
    let mut setup = setup();
    setup.stall_seconds = 1;
    let (mut client, _ending) = Bench::start_with(&home, setup, None).log_in().await;
    begin(&mut client).await;
    let file = content(2 * BLOCK_SIZE);
    client.send_blocks(1, &file, 0, BLOCK_SIZE).await;
    // A put of a file beside it says when that long has passed for both.
    let other = Put {
        id: RequestId(2),
        path: path("b"),
        source: source(&file).into(),
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    };
    let ready = client.ask(&ClientToWorker::Put(other)).await;
    assert!(matches!(ready, WorkerToClient::PutReady { .. }), "{ready:?}");
    let stalled =
        WorkerToClient::Failed { id: RequestId(2), error: ErrorCode::Stalled { seconds: 1 } };
    assert_eq!(client.recv().await, stalled);
    client.send_blocks(1, &file, BLOCK_SIZE, file.len()).await;
    assert_eq!(client.ask(&end(&file, file.len())).await, put_done(false));
    assert!(stored(&home, "a") == file);
}

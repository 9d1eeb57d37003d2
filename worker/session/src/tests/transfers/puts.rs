//! Puts: resumption, repair, stalls, shutdowns, and what makes them fail.

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::journal::{BootId, Journal};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE, LEAVES_PER_MESSAGE};
use berth_common::note::NoteChange;

use super::client::{content, path, put, put_end, source, tree_digest};
use super::fake_filer::Home;
use super::{Bench, ID, closed, failed, put_done, setup, stored};

#[tokio::test]
async fn a_corrupted_block_is_asked_for_again_and_repaired() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let file = content(4 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, BLOCK_SIZE).await;
    let mut bad = file[BLOCK_SIZE..2 * BLOCK_SIZE].to_vec();
    let leaves = digest::leaves(&bad);
    bad[777_777] ^= 1;
    client.send_block(1, BLOCK_SIZE, &bad, leaves).await;
    // These were on their way, and are ignored; so is the end.
    client.send_blocks(1, &file, 2 * BLOCK_SIZE, file.len()).await;
    client.send(&put_end(1, &file)).await;
    let again = WorkerToClient::Again { id: ID, offset: BLOCK_SIZE as u64 };
    assert_eq!(client.recv().await, again);
    client.send_blocks(1, &file, BLOCK_SIZE, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
    assert!(stored(&home, "a") == file);
    drop(client);
    let reports = ending.reports().await;
    let ended =
        WorkerToDaemon::TransferEnded { id: ID, resumed_leaves: 0, moved_leaves: 56, error: None };
    assert!(reports.contains(&ended), "{reports:?}");
}

#[tokio::test]
async fn a_block_that_is_bad_twice_ends_the_put_resumably() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let file = content(3 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, BLOCK_SIZE).await;
    let wrong = digest::leaves(&vec![0; BLOCK_SIZE]);
    for _ in 0..2 {
        let data = &file[BLOCK_SIZE..2 * BLOCK_SIZE];
        client.send_block(1, BLOCK_SIZE, data, wrong.clone()).await;
    }
    assert!(matches!(client.recv().await, WorkerToClient::Again { .. }));
    let error = ErrorCode::IntegrityMismatch { offset: BLOCK_SIZE as u64 };
    assert_eq!(client.recv().await, failed(error));
    closed(&home, &[true]).await;
    assert_eq!(client.put(1, "a", &file).await, put_done(false));
    assert!(stored(&home, "a") == file);
}

#[tokio::test]
async fn a_put_goes_on_where_it_was_cut() {
    let home = Home::new();
    let file = content(5 * BLOCK_SIZE + 7);
    let (mut client, ending) = Bench::start(&home).log_in().await;
    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, 2 * BLOCK_SIZE).await;
    drop(client);
    let reports = ending.reports().await;
    let left = WorkerToDaemon::Closing { reason: CloseReason::ClientLeft };
    assert_eq!(reports.last(), Some(&left));

    let (mut client, ending) = Bench::start(&home).log_in().await;
    let leaves = client.begin_put(1, "a", &file).await;
    // What was read from the network and not yet stored is bounded by four blocks.
    assert!(leaves <= 16 && leaves.is_multiple_of(8), "{leaves}");
    client.send_blocks(1, &file, leaves * LEAF_SIZE, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
    assert!(stored(&home, "a") == file);
    drop(client);
    let moved = 41 - leaves as u64;
    let ended = WorkerToDaemon::TransferEnded {
        id: ID,
        resumed_leaves: leaves as u64,
        moved_leaves: moved,
        error: None,
    };
    assert!(ending.reports().await.contains(&ended));
}

#[tokio::test]
async fn a_cancelled_put_keeps_all_that_was_verified() {
    let home = Home::new();
    let file = content(4 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, 3 * BLOCK_SIZE).await;
    // A wrong block makes the server say how far it is.
    let wrong = digest::leaves(&vec![0; BLOCK_SIZE]);
    client.send_block(1, 3 * BLOCK_SIZE, &file[..BLOCK_SIZE], wrong).await;
    assert!(matches!(client.recv().await, WorkerToClient::Again { .. }));
    let answer = client.ask(&ClientToWorker::Cancel { id: ID }).await;
    assert_eq!(answer, failed(ErrorCode::Cancelled));
    assert_eq!(client.begin_put(1, "a", &file).await, 24);
    client.send_blocks(1, &file, 3 * BLOCK_SIZE, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
}

#[tokio::test]
async fn a_changed_source_and_another_digest_drop_the_upload() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;

    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let changed = SourceFingerprint { mtime_ns: 99, ..source(&file) }.into();
    let (id, digest) = (ID, tree_digest(&file));
    let answer = client.ask(&ClientToWorker::PutEnd { id, digest, source: changed }).await;
    assert_eq!(answer, failed(ErrorCode::SourceChanged));

    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let (digest, source) = (Md5::of(b"another"), source(&file).into());
    let answer = client.ask(&ClientToWorker::PutEnd { id, digest, source }).await;
    assert_eq!(answer, failed(ErrorCode::DigestMismatch));
    closed(&home, &[false, false]).await;
}

#[tokio::test]
async fn blocks_beyond_the_file_and_an_early_end_break_the_protocol() {
    let file = content(2 * BLOCK_SIZE);
    for early_end in [true, false] {
        let home = Home::new();
        let (mut client, ending) = Bench::start(&home).log_in().await;
        client.begin_put(1, "a", &file).await;
        client.send_blocks(1, &file, 0, BLOCK_SIZE).await;
        if early_end {
            client.send(&put_end(1, &file)).await;
        } else {
            let more = content(BLOCK_SIZE);
            client.send_block(1, 2 * BLOCK_SIZE, &more, digest::leaves(&more)).await;
        }
        assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::Protocol });
        drop(client);
        ending.reports().await;
        closed(&home, &[true]).await;
    }
}

#[tokio::test]
async fn parallel_transfers_share_the_connection_up_to_the_limit() {
    let home = Home::new();
    let file = content(3 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    for id in 1..=4 {
        client.begin_put(id, &format!("f{id}"), &file).await;
    }
    let answer = client.ask(&put(5, "f5", &file)).await;
    let error = ErrorCode::TooManyTransfers { limit: 4 };
    assert_eq!(answer, WorkerToClient::Failed { id: RequestId(5), error });
    for n in 0..3 {
        for id in 1..=4 {
            client.send_blocks(id, &file, n * BLOCK_SIZE, (n + 1) * BLOCK_SIZE).await;
        }
    }
    for id in 1..=4 {
        client.send(&put_end(id, &file)).await;
    }
    for _ in 1..=4 {
        assert!(matches!(client.recv().await, WorkerToClient::PutDone { .. }));
    }
    for id in 1..=4 {
        assert!(stored(&home, &format!("f{id}")) == file);
    }
}

#[tokio::test]
async fn the_leaves_of_a_large_upload_are_told_in_parts() {
    let home = Home::new();
    let count = LEAVES_PER_MESSAGE as u64 + 9;
    let source = SourceFingerprint { size: (count + 5) * LEAF_SIZE as u64, ..source(&[]) };
    let zeros = Md5::of(&vec![0; LEAF_SIZE]);
    {
        let mut home = home.lock().unwrap();
        let (data, journal) = (home.file("data"), home.file("journal"));
        let file = std::fs::File::create(&data).unwrap();
        file.set_len(count * LEAF_SIZE as u64).unwrap();
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let boot = BootId::from_bytes(setup().boot_id);
        let file = options.open(&journal).unwrap();
        let mut earlier = Journal::create(file, source.journal_key(), boot).unwrap();
        earlier.append(&vec![zeros; count as usize]).unwrap();
        home.open.insert(path("a"), (data, journal, source));
    }
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let put = Put {
        id: ID,
        path: path("a"),
        source: source.into(),
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    };
    let ready = client.ask(&ClientToWorker::Put(put)).await;
    assert!(matches!(ready, WorkerToClient::PutReady { leaves, .. } if leaves == count));
    for expected in [LEAVES_PER_MESSAGE, 9] {
        let told = client.recv().await;
        let leaves = vec![zeros; expected];
        assert_eq!(told, WorkerToClient::JournalLeaves { id: ID, leaves });
    }
    let answer = client.ask(&ClientToWorker::Cancel { id: ID }).await;
    assert_eq!(answer, failed(ErrorCode::Cancelled));
    closed(&home, &[true]).await;
}

#[tokio::test]
async fn a_stalled_put_ends_resumably_and_the_session_goes_on() {
    let home = Home::new();
    let mut setup = setup();
    setup.stall_seconds = 1;
    let (mut client, _ending) = Bench::start_with(&home, setup, None).log_in().await;
    let file = content(2 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, BLOCK_SIZE).await;
    assert_eq!(client.recv().await, failed(ErrorCode::Stalled { seconds: 1 }));
    assert_eq!(client.begin_put(1, "a", &file).await, 8);
}

#[tokio::test]
async fn a_shutdown_lets_a_running_put_end_and_refuses_new_ones() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let file = content(2 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    ending.daemon.order(&DaemonToWorker::Shutdown { grace_seconds: 100 });
    // The order has no answer: ask until it has taken effect.
    let error = ErrorCode::ShuttingDown;
    let refused = WorkerToClient::Failed { id: RequestId(2), error };
    while client.ask(&ClientToWorker::Usage { id: RequestId(2) }).await != refused {}
    client.send_blocks(1, &file, 0, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
    let refused = WorkerToClient::Refused { error: ErrorCode::ShuttingDown };
    assert_eq!(client.recv().await, refused);
    drop(client);
    let told = WorkerToDaemon::Closing { reason: CloseReason::Told };
    assert_eq!(ending.reports().await.last(), Some(&told));
}

#[tokio::test]
async fn a_grace_time_that_is_over_ends_a_put_resumably() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let file = content(2 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    ending.daemon.order(&DaemonToWorker::Shutdown { grace_seconds: 0 });
    let refused = WorkerToClient::Refused { error: ErrorCode::ShuttingDown };
    assert_eq!(client.recv().await, refused);
    drop(client);
    ending.reports().await;
    closed(&home, &[true]).await;
}

//! Transfers end to end: puts and gets of all sizes, resumption, repair, and what makes them fail.

use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::client_protocol::{ClientToWorker, GetResume, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::{HomeFingerprint, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{self, BlockHeader, FrameKind};
use berth_common::ids::RequestId;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

use super::client::{Client, PATIENCE, content, path, put, put_end, source, tree_digest};
use super::fake_filer::{Home, usage};
use super::{Bench, setup};

const ID: RequestId = RequestId(1);

fn put_done(replaced: bool) -> WorkerToClient {
    WorkerToClient::PutDone {
        id: ID,
        replaced,
        usage: usage(),
    }
}

fn failed(error: ErrorCode) -> WorkerToClient {
    WorkerToClient::Failed { id: ID, error }
}

fn stored(home: &Arc<Mutex<Home>>, name: &str) -> Vec<u8> {
    std::fs::read(home.lock().unwrap().file(name)).unwrap()
}

fn store(home: &Arc<Mutex<Home>>, name: &str, file: &[u8]) {
    std::fs::write(home.lock().unwrap().file(name), file).unwrap();
}

/// Waits until the filer has heard of these uploads' ends: whether each was kept.
async fn closed(home: &Arc<Mutex<Home>>, kept: &[bool]) {
    let deadline = Instant::now() + PATIENCE;
    while home.lock().unwrap().closed != kept {
        assert!(
            Instant::now() < deadline,
            "{:?} is not {kept:?}",
            home.lock().unwrap().closed
        );
        tokio::task::yield_now().await;
    }
}

/// What a get sends after `GetReady`, until its end.
struct Got {
    data: Vec<u8>,
    end: Md5,
}

async fn begin_get(client: &mut Client, resume: Option<GetResume>) -> (HomeFingerprint, u64) {
    let answer = client
        .ask(&ClientToWorker::Get {
            id: ID,
            path: path("a"),
            resume,
        })
        .await;
    let WorkerToClient::GetReady {
        fingerprint,
        leaves,
        ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    (fingerprint, leaves)
}

/// Takes blocks from `offset` on, ignoring others before the first that begins there.
async fn blocks_from(client: &mut Client, offset: usize) -> Got {
    let mut data = Vec::new();
    loop {
        let (kind, body) = client.frame().await.unwrap();
        match kind {
            FrameKind::Block => {
                let (header, at) = BlockHeader::decode(&body).unwrap();
                assert_eq!(header.leaves, digest::leaves(&body[at..]));
                if header.offset == (offset + data.len()) as u64 {
                    data.extend_from_slice(&body[at..]);
                }
            }
            FrameKind::Message => match frame::decode_message(&body).unwrap() {
                WorkerToClient::GetEnd { digest, .. } => return Got { data, end: digest },
                other => panic!("{other:?}"),
            },
        }
    }
}

#[tokio::test]
async fn files_of_every_size_come_back_as_they_went() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let sizes = [
        0,
        1,
        LEAF_SIZE - 1,
        LEAF_SIZE,
        LEAF_SIZE + 1,
        BLOCK_SIZE - 1,
        BLOCK_SIZE,
        BLOCK_SIZE + 1,
        5 * BLOCK_SIZE + 12_345,
    ];
    for (n, size) in sizes.into_iter().enumerate() {
        let file = content(size);
        assert_eq!(client.put(1, "a", &file).await, put_done(n > 0), "{size}");
        assert_eq!(stored(&home, "a"), file, "{size}");

        let (_, leaves) = begin_get(&mut client, None).await;
        assert_eq!(leaves, 0);
        let got = blocks_from(&mut client, 0).await;
        assert!(got.data == file && got.end == tree_digest(&file), "{size}");
        client.send(&ClientToWorker::GetDone { id: ID }).await;
    }
    // The last word of a get has no answer; a request behind it has.
    client
        .ask(&ClientToWorker::Usage { id: RequestId(2) })
        .await;
    drop(client);
    let reports = ending.reports().await;
    let count = |wanted: fn(&WorkerToDaemon) -> bool| reports.iter().filter(|r| wanted(r)).count();
    let started = count(|report| matches!(report, WorkerToDaemon::TransferStarted { .. }));
    let succeeded =
        count(|report| matches!(report, WorkerToDaemon::TransferEnded { error: None, .. }));
    assert_eq!((started, succeeded), (2 * sizes.len(), 2 * sizes.len()));
}

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
    client
        .send_blocks(1, &file, 2 * BLOCK_SIZE, file.len())
        .await;
    client.send(&put_end(1, &file)).await;
    let again = WorkerToClient::Again {
        id: ID,
        offset: BLOCK_SIZE as u64,
    };
    assert_eq!(client.recv().await, again);
    client.send_blocks(1, &file, BLOCK_SIZE, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
    assert!(stored(&home, "a") == file);
    drop(client);
    let reports = ending.reports().await;
    let ended = WorkerToDaemon::TransferEnded {
        id: ID,
        resumed_leaves: 0,
        moved_leaves: 56,
        error: None,
    };
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
    let error = ErrorCode::IntegrityMismatch {
        offset: BLOCK_SIZE as u64,
    };
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
    let left = WorkerToDaemon::Closing {
        reason: CloseReason::ClientLeft,
    };
    assert_eq!(reports.last(), Some(&left));

    let (mut client, ending) = Bench::start(&home).log_in().await;
    let leaves = client.begin_put(1, "a", &file).await;
    // What was read from the network and not yet stored is bounded by four blocks.
    assert!(leaves <= 16 && leaves.is_multiple_of(8), "{leaves}");
    client
        .send_blocks(1, &file, leaves * LEAF_SIZE, file.len())
        .await;
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
    client
        .send_block(1, 3 * BLOCK_SIZE, &file[..BLOCK_SIZE], wrong)
        .await;
    assert!(matches!(client.recv().await, WorkerToClient::Again { .. }));
    let answer = client.ask(&ClientToWorker::Cancel { id: ID }).await;
    assert_eq!(answer, failed(ErrorCode::Cancelled));
    assert_eq!(client.begin_put(1, "a", &file).await, 24);
    client
        .send_blocks(1, &file, 3 * BLOCK_SIZE, file.len())
        .await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
}

#[tokio::test]
async fn a_changed_source_and_another_digest_drop_the_upload() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;

    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let changed = SourceFingerprint {
        mtime_ns: 99,
        ..source(&file)
    };
    let (id, digest) = (ID, tree_digest(&file));
    let answer = client
        .ask(&ClientToWorker::PutEnd {
            id,
            digest,
            source: changed,
        })
        .await;
    assert_eq!(answer, failed(ErrorCode::SourceChanged));

    client.begin_put(1, "a", &file).await;
    client.send_blocks(1, &file, 0, file.len()).await;
    let (digest, source) = (Md5::of(b"another"), source(&file));
    let answer = client
        .ask(&ClientToWorker::PutEnd { id, digest, source })
        .await;
    assert_eq!(answer, failed(ErrorCode::IntegrityMismatch { offset: 0 }));
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
            client
                .send_block(1, 2 * BLOCK_SIZE, &more, digest::leaves(&more))
                .await;
        }
        assert_eq!(
            client.recv().await,
            WorkerToClient::Refused {
                error: ErrorCode::Protocol
            }
        );
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
    assert_eq!(
        answer,
        WorkerToClient::Failed {
            id: RequestId(5),
            error
        }
    );
    for n in 0..3 {
        for id in 1..=4 {
            client
                .send_blocks(id, &file, n * BLOCK_SIZE, (n + 1) * BLOCK_SIZE)
                .await;
        }
    }
    for id in 1..=4 {
        client.send(&put_end(id, &file)).await;
    }
    for _ in 1..=4 {
        assert!(matches!(
            client.recv().await,
            WorkerToClient::PutDone { .. }
        ));
    }
    for id in 1..=4 {
        assert!(stored(&home, &format!("f{id}")) == file);
    }
}

#[tokio::test]
async fn a_get_goes_on_with_the_leaves_that_the_client_has() {
    let home = Home::new();
    let file = content(3 * BLOCK_SIZE + 5);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let (fingerprint, _) = begin_get(&mut client, None).await;
    assert_eq!(
        client
            .ask_ignoring_blocks(&ClientToWorker::Cancel { id: ID })
            .await,
        failed(ErrorCode::Cancelled)
    );

    let has = 11;
    let resume = Some(GetResume {
        fingerprint,
        leaves: has,
    });
    assert_eq!(begin_get(&mut client, resume).await.1, has);
    let leaves = digest::leaves(&file)[..has as usize].to_vec();
    client
        .send(&ClientToWorker::JournalLeaves { id: ID, leaves })
        .await;
    let from = has as usize * LEAF_SIZE;
    let got = blocks_from(&mut client, from).await;
    assert!(got.data == file[from..] && got.end == tree_digest(&file));
    client.send(&ClientToWorker::GetDone { id: ID }).await;

    let other = HomeFingerprint {
        size: 1,
        ..fingerprint
    };
    let resume = Some(GetResume {
        fingerprint: other,
        leaves: has,
    });
    assert_eq!(
        begin_get(&mut client, resume).await.1,
        0,
        "another file starts over"
    );
    let too_many = Some(GetResume {
        fingerprint,
        leaves: 1 << 40,
    });
    client
        .ask_ignoring_blocks(&ClientToWorker::Cancel { id: ID })
        .await;
    assert_eq!(begin_get(&mut client, too_many).await.1, 0);
}

#[tokio::test]
async fn a_get_goes_back_to_a_block_that_arrived_damaged() {
    let home = Home::new();
    let file = content(4 * BLOCK_SIZE + 5);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    begin_get(&mut client, None).await;
    let first = blocks_from(&mut client, 0).await;
    let offset = BLOCK_SIZE as u64;
    client.send(&ClientToWorker::Again { id: ID, offset }).await;
    let second = blocks_from(&mut client, BLOCK_SIZE).await;
    assert!(second.data == file[BLOCK_SIZE..] && second.end == first.end);
    client.send(&ClientToWorker::GetDone { id: ID }).await;
    let usage = client.ask(&ClientToWorker::Usage { id: ID }).await;
    assert!(
        matches!(usage, WorkerToClient::Usage { .. }),
        "the id is free again"
    );
}

#[tokio::test]
async fn rot_on_disk_is_told_from_a_good_file() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    client.put(1, "a", &file).await;
    let on_disk = std::fs::OpenOptions::new()
        .write(true)
        .open(home.lock().unwrap().file("a"))
        .unwrap();
    on_disk.write_all_at(&[file[99] ^ 1], 99).unwrap();
    begin_get(&mut client, None).await;
    loop {
        let (kind, body) = client.frame().await.unwrap();
        if kind == FrameKind::Message {
            let message: WorkerToClient = frame::decode_message(&body).unwrap();
            assert_eq!(message, failed(ErrorCode::IntegrityMismatch { offset: 0 }));
            break;
        }
    }
}

#[tokio::test]
async fn the_plain_md5_is_computed_and_kept() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE + 3);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let answer = client
        .ask(&ClientToWorker::Md5 {
            id: ID,
            path: path("a"),
        })
        .await;
    let (md5, size) = (Md5::of(&file), file.len() as u64);
    assert_eq!(answer, WorkerToClient::Md5 { id: ID, md5, size });
    let missing = client
        .ask(&ClientToWorker::Md5 {
            id: ID,
            path: path("b"),
        })
        .await;
    assert_eq!(missing, failed(ErrorCode::NotFound));
    assert_eq!(home.lock().unwrap().md5s, [md5]);
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
    assert_eq!(
        client.recv().await,
        failed(ErrorCode::Stalled { seconds: 1 })
    );
    assert_eq!(client.begin_put(1, "a", &file).await, 8);
}

#[tokio::test]
async fn a_shutdown_lets_a_running_put_end_and_refuses_new_ones() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let file = content(2 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    ending
        .daemon
        .order(&DaemonToWorker::Shutdown { grace_seconds: 100 });
    // The order has no answer: ask until it has taken effect.
    let error = ErrorCode::ShuttingDown;
    let refused = WorkerToClient::Failed {
        id: RequestId(2),
        error,
    };
    while client
        .ask(&ClientToWorker::Usage { id: RequestId(2) })
        .await
        != refused
    {}
    client.send_blocks(1, &file, 0, file.len()).await;
    assert_eq!(client.ask(&put_end(1, &file)).await, put_done(false));
    let refused = WorkerToClient::Refused {
        error: ErrorCode::ShuttingDown,
    };
    assert_eq!(client.recv().await, refused);
    drop(client);
    let told = WorkerToDaemon::Closing {
        reason: CloseReason::Told,
    };
    assert_eq!(ending.reports().await.last(), Some(&told));
}

#[tokio::test]
async fn a_grace_time_that_is_over_ends_a_put_resumably() {
    let home = Home::new();
    let (mut client, ending) = Bench::start(&home).log_in().await;
    let file = content(2 * BLOCK_SIZE);
    client.begin_put(1, "a", &file).await;
    ending
        .daemon
        .order(&DaemonToWorker::Shutdown { grace_seconds: 0 });
    let refused = WorkerToClient::Refused {
        error: ErrorCode::ShuttingDown,
    };
    assert_eq!(client.recv().await, refused);
    drop(client);
    ending.reports().await;
    closed(&home, &[true]).await;
}

impl Client {
    /// Asks, and ignores blocks that come before the answer.
    async fn ask_ignoring_blocks(&mut self, message: &ClientToWorker) -> WorkerToClient {
        self.send(message).await;
        loop {
            let (kind, body) = self.frame().await.unwrap();
            if kind == FrameKind::Message
                && let message = frame::decode_message(&body).unwrap()
                && !matches!(message, WorkerToClient::GetEnd { .. })
            {
                return message;
            }
        }
    }
}

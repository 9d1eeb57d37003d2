//! Puts and gets of all sizes; gets: resumption, repair, and what makes them fail.

use std::os::unix::fs::FileExt as _;

use berth_common::broker_protocol::WorkerToDaemon;
use berth_common::client_protocol::{ClientToWorker, GetResume, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::HomeFingerprint;
use berth_common::error_code::ErrorCode;
use berth_common::frame::{self, BlockHeader, FrameKind};
use berth_common::ids::RequestId;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

use super::client::{Client, content, path, tree_digest};
use super::fake_filer::Home;
use super::{Bench, ID, failed, put_done, store, stored};

/// What a get sends after `GetReady`, until its end.
struct Got {
    data: Vec<u8>,
    end: Md5,
}

async fn begin_get(client: &mut Client, resume: Option<GetResume>) -> (HomeFingerprint, u64) {
    let answer = client.ask(&ClientToWorker::Get { id: ID, path: path("a"), resume }).await;
    let WorkerToClient::GetReady { fingerprint, leaves, .. } = answer else { panic!("{answer:?}") };
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
    client.ask(&ClientToWorker::Usage { id: RequestId(2) }).await;
    drop(client);
    let reports = ending.reports().await;
    let count = |wanted: fn(&WorkerToDaemon) -> bool| reports.iter().filter(|r| wanted(r)).count();
    let started = count(|report| matches!(report, WorkerToDaemon::TransferStarted { .. }));
    let succeeded =
        count(|report| matches!(report, WorkerToDaemon::TransferEnded { error: None, .. }));
    assert_eq!((started, succeeded), (2 * sizes.len(), 2 * sizes.len()));
}

#[tokio::test]
async fn a_get_goes_on_with_the_leaves_that_the_client_has() {
    let home = Home::new();
    let file = content(3 * BLOCK_SIZE + 5);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let (fingerprint, _) = begin_get(&mut client, None).await;
    assert_eq!(
        client.ask_ignoring_blocks(&ClientToWorker::Cancel { id: ID }).await,
        failed(ErrorCode::Cancelled)
    );

    let has = 11;
    let resume = Some(GetResume { fingerprint, leaves: has });
    assert_eq!(begin_get(&mut client, resume).await.1, has);
    let leaves = digest::leaves(&file)[..has as usize].to_vec();
    client.send(&ClientToWorker::JournalLeaves { id: ID, leaves }).await;
    let from = has as usize * LEAF_SIZE;
    let got = blocks_from(&mut client, from).await;
    assert!(got.data == file[from..] && got.end == tree_digest(&file));
    client.send(&ClientToWorker::GetDone { id: ID }).await;

    let other = HomeFingerprint { size: 1, ..fingerprint };
    let resume = Some(GetResume { fingerprint: other, leaves: has });
    assert_eq!(begin_get(&mut client, resume).await.1, 0, "another file starts over");
    let too_many = Some(GetResume { fingerprint, leaves: 1 << 40 });
    client.ask_ignoring_blocks(&ClientToWorker::Cancel { id: ID }).await;
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
    assert!(matches!(usage, WorkerToClient::Usage { .. }), "the id is free again");
}

#[tokio::test]
async fn a_client_that_asks_for_a_block_over_and_over_is_given_up() {
    let home = Home::new();
    let file = content(3 * BLOCK_SIZE);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    begin_get(&mut client, None).await;
    blocks_from(&mut client, 0).await;
    let offset = BLOCK_SIZE as u64;
    let again = ClientToWorker::Again { id: ID, offset };
    client.send(&again).await;
    blocks_from(&mut client, BLOCK_SIZE).await;
    let answer = client.ask_ignoring_blocks(&again).await;
    assert_eq!(answer, failed(ErrorCode::IntegrityMismatch { offset }));
    begin_get(&mut client, None).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_cannot_begin_transfers_without_end() {
    let home = Home::new();
    store(&home, "a", &content(24 * BLOCK_SIZE));
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    // Its blocks fill all that lies between the worker and this client.
    begin_get(&mut client, None).await;
    let asked = || home.lock().unwrap().asked_for_reading;
    for id in 2..5_000 {
        let before = asked();
        let (id, path, resume) = (RequestId(id), path("missing"), None);
        client.send(&ClientToWorker::Get { id, path, resume }).await;
        let heard_of = async {
            while asked() == before {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_millis(500);
        if tokio::time::timeout(patience, heard_of).await.is_err() {
            return;
        }
    }
    panic!("each of them was begun and has failed, though not one failure could be told");
}

#[tokio::test]
async fn rot_on_disk_is_told_from_a_good_file() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    client.put(1, "a", &file).await;
    let on_disk =
        std::fs::OpenOptions::new().write(true).open(home.lock().unwrap().file("a")).unwrap();
    on_disk.write_all_at(&[file[99] ^ 1], 99).unwrap();
    begin_get(&mut client, None).await;
    loop {
        let (kind, body) = client.frame().await.unwrap();
        if kind == FrameKind::Message {
            let message: WorkerToClient = frame::decode_message(&body).unwrap();
            assert_eq!(message, failed(ErrorCode::DigestMismatch));
            break;
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_under_a_get_is_told_as_changed() {
    for shorter in [false, true] {
        let home = Home::new();
        store(&home, "a", &content(24 * BLOCK_SIZE));
        let (mut client, _ending) = Bench::start(&home).log_in().await;
        // More than fits between here and the last block, which is not read before this.
        begin_get(&mut client, None).await;
        let on_disk =
            std::fs::OpenOptions::new().write(true).open(home.lock().unwrap().file("a")).unwrap();
        if shorter {
            on_disk.set_len(23 * BLOCK_SIZE as u64).unwrap();
        } else {
            on_disk.write_all_at(b"x", 5).unwrap();
        }
        loop {
            let (kind, body) = client.frame().await.unwrap();
            if kind == FrameKind::Message {
                let message: WorkerToClient = frame::decode_message(&body).unwrap();
                assert_eq!(message, failed(ErrorCode::SourceChanged));
                break;
            }
        }
    }
}

#[tokio::test]
async fn the_plain_md5_is_computed_and_kept() {
    let home = Home::new();
    let file = content(2 * BLOCK_SIZE + 3);
    store(&home, "a", &file);
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let answer = client.ask(&ClientToWorker::Md5 { id: ID, path: path("a") }).await;
    let (md5, size) = (Md5::of(&file), file.len() as u64);
    assert_eq!(answer, WorkerToClient::Md5 { id: ID, md5, size });
    let missing = client.ask(&ClientToWorker::Md5 { id: ID, path: path("b") }).await;
    assert_eq!(missing, failed(ErrorCode::NotFound));
    assert_eq!(home.lock().unwrap().md5s, [md5]);
    // Of a file that changed in between it would be the MD5 of nothing that ever was.
    home.lock().unwrap().changes_while_hashed = true;
    let answer = client.ask(&ClientToWorker::Md5 { id: ID, path: path("a") }).await;
    assert_eq!(answer, failed(ErrorCode::SourceChanged));
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

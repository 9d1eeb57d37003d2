//! Puts over a file that has some of the leaves already: what is named is read from it, and never taken on trust.

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::entry::{Existing, HomeFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::note::NoteChange;

use super::super::Bench;
use super::super::client::{Client, content, path, put_end, source};
use super::super::fake_filer::Home;
use super::{ID, put_done, stored};

impl Client {
    /// The leaves of a file, and which file that is.
    async fn leaves_from(&mut self, at: &str, from: u64, most: u64) -> (HomeFingerprint, Vec<Md5>) {
        self.send(&ClientToWorker::Leaves { id: ID, path: path(at), from, most }).await;
        let mut all = Vec::new();
        loop {
            match self.recv().await {
                WorkerToClient::Leaves { fingerprint, leaves, last, .. } => {
                    all.extend(leaves);
                    if last {
                        return (fingerprint, all);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn leaves(&mut self, at: &str) -> (HomeFingerprint, Vec<Md5>) {
        self.leaves_from(at, 0, u64::MAX).await
    }

    /// Begins a put over what stands there; says whether leaves of it may be named.
    async fn begin_over(&mut self, at: &str, file: &[u8], base: HomeFingerprint) -> bool {
        let put = Put {
            id: ID,
            path: path(at),
            source: source(file).into(),
            token: UploadToken([9; 16]),
            mode: 0o644,
            existing: Existing::Replace,
            base: Some(base),
            note: NoteChange::Keep,
        };
        match self.ask(&ClientToWorker::Put(put)).await {
            WorkerToClient::PutReady { leaves: 0, based, .. } => based,
            other => panic!("{other:?}"),
        }
    }

    /// Names the leaves of a part of `file` in place of sending it.
    async fn name(&mut self, file: &[u8], from: usize, to: usize) {
        let leaves = digest::leaves(&file[from..to]);
        self.send_block(ID.0, from, &[], leaves).await;
    }
}

fn changed(old: &[u8], at: usize) -> Vec<u8> {
    let mut new = old.to_vec();
    new[at] ^= 1;
    new
}

#[tokio::test]
async fn named_leaves_come_from_the_file_that_stands_there() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let old = content(3 * BLOCK_SIZE + 5);
    assert_eq!(client.put(1, "a", &old).await, put_done(false));
    let (base, leaves) = client.leaves("a").await;
    assert_eq!(leaves, digest::leaves(&old));

    let new = changed(&old, BLOCK_SIZE + 7);
    assert!(client.begin_over("a", &new, base).await);
    client.name(&new, 0, BLOCK_SIZE).await;
    let (from, to) = (BLOCK_SIZE, BLOCK_SIZE + LEAF_SIZE);
    client.send_block(1, from, &new[from..to], digest::leaves(&new[from..to])).await;
    client.name(&new, to, to + BLOCK_SIZE).await;
    client.name(&new, to + BLOCK_SIZE, new.len()).await;
    assert_eq!(client.ask(&put_end(1, &new)).await, put_done(true));
    assert_eq!(stored(&home, "a"), new);
}

#[tokio::test]
async fn a_leaf_that_is_not_what_it_is_named_is_asked_for() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let old = content(2 * BLOCK_SIZE);
    client.put(1, "a", &old).await;
    let (base, _) = client.leaves("a").await;
    let new = changed(&old, BLOCK_SIZE);
    assert!(client.begin_over("a", &new, base).await);
    client.name(&new, 0, BLOCK_SIZE).await;
    client.name(&new, BLOCK_SIZE, new.len()).await;
    let again = WorkerToClient::Again { id: ID, offset: BLOCK_SIZE as u64 };
    assert_eq!(client.recv().await, again);
    client.send_blocks(1, &new, BLOCK_SIZE, new.len()).await;
    assert_eq!(client.ask(&put_end(1, &new)).await, put_done(true));
    assert_eq!(stored(&home, "a"), new);
}

#[tokio::test]
async fn what_lies_beyond_the_file_that_stands_there_is_asked_for() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let new = content(3 * BLOCK_SIZE);
    client.put(1, "a", &new[..2 * BLOCK_SIZE]).await;
    let (base, _) = client.leaves("a").await;
    assert!(client.begin_over("a", &new, base).await);
    client.name(&new, 0, BLOCK_SIZE).await;
    client.name(&new, BLOCK_SIZE, 2 * BLOCK_SIZE).await;
    client.name(&new, 2 * BLOCK_SIZE, new.len()).await;
    let again = WorkerToClient::Again { id: ID, offset: 2 * BLOCK_SIZE as u64 };
    assert_eq!(client.recv().await, again);
    client.send_blocks(1, &new, 2 * BLOCK_SIZE, new.len()).await;
    assert_eq!(client.ask(&put_end(1, &new)).await, put_done(true));
    assert_eq!(stored(&home, "a"), new);
}

#[tokio::test]
async fn without_the_file_that_was_meant_nothing_may_be_named() {
    let home = Home::new();
    let (mut client, _ending) = Bench::start(&home).log_in().await;
    let old = content(2 * BLOCK_SIZE);
    client.put(1, "a", &old).await;
    let (base, _) = client.leaves("a").await;
    let other = HomeFingerprint { inode: base.inode + 1, digest: None, ..base };
    for (at, base) in [("a", other), ("b", base)] {
        assert!(!client.begin_over(at, &old, base).await, "{at}");
        let cancelled = client.ask(&ClientToWorker::Cancel { id: ID }).await;
        let error = ErrorCode::Cancelled;
        assert_eq!(cancelled, WorkerToClient::Failed { id: RequestId(1), error });
    }
    assert!(!client.begin_over("a", &old, other).await);
    client.name(&old, 0, BLOCK_SIZE).await;
    assert_eq!(client.recv().await, WorkerToClient::Refused { error: ErrorCode::Protocol });
}

#[tokio::test]
async fn leaves_of_what_is_no_file_are_refused() {
    let (mut client, _ending) = Bench::start(&Home::new()).log_in().await;
    let answer =
        client.ask(&ClientToWorker::Leaves { id: ID, path: path("none"), from: 0, most: 1 }).await;
    assert_eq!(answer, WorkerToClient::Failed { id: ID, error: ErrorCode::NotFound });
}

#[tokio::test]
async fn only_the_leaves_that_are_asked_for_are_told() {
    let (mut client, _ending) = Bench::start(&Home::new()).log_in().await;
    let file = content(40 * BLOCK_SIZE + 5);
    client.put(1, "a", &file).await;
    let all = digest::leaves(&file);
    let (first, none) = client.leaves_from("a", 0, 0).await;
    assert_eq!(none, []);
    for (from, most, told) in [
        (0, 3, 0..3),
        (7, 300, 7..307),
        (319, 9, 319..321),
        (320, u64::MAX, 320..321),
        (321, 1, 0..0),
        (u64::MAX, u64::MAX, 0..0),
    ] {
        let (fingerprint, leaves) = client.leaves_from("a", from, most).await;
        assert_eq!((fingerprint, &leaves[..]), (first, &all[told]), "{from} {most}");
    }
}

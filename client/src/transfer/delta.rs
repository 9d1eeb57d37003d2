//! What stands in the home where a put goes: its leaves that are the same need not be sent.
//!
//! The server is asked which file stands there, and when the upload is open for the leaf digests of that file, from
//! where the upload goes on to the end of the source. Of each block of the source the leaves are told apart as the
//! digests come: those that are the same at the same place are named by a block without data, the others are sent. The
//! server reads what is named from the file there and compares it with the digests, so that nothing is taken on trust;
//! what differs after all it asks for again, and then it is sent.

use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, HomeFingerprint};
use berth_common::limits::{LEAF_SIZE, LEAVES_PER_BLOCK, SMALL_UPLOAD_BYTES};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::plan::leaves_of;
use super::put::PutJob;
use super::source::SourceBlock;
use crate::buffers::Pool;
use crate::connection::ConnectionError;
use crate::session::{Exchange, RequestError, Session};

/// A file in the home, and the digests of its leaves as they come.
#[derive(Debug)]
pub(super) struct Base {
    /// The first leaf whose digest is asked for.
    first: usize,
    known: Arc<Known>,
    coming: AbortHandle,
    /// From this leaf on a block's leaves are sent: the server has asked for them.
    asked_for: Option<usize>,
}

impl Drop for Base {
    fn drop(&mut self) {
        self.coming.abort();
    }
}

/// What has come. A task takes it off the line at once, since others share that.
#[derive(Debug, Default)]
struct Known {
    come: Mutex<Come>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Come {
    leaves: Vec<Md5>,
    /// No more will come.
    ended: bool,
}

/// What is sent of a block.
#[derive(Debug)]
pub(super) enum Run {
    /// Leaves with their data.
    Data(SourceBlock),
    /// Leaves that are the same in the base.
    Same {
        /// Where the first begins.
        offset: u64,
        /// Their digests.
        leaves: Vec<Md5>,
    },
}

/// Which file stands where one of this size is to be put; `None` when there is none, or it would be of no use.
///
/// # Errors
/// Why the session is over.
pub(super) async fn find(
    session: &Session,
    job: &PutJob,
    size: u64,
) -> Result<Option<HomeFingerprint>, ConnectionError> {
    if job.whole || job.existing != Existing::Replace || size <= SMALL_UPLOAD_BYTES {
        return Ok(None);
    }
    let (path, from, most) = (job.remote.clone(), 0, 0);
    match session.request(|id| ClientToWorker::Leaves { id, path, from, most }).await {
        Ok(WorkerToClient::Leaves { fingerprint, .. }) => Ok(Some(fingerprint)),
        Ok(_) => Err(ConnectionError::unexpected("answer")),
        // Nothing stands there, or nothing that could be read: the put itself says what is wrong with it.
        Err(RequestError::Server(_)) => Ok(None),
        Err(RequestError::Connection(error)) => Err(error),
    }
}

impl Base {
    /// Asks for the leaves of the file with this fingerprint, from the first that is to be sent of a source of this
    /// size.
    ///
    /// # Errors
    /// Why the session is over.
    pub(super) async fn follow(
        session: &Session,
        job: &PutJob,
        fingerprint: HomeFingerprint,
        (resumed, size): (u64, u64),
    ) -> Result<Self, ConnectionError> {
        let exchange = session.exchange();
        let (id, path) = (exchange.id, job.remote.clone());
        let most = leaves_of(size).saturating_sub(resumed);
        exchange.send(&ClientToWorker::Leaves { id, path, from: resumed, most }).await?;
        let known = Arc::new(Known::default());
        let coming = tokio::spawn(collect(exchange, fingerprint, most, Arc::clone(&known)));
        let first = usize::try_from(resumed).unwrap_or(usize::MAX);
        Ok(Self { first, known, coming: coming.abort_handle(), asked_for: None })
    }

    /// Waits until the digests have come that are needed to tell this block's leaves apart.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn reaches(&self, block: &SourceBlock) {
        let end = index_of(block.offset).saturating_add(block.leaves.len());
        loop {
            let more = self.known.more.notified();
            {
                let come = self.known.come.lock().unwrap_or_else(PoisonError::into_inner);
                if come.ended || self.first.saturating_add(come.leaves.len()) >= end {
                    return;
                }
            }
            more.await;
        }
    }

    /// The server wants what begins at `offset` again.
    pub(super) fn distrust(&mut self, offset: u64) {
        self.asked_for = Some(index_of(offset));
    }

    /// Tells the leaves of a block apart. What is sent of it in several pieces is copied.
    pub(super) fn split(&self, block: SourceBlock, pool: &Pool) -> Vec<Run> {
        let first = index_of(block.offset);
        let come = self.known.come.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |at: usize| {
            let index = first.saturating_add(at);
            let is_asked_for = self
                .asked_for
                .is_some_and(|asked| (asked..asked + LEAVES_PER_BLOCK).contains(&index));
            let there = index.checked_sub(self.first).and_then(|index| come.leaves.get(index));
            !is_asked_for && there == block.leaves.get(at)
        };
        let count = block.leaves.len();
        if (0..count).all(|at| !same(at)) {
            return vec![Run::Data(block)];
        }
        let mut runs = Vec::new();
        let mut from = 0;
        while from < count {
            let is_same = same(from);
            let to = (from..count).find(|at| same(*at) != is_same).unwrap_or(count);
            let bytes = from * LEAF_SIZE..(to * LEAF_SIZE).min(block.data.len());
            let offset = block.offset + bytes.start as u64;
            let leaves = block.leaves[from..to].to_vec();
            runs.push(match is_same {
                true => Run::Same { offset, leaves },
                false => {
                    let mut data = pool.take(bytes.len());
                    data.copy_from_slice(&block.data[bytes]);
                    Run::Data(SourceBlock { offset, leaves, data })
                }
            });
            from = to;
        }
        runs
    }
}

fn index_of(offset: u64) -> usize {
    usize::try_from(offset / LEAF_SIZE as u64).unwrap_or(usize::MAX)
}

/// Takes what comes, until it ends or is of another file.
async fn collect(
    mut exchange: Exchange,
    fingerprint: HomeFingerprint,
    most: u64,
    known: Arc<Known>,
) {
    let known = Ends(known);
    loop {
        let part = match exchange.message().await {
            Ok(WorkerToClient::Leaves { fingerprint: of, leaves, last, .. })
                if of == fingerprint && (last || !leaves.is_empty()) =>
            {
                Some((leaves, last))
            }
            // What went wrong with the session the put hears, too.
            _ => None,
        };
        let (leaves, last) = part.unwrap_or((Vec::new(), true));
        let mut come = known.0.come.lock().unwrap_or_else(PoisonError::into_inner);
        come.leaves.extend(leaves);
        // A server that tells more than it was asked for tells nothing that is of use.
        come.ended = last || come.leaves.len() as u64 > most;
        let ended = come.ended;
        drop(come);
        known.0.more.notify_waiters();
        if ended {
            return;
        }
    }
}

/// Whoever waits does so no longer when nobody collects any more, whatever the reason.
struct Ends(Arc<Known>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.come.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.more.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use berth_common::digest;

    use super::*;

    /// A base of which these leaves have come, from the first on.
    fn base(leaves: Vec<Md5>) -> Base {
        base_from(0, leaves)
    }

    fn base_from(first: usize, leaves: Vec<Md5>) -> Base {
        let come = Mutex::new(Come { leaves, ended: false });
        let known = Arc::new(Known { come, more: Notify::new() });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let coming = runtime.spawn(async {}).abort_handle();
        Base { first, known, coming, asked_for: None }
    }

    /// Leaves by a letter each, of which the last may be short.
    fn block(first: usize, letters: &str, last: usize) -> SourceBlock {
        let mut bytes: Vec<u8> =
            letters.bytes().flat_map(|letter| vec![letter; LEAF_SIZE]).collect();
        bytes.truncate(bytes.len() - LEAF_SIZE + last);
        let offset = (first * LEAF_SIZE) as u64;
        SourceBlock { offset, leaves: digest::leaves(&bytes), data: bytes.into() }
    }

    /// `=` and `+` for each leaf that is the same or sent, with a bar between runs; and the bytes that are sent.
    fn shown(base: &Base, block: SourceBlock) -> (String, usize) {
        let (start, total) = (block.offset, block.data.len());
        let (content, mut at, mut sent) = (block.data.to_vec(), start, 0);
        let runs = base.split(block, &Pool::default());
        let shown: Vec<String> = runs
            .into_iter()
            .map(|run| match run {
                Run::Same { offset, leaves } => {
                    assert_eq!(offset, at);
                    let end = (at + (leaves.len() * LEAF_SIZE) as u64).min(start + total as u64);
                    at = end;
                    "=".repeat(leaves.len())
                }
                Run::Data(SourceBlock { offset, leaves, data }) => {
                    assert_eq!(offset, at);
                    let place = (offset - start) as usize;
                    assert!(*data == content[place..place + data.len()]);
                    assert_eq!(digest::leaves(&data), leaves);
                    at += data.len() as u64;
                    sent += data.len();
                    "+".repeat(leaves.len())
                }
            })
            .collect();
        assert_eq!(at, start + total as u64);
        (shown.join("|"), sent)
    }

    #[test]
    fn only_the_leaves_that_differ_are_sent() {
        let there = base(block(0, "abcdefgh", LEAF_SIZE).leaves);
        let table = [
            (block(0, "abcdefgh", LEAF_SIZE), "========", 0),
            (block(0, "ABCDEFGH", LEAF_SIZE), "++++++++", 8 * LEAF_SIZE),
            (block(0, "abXdefGH", LEAF_SIZE), "==|+|===|++", 3 * LEAF_SIZE),
            (block(2, "cdefgh", LEAF_SIZE), "======", 0),
            (block(2, "cdefgh", 5), "=====|+", 5),
            (block(6, "ghij", 7), "==|++", LEAF_SIZE + 7),
            (block(8, "abc", LEAF_SIZE), "+++", 3 * LEAF_SIZE),
        ];
        for (block, expected, sent) in table {
            assert_eq!(shown(&there, block), (expected.to_owned(), sent));
        }
    }

    #[test]
    fn a_short_last_leaf_is_the_same_when_it_ends_at_the_same_place() {
        let there = base(block(0, "abc", 9).leaves);
        assert_eq!(shown(&there, block(0, "abc", 9)).0, "===");
        assert_eq!(shown(&there, block(0, "abcd", 9)).0, "==|++");
    }

    #[test]
    fn what_the_server_asks_for_is_sent() {
        let mut there = base(block(0, "abcdefghijklmnop", LEAF_SIZE).leaves);
        there.distrust(4 * LEAF_SIZE as u64);
        assert_eq!(shown(&there, block(0, "abcdefgh", LEAF_SIZE)).0, "====|++++");
        assert_eq!(shown(&there, block(8, "ijklmnop", LEAF_SIZE)).0, "++++|====");
    }

    #[test]
    fn what_the_server_has_already_needs_no_digest() {
        let there = base_from(2, block(2, "cdefgh", LEAF_SIZE).leaves);
        assert_eq!(shown(&there, block(2, "cdXfgh", LEAF_SIZE)).0, "==|+|===");
        assert_eq!(shown(&there, block(0, "abcd", LEAF_SIZE)).0, "++|==");
    }

    #[test]
    fn a_block_waits_for_its_digests_and_for_no_others() {
        let there = base(block(0, "abcd", LEAF_SIZE).leaves);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            there.reaches(&block(2, "cd", LEAF_SIZE)).await;
            let later = block(2, "cde", LEAF_SIZE);
            let mut waiting = std::pin::pin!(there.reaches(&later));
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
            });
            assert!(polled.await);
            there.known.come.lock().unwrap().ended = true;
            there.known.more.notify_waiters();
            waiting.await;
        });
    }
}

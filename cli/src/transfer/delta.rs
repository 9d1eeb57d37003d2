//! What stands in the home where a put goes: its leaves that are the same need not be sent.
//!
//! The server is asked for the leaf digests of the file there, and of each block of the source the leaves are told
//! apart: those that are the same at the same place are named by a block without data, the others are sent. The server
//! reads what is named from the file there and compares it with the digests, so that nothing is taken on trust; what
//! differs after all it asks for again, and then it is sent.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, HomeFingerprint};
use berth_common::limits::{LEAF_SIZE, LEAVES_PER_BLOCK, SMALL_UPLOAD_BYTES};

use super::put::PutJob;
use super::source::SourceBlock;
use crate::buffers::Pool;
use crate::connection::ConnectionError;
use crate::session::{RequestError, Session};

/// A file in the home, and the digests of its leaves.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) fingerprint: HomeFingerprint,
    leaves: Vec<Md5>,
    /// From this leaf on a block's leaves are sent: the server has asked for them.
    asked_for: Option<usize>,
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

impl Base {
    /// What stands where a file of this size is to be put; `None` when there is nothing, or it would be of no use.
    ///
    /// # Errors
    /// Why the session is over.
    pub(super) async fn find(
        session: &Session,
        job: &PutJob,
        size: u64,
    ) -> Result<Option<Self>, ConnectionError> {
        if job.whole || job.existing != Existing::Replace || size <= SMALL_UPLOAD_BYTES {
            return Ok(None);
        }
        match ask(session, job).await {
            Ok(base) => Ok((!base.leaves.is_empty()).then_some(base)),
            // Nothing stands there, or nothing that could be read: the put itself says what is wrong with it.
            Err(RequestError::Server(_)) => Ok(None),
            Err(RequestError::Connection(error)) => Err(error),
        }
    }

    /// The server wants what begins at `offset` again.
    pub(super) fn distrust(&mut self, offset: u64) {
        self.asked_for = usize::try_from(offset / LEAF_SIZE as u64).ok();
    }

    /// Tells the leaves of a block apart. What is sent of it in several pieces is copied.
    pub(super) fn split(&self, block: SourceBlock, pool: &Pool) -> Vec<Run> {
        let first = usize::try_from(block.offset / LEAF_SIZE as u64).unwrap_or(usize::MAX);
        let same = |at: usize| {
            let index = first.saturating_add(at);
            let is_asked_for = self
                .asked_for
                .is_some_and(|asked| (asked..asked + LEAVES_PER_BLOCK).contains(&index));
            !is_asked_for && self.leaves.get(index) == block.leaves.get(at)
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

async fn ask(session: &Session, job: &PutJob) -> Result<Base, RequestError> {
    let mut exchange = session.exchange();
    let (id, path) = (exchange.id, job.remote.clone());
    exchange.send(&ClientToWorker::Leaves { id, path }).await?;
    let mut all = Vec::new();
    loop {
        match exchange.message().await? {
            WorkerToClient::Leaves { fingerprint, leaves, last, .. } => {
                // As many as the file has, by what the server says of it.
                let most = fingerprint.size.div_ceil(LEAF_SIZE as u64);
                if (all.len() + leaves.len()) as u64 > most {
                    return Err(ConnectionError::unexpected("number of leaves").into());
                }
                all.extend(leaves);
                if last {
                    return Ok(Base { fingerprint, leaves: all, asked_for: None });
                }
            }
            _ => return Err(ConnectionError::unexpected("answer").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::digest;

    use super::*;

    fn base(leaves: Vec<Md5>) -> Base {
        let size = (leaves.len() * LEAF_SIZE) as u64;
        let fingerprint = HomeFingerprint { inode: 1, ctime_ns: 2, size, digest: None };
        Base { fingerprint, leaves, asked_for: None }
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
}

//! What a transfer has done and has to do next: plain types that do no input or output.

use berth_common::digest::{Md5, TreeDigest};
use berth_common::frame::BlockHeader;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

/// How often one block may be asked for again before the transfer is given up.
const MOST_AGAIN: u32 = 1;

/// Leaves of a file of this size.
#[must_use]
pub fn leaves_of(size: u64) -> u64 {
    size.div_ceil(LEAF_SIZE as u64)
}

/// Bytes of a file of this size that so many leaves, from the first on, hold.
#[must_use]
pub fn bytes_of(leaves: u64, size: u64) -> u64 {
    leaves.saturating_mul(LEAF_SIZE as u64).min(size)
}

/// How long the block at `offset` of a file of this size is; 0 at its end.
#[must_use]
pub fn block_len(offset: u64, size: u64) -> usize {
    usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(BLOCK_SIZE)
}

/// Why a plan cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The other side says something that cannot be.
    #[error("the transfer does not add up: {0}")]
    Nonsense(&'static str),
    /// The same block failed again.
    #[error("data differs from its MD5 at byte {offset}, also when sent again")]
    Integrity {
        /// Where in the file.
        offset: u64,
    },
}

/// What a put has sent. It keeps every leaf's digest, 16 bytes for 128 KiB, since it may be sent
/// back to any block.
#[derive(Debug)]
pub struct SendPlan {
    /// Unknown before the end of a stream.
    size: Option<u64>,
    leaves: Vec<Md5>,
    resumed: u64,
    moved: u64,
    same: u64,
    again: Option<(u64, u32)>,
}

impl SendPlan {
    /// Goes on after the leaves that the receiver has.
    ///
    /// # Errors
    /// `Nonsense` when the file has fewer.
    pub fn resume(size: u64, leaves: Vec<Md5>) -> Result<Self, PlanError> {
        let resumed = leaves.len() as u64;
        if resumed > leaves_of(size) {
            return Err(PlanError::Nonsense("the server has more leaves than the file"));
        }
        Ok(Self { size: Some(size), leaves, resumed, moved: 0, same: 0, again: None })
    }

    /// Sends what has no known size, from the beginning.
    #[must_use]
    pub fn stream() -> Self {
        Self { size: None, leaves: Vec::new(), resumed: 0, moved: 0, same: 0, again: None }
    }

    /// A stream has ended after so many bytes.
    pub fn ended(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// How much there is to send, where that is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Where the next block begins; the file's size when all is sent.
    #[must_use]
    pub fn offset(&self) -> u64 {
        bytes_of(self.leaves.len() as u64, self.size.unwrap_or(u64::MAX))
    }

    /// Whether all leaves are sent.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.size.is_some_and(|size| self.leaves.len() as u64 == leaves_of(size))
    }

    /// The next block goes out.
    pub fn sent(&mut self, leaves: &[Md5]) {
        self.leaves.extend_from_slice(leaves);
        self.moved += leaves.len() as u64;
    }

    /// The next leaves are named, since the receiver has them in the file that is replaced.
    pub fn named(&mut self, leaves: &[Md5]) {
        self.leaves.extend_from_slice(leaves);
        self.same += leaves.len() as u64;
    }

    /// Leaves that were named, those that were asked for afterwards too.
    #[must_use]
    pub fn same(&self) -> u64 {
        self.same
    }

    /// The receiver wants everything from `offset` on again.
    ///
    /// # Errors
    /// `Nonsense` when nothing was sent there, `Integrity` when it wants it too often.
    pub fn again(&mut self, offset: u64) -> Result<(), PlanError> {
        let leaf = offset / LEAF_SIZE as u64;
        let sent = self.resumed..self.leaves.len() as u64;
        if !offset.is_multiple_of(LEAF_SIZE as u64) || !sent.contains(&leaf) {
            return Err(PlanError::Nonsense("the server asks for a block that was not sent"));
        }
        // The receiver gives up by itself; this only makes sure that nobody goes in circles.
        let times = match self.again {
            Some((earlier, times)) if earlier == offset => times + 1,
            _ => 1,
        };
        if times > MOST_AGAIN + 1 {
            return Err(PlanError::Integrity { offset });
        }
        self.again = Some((offset, times));
        self.leaves.truncate(usize::try_from(leaf).unwrap_or(usize::MAX));
        Ok(())
    }

    /// The tree digest of what was sent and what the receiver had.
    #[must_use]
    pub fn digest(&self) -> Md5 {
        TreeDigest::resume(&self.leaves).finish()
    }

    /// Leaves that the receiver had.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Leaves that were sent, those that were sent twice counted twice.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }
}

/// What to do with a block that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its leaves are right and are the next ones: write them.
    Write,
    /// It follows a bad one and will come again: drop it.
    Ignore,
    /// It is bad: ask for it again.
    Again(u64),
}

/// What a get has received and verified.
#[derive(Clone, Debug)]
pub struct ReceivePlan {
    size: u64,
    tree: TreeDigest,
    moved: u64,
    resumed: u64,
    waiting: bool,
    again: Option<(u64, u32)>,
}

impl ReceivePlan {
    /// Goes on after leaves that are verified.
    #[must_use]
    pub fn resume(size: u64, leaves: &[Md5]) -> Self {
        Self {
            size,
            tree: TreeDigest::resume(leaves),
            moved: 0,
            resumed: leaves.len() as u64,
            waiting: false,
            again: None,
        }
    }

    /// Where the next block begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        bytes_of(self.tree.leaves(), self.size)
    }

    /// Whether all leaves are verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tree.leaves() == leaves_of(self.size)
    }

    /// Whether a block that was asked for again has not come yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Judges a block by its header and what its data really hashes to.
    ///
    /// # Errors
    /// `Nonsense` for a block that cannot come here, `Integrity` when it fails again.
    pub fn block(
        &mut self,
        header: &BlockHeader,
        len: usize,
        found: &[Md5],
    ) -> Result<Verdict, PlanError> {
        self.moved += found.len() as u64;
        let expected = self.offset();
        if header.offset != expected {
            if self.waiting && header.offset > expected {
                return Ok(Verdict::Ignore);
            }
            return Err(PlanError::Nonsense("a block is not the next one"));
        }
        let end = expected.saturating_add(len as u64);
        if end > self.size || (end < self.size && !len.is_multiple_of(LEAF_SIZE)) {
            return Err(PlanError::Nonsense("a block has the wrong length"));
        }
        if header.leaves == found {
            self.tree.extend(found);
            self.waiting = false;
            return Ok(Verdict::Write);
        }
        let times = match self.again {
            Some((earlier, times)) if earlier == expected => times + 1,
            _ => 1,
        };
        if times > MOST_AGAIN {
            return Err(PlanError::Integrity { offset: expected });
        }
        self.again = Some((expected, times));
        self.waiting = true;
        Ok(Verdict::Again(expected))
    }

    /// The tree digest of what is verified.
    #[must_use]
    pub fn digest(&self) -> Md5 {
        self.tree.finish()
    }

    /// Leaves that were there when it began.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Leaves that came, those that came twice counted twice.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }
}

#[cfg(test)]
mod tests {
    use berth_common::ids::RequestId;

    use super::*;

    const LEAF: u64 = LEAF_SIZE as u64;
    const BLOCK: u64 = BLOCK_SIZE as u64;

    fn digests(range: std::ops::Range<u64>) -> Vec<Md5> {
        range.map(|leaf| Md5::of(&leaf.to_be_bytes())).collect()
    }

    #[test]
    fn sizes_around_the_boundaries_have_the_right_leaves_and_blocks() {
        let table = [
            (0, 0, 0),
            (1, 1, 1),
            (LEAF, 1, LEAF),
            (LEAF + 1, 2, LEAF + 1),
            (BLOCK, 8, BLOCK),
            (BLOCK + 1, 9, BLOCK),
        ];
        for (size, leaves, first) in table {
            assert_eq!((leaves_of(size), block_len(0, size) as u64), (leaves, first), "{size}");
            assert_eq!(bytes_of(leaves, size), size);
        }
        assert_eq!(block_len(BLOCK, BLOCK + 1), 1);
        assert_eq!(block_len(BLOCK, BLOCK), 0);
    }

    #[test]
    fn a_put_goes_back_to_the_block_it_is_asked_for_and_still_has_the_right_digest() {
        let size = 3 * BLOCK + 5;
        let all = digests(0..25);
        let mut plan = SendPlan::resume(size, all[..4].to_vec()).unwrap();
        assert_eq!(plan.offset(), 4 * LEAF);
        plan.sent(&all[4..12]);
        plan.sent(&all[12..20]);
        plan.again(12 * LEAF).unwrap();
        assert_eq!((plan.offset(), plan.is_complete()), (12 * LEAF, false));
        plan.sent(&all[12..20]);
        plan.sent(&all[20..]);
        assert!(plan.is_complete());
        assert_eq!(plan.offset(), size);
        assert_eq!(plan.digest(), TreeDigest::resume(&all).finish());
        assert_eq!((plan.resumed(), plan.moved()), (4, 29));
    }

    #[test]
    fn a_stream_is_complete_when_it_has_ended_and_all_is_sent() {
        let all = digests(0..17);
        let mut plan = SendPlan::stream();
        assert!(!plan.is_complete());
        plan.sent(&all[..8]);
        plan.sent(&all[8..16]);
        assert_eq!((plan.offset(), plan.is_complete()), (16 * LEAF, false));
        plan.sent(&all[16..]);
        plan.ended(16 * LEAF + 5);
        assert_eq!((plan.offset(), plan.is_complete()), (16 * LEAF + 5, true));
        plan.again(8 * LEAF).unwrap();
        assert_eq!((plan.offset(), plan.is_complete()), (8 * LEAF, false));
        plan.sent(&all[8..16]);
        plan.sent(&all[16..]);
        assert!(plan.is_complete());
        assert_eq!(plan.digest(), TreeDigest::resume(&all).finish());
        let mut empty = SendPlan::stream();
        empty.ended(0);
        assert!(empty.is_complete());
    }

    #[test]
    fn a_put_is_not_led_astray() {
        let plan = || {
            let mut plan = SendPlan::resume(2 * BLOCK, digests(0..4)).unwrap();
            plan.sent(&digests(4..12));
            plan
        };
        for offset in [0, 3 * LEAF, 12 * LEAF, 4 * LEAF + 1, u64::MAX] {
            assert!(matches!(plan().again(offset), Err(PlanError::Nonsense(_))), "{offset}");
        }
        let mut circling = plan();
        for _ in 0..2 {
            circling.again(4 * LEAF).unwrap();
            circling.sent(&digests(4..12));
        }
        assert_eq!(circling.again(4 * LEAF), Err(PlanError::Integrity { offset: 4 * LEAF }));
        assert!(SendPlan::resume(LEAF, digests(0..2)).is_err());
    }

    fn header(first: u64, leaves: Vec<Md5>) -> BlockHeader {
        BlockHeader { transfer: RequestId(1), offset: first * LEAF, leaves }
    }

    #[test]
    fn a_get_asks_once_more_and_ignores_what_follows() {
        let all = digests(0..24);
        let mut plan = ReceivePlan::resume(3 * BLOCK, &[]);
        let good = |plan: &mut ReceivePlan, first: u64| {
            let leaves = all[first as usize..first as usize + 8].to_vec();
            plan.block(&header(first, leaves.clone()), BLOCK_SIZE, &leaves)
        };
        let bad = |plan: &mut ReceivePlan, first: u64| {
            let leaves = all[first as usize..first as usize + 8].to_vec();
            plan.block(&header(first, leaves), BLOCK_SIZE, &digests(90..98))
        };
        assert_eq!(good(&mut plan, 0), Ok(Verdict::Write));
        assert_eq!(bad(&mut plan, 8), Ok(Verdict::Again(BLOCK)));
        assert!(plan.is_waiting());
        assert_eq!(good(&mut plan, 16), Ok(Verdict::Ignore));
        let mut twice = plan.clone();
        assert_eq!(bad(&mut twice, 8), Err(PlanError::Integrity { offset: BLOCK }));
        assert_eq!(good(&mut plan, 8), Ok(Verdict::Write));
        assert_eq!(bad(&mut plan, 16), Ok(Verdict::Again(2 * BLOCK)));
        assert_eq!(good(&mut plan, 16), Ok(Verdict::Write));
        assert!(plan.is_complete() && !plan.is_waiting());
        assert_eq!(plan.digest(), TreeDigest::resume(&all).finish());
        assert_eq!((plan.resumed(), plan.moved()), (0, 48));
    }

    #[test]
    fn a_get_refuses_blocks_that_cannot_come() {
        let leaves = digests(0..8);
        let mut plan = ReceivePlan::resume(2 * BLOCK, &leaves[..2]);
        let mut block = |first, count: usize, len| {
            plan.block(&header(first, leaves[..count].to_vec()), len, &leaves[..count])
        };
        assert!(block(0, 8, BLOCK_SIZE).is_err(), "it is there already");
        assert!(block(3, 8, BLOCK_SIZE).is_err(), "there would be a gap");
        assert!(block(2, 2, LEAF_SIZE + 1).is_err(), "a short leaf in the middle");
        assert_eq!(block(2, 8, BLOCK_SIZE), Ok(Verdict::Write));
        assert!(block(10, 7, 7 * LEAF_SIZE).is_err(), "beyond the end");
        assert_eq!(block(10, 6, 6 * LEAF_SIZE), Ok(Verdict::Write));
    }
}

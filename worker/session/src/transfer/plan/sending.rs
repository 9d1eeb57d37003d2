//! Sending a file: which block comes next, where to go back to, and the digest of what was sent.

use berth_common::digest::{Md5, TreeDigest};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

use super::Violation;
use super::receiving::{Failure, leaves_of};

/// The plan of one download.
#[derive(Debug)]
pub(crate) struct SendingPlan {
    size: u64,
    /// Where the first block begins, after what the client has.
    start: u64,
    next: u64,
    /// Leaf digests of the client's that are still to come.
    awaited: u64,
    tree: TreeDigest,
    /// Up to where the tree digest goes. A block that is sent again does not count again: its leaves were
    /// counted as they were read first, so a file that changed in between ends in another digest.
    digested: u64,
    /// Where the client last asked for a block again.
    asked: Option<u64>,
    moved_leaves: u64,
}

impl SendingPlan {
    /// Sends a file of `size` bytes of which the client has the first `leaves`, at most all.
    pub(crate) fn new(size: u64, leaves: u64) -> Self {
        let start = leaves.saturating_mul(LEAF_SIZE as u64).min(size);
        Self {
            size,
            start,
            next: start,
            awaited: leaves,
            tree: TreeDigest::new(),
            digested: start,
            asked: None,
            moved_leaves: 0,
        }
    }

    /// Whether the client's leaf digests have all come, so that blocks may be sent.
    pub(crate) fn is_ready(&self) -> bool {
        self.awaited == 0
    }

    /// Takes leaf digests that the client has.
    ///
    /// # Errors
    /// When there are more than it stated, or none.
    pub(crate) fn client_has(&mut self, leaves: &[Md5]) -> Result<(), Violation> {
        let left = self.awaited.checked_sub(leaves.len() as u64).ok_or(Violation)?;
        if leaves.is_empty() {
            return Err(Violation);
        }
        self.awaited = left;
        self.tree.extend(leaves);
        Ok(())
    }

    /// The next block to read, offset and length; `None` when all were given out.
    pub(crate) fn next_block(&mut self) -> Option<(u64, usize)> {
        let left = self.size - self.next;
        let len = usize::try_from(left).unwrap_or(BLOCK_SIZE).min(BLOCK_SIZE);
        if len == 0 || !self.is_ready() {
            return None;
        }
        let offset = self.next;
        self.next += len as u64;
        Some((offset, len))
    }

    /// Whether this block is the file's last one.
    pub(crate) fn is_last(&self, offset: u64, len: usize) -> bool {
        offset + len as u64 == self.size
    }

    /// A block was read and is going to be sent.
    pub(crate) fn sends(&mut self, offset: u64, len: usize, leaves: &[Md5]) {
        self.moved_leaves += leaves.len() as u64;
        if offset == self.digested {
            self.tree.extend(leaves);
            self.digested += len as u64;
        }
    }

    /// The client asks for everything from `offset` on again. It may do so once for each block, and goes on
    /// from there: a second time, or for one before it, is a client that cannot be helped, or wants the file
    /// read for ever.
    ///
    /// # Errors
    /// When no block was sent that begins there.
    pub(crate) fn again(&mut self, offset: u64) -> Result<Failure, Violation> {
        let from_start = offset.checked_sub(self.start).ok_or(Violation)?;
        if offset >= self.digested || !from_start.is_multiple_of(BLOCK_SIZE as u64) {
            return Err(Violation);
        }
        if self.asked.is_some_and(|last| offset <= last) {
            return Ok(Failure::GiveUp { offset });
        }
        self.asked = Some(offset);
        self.next = offset;
        Ok(Failure::Again { offset })
    }

    /// The digest of the whole file, once all of it was sent.
    pub(crate) fn finish(&self) -> Option<Md5> {
        let whole = self.is_ready() && self.next == self.size && self.digested == self.size;
        debug_assert!(!whole || self.tree.leaves() == leaves_of(self.size));
        whole.then(|| self.tree.finish())
    }

    /// Leaves that were sent, those that were sent again included.
    pub(crate) fn moved_leaves(&self) -> u64 {
        self.moved_leaves
    }
}

#[cfg(test)]
mod tests {
    use berth_common::digest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_wait_for_the_clients_leaves() {
        let leaf = Md5::of(b"leaf");
        let mut plan = SendingPlan::new(10 * LEAF_SIZE as u64, 3);
        assert_eq!((plan.next_block(), plan.finish()), (None, None));
        assert_eq!(plan.client_has(&[]), Err(Violation));
        assert_eq!(plan.client_has(&[leaf; 4]), Err(Violation));
        assert_eq!(plan.client_has(&[leaf; 2]), Ok(()));
        assert_eq!(plan.next_block(), None);
        assert_eq!(plan.client_has(&[leaf]), Ok(()));
        assert_eq!(plan.next_block(), Some((3 * LEAF_SIZE as u64, 7 * LEAF_SIZE)));
        assert_eq!((plan.next_block(), plan.finish()), (None, None), "read, but not yet sent");
    }

    #[test]
    fn a_client_that_has_all_gets_no_block() {
        let leaves = [Md5::of(b"a"), Md5::of(b"b")];
        let mut plan = SendingPlan::new(LEAF_SIZE as u64 + 1, 2);
        plan.client_has(&leaves).unwrap();
        assert_eq!(plan.next_block(), None);
        assert_eq!(plan.finish(), Some(TreeDigest::resume(&leaves).finish()));
        assert_eq!(SendingPlan::new(0, 0).finish(), Some(Md5::of(b"")));
    }

    #[test]
    fn again_goes_back_to_a_block_that_was_sent_only() {
        let block = BLOCK_SIZE as u64;
        let mut plan = SendingPlan::new(3 * block, 0);
        assert_eq!(plan.again(0), Err(Violation), "nothing was sent");
        let (offset, len) = plan.next_block().unwrap();
        plan.sends(offset, len, &[Md5::of(b""); 8]);
        for bad in [1, LEAF_SIZE as u64, block, 3 * block, u64::MAX] {
            assert_eq!(plan.again(bad), Err(Violation), "{bad}");
        }
        assert_eq!(plan.again(0), Ok(Failure::Again { offset: 0 }));
        assert_eq!(plan.next_block(), Some((0, BLOCK_SIZE)));
    }

    #[test]
    fn a_block_is_sent_again_once_and_what_is_before_it_never() {
        let block = BLOCK_SIZE as u64;
        let mut plan = SendingPlan::new(4 * block, 0);
        while let Some((offset, len)) = plan.next_block() {
            plan.sends(offset, len, &[Md5::of(b""); 8]);
        }
        assert_eq!(plan.again(block), Ok(Failure::Again { offset: block }));
        assert_eq!(plan.again(2 * block), Ok(Failure::Again { offset: 2 * block }));
        for offset in [0, block, 2 * block] {
            assert_eq!(plan.again(offset), Ok(Failure::GiveUp { offset }));
        }
        assert_eq!(plan.again(3 * block), Ok(Failure::Again { offset: 3 * block }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_digest_is_the_files_whatever_was_sent_again(
            len in 0usize..5 * BLOCK_SIZE,
            has in 0usize..50,
            again in prop::collection::vec(0usize..6, 0..5),
        ) {
            let file: Vec<u8> = (0..len).map(|at| (at / 999 + at % 13) as u8).collect();
            let all = digest::leaves(&file);
            let has = has.min(all.len());
            let mut plan = SendingPlan::new(len as u64, has as u64);
            if has > 0 {
                plan.client_has(&all[..has]).unwrap();
            }
            let start = (has * LEAF_SIZE).min(len);
            let mut again = again.into_iter();
            loop {
                while let Some((offset, len)) = plan.next_block() {
                    let at = offset as usize;
                    plan.sends(offset, len, &digest::leaves(&file[at..at + len]));
                }
                let Some(back) = again.next() else { break };
                let _ = plan.again((start + back * BLOCK_SIZE) as u64);
            }
            prop_assert_eq!(plan.finish(), Some(TreeDigest::resume(&all).finish()));
        }
    }
}

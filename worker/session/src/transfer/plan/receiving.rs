//! Receiving a file: which block comes next, what a bad one leads to, and when the file is whole.
//!
//! The size is known from the beginning, or with the end of a stream.
//!
//! Blocks are strictly sequential. A block that differs from its MD5s is asked for again, and whatever
//! comes until the block at exactly that offset is ignored, since it was on its way already (go-back-N).

use berth_common::digest::{Md5, TreeDigest};
use berth_common::entry::{PutSource, SourceEnd};
use berth_common::limits::LEAF_SIZE;

use super::Violation;

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Compare, write, and say how it was: [`ReceivingPlan::verified`] or [`ReceivingPlan::differs`].
    Check,
    /// Throw away.
    Ignore,
}

/// What to do about a block that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Ask for it again.
    Again {
        /// From there.
        offset: u64,
    },
    /// It differed a second time: give up. What was verified before it is good.
    GiveUp {
        /// Of that block.
        offset: u64,
    },
}

/// How the file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More is to come.
    Wait,
    /// It is whole, and the sender's digest is ours.
    Whole(Md5),
    /// The sender's file is not the one that it began with.
    SourceChanged,
    /// The digests differ.
    Mismatch,
    /// The sender has ended without having sent all of it, or says that it has sent less, or something of
    /// another kind.
    Contradicted,
}

#[derive(Clone, Copy, Debug)]
struct End {
    digest: Md5,
    source: SourceEnd,
    /// It was said before the sender knew of an `Again`, so blocks may follow it.
    early: bool,
}

/// The plan of one upload.
#[derive(Debug)]
pub(crate) struct ReceivingPlan {
    source: PutSource,
    tree: TreeDigest,
    verified: u64,
    /// Blocks are ignored until the one at `verified` comes.
    repeating: bool,
    /// Where a block has differed once.
    failed_at: Option<u64>,
    end: Option<End>,
    moved_leaves: u64,
}

/// The leaves of a file of this size.
pub(crate) fn leaves_of(size: u64) -> u64 {
    size.div_ceil(LEAF_SIZE as u64)
}

impl ReceivingPlan {
    /// Receives what `source` describes; the leaves of `tree` are there already.
    pub(crate) fn new(source: PutSource, tree: TreeDigest) -> Self {
        let size = match source {
            PutSource::File(file) => file.size,
            PutSource::Stream => 0,
        };
        let verified = tree.leaves().saturating_mul(LEAF_SIZE as u64).min(size);
        Self {
            source,
            tree,
            verified,
            repeating: false,
            failed_at: None,
            end: None,
            moved_leaves: 0,
        }
    }

    /// Leaves that came, those that came again included.
    pub(crate) fn moved_leaves(&self) -> u64 {
        self.moved_leaves
    }

    /// A block of `len` bytes has come. At most one is being checked at a time.
    ///
    /// # Errors
    /// When it reaches beyond the file, ends within a leaf before the file's end, or is out of sequence.
    pub(crate) fn arrives(&mut self, offset: u64, len: usize) -> Result<Arrival, Violation> {
        let end = offset.checked_add(len as u64).ok_or(Violation)?;
        let (fits, is_last) = match self.source {
            PutSource::File(file) => (end <= file.size, end == file.size),
            // Any may be the last: what follows one that ends within a leaf does not begin a leaf.
            PutSource::Stream => (offset.is_multiple_of(LEAF_SIZE as u64), true),
        };
        let ends_well = is_last || end.is_multiple_of(LEAF_SIZE as u64);
        if len == 0 || !fits || !ends_well || offset < self.verified {
            return Err(Violation);
        }
        if offset == self.verified {
            self.repeating = false;
            self.moved_leaves += leaves_of(len as u64);
            Ok(Arrival::Check)
        } else if self.repeating {
            self.moved_leaves += leaves_of(len as u64);
            Ok(Arrival::Ignore)
        } else {
            Err(Violation)
        }
    }

    /// A block's leaves are to be read from the base, `len` bytes; they do not count as moved.
    ///
    /// # Errors
    /// As [`ReceivingPlan::arrives`].
    pub(crate) fn copies(&mut self, offset: u64, len: usize) -> Result<Arrival, Violation> {
        let moved = self.moved_leaves;
        let arrival = self.arrives(offset, len);
        self.moved_leaves = moved;
        arrival
    }

    /// Bytes that are verified, and written.
    pub(crate) fn written(&self) -> u64 {
        self.verified
    }

    /// Whether the sender has said that it has sent all.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// The block that was to be checked is good, and written.
    pub(crate) fn verified(&mut self, len: usize, leaves: &[Md5]) {
        self.verified += len as u64;
        self.tree.extend(leaves);
        self.failed_at = None;
    }

    /// The block that was to be checked differs from its MD5s.
    pub(crate) fn differs(&mut self) -> Failure {
        let offset = self.verified;
        if self.failed_at == Some(offset) {
            return Failure::GiveUp { offset };
        }
        self.failed_at = Some(offset);
        self.repeating = true;
        if let Some(end) = &mut self.end {
            end.early = true;
        }
        Failure::Again { offset }
    }

    /// The sender says that it has sent all. After an `Again` it may say so once more.
    pub(crate) fn ends(&mut self, digest: Md5, source: SourceEnd) {
        self.end = Some(End { digest, source, early: self.repeating });
    }

    /// How the file stands, given whether all blocks that were read have been handled.
    pub(crate) fn verdict(&self, all_handled: bool) -> Verdict {
        let Some(end) = self.end else {
            return Verdict::Wait;
        };
        let size = match (self.source, end.source) {
            (PutSource::File(begun), SourceEnd::File(ended)) if ended != begun => {
                return Verdict::SourceChanged;
            }
            (PutSource::File(file), SourceEnd::File(_)) => file.size,
            (PutSource::Stream, SourceEnd::Stream { size }) => size,
            (PutSource::File(_), SourceEnd::Stream { .. })
            | (PutSource::Stream, SourceEnd::File(_)) => return Verdict::Contradicted,
        };
        if self.verified > size {
            return Verdict::Contradicted;
        }
        if self.verified < size {
            let missing = all_handled && !end.early;
            return if missing { Verdict::Contradicted } else { Verdict::Wait };
        }
        let own = self.tree.finish();
        if own == end.digest { Verdict::Whole(own) } else { Verdict::Mismatch }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use berth_common::digest;
    use berth_common::entry::SourceFingerprint;
    use berth_common::limits::BLOCK_SIZE;
    use proptest::prelude::*;

    use super::*;

    fn source(size: u64) -> SourceFingerprint {
        SourceFingerprint { size, mtime_ns: 1, ctime_ns: 2, inode: 3 }
    }

    fn file(size: u64) -> PutSource {
        source(size).into()
    }

    const BLOCK: u64 = BLOCK_SIZE as u64;

    fn leaf() -> Md5 {
        Md5::of(b"leaf")
    }

    #[test]
    fn blocks_come_in_sequence_and_within_the_file() {
        let mut plan = ReceivingPlan::new(file(2 * BLOCK + 5), TreeDigest::new());
        assert_eq!(plan.arrives(BLOCK, BLOCK_SIZE), Err(Violation), "not the next one");
        assert_eq!(plan.arrives(0, 77), Err(Violation), "ends within a leaf");
        assert_eq!(plan.arrives(0, 0), Err(Violation));
        assert_eq!(plan.arrives(u64::MAX, 1), Err(Violation));
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Ok(Arrival::Check));
        plan.verified(BLOCK_SIZE, &[leaf(); 8]);
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Err(Violation), "twice");
        assert_eq!(plan.arrives(BLOCK, LEAF_SIZE), Ok(Arrival::Check));
        plan.verified(LEAF_SIZE, &[leaf()]);
        let next = BLOCK + LEAF_SIZE as u64;
        assert_eq!(plan.arrives(next, BLOCK_SIZE + LEAF_SIZE), Err(Violation), "beyond the end");
        assert_eq!(plan.arrives(next, 7 * LEAF_SIZE + 5), Ok(Arrival::Check));
    }

    #[test]
    fn a_second_failure_at_the_same_offset_ends_it_and_one_elsewhere_does_not() {
        let mut plan = ReceivingPlan::new(file(3 * BLOCK), TreeDigest::new());
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Ok(Arrival::Check));
        assert_eq!(plan.differs(), Failure::Again { offset: 0 });
        assert_eq!(plan.arrives(BLOCK, BLOCK_SIZE), Ok(Arrival::Ignore));
        assert_eq!(plan.arrives(2 * BLOCK, BLOCK_SIZE), Ok(Arrival::Ignore));
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Ok(Arrival::Check));
        plan.verified(BLOCK_SIZE, &[leaf(); 8]);
        assert_eq!(
            plan.arrives(2 * BLOCK, BLOCK_SIZE),
            Err(Violation),
            "the repeat goes on in order"
        );
        assert_eq!(plan.arrives(BLOCK, BLOCK_SIZE), Ok(Arrival::Check));
        assert_eq!(plan.differs(), Failure::Again { offset: BLOCK });
        assert_eq!(plan.arrives(BLOCK, BLOCK_SIZE), Ok(Arrival::Check));
        assert_eq!(plan.differs(), Failure::GiveUp { offset: BLOCK });
    }

    #[test]
    fn the_end_is_judged_when_all_is_here() {
        let whole = TreeDigest::resume(&[leaf(); 8]).finish();
        let mut plan = ReceivingPlan::new(file(BLOCK), TreeDigest::new());
        assert_eq!(plan.verdict(true), Verdict::Wait);
        plan.ends(whole, source(BLOCK).into());
        assert_eq!(plan.verdict(false), Verdict::Wait);
        assert_eq!(plan.verdict(true), Verdict::Contradicted);
        plan.arrives(0, BLOCK_SIZE).unwrap();
        plan.differs();
        assert_eq!(plan.verdict(true), Verdict::Wait, "the repeat is on its way");
        plan.ends(whole, source(BLOCK).into());
        assert_eq!(plan.verdict(true), Verdict::Wait, "said before the repeat");
        plan.arrives(0, BLOCK_SIZE).unwrap();
        plan.verified(BLOCK_SIZE, &[leaf(); 8]);
        assert_eq!(plan.verdict(true), Verdict::Whole(whole));
        plan.ends(leaf(), source(BLOCK).into());
        assert_eq!(plan.verdict(true), Verdict::Mismatch);
        plan.ends(whole, SourceFingerprint { mtime_ns: 9, ..source(BLOCK) }.into());
        assert_eq!(plan.verdict(false), Verdict::SourceChanged);
        assert_eq!(plan.moved_leaves(), 16);
    }

    #[test]
    fn an_empty_file_and_a_complete_journal_need_no_block() {
        let mut empty = ReceivingPlan::new(file(0), TreeDigest::new());
        assert_eq!(empty.arrives(0, 0), Err(Violation));
        empty.ends(Md5::of(b""), source(0).into());
        assert_eq!(empty.verdict(true), Verdict::Whole(Md5::of(b"")));

        let leaves = [leaf(), Md5::of(b"short")];
        let size = LEAF_SIZE as u64 + 5;
        let mut plan = ReceivingPlan::new(file(size), TreeDigest::resume(&leaves));
        plan.ends(TreeDigest::resume(&leaves).finish(), source(size).into());
        assert!(matches!(plan.verdict(true), Verdict::Whole(_)));
    }

    fn stream() -> ReceivingPlan {
        ReceivingPlan::new(PutSource::Stream, TreeDigest::new())
    }

    #[test]
    fn a_stream_may_end_anywhere_and_not_go_on_after_that() {
        let mut plan = stream();
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Ok(Arrival::Check));
        plan.verified(BLOCK_SIZE, &[leaf(); 8]);
        assert_eq!(plan.arrives(0, BLOCK_SIZE), Err(Violation), "twice");
        assert_eq!(plan.arrives(BLOCK, 0), Err(Violation));
        assert_eq!(plan.arrives(BLOCK, 5), Ok(Arrival::Check));
        plan.verified(5, &[leaf()]);
        assert_eq!(plan.written(), BLOCK + 5);
        assert_eq!(plan.arrives(BLOCK + 5, LEAF_SIZE), Err(Violation));
    }

    #[test]
    fn the_size_of_a_stream_is_what_came() {
        let whole = TreeDigest::resume(&[leaf(); 8]).finish();
        let end = |size| SourceEnd::Stream { size };
        let mut empty = stream();
        assert_eq!(empty.verdict(true), Verdict::Wait);
        empty.ends(Md5::of(b""), end(0));
        assert_eq!(empty.verdict(true), Verdict::Whole(Md5::of(b"")));

        let mut plan = stream();
        plan.ends(whole, end(BLOCK));
        assert_eq!(plan.verdict(false), Verdict::Wait);
        assert_eq!(plan.verdict(true), Verdict::Contradicted, "not all was sent");
        plan.arrives(0, BLOCK_SIZE).unwrap();
        plan.differs();
        assert_eq!(plan.verdict(true), Verdict::Wait, "the repeat is on its way");
        plan.arrives(0, BLOCK_SIZE).unwrap();
        plan.verified(BLOCK_SIZE, &[leaf(); 8]);
        assert_eq!(plan.verdict(true), Verdict::Whole(whole));
        plan.ends(leaf(), end(BLOCK));
        assert_eq!(plan.verdict(true), Verdict::Mismatch);
        plan.ends(whole, end(BLOCK - 1));
        assert_eq!(plan.verdict(true), Verdict::Contradicted, "more was sent");
        plan.ends(whole, source(BLOCK).into());
        assert_eq!(plan.verdict(true), Verdict::Contradicted, "it was no file");
        let mut plan = ReceivingPlan::new(file(0), TreeDigest::new());
        plan.ends(Md5::of(b""), end(0));
        assert_eq!(plan.verdict(true), Verdict::Contradicted, "it was a file");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// A sender with blocks on their way, a line that corrupts some, and the plan between them.
        #[test]
        fn go_back_n_completes_with_the_right_digest(
            len in 1usize..6 * BLOCK_SIZE,
            resumed in 0u64..20,
            corrupt in prop::collection::hash_set(0usize..12, 0..4),
            window in 1usize..5,
        ) {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 999 + at % 13) as u8).collect();
            let all = digest::leaves(&bytes);
            let resumed = (resumed as usize).min(all.len());
            let mut plan = ReceivingPlan::new(file(len as u64), TreeDigest::resume(&all[..resumed]));
            let start = (resumed * LEAF_SIZE).min(len);
            let (mut next, mut sent, mut rounds) = (start, 0usize, 0);
            let mut line = VecDeque::new();
            let mut written = bytes[..start].to_vec();
            let mut gave_up = false;
            loop {
                rounds += 1;
                prop_assert!(rounds < 1000);
                while line.len() < window && next < len {
                    let end = (next + BLOCK_SIZE).min(len);
                    line.push_back((next, end, corrupt.contains(&sent)));
                    sent += 1;
                    next = end;
                }
                if next == len {
                    plan.ends(TreeDigest::resume(&all).finish(), source(len as u64).into());
                }
                let Some((from, to, bad)) = line.pop_front() else { break };
                if plan.arrives(from as u64, to - from).unwrap() == Arrival::Ignore {
                    continue;
                }
                if bad {
                    match plan.differs() {
                        Failure::Again { offset } => next = offset as usize,
                        Failure::GiveUp { .. } => { gave_up = true; break }
                    }
                } else {
                    prop_assert_eq!(written.len(), from);
                    written.extend_from_slice(&bytes[from..to]);
                    plan.verified(to - from, &digest::leaves(&bytes[from..to]));
                }
            }
            if !gave_up {
                prop_assert_eq!(plan.verdict(true), Verdict::Whole(TreeDigest::resume(&all).finish()));
                prop_assert_eq!(written, bytes);
            }
        }
    }
}

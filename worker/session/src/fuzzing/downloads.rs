//! A download: its plan, told anything by its client, compared with what a client has got.

use berth_common::digest::{Md5, TreeDigest};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

use super::uploads::Goes;
use crate::transfer::plan::{Failure, SendingPlan, Violation, leaves_of};

/// One download, and what its client has.
pub(super) struct Download {
    plan: SendingPlan,
    size: u64,
    start: u64,
    /// Leaf digests of the client's that are to come.
    awaited: u64,
    /// Where the next block begins, and up to where blocks were sent.
    next: u64,
    sent: u64,
    asked: Option<u64>,
    tries: u64,
}

/// The file's leaves: those that were read, and those that the client says it has.
fn leaves(range: std::ops::Range<u64>) -> Vec<Md5> {
    range.map(|index| Md5::of(&index.to_be_bytes())).collect()
}

impl Download {
    /// Leaves that the client with this number says it has of its file.
    pub(super) fn resumed_leaves(number: u32) -> u64 {
        u64::from(number % 4).min(leaves_of(Self::size(number)))
    }

    fn size(number: u32) -> u64 {
        const SIZES: [u64; 4] = [0, 5, 3 * BLOCK_SIZE as u64 + 9, 10 * BLOCK_SIZE as u64];
        SIZES[number as usize % SIZES.len()]
    }

    /// Begins it.
    pub(super) fn new(number: u32, resumed: bool) -> Self {
        let size = Self::size(number);
        let awaited = if resumed { Self::resumed_leaves(number) } else { 0 };
        let start = (awaited * LEAF_SIZE as u64).min(size);
        let plan = SendingPlan::new(size, awaited);
        Self { plan, size, start, awaited, next: start, sent: start, asked: None, tries: 0 }
    }

    /// The client says so many of the leaves that it has.
    pub(super) fn client_has(&mut self, count: u64) -> Goes {
        let told = self.start.div_ceil(LEAF_SIZE as u64) - self.awaited;
        let result = self.plan.client_has(&leaves(told..told + count));
        assert_eq!(result.is_ok(), (1..=self.awaited).contains(&count), "{count}");
        if result.is_err() {
            return Goes::Over;
        }
        self.awaited -= count;
        assert_eq!(self.plan.is_ready(), self.awaited == 0);
        self.check()
    }

    /// The next block is read, and sent.
    pub(super) fn send(&mut self) -> Goes {
        let left = (self.size - self.next).min(BLOCK_SIZE as u64) as usize;
        let expected = (left > 0 && self.awaited == 0).then_some((self.next, left));
        let block = self.plan.next_block();
        assert_eq!(block, expected);
        let Some((offset, len)) = block else { return self.check() };
        let end = offset + len as u64;
        assert_eq!(self.plan.is_last(offset, len), end == self.size);
        let first = offset / LEAF_SIZE as u64;
        self.plan.sends(offset, len, &leaves(first..first + leaves_of(len as u64)));
        self.next = end;
        self.sent = self.sent.max(end);
        self.check()
    }

    /// The client asks for a block again.
    pub(super) fn again(&mut self, offset: u64) -> Goes {
        let was_sent = offset >= self.start
            && offset < self.sent
            && (offset - self.start).is_multiple_of(BLOCK_SIZE as u64);
        match self.plan.again(offset) {
            Err(Violation) => {
                assert!(!was_sent, "{offset} was sent, and cannot be had again");
                Goes::Over
            }
            Ok(Failure::GiveUp { .. }) => {
                assert!(was_sent && self.asked.is_some_and(|asked| offset <= asked));
                Goes::Over
            }
            Ok(Failure::Again { offset: from }) => {
                assert!(was_sent && from == offset);
                assert!(self.asked.is_none_or(|asked| asked < offset), "a second time");
                self.asked = Some(offset);
                self.tries += 1;
                assert!(self.tries <= self.size.div_ceil(BLOCK_SIZE as u64), "read for ever");
                self.next = offset;
                self.check()
            }
        }
    }

    fn check(&self) -> Goes {
        let whole = self.awaited == 0 && self.next == self.size && self.sent == self.size;
        let digest = TreeDigest::resume(&leaves(0..leaves_of(self.size))).finish();
        assert_eq!(self.plan.finish(), whole.then_some(digest));
        Goes::On
    }
}

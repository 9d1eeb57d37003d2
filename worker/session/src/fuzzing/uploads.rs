//! An upload: its plan and its room, told of any blocks and answers, compared with what may have been written.

use berth_common::digest::{Md5, TreeDigest};
use berth_common::entry::{PutSource, SourceEnd, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE, LEASE_BYTES};

use crate::transfer::plan::{
    Arrival, Failure, Need, ReceivingPlan, Room, Verdict, Violation, leaves_of,
};

/// What came of a word about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    /// It is over, one way or the other.
    Over,
}

/// One upload, and what it must know.
pub(super) struct Upload {
    plan: ReceivingPlan,
    source: PutSource,
    room: Option<Room>,
    granted: u64,
    written: u64,
    leaves: Vec<Md5>,
    /// Bytes of the block that a helper checks.
    checking: Option<usize>,
    failed_at: Option<u64>,
    repeating: bool,
    /// The client had said that it has sent all before it knew that a block has to come again: it says so once more.
    ended_early: bool,
    end: Option<(Md5, SourceEnd)>,
}

/// What the client with this number sends.
pub(super) fn source(number: u32) -> PutSource {
    const SIZES: [u64; 5] =
        [0, 5, BLOCK_SIZE as u64, 2 * BLOCK_SIZE as u64 + 5, 21 * LEAF_SIZE as u64];
    match SIZES.get(number as usize) {
        Some(&size) => SourceFingerprint { size, mtime_ns: 1, ctime_ns: 2, inode: 3 }.into(),
        None => PutSource::Stream,
    }
}

fn leaf(index: usize) -> Md5 {
    Md5::of(&index.to_be_bytes())
}

impl Upload {
    /// Begins it; some go on where an earlier session ended.
    pub(super) fn new(number: u32, resumed: bool) -> Self {
        let source = source(number);
        let size = size_of(source);
        let most = leaves_of(size.unwrap_or(0));
        let leaves: Vec<_> =
            (0..if resumed { most.min(3) } else { 0 } as usize).map(leaf).collect();
        let written = (leaves.len() as u64 * LEAF_SIZE as u64).min(size.unwrap_or(0));
        Self {
            plan: ReceivingPlan::new(source, TreeDigest::resume(&leaves)),
            source,
            room: size.is_none().then(|| Room::new(LEASE_BYTES / 4)),
            granted: size.unwrap_or(LEASE_BYTES / 4),
            written,
            leaves,
            checking: None,
            failed_at: None,
            repeating: false,
            ended_early: false,
            end: None,
        }
    }

    /// What an honest client says at its end, or one that takes another file for it.
    pub(super) fn honest_end(&self, other_file: bool) -> (Md5, SourceEnd) {
        match self.source {
            PutSource::File(file) => {
                let all: Vec<_> = (0..leaves_of(file.size) as usize).map(leaf).collect();
                let file = SourceFingerprint { inode: file.inode + u64::from(other_file), ..file };
                (TreeDigest::resume(&all).finish(), file.into())
            }
            PutSource::Stream => {
                let size = self.written + u64::from(other_file);
                (self.digest(), SourceEnd::Stream { size })
            }
        }
    }

    /// The digest of what is there.
    fn digest(&self) -> Md5 {
        TreeDigest::resume(&self.leaves).finish()
    }

    /// The block that follows, or one of another place or length.
    pub(super) fn block(&mut self, argument: u8) -> Goes {
        // While one is checked the next ones wait in the queue.
        if self.checking.is_some() {
            return Goes::On;
        }
        let left = size_of(self.source).map_or(u64::MAX, |size| size - self.written);
        let next = left.min(BLOCK_SIZE as u64) as usize;
        let (offset, len) = match argument % 8 {
            0..4 => (self.written, next),
            4 => (self.written + BLOCK_SIZE as u64, next),
            5 => (self.written.saturating_sub(LEAF_SIZE as u64), LEAF_SIZE),
            6 => (self.written, next + 1),
            _ => (self.written, next.min(77)),
        };
        match self.plan.arrives(offset, len) {
            Ok(Arrival::Check) => {
                assert_eq!(offset, self.written, "a block is written elsewhere than at the end");
                assert!(len > 0 && len as u64 <= left, "a block reaches beyond the file");
                self.repeating = false;
                self.check_in_room(len)
            }
            Ok(Arrival::Ignore) => {
                assert!(self.repeating && offset > self.written, "a block got lost");
                Goes::On
            }
            Err(Violation) => {
                // A block that ends within a leaf is a stream's last one.
                let goes_on = next > 0 && self.written.is_multiple_of(LEAF_SIZE as u64);
                assert!(argument % 8 > 3 || !goes_on, "the next block is refused");
                Goes::Over
            }
        }
    }

    fn check_in_room(&mut self, len: usize) -> Goes {
        let end = self.written + len as u64;
        let Some(room) = &mut self.room else {
            self.checking = Some(len);
            return Goes::On;
        };
        let was_asking = room.is_asking();
        match room.need(end) {
            Need::Nothing => self.checking = Some(len),
            Need::Wait => assert!(was_asking, "it waits for an answer that will not come"),
            Need::Ask { least } => assert!(!was_asking && least == end, "two questions at once"),
        }
        Goes::On
    }

    /// What is more to write is granted, or refused.
    pub(super) fn answer(&mut self, more: u64, refused: bool) -> Goes {
        let Some(room) = self.room.as_mut().filter(|room| room.is_asking()) else {
            return Goes::On;
        };
        let answer = if refused { Err(ErrorCode::DiskFull) } else { Ok(self.granted + more) };
        match room.answered(answer) {
            Ok(()) if refused => {}
            Ok(()) => self.granted += more,
            Err(error) => {
                assert!(refused && error == ErrorCode::DiskFull);
                return Goes::Over;
            }
        }
        assert!(!room.is_asking());
        Goes::On
    }

    /// The helper has checked the block.
    pub(super) fn checked(&mut self, good: bool) -> Goes {
        let Some(len) = self.checking.take() else { return Goes::On };
        if !good {
            let offset = self.written;
            let expected = match self.failed_at.replace(offset) {
                Some(at) if at == offset => Failure::GiveUp { offset },
                _ => Failure::Again { offset },
            };
            self.repeating = true;
            self.ended_early = self.end.is_some();
            assert_eq!(self.plan.differs(), expected);
            let over = matches!(expected, Failure::GiveUp { .. });
            return if over { Goes::Over } else { self.verdict() };
        }
        let first = self.leaves.len();
        let leaves: Vec<_> = (first..first + len.div_ceil(LEAF_SIZE)).map(leaf).collect();
        self.plan.verified(len, &leaves);
        self.leaves.extend(leaves);
        self.written += len as u64;
        self.failed_at = None;
        assert!(self.written <= self.granted, "more is written than was granted");
        if let Some(room) = &mut self.room {
            let was_asking = room.is_asking();
            let asked = room.ask_ahead(self.written);
            assert!(asked.is_none() || !was_asking, "two questions at once");
        }
        self.verdict()
    }

    /// The client says that it has sent all.
    pub(super) fn ends(&mut self, digest: Md5, source: SourceEnd) -> Goes {
        self.end = Some((digest, source));
        self.ended_early = self.repeating;
        self.plan.ends(digest, source);
        assert!(self.plan.is_ending());
        self.verdict()
    }

    /// Whether what was said at the end is all true of what is here.
    fn is_true(&self) -> bool {
        self.end.is_some_and(|(digest, source)| {
            let same = match (self.source, source) {
                (PutSource::File(file), SourceEnd::File(end)) => {
                    file == end && file.size == self.written
                }
                (PutSource::Stream, SourceEnd::Stream { size }) => size == self.written,
                _ => false,
            };
            same && digest == self.digest()
        })
    }

    fn verdict(&mut self) -> Goes {
        assert_eq!(self.plan.written(), self.written);
        if self.checking.is_some() {
            return Goes::On;
        }
        match self.plan.verdict(true) {
            Verdict::Wait => {
                assert!(!self.is_true(), "it is whole, and waits");
                assert!(self.end.is_none() || self.ended_early, "what is to come?");
                Goes::On
            }
            Verdict::Whole(digest) => {
                assert!(self.is_true() && digest == self.digest(), "another file is committed");
                Goes::Over
            }
            Verdict::SourceChanged | Verdict::Mismatch | Verdict::Contradicted => {
                assert!(self.end.is_some() && !self.is_true(), "what is right is refused");
                Goes::Over
            }
        }
    }
}

fn size_of(source: PutSource) -> Option<u64> {
    match source {
        PutSource::File(file) => Some(file.size),
        PutSource::Stream => None,
    }
}

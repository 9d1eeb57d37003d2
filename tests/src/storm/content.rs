//! What the storm puts and appends: determined by a number and a size, and beginning with both.
//!
//! So a file that is found anywhere can be named and checked to be whole, also one that is a row of
//! contents (`file.rs`), and no content is kept.
//! The rest of a content is made of a few fixed leaves, whose MD5s are computed once: the storm wants
//! its processors for the servers. Less than [`HEADER`] bytes have no room for a number; all that have
//! the same size are the same, a byte that tells the size, so many times.

use std::sync::OnceLock;

use berth_common::digest::{Md5, TreeDigest, leaves};
use berth_common::limits::{LEAF_SIZE, LEAVES_PER_BLOCK};

use super::random::Random;

/// Bytes of the number and the size.
pub const HEADER: u64 = 16;

/// Fixed leaves from which the rest is made.
const POOL: usize = 16;

/// Added to the size of a content without a number it makes its bytes. No number begins with such a one.
const TINY: u8 = 0xf0;

/// What is put or appended by one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// The number, below 2^60; 0 where there is no room for it.
    pub number: u64,
    /// Bytes.
    pub size: u64,
}

impl Content {
    /// The content with this number and size.
    #[must_use]
    pub fn new(number: u64, size: u64) -> Self {
        Self { number: if size < HEADER { 0 } else { number }, size }
    }

    /// What claims to begin with `start`, which has [`HEADER`] bytes or all that are left. `None` when
    /// it is nothing of the storm's.
    #[must_use]
    pub fn claimed_by(start: &[u8]) -> Option<Self> {
        let first = *start.first()?;
        if first > TINY {
            return Some(Self { number: 0, size: u64::from(first - TINY) });
        }
        let (number, size) = (start.get(..8)?, start.get(8..16)?);
        let read = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
        let (number, size) = (read(number)?, read(size)?);
        (size >= HEADER).then_some(Self { number, size })
    }

    /// How many leaves it has.
    #[must_use]
    pub fn leaf_count(self) -> u64 {
        self.size.div_ceil(LEAF_SIZE as u64)
    }

    /// The bytes of up to [`LEAVES_PER_BLOCK`] leaves from this one on, and their MD5s.
    #[must_use]
    pub fn block(self, first_leaf: u64) -> (Vec<u8>, Vec<Md5>) {
        let end = self.leaf_count().min(first_leaf + LEAVES_PER_BLOCK as u64);
        let (mut bytes, mut digests) = (Vec::new(), Vec::new());
        for index in first_leaf..end {
            bytes.extend_from_slice(&self.leaf(index));
            digests.push(self.leaf_digest(index));
        }
        (bytes, digests)
    }

    /// The MD5 of one leaf.
    #[must_use]
    pub fn leaf_digest(self, index: u64) -> Md5 {
        if index > 0 && (index + 1) * LEAF_SIZE as u64 <= self.size {
            return pool()[self.pooled(index)].1;
        }
        leaves(&self.leaf(index))[0]
    }

    /// The tree digest.
    #[must_use]
    pub fn digest(self) -> Md5 {
        let mut tree = TreeDigest::new();
        (0..self.leaf_count()).for_each(|index| tree.push(self.leaf_digest(index)));
        tree.finish()
    }

    /// Whether `bytes` are those from this place on.
    #[must_use]
    pub fn has_at(self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if offset >= self.size {
                return false;
            }
            let index = offset / LEAF_SIZE as u64;
            let within = (offset % LEAF_SIZE as u64) as usize;
            let (these, rest) = bytes.split_at(bytes.len().min(self.leaf_size(index) - within));
            let range = within..within + these.len();
            let same = match index {
                0 => these == &self.leaf(0)[range],
                _ => these == &pool()[self.pooled(index)].0[range],
            };
            if !same {
                return false;
            }
            (offset, bytes) = (offset + these.len() as u64, rest);
        }
        true
    }

    fn leaf(self, index: u64) -> Vec<u8> {
        let size = self.leaf_size(index);
        if self.size < HEADER {
            return vec![TINY + size as u8; size];
        }
        let mut leaf = pool()[self.pooled(index)].0[..size].to_vec();
        if index == 0 {
            leaf[..8].copy_from_slice(&self.number.to_be_bytes());
            leaf[8..16].copy_from_slice(&self.size.to_be_bytes());
        }
        leaf
    }

    fn leaf_size(self, index: u64) -> usize {
        (self.size - index * LEAF_SIZE as u64).min(LEAF_SIZE as u64) as usize
    }

    fn pooled(self, index: u64) -> usize {
        (Random::of(&[self.number, index]).next() % POOL as u64) as usize
    }
}

fn pool() -> &'static [(Vec<u8>, Md5)] {
    static LEAVES: OnceLock<Vec<(Vec<u8>, Md5)>> = OnceLock::new();
    LEAVES.get_or_init(|| {
        let leaf = |number: usize| {
            let mut random = Random::of(&[number as u64]);
            let words = (0..LEAF_SIZE / 8).flat_map(|_| random.next().to_le_bytes());
            let bytes: Vec<u8> = words.collect();
            let digest = Md5::of(&bytes);
            (bytes, digest)
        };
        (0..POOL).map(leaf).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(content: Content) -> Vec<u8> {
        let blocks = (0..content.leaf_count()).step_by(LEAVES_PER_BLOCK);
        blocks.flat_map(|first| content.block(first).0).collect()
    }

    #[test]
    fn a_content_names_itself_and_every_leaf_has_its_digest() {
        for size in [0, 1, 15, 16, 17, 131_071, 131_072, 131_073, 3 << 20, (1 << 20) + 5] {
            let content = Content::new(77, size);
            let bytes = whole(content);
            assert_eq!(bytes.len() as u64, size);
            let start = &bytes[..bytes.len().min(HEADER as usize)];
            let claimed = Content::claimed_by(start);
            assert_eq!(claimed, (size > 0).then_some(content), "{size}");
            assert!(content.has_at(0, &bytes), "{size}");
            assert!(!content.has_at(0, &[&bytes[..], &[0]].concat()), "{size} and one more");
            for offset in [1, 20, 131_000].map(|offset| bytes.len().min(offset)) {
                assert!(content.has_at(offset as u64, &bytes[offset..]), "{size} from {offset}");
            }
            let mut tree = TreeDigest::new();
            for (index, leaf) in bytes.chunks(LEAF_SIZE).enumerate() {
                assert_eq!(content.leaf_digest(index as u64), Md5::of(leaf));
                tree.push(Md5::of(leaf));
            }
            assert_eq!(content.digest(), tree.finish());
        }
    }

    #[test]
    fn bytes_of_another_content_are_noticed() {
        let content = Content::new(5, 3 << 20);
        let other = whole(Content::new(6, 3 << 20));
        let differs = |index: u64| {
            let at = index as usize * LEAF_SIZE;
            !content.has_at(at as u64, &other[at..at + LEAF_SIZE])
        };
        assert!(differs(0));
        // Leaves come from a pool, so a single one may be the same.
        assert!((1..content.leaf_count()).filter(|index| differs(*index)).count() > 12);
    }
}

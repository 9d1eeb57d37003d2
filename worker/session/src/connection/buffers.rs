//! Buffers for blocks, reused while transfers run and freed when none does.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use berth_common::limits::BLOCK_SIZE;

/// Bytes of a buffer that is worth keeping: a block with all that precedes its data in a frame.
const KEPT_BYTES: usize = BLOCK_SIZE + 256;

/// Buffers that are kept at most: about what one fast transfer has on its way.
const MOST_KEPT: usize = 6;

/// Bytes on the heap, and which of them count. What lies outside is left over from earlier use.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Leaves out the first `count` bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
}

/// The buffers that are not in use.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: RefCell<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// A buffer of `len` bytes, whose content is whatever it was.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let kept = self.free.borrow_mut().pop().filter(|bytes| bytes.len() >= len);
        // A fresh large one comes zeroed from the kernel, so this writes nothing.
        let bytes = kept.unwrap_or_else(|| {
            vec![0; if len > KEPT_BYTES / 4 { len.max(KEPT_BYTES) } else { len }]
        });
        Buffer { bytes, start: 0, end: len }
    }

    /// Takes a buffer back.
    pub(crate) fn give(&self, buffer: Buffer) {
        let mut free = self.free.borrow_mut();
        if buffer.bytes.len() >= KEPT_BYTES && free.len() < MOST_KEPT {
            free.push(buffer.bytes);
        }
    }

    /// Frees all that is kept.
    pub(crate) fn clear(&self) {
        self.free.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_reused_small_ones_are_not_kept() {
        let pool = BufferPool::default();
        let mut large = pool.take(BLOCK_SIZE);
        large[0] = 9;
        large.skip(10);
        assert_eq!(large.len(), BLOCK_SIZE - 10);
        pool.give(large);
        pool.give(pool.take(100));
        assert_eq!(pool.free.borrow().len(), 1, "the same one went out and in again");
        let again = pool.take(BLOCK_SIZE + 100);
        assert_eq!((again.len(), again[0]), (BLOCK_SIZE + 100, 9));
        let small = pool.take(100);
        assert_eq!(small.bytes.len(), 100);
        pool.give(small);
        pool.give(again);
        for _ in 0..10 {
            pool.give(Buffer { bytes: vec![0; KEPT_BYTES], start: 0, end: 0 });
        }
        assert_eq!(pool.free.borrow().len(), MOST_KEPT);
        pool.clear();
        assert!(pool.free.borrow().is_empty());
    }
}

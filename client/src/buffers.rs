//! Buffers for blocks, used again instead of allocated again; for the session and the transfers.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use berth_common::frame::HEADER_BYTES;
use berth_common::limits::BLOCK_SIZE;

/// Holds any block's body: its data, and its header with eight digests.
const BUFFER_SIZE: usize = BLOCK_SIZE + HEADER_BYTES + 251;

/// Most buffers that wait for use; more than that are freed. With them at most 16 MiB idle.
const MOST_KEPT: usize = 16;

/// Buffers that wait for use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer of `len` bytes, whose content is whatever it was.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Zeroed memory from the system costs nothing until it is touched.
        let mut bytes = kept.unwrap_or_else(|| vec![0; BUFFER_SIZE]);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer { bytes, len, pool: Some(self.clone()) }
    }
}

/// A buffer that goes back to its pool, or a small one of no pool.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Option<Pool>,
}

/// Bytes that were read where no pool is. Many small ones may wait for use, which as buffers of a pool would
/// take a whole block each.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), bytes, pool: None }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = &self.pool else {
            return;
        };
        let mut kept = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let pool = Pool::default();
        let mut buffer = pool.take(10);
        assert_eq!(buffer.len(), 10);
        buffer[0] = 7;
        drop(buffer);
        let buffer = pool.take(BUFFER_SIZE + 1);
        assert_eq!((buffer[0], buffer.len()), (7, BUFFER_SIZE + 1));
    }

    #[test]
    fn a_buffer_of_no_pool_has_the_bytes_that_it_was_given() {
        let buffer = Buffer::from(vec![1, 2, 3]);
        assert_eq!(&*buffer, [1, 2, 3]);
    }
}

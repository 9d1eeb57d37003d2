//! A source that can be read only once, such as a pipe: read and hashed ahead on a thread of its own, with the
//! blocks kept that the server may still ask for again.
//!
//! The thread is not one of the runtime's: it may wait for ever for whoever writes into the pipe, and the program
//! ends without it.

use std::collections::VecDeque;
use std::io::{self, Read};

use berth_common::digest;
use berth_common::limits::BLOCK_SIZE;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::TransferError;
use super::source::SourceBlock;
use crate::buffers::{Buffer, Pool};

/// Blocks that are read and hashed before they are asked for.
const READ_AHEAD: usize = 2;

/// Blocks that are kept after they were sent: more than what is on its way to a server that has not looked at it, in
/// the queues of both programs (4 MiB at the server) and the buffers of both sockets, of which Linux gives each at
/// most 6 MiB unless told otherwise.
pub const KEPT_BLOCKS: usize = 16;

/// `None` is the end. A reader that ends without saying so has failed.
type Item = Result<Option<SourceBlock>, TransferError>;

/// The source.
#[derive(Debug)]
pub(super) struct Stream {
    coming: mpsc::Receiver<Item>,
    kept: VecDeque<SourceBlock>,
    /// Which of the kept ones is sent next; all are when it is their number.
    next: usize,
    /// Bytes that were read.
    size: u64,
    ended: bool,
    pool: Pool,
    _reading: Reading,
}

/// The task that reads, where it is one: it ends with the source, whatever it waits for.
#[derive(Debug)]
struct Reading(Option<AbortHandle>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Stream {
    /// Begins to read.
    pub(super) fn start(
        input: impl Read + Send + 'static,
        pool: &Pool,
    ) -> Result<Self, TransferError> {
        let (blocks, coming) = mpsc::channel(READ_AHEAD);
        let pool = pool.clone();
        let own = pool.clone();
        let thread = std::thread::Builder::new().name("input".into());
        thread.spawn(move || read(input, &own, &blocks)).map_err(TransferError::Input)?;
        Ok(Self::of(coming, pool, Reading(None)))
    }

    /// Begins to read on a task.
    pub(super) fn start_async(input: impl AsyncRead + Unpin + Send + 'static, pool: &Pool) -> Self {
        let (blocks, coming) = mpsc::channel(READ_AHEAD);
        let task = tokio::spawn(read_async(input, pool.clone(), blocks));
        Self::of(coming, pool.clone(), Reading(Some(task.abort_handle())))
    }

    fn of(coming: mpsc::Receiver<Item>, pool: Pool, reading: Reading) -> Self {
        let (kept, next, size, ended) = (VecDeque::new(), 0, 0, false);
        Self { coming, kept, next, size, ended, pool, _reading: reading }
    }

    /// Bytes that were read; all of them once [`Stream::next`] has given `None`.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The next block, or `None` at the end.
    ///
    /// # Cancel safety
    /// No block is lost.
    pub(super) async fn next(&mut self) -> Item {
        if self.next == self.kept.len() {
            if self.ended {
                return Ok(None);
            }
            let item = self.coming.recv().await;
            let gone = || Err(TransferError::Input(io::Error::other("the reader has ended")));
            let Some(block) = item.unwrap_or_else(gone)? else {
                self.ended = true;
                return Ok(None);
            };
            self.size = block.offset + block.data.len() as u64;
            self.kept.push_back(block);
            if self.kept.len() > KEPT_BLOCKS {
                self.kept.pop_front();
            }
            self.next = self.kept.len() - 1;
        }
        let block = &self.kept[self.next];
        let mut data = self.pool.take(block.data.len());
        data.copy_from_slice(&block.data);
        self.next += 1;
        Ok(Some(SourceBlock { offset: block.offset, leaves: block.leaves.clone(), data }))
    }

    /// Goes back to the block at `offset`, which was sent.
    ///
    /// # Errors
    /// When it is kept no longer.
    pub(super) fn back_to(&mut self, offset: u64) -> Result<(), TransferError> {
        let found = self.kept.iter().position(|block| block.offset == offset);
        self.next = found.ok_or(TransferError::StreamNotKept)?;
        Ok(())
    }
}

/// Reads to the end, or until nobody takes what is read.
fn read(mut input: impl Read, pool: &Pool, blocks: &mpsc::Sender<Item>) {
    let mut offset = 0;
    loop {
        let mut data = pool.take(BLOCK_SIZE);
        let (len, ended) = match fill(&mut input, &mut data) {
            Ok(filled) => filled,
            Err(error) => return drop(blocks.blocking_send(Err(TransferError::Input(error)))),
        };
        if len > 0 {
            let data = shortened(data, len, pool);
            let leaves = digest::leaves(&data);
            if blocks.blocking_send(Ok(Some(SourceBlock { offset, leaves, data }))).is_err() {
                return;
            }
            offset += len as u64;
        }
        if ended {
            // Not read once more: a terminal would begin anew.
            return drop(blocks.blocking_send(Ok(None)));
        }
    }
}

/// Reads until the buffer is full or the input has ended: how many bytes, and whether it has.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => return Ok((filled, true)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled, false))
}

/// The same on a task; blocks are hashed beside it.
async fn read_async(mut input: impl AsyncRead + Unpin, pool: Pool, blocks: mpsc::Sender<Item>) {
    let mut offset = 0;
    loop {
        let mut data = pool.take(BLOCK_SIZE);
        let (len, ended) = match fill_async(&mut input, &mut data).await {
            Ok(filled) => filled,
            Err(error) => return drop(blocks.send(Err(TransferError::Input(error))).await),
        };
        if len > 0 {
            let data = shortened(data, len, &pool);
            let hashed = tokio::task::spawn_blocking(move || (digest::leaves(&data), data));
            // Without an answer the runtime is going down.
            let Ok((leaves, data)) = hashed.await else { return };
            if blocks.send(Ok(Some(SourceBlock { offset, leaves, data }))).await.is_err() {
                return;
            }
            offset += len as u64;
        }
        if ended {
            return drop(blocks.send(Ok(None)).await);
        }
    }
}

async fn fill_async(
    input: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
) -> io::Result<(usize, bool)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]).await {
            Ok(0) => return Ok((filled, true)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled, false))
}

fn shortened(data: Buffer, len: usize, pool: &Pool) -> Buffer {
    if len == data.len() {
        return data;
    }
    let mut short = pool.take(len);
    short.copy_from_slice(&data[..len]);
    short
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives a few bytes at a time, and perhaps an error after them.
    struct Slow(io::Cursor<Vec<u8>>, Option<io::ErrorKind>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(77_777);
            match (Read::read(&mut self.0, &mut buffer[..most])?, self.1) {
                (0, Some(error)) => Err(error.into()),
                (read, _) => Ok(read),
            }
        }
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 999 + at % 13) as u8).collect()
    }

    fn stream(bytes: &[u8], error: Option<io::ErrorKind>) -> Stream {
        let input = Slow(io::Cursor::new(bytes.to_vec()), error);
        Stream::start(input, &Pool::default()).unwrap()
    }

    /// Says when it is dropped, and never has anything.
    struct Idle(#[allow(dead_code, reason = "it is dropped")] mpsc::Sender<()>);

    impl AsyncRead for Idle {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn what_is_read_on_a_task_is_the_same_and_ends_with_the_source() {
        for len in [0, 1, BLOCK_SIZE, 2 * BLOCK_SIZE + 5] {
            let bytes = content(len);
            let mut stream = Stream::start_async(io::Cursor::new(bytes.clone()), &Pool::default());
            let mut all = Vec::new();
            while let Some(block) = stream.next().await.unwrap() {
                assert_eq!(block.leaves, digest::leaves(&block.data));
                all.extend_from_slice(&block.data);
            }
            assert!(all == bytes && stream.size() == len as u64, "{len}");
        }
        let (alive, mut dropped) = mpsc::channel(1);
        drop(Stream::start_async(Idle(alive), &Pool::default()));
        assert_eq!(dropped.recv().await, None);
    }

    #[tokio::test]
    async fn what_is_read_comes_in_blocks_and_then_the_end() {
        for len in [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 5] {
            let bytes = content(len);
            let mut stream = stream(&bytes, None);
            let mut all = Vec::new();
            while let Some(block) = stream.next().await.unwrap() {
                assert_eq!(block.offset, all.len() as u64);
                assert_eq!(block.leaves, digest::leaves(&block.data));
                all.extend_from_slice(&block.data);
                assert!(block.data.len() == BLOCK_SIZE || all.len() == len);
            }
            assert!(all == bytes && stream.size() == len as u64, "{len}");
            assert!(stream.next().await.unwrap().is_none(), "and still the end");
        }
    }

    #[tokio::test]
    async fn the_last_blocks_can_be_had_again_and_no_others() {
        let bytes = content((KEPT_BLOCKS + 3) * BLOCK_SIZE + 9);
        let mut stream = stream(&bytes, None);
        while stream.next().await.unwrap().is_some() {}
        let kept_from = (4 * BLOCK_SIZE) as u64;
        assert!(stream.back_to(kept_from - BLOCK_SIZE as u64).is_err());
        assert!(stream.back_to(kept_from + 1).is_err());
        stream.back_to(kept_from).unwrap();
        let mut at = kept_from as usize;
        while let Some(block) = stream.next().await.unwrap() {
            assert!(block.offset == at as u64 && bytes[at..].starts_with(&block.data));
            at += block.data.len();
        }
        assert_eq!(at, bytes.len());
    }

    #[tokio::test]
    async fn an_error_is_no_end() {
        let mut stream = stream(&content(BLOCK_SIZE + 5), Some(io::ErrorKind::TimedOut));
        assert!(stream.next().await.unwrap().is_some());
        let error = stream.next().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot read the input: "), "{error}");
        assert!(stream.next().await.is_err(), "nor is a reader that has gone");
    }
}

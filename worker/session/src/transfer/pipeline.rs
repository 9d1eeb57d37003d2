//! The bounded way of blocks from the connection to the uploads: one queue an upload.
//!
//! Bound, in bytes: of one upload [`QUEUED_BLOCKS`] blocks wait here, one is being read from the network
//! and one is with the helper: 4 MiB, which is also how far the journal lags what was read. A second one that
//! the helper has only to hash is lent to it, and keeps its place.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use berth_common::frame::BlockHeader;
use berth_common::ids::RequestId;
use tokio::sync::Notify;

use crate::connection::Buffer;

/// Blocks that wait in one queue.
pub(crate) const QUEUED_BLOCKS: usize = 2;

/// A data block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Where it belongs, and its leaves' MD5s.
    pub(crate) header: BlockHeader,
    /// The data alone.
    pub(crate) data: Buffer,
}

/// The blocks of one upload that were read and not yet taken.
#[derive(Debug)]
pub(crate) struct BlockQueue {
    blocks: RefCell<VecDeque<Block>>,
    /// The next block is lent out.
    lent: Cell<bool>,
    closed: Cell<bool>,
    moved_at: Cell<Instant>,
    arrived: Notify,
    room: Notify,
}

impl BlockQueue {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            blocks: RefCell::default(),
            lent: Cell::new(false),
            closed: Cell::new(false),
            moved_at: Cell::new(Instant::now()),
            arrived: Notify::new(),
            room: Notify::new(),
        })
    }

    /// Takes the next block, if one is here.
    pub(crate) fn pop(&self) -> Option<Block> {
        let block = self.blocks.borrow_mut().pop_front();
        if block.is_some() {
            self.room.notify_one();
        }
        block
    }

    /// Lends the next block out, if one with data is here. It has to come back before the next is taken.
    pub(crate) fn lend(&self) -> Option<Block> {
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks
            .front()
            .is_some_and(|block| !block.data.is_empty())
            .then(|| blocks.pop_front())
            .flatten();
        self.lent.set(block.is_some());
        block
    }

    /// Takes back what was lent, as the next block.
    pub(crate) fn take_back(&self, block: Block) {
        self.lent.set(false);
        if !self.closed.get() {
            self.blocks.borrow_mut().push_front(block);
        }
    }

    /// Whether no block is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.borrow().is_empty()
    }

    /// Waits until a block is here, or the queue is closed.
    pub(crate) async fn arrived(self: Rc<Self>) {
        while self.is_empty() && !self.closed.get() {
            self.arrived.notified().await;
        }
    }

    /// When bytes last came for this upload.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at.get()
    }

    async fn push(&self, block: Block) -> Option<Block> {
        while self.taken_places() >= QUEUED_BLOCKS && !self.closed.get() {
            self.room.notified().await;
        }
        if self.closed.get() {
            return Some(block);
        }
        self.blocks.borrow_mut().push_back(block);
        self.arrived.notify_one();
        None
    }

    fn taken_places(&self) -> usize {
        self.blocks.borrow().len() + usize::from(self.lent.get())
    }

    fn close(&self) {
        self.closed.set(true);
        self.blocks.borrow_mut().clear();
        self.arrived.notify_one();
        self.room.notify_one();
    }
}

/// Which upload gets a block. Closed until the login.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    open: Cell<bool>,
    queues: RefCell<HashMap<RequestId, Rc<BlockQueue>>>,
}

impl Routes {
    /// Lets blocks in: the client has logged in.
    pub(crate) fn open(&self) {
        self.open.set(true);
    }

    /// Whether blocks, and messages of full length, are let in.
    pub(crate) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Makes the queue of an upload that is ready for blocks.
    pub(crate) fn add(&self, id: RequestId) -> Rc<BlockQueue> {
        let queue = BlockQueue::new();
        self.queues.borrow_mut().insert(id, Rc::clone(&queue));
        queue
    }

    /// Closes the queue of an upload that takes no more blocks.
    pub(crate) fn remove(&self, id: RequestId) {
        if let Some(queue) = self.queues.borrow_mut().remove(&id) {
            queue.close();
        }
    }

    /// Bytes for this upload have come.
    pub(crate) fn touch(&self, id: RequestId) {
        if let Some(queue) = self.queues.borrow().get(&id) {
            queue.moved_at.set(Instant::now());
        }
    }

    /// Hands a block over, waiting for room. Gives it back when its upload is over: the client may have
    /// sent it before it heard of that.
    pub(crate) async fn deliver(&self, block: Block) -> Option<Block> {
        let queue = self.queues.borrow().get(&block.header.transfer).cloned();
        match queue {
            Some(queue) => queue.push(block).await,
            None => Some(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use berth_common::digest;

    use super::*;
    use crate::connection::BufferPool;

    fn block(id: u32, offset: u64) -> Block {
        let data = BufferPool::default().take(10);
        let leaves = digest::leaves(&data);
        Block { header: BlockHeader { transfer: RequestId(id), offset, leaves }, data }
    }

    #[tokio::test]
    async fn a_full_queue_stops_the_reader_until_a_block_is_taken() {
        let routes = Routes::default();
        let queue = routes.add(RequestId(1));
        for n in 0..QUEUED_BLOCKS {
            assert!(routes.deliver(block(1, n as u64)).await.is_none());
        }
        let taken =
            tokio::join!(routes.deliver(block(1, 9)), async { queue.pop().unwrap().header.offset });
        assert!(taken.0.is_none() && taken.1 == 0);
        assert_eq!((queue.pop().unwrap().header.offset, queue.is_empty()), (1, false));
    }

    #[tokio::test]
    async fn a_block_that_is_lent_keeps_its_place_and_comes_next() {
        let routes = Routes::default();
        let queue = routes.add(RequestId(1));
        assert!(queue.lend().is_none());
        for n in 0..QUEUED_BLOCKS {
            routes.deliver(block(1, n as u64)).await;
        }
        let lent = queue.lend().unwrap();
        let mut third = Box::pin(routes.deliver(block(1, 9)));
        let waits = std::future::poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending()));
        assert!(waits.await, "its place is not given to another");
        queue.take_back(lent);
        assert_eq!(queue.pop().unwrap().header.offset, 0);
        assert!(third.await.is_none());
        assert_eq!(queue.pop().unwrap().header.offset, 1);
    }

    #[tokio::test]
    async fn blocks_of_an_upload_that_is_over_come_back() {
        let routes = Routes::default();
        assert!(!routes.is_open());
        assert!(routes.deliver(block(1, 0)).await.is_some());
        let queue = routes.add(RequestId(1));
        for n in 0..QUEUED_BLOCKS {
            routes.deliver(block(1, n as u64)).await;
        }
        let (returned, ()) = tokio::join!(routes.deliver(block(1, 9)), async {
            routes.remove(RequestId(1));
        });
        assert!(returned.is_some());
        queue.arrived().await;
    }
}

//! What goes to the client: a queue that is bounded in bytes, and the task that empties it.
//!
//! Small frames that wait together are written together; a block is written from where it lies, after
//! its header, without being copied into one frame.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;

use berth_common::client_protocol::WorkerToClient;
use berth_common::frame::{self, BlockHeader};
use berth_common::limits::BLOCK_SIZE;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::buffers::{Buffer, BufferPool};

/// Bytes that may wait for the client: two blocks, and messages beside them.
const QUEUE_BYTES: usize = 2 * BLOCK_SIZE + 512 * 1024;

/// Small frames are gathered up to so many bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A block of less than this is copied to its neighbours instead of being written by itself.
const COPIED_BLOCK_BYTES: usize = 16 * 1024;

/// The connection is gone; its end is reported to the session by other means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub(crate) struct ConnectionGone;

enum Frame {
    Message(Vec<u8>),
    Block {
        head: Vec<u8>,
        data: Buffer,
    },
    /// The last one: what is queued behind it is not written.
    Last(Vec<u8>),
}

struct Queued {
    frame: Frame,
    /// Given back when the frame has left the queue.
    room: Option<OwnedSemaphorePermit>,
}

/// The sending end; clones share the bound.
#[derive(Clone)]
pub(crate) struct Outgoing {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

/// The receiving end, for [`write`].
pub(crate) struct OutgoingQueue(mpsc::UnboundedReceiver<Queued>);

#[cfg(test)]
impl OutgoingQueue {
    /// What is queued, until the last one.
    pub(super) async fn messages(mut self) -> Vec<WorkerToClient> {
        let mut all = Vec::new();
        while let Some(Queued { frame: Frame::Message(bytes), .. }) = self.0.recv().await {
            let body = &bytes[frame::HEADER_BYTES..];
            all.push(frame::decode_message(body).unwrap());
        }
        all
    }
}

impl Outgoing {
    /// A queue and its end.
    pub(crate) fn new() -> (Self, OutgoingQueue) {
        let (queue, frames) = mpsc::unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES)) }, OutgoingQueue(frames))
    }

    /// Queues a message, waiting for room.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn send(&self, message: &WorkerToClient) -> Result<(), ConnectionGone> {
        // Every message of ours is within a frame's bound; one that is not ends the connection.
        let frame = frame::encode_message(message).map_err(|_| ConnectionGone)?;
        self.queue(frame.len(), Frame::Message(frame)).await
    }

    /// Queues a block, waiting for room.
    ///
    /// # Errors
    /// When the connection is gone.
    pub(crate) async fn send_block(
        &self,
        header: &BlockHeader,
        data: Buffer,
    ) -> Result<(), ConnectionGone> {
        let head = header.encode(data.len()).map_err(|_| ConnectionGone)?;
        self.queue(head.len() + data.len(), Frame::Block { head, data }).await
    }

    /// Queues the last message, which needs no room, and nothing after it. Blocks that still wait are
    /// left out.
    pub(crate) fn finish(&self, message: Option<&WorkerToClient>) {
        let frame = message.and_then(|message| frame::encode_message(message).ok());
        let last = Queued { frame: Frame::Last(frame.unwrap_or_default()), room: None };
        self.room.close();
        let _ = self.queue.send(last);
    }

    async fn queue(&self, bytes: usize, frame: Frame) -> Result<(), ConnectionGone> {
        let bytes = u32::try_from(bytes.min(QUEUE_BYTES)).map_err(|_| ConnectionGone)?;
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        let room = Some(room.map_err(|_| ConnectionGone)?);
        self.queue.send(Queued { frame, room }).map_err(|_| ConnectionGone)
    }

    fn is_finished(&self) -> bool {
        self.room.is_closed()
    }
}

/// Writes the queue to the client until the last frame, then ends the TLS stream.
///
/// # Errors
/// When the connection fails.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut queue: OutgoingQueue,
    outgoing: Outgoing,
    pool: Rc<BufferPool>,
) -> io::Result<()> {
    let mut gathered = Vec::new();
    loop {
        let Queued { frame, room } = match queue.0.try_recv() {
            Ok(queued) => queued,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                stream.write_all(&gathered).await?;
                stream.flush().await?;
                // Not `clear`: an idle session keeps no buffer.
                gathered = Vec::new();
                let Some(queued) = queue.0.recv().await else {
                    break;
                };
                queued
            }
        };
        match frame {
            Frame::Message(bytes) => gathered.extend_from_slice(&bytes),
            Frame::Block { data, .. } if outgoing.is_finished() => pool.give(data),
            Frame::Block { head, data } if data.len() < COPIED_BLOCK_BYTES => {
                gathered.extend_from_slice(&head);
                gathered.extend_from_slice(&data);
            }
            Frame::Block { head, data } => {
                gathered.extend_from_slice(&head);
                write_both(&mut stream, &gathered, &data).await?;
                gathered.clear();
                pool.give(data);
            }
            Frame::Last(bytes) => {
                gathered.extend_from_slice(&bytes);
                break;
            }
        }
        drop(room);
        if gathered.len() >= GATHER_BYTES {
            stream.write_all(&gathered).await?;
            gathered.clear();
        }
    }
    stream.write_all(&gathered).await?;
    stream.shutdown().await
}

/// Writes two slices as one stream, so that a block's header shares a TLS record with its data.
async fn write_both<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut head: &[u8],
    mut data: &[u8],
) -> io::Result<()> {
    while !head.is_empty() {
        let slices = [IoSlice::new(head), IoSlice::new(data)];
        let written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = &head[of_head..];
        data = &data[written - of_head..];
    }
    stream.write_all(data).await
}

#[cfg(test)]
mod tests {
    use berth_common::digest;
    use berth_common::error_code::ErrorCode;
    use berth_common::frame::{FrameHeader, FrameKind, HEADER_BYTES};
    use berth_common::ids::RequestId;
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    async fn frame_of(stream: &mut DuplexStream) -> (FrameKind, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await.unwrap();
        let header = FrameHeader::decode(header).unwrap();
        let mut body = vec![0; header.body];
        stream.read_exact(&mut body).await.unwrap();
        (header.kind, body)
    }

    fn done(id: u32) -> WorkerToClient {
        WorkerToClient::Done { id: RequestId(id) }
    }

    #[tokio::test]
    async fn messages_and_blocks_arrive_in_order_and_the_last_one_ends_it() {
        let (near, mut far) = tokio::io::duplex(5000);
        let (outgoing, queue) = Outgoing::new();
        let pool = Rc::new(BufferPool::default());
        let task = write(near, queue, outgoing.clone(), Rc::clone(&pool));
        let sizes = [10, COPIED_BLOCK_BYTES, BLOCK_SIZE];
        let feed = async {
            for (n, size) in sizes.into_iter().enumerate() {
                outgoing.send(&done(n as u32)).await.unwrap();
                let mut data = pool.take(size);
                data.fill(n as u8);
                let leaves = digest::leaves(&data);
                let header = BlockHeader { transfer: RequestId(7), offset: 0, leaves };
                outgoing.send_block(&header, data).await.unwrap();
            }
        };
        let read = async {
            for (n, size) in sizes.into_iter().enumerate() {
                let (kind, body) = frame_of(&mut far).await;
                assert_eq!(kind, FrameKind::Message);
                let message: WorkerToClient = frame::decode_message(&body).unwrap();
                assert_eq!(message, done(n as u32));
                let (kind, body) = frame_of(&mut far).await;
                assert_eq!(kind, FrameKind::Block);
                let (header, data) = BlockHeader::decode(&body).unwrap();
                assert_eq!(header.leaves, digest::leaves(&body[data..]));
                assert!(body.len() - data == size && body[data..].iter().all(|b| *b == n as u8));
            }
            outgoing.finish(Some(&WorkerToClient::Refused { error: ErrorCode::TimedOut }));
            let (_, body) = frame_of(&mut far).await;
            let message: WorkerToClient = frame::decode_message(&body).unwrap();
            assert_eq!(message, WorkerToClient::Refused { error: ErrorCode::TimedOut });
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        };
        let (written, (), ()) = tokio::join!(task, feed, read);
        written.unwrap();
        assert_eq!(outgoing.send(&done(1)).await, Err(ConnectionGone));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_stops_the_senders() {
        let (outgoing, queue) = Outgoing::new();
        let pool = BufferPool::default();
        let header = |data: &Buffer| BlockHeader {
            transfer: RequestId(1),
            offset: 0,
            leaves: digest::leaves(data),
        };
        let mut sent = 0;
        loop {
            let data = pool.take(BLOCK_SIZE);
            let header = header(&data);
            let send = outgoing.send_block(&header, data);
            if tokio::time::timeout(std::time::Duration::from_millis(20), send).await.is_err() {
                break;
            }
            sent += 1;
        }
        assert_eq!(sent, 2);
        drop(queue);
        outgoing.finish(None);
    }
}

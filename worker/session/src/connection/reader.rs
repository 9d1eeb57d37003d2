//! What comes from the client: frames, capped before anything is allocated, decoded and handed on.
//!
//! Messages go to the session, one at a time: the next frame is read when the session has taken the last
//! message. Blocks go to the queue of their transfer, which is bounded, so a slow disk stops the reading.

use std::io;
use std::rc::Rc;

use actix::{Message, Recipient};
use berth_common::client_protocol::ClientToWorker;
use berth_common::frame::{self, BlockHeader, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use berth_common::ids::RequestId;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::buffers::BufferPool;
use crate::transfer::pipeline::{Block, Routes};

/// Most bytes of a message before the login, whose longest part has 1 KiB.
const MESSAGE_BEFORE_LOGIN: usize = 8 * 1024;

/// Bytes of a block's body that name its transfer.
const TRANSFER_BYTES: usize = 4;

/// A message from the client. Answered when the session takes the next one.
#[derive(Debug)]
pub(crate) struct Incoming(pub(crate) ClientToWorker);

impl Message for Incoming {
    type Result = ();
}

/// Why nothing more comes from the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadEnd {
    /// It closed the connection.
    #[error("the client left")]
    Left,
    /// The network failed.
    #[error("network: {0}")]
    Network(io::Error),
    /// It sent something that is no frame of this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is not allowed, or too long, before the login.
    #[error("a frame that is not allowed before the login")]
    BeforeLogin,
    /// The session does not listen any more.
    #[error("the session is over")]
    SessionOver,
}

impl From<io::Error> for ReadEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Also a connection that was cut without TLS's close_notify.
            io::ErrorKind::UnexpectedEof => Self::Left,
            _ => Self::Network(error),
        }
    }
}

/// Reads frames until that ends, and says why.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    inbox: &Recipient<Incoming>,
    routes: &Rc<Routes>,
    pool: &Rc<BufferPool>,
) -> ReadEnd {
    loop {
        if let Err(end) = read_frame(stream, inbox, routes, pool).await {
            return end;
        }
    }
}

async fn read_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    inbox: &Recipient<Incoming>,
    routes: &Rc<Routes>,
    pool: &Rc<BufferPool>,
) -> Result<(), ReadEnd> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let FrameHeader { kind, body } = FrameHeader::decode(header)?;
    match kind {
        FrameKind::Message => {
            if !routes.is_open() && body > MESSAGE_BEFORE_LOGIN {
                return Err(ReadEnd::BeforeLogin);
            }
            let mut bytes = vec![0; body];
            stream.read_exact(&mut bytes).await?;
            let message = frame::decode_message(&bytes)?;
            drop(bytes);
            inbox.send(Incoming(message)).await.map_err(|_| ReadEnd::SessionOver)
        }
        FrameKind::Block => {
            if !routes.is_open() {
                return Err(ReadEnd::BeforeLogin);
            }
            let mut bytes = pool.take(body);
            let mut filled = 0;
            while filled < body {
                let read = stream.read(&mut bytes[filled..]).await?;
                if read == 0 {
                    return Err(ReadEnd::Left);
                }
                filled += read;
                if let Some(transfer) = bytes[..filled].first_chunk::<TRANSFER_BYTES>() {
                    // A block may take long over a slow line, which is not a stall.
                    routes.touch(RequestId(u32::from_be_bytes(*transfer)));
                }
            }
            let (header, data) = BlockHeader::decode(&bytes)?;
            bytes.skip(data);
            if let Some(late) = routes.deliver(Block { header, data: bytes }).await {
                pool.give(late.data);
            }
            Ok(())
        }
    }
}

/// Reads and throws away until the client closes: closing a socket with unread bytes resets the
/// connection, and the client could lose the last message.
pub(crate) async fn drain<R: AsyncRead + Unpin>(stream: &mut R) {
    let mut nothing = [0; 4096];
    while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}

//! Frames on a byte stream, one after the other: what login uses, and what a session is built on.
//!
//! Generic over the stream, so that tests can put something of their own between TLS and the
//! protocol. It knows no request and starts no task.

use std::io;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{self, BlockHeader, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::buffers::{Buffer, Pool};
use crate::reason::reason;

/// Why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The network failed.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// What kind of failure.
        kind: io::ErrorKind,
        /// What the operating system says.
        reason: String,
    },
    /// Nothing comes from the server any more, not even an acknowledgement.
    #[error("the connection was lost: the server does not answer any more")]
    Silent,
    /// The server, or something between, closed it.
    #[error("the server closed the connection")]
    Closed,
    /// The server ended the session and said why.
    #[error("the server ended the session: {0}")]
    Refused(ErrorCode),
    /// What the server sent makes no sense.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

impl ConnectionError {
    /// Whether another connection may be better.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Silent | Self::Closed => true,
            // A session that is ended for a fault of the server's: what served it has died, as when all of the
            // server is killed.
            Self::Refused(code) => passes(code) || *code == ErrorCode::Internal,
            Self::Protocol(_) => false,
        }
    }

    /// The server said something that has no place there.
    #[must_use]
    pub fn unexpected(what: &str) -> Self {
        Self::Protocol(format!("unexpected {what}"))
    }
}

/// Whether the server refuses something only for now, since it or the line stands still or ends: what was begun is kept.
#[must_use]
pub fn passes(code: &ErrorCode) -> bool {
    matches!(code, ErrorCode::ShuttingDown | ErrorCode::Stalled { .. } | ErrorCode::TimedOut)
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::TimedOut => Self::Silent,
            kind => Self::Lost { kind, reason: reason(&error) },
        }
    }
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// What a server sends.
#[derive(Debug)]
pub enum Frame {
    /// A message.
    Message(WorkerToClient),
    /// A block of a file that is being got.
    Block(Block),
}

/// A block with its data, in a buffer from a pool.
#[derive(Debug)]
pub struct Block {
    /// Its header.
    pub header: BlockHeader,
    body: Buffer,
    data_at: usize,
}

impl Block {
    /// The file's bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.body[self.data_at..]
    }
}

/// Reads one frame. The length is checked before anything is allocated for it.
pub(crate) async fn read_frame<R>(stream: &mut R, pool: &Pool) -> Result<Frame, ConnectionError>
where
    R: AsyncRead + Unpin,
{
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let header = FrameHeader::decode(header)?;
    match header.kind {
        FrameKind::Message => {
            let mut body = vec![0; header.body];
            stream.read_exact(&mut body).await?;
            Ok(Frame::Message(frame::decode_message(&body)?))
        }
        FrameKind::Block => {
            let mut body = pool.take(header.body);
            stream.read_exact(&mut body).await?;
            let (header, data_at) = BlockHeader::decode(&body)?;
            Ok(Frame::Block(Block { header, body, data_at }))
        }
    }
}

/// A connection on which one message follows the other.
#[derive(Debug)]
pub struct Connection<S> {
    pub(crate) stream: S,
    pool: Pool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection on which nothing was said yet.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self { stream, pool: Pool::default() }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `Lost`, and `Protocol` when the message exceeds a frame.
    pub async fn send(&mut self, message: &ClientToWorker) -> Result<(), ConnectionError> {
        self.stream.write_all(&frame::encode_message(message)?).await?;
        Ok(self.stream.flush().await?)
    }

    /// Waits for a message. A `Refused` is the error of that name.
    ///
    /// # Errors
    /// All of [`ConnectionError`].
    pub async fn receive(&mut self) -> Result<WorkerToClient, ConnectionError> {
        match read_frame(&mut self.stream, &self.pool).await? {
            Frame::Message(WorkerToClient::Refused { error }) => {
                Err(ConnectionError::Refused(error))
            }
            Frame::Message(message) => Ok(message),
            Frame::Block(_) => Err(ConnectionError::unexpected("data block")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive(bytes: &[u8]) -> Result<WorkerToClient, ConnectionError> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(bytes).await.unwrap();
        drop(theirs);
        Connection::new(ours).receive().await
    }

    #[tokio::test]
    async fn what_is_no_frame_is_named() {
        let refused = WorkerToClient::Refused { error: ErrorCode::ShuttingDown };
        let frame = frame::encode_message(&refused).unwrap();
        let table = [
            (&b""[..], ConnectionError::Closed),
            (&b"\0\0"[..], ConnectionError::Closed),
            (&frame[..frame.len() - 1], ConnectionError::Closed),
            (&frame[..], ConnectionError::Refused(ErrorCode::ShuttingDown)),
            (b"SSH-2.0-x", ConnectionError::Protocol("frame of unknown kind 50".into())),
            (&[0, 0, 0, 2, 0, 0xc1], ConnectionError::Protocol("not a valid message".into())),
        ];
        for (bytes, expected) in table {
            assert_eq!(receive(bytes).await, Err(expected), "{bytes:?}");
        }
    }
}

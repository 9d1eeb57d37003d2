//! The TCP socket beneath TLS: read in large pieces while much comes.
//!
//! For `connect` alone. It neither knows nor changes a byte of what passes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use berth_common::tls_records::ReadAhead;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A read of fewer bytes than this means that little comes, so that reading ahead is not worth its memory.
const LITTLE: usize = 4096;

/// A socket, with bytes that were read ahead.
#[derive(Debug)]
pub struct Wire<S> {
    socket: S,
    ahead: ReadAhead,
    /// The last read took all that it asked for: there is more.
    bulk: bool,
}

impl<S> Wire<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, ahead: ReadAhead::default(), bulk: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if !this.bulk {
                this.ahead.free();
                let (before, room) = (out.filled().len(), out.remaining());
                ready!(Pin::new(&mut this.socket).poll_read(cx, out))?;
                let read = &out.filled()[before..];
                this.ahead.passed_by(read);
                this.bulk = read.len() == room && this.ahead.is_worth_it(room);
                return Poll::Ready(Ok(()));
            }
            let mut room = ReadBuf::new(this.ahead.room());
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut room))?;
            let read = room.filled().len();
            this.ahead.filled(read);
            this.bulk = read >= LITTLE;
        }
        out.put_slice(this.ahead.hand_on(out.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_unchanged_and_an_idle_connection_keeps_no_buffer() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut wire = Wire::new(near);
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        let mut got = vec![0; sent.len()];
        let mut ahead = false;
        let (written, ()) = tokio::join!(far.write_all(&sent), async {
            for part in got.chunks_mut(17_000) {
                wire.read_exact(part).await.unwrap();
                ahead |= wire.ahead.has_memory();
            }
        });
        written.unwrap();
        assert!(got == sent);
        assert!(ahead, "much came at once");

        for byte in 0..3 {
            far.write_all(&[byte]).await.unwrap();
            assert_eq!(wire.read_u8().await.unwrap(), byte);
        }
        assert!(!wire.ahead.has_memory());
        wire.write_all(b"y").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'y');
        drop(far);
        assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
    }
}

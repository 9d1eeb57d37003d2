//! The client's TCP socket beneath TLS: large reads while transfers run, and the time of the last write.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use berth_common::tls_records::ReadAhead;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the transfers and the socket tell each other.
#[derive(Debug)]
pub(crate) struct Traffic {
    bulk: Cell<bool>,
    written_at: Cell<Instant>,
    /// Who waits for the client's next byte with a large buffer.
    reader: RefCell<Option<Waker>>,
}

impl Traffic {
    /// Nothing is transferred yet.
    pub(crate) fn new() -> Rc<Self> {
        let written_at = Cell::new(Instant::now());
        Rc::new(Self { bulk: Cell::new(false), written_at, reader: RefCell::default() })
    }

    /// Says whether uploads run, so that large reads and their buffer are worth it.
    pub(crate) fn set_bulk(&self, bulk: bool) {
        self.bulk.set(bulk);
        if !bulk && let Some(reader) = self.reader.take() {
            // It waits without its buffer from now on.
            reader.wake();
        }
    }

    /// When the kernel last took bytes for the client.
    pub(crate) fn written_at(&self) -> Instant {
        self.written_at.get()
    }
}

/// A socket, with bytes that were read ahead.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: S,
    traffic: Rc<Traffic>,
    ahead: ReadAhead,
}

impl<S> Wire<S> {
    /// Wraps a socket.
    pub(crate) fn new(socket: S, traffic: Rc<Traffic>) -> Self {
        Self { socket, traffic, ahead: ReadAhead::default() }
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
            let bulk = this.traffic.bulk.get();
            if !bulk || !this.ahead.is_worth_it(out.remaining()) {
                this.ahead.free();
                let before = out.filled().len();
                ready!(Pin::new(&mut this.socket).poll_read(cx, out))?;
                this.ahead.passed_by(&out.filled()[before..]);
                return Poll::Ready(Ok(()));
            }
            let mut room = ReadBuf::new(this.ahead.room());
            let read = Pin::new(&mut this.socket).poll_read(cx, &mut room);
            if read.is_pending() {
                this.traffic.reader.replace(Some(cx.waker().clone()));
            }
            ready!(read)?;
            let read = room.filled().len();
            this.ahead.filled(read);
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
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.socket).poll_write(cx, bytes))?;
        this.traffic.written_at.set(Instant::now());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, slices))?;
        this.traffic.written_at.set(Instant::now());
        Poll::Ready(Ok(written))
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
    async fn bytes_arrive_unchanged_while_bulk_goes_on_and_off() {
        let (near, mut far) = tokio::io::duplex(4096);
        let traffic = Traffic::new();
        let mut wire = Wire::new(near, Rc::clone(&traffic));
        let sent: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        far.write_all(&sent).await.unwrap();
        let mut got = vec![0; sent.len()];
        for (n, part) in got.chunks_mut(700).enumerate() {
            traffic.set_bulk(n % 2 == 0);
            wire.read_exact(part).await.unwrap();
        }
        assert_eq!(got, sent);
        traffic.set_bulk(false);
        far.write_all(b"x").await.unwrap();
        assert_eq!(wire.read_u8().await.unwrap(), b'x');
        assert!(!wire.ahead.has_memory(), "an idle connection keeps no buffer");

        let before = traffic.written_at();
        wire.write_all(b"y").await.unwrap();
        assert!(traffic.written_at() >= before);
        drop(far);
        assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
    }
}

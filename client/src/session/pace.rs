//! How fast bytes may go: a bucket of tokens, and a stream that waits until it has some.
//!
//! The bucket is plain and is told the time. The stream moves small pieces, so that the server sees a byte move
//! long before it would call a slow client stalled.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{self, Sleep};

/// Bytes that pass at once, where the rate is limited.
const PIECE: usize = 16 * 1024;

/// What was not used in this time may be used later: timers are late, and then what they cost is made up for.
const CREDIT: Duration = Duration::from_millis(100);

/// Tokens for bytes, which come at a constant rate.
#[derive(Clone, Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// When all that was taken is paid for.
    paid: Instant,
}

impl Bucket {
    fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid: now }
    }

    /// Takes tokens for so many bytes, and says how long to wait before more are taken.
    fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        self.paid = self.paid.max(earliest) + cost;
        self.paid.saturating_duration_since(now)
    }
}

/// The rate of one direction of a session, which may change. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<Mutex<Option<Bucket>>>);

impl Pace {
    /// So many bytes a second from now on, or as many as there are.
    pub(super) fn limit(&self, bytes_per_second: Option<u64>) {
        let bucket = bytes_per_second.map(|rate| Bucket::new(rate, now()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    fn is_limited(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self, bytes: usize) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(bytes, now()))
    }
}

fn now() -> Instant {
    time::Instant::now().into_std()
}

/// One direction of a connection at a pace.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Pace,
    rest: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace, rest: None }
    }

    /// Ready when the bytes before are paid for.
    fn rested(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(context));
            self.rest = None;
        }
        Poll::Ready(())
    }

    fn passed(&mut self, bytes: usize) {
        let wait = self.pace.take(bytes);
        if !wait.is_zero() {
            self.rest = Some(Box::pin(time::sleep(wait)));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.rested(context));
        if !self.pace.is_limited() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let most = buffer.remaining().min(PIECE);
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        let bytes = piece.filled().len();
        buffer.advance(bytes);
        self.passed(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.rested(context));
        if !self.pace.is_limited() {
            return Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
        let piece = &first[..first.len().min(PIECE)];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, piece))?;
        self.passed(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// How long it takes when every wait is so much too long.
    fn time_of(bytes: usize, rate: u64, late: Duration) -> f64 {
        let began = Instant::now();
        let (mut bucket, mut now) = (Bucket::new(rate, began), began);
        for _ in 0..bytes / PIECE {
            let wait = bucket.take(PIECE, now);
            if !wait.is_zero() {
                now += wait + late;
            }
        }
        (now - began).as_secs_f64()
    }

    #[test]
    fn a_bucket_keeps_its_rate_also_where_timers_are_late() {
        for rate in [64 << 10, 500 << 10, 2 << 20, 100 << 20] {
            let bytes = usize::try_from(rate).unwrap() * 5;
            for late in [0, 1, 20] {
                let seconds = time_of(bytes, rate, Duration::from_millis(late));
                assert!((seconds - 5.0).abs() < 0.25, "{rate}/s, {late} ms late: {seconds} s");
            }
        }
    }

    #[test]
    fn what_was_not_used_for_long_is_not_made_up_for() {
        let began = Instant::now();
        let mut bucket = Bucket::new(1000, began);
        assert_eq!(bucket.take(500, began), Duration::from_millis(500));
        let later = began + Duration::from_secs(60);
        assert_eq!(bucket.take(1000, later), Duration::from_millis(900));
    }

    #[tokio::test]
    async fn a_stream_is_not_faster_than_its_rate_and_loses_nothing() {
        let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        for (paced_reader, paced_writer) in [(true, false), (false, true)] {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let [reading, writing] = [paced_reader, paced_writer].map(|limited| {
                let pace = Pace::default();
                pace.limit(limited.then_some(1_000_000));
                pace
            });
            let (mut reader, mut writer) = (Paced::new(theirs, reading), Paced::new(ours, writing));
            let began = time::Instant::now();
            let sent = content.clone();
            let sending = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut came = Vec::new();
            reader.read_to_end(&mut came).await.unwrap();
            sending.await.unwrap();
            let seconds = began.elapsed().as_secs_f64();
            // The last piece is paid for by whoever comes next.
            assert!(came == content && seconds > 0.15, "{seconds} s");
        }
    }

    #[tokio::test]
    async fn a_limit_that_is_taken_away_holds_nobody_any_more() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let pace = Pace::default();
        pace.limit(Some(1000));
        let mut writer = Paced::new(ours, pace.clone());
        writer.write_all(&[1; 100]).await.unwrap();
        pace.limit(None);
        // It would take more than eight minutes.
        let rest = vec![2; 500_000];
        time::timeout(Duration::from_secs(60), writer.write_all(&rest)).await.unwrap().unwrap();
        theirs.read_exact(&mut vec![0; 500_100]).await.unwrap();
    }
}

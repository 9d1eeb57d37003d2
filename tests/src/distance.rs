//! A longer way to a server: a proxy through which every byte takes half a round trip, in its order and without a bound
//! on how many pass a second. Tests and `bench/` connect clients through it.
//!
//! It holds at most [`CAPACITY`] in each direction of a connection, which is more than 1 Gbit/s for 100 ms, and takes
//! no more until something has arrived. What it cannot play is TCP over a long way: each of its two connections is a
//! short one, so that the kernel's windows never fill, and connecting takes no round trip.

mod line;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use line::Line;

/// Bytes that are under way at most, in each direction of a connection.
pub const CAPACITY: usize = 64 << 20;

/// Bytes in one direction by which the first data block has been sent: a login and its questions are far shorter.
const FIRST_DATA: u64 = 32 * 1024;

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// A port that leads to a server. It is closed, with all of its connections, when this is dropped.
#[derive(Debug)]
pub struct Distance {
    address: String,
    seen: Arc<Seen>,
    /// Its end is the proxy's.
    _running: oneshot::Sender<()>,
}

/// When the first data block passed.
#[derive(Debug, Default)]
struct Seen {
    to_server: OnceLock<SystemTime>,
    from_server: OnceLock<SystemTime>,
}

impl Distance {
    /// A way to a server with this round-trip time.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn to(server: &str, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (running, ended) = oneshot::channel();
        let seen = Arc::new(Seen::default());
        let (server, noted) = (server.to_owned(), Arc::clone(&seen));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = accept(listener, &server, round_trip / 2, &noted) => result.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self { address, seen, _running: running }
    }

    /// Where the client is to connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// When so much had come from a client that it can only be data.
    #[must_use]
    pub fn first_data_to_server(&self) -> Option<SystemTime> {
        self.seen.to_server.get().copied()
    }

    /// When so much had come from the server that it can only be data.
    #[must_use]
    pub fn first_data_from_server(&self) -> Option<SystemTime> {
        self.seen.from_server.get().copied()
    }
}

async fn accept(
    listener: TcpListener,
    server: &str,
    delay: Duration,
    seen: &Arc<Seen>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        // A server that has ended refuses, and its client is told by the connection's end.
        let Ok(upstream) = TcpStream::connect(server).await else { continue };
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), upstream.into_split());
        let there = Arc::new(Shared::new(delay));
        let back = Arc::new(Shared::new(delay));
        let noted = Arc::clone(seen);
        tokio::spawn(take(from_client, Arc::clone(&there), move || {
            let _ = noted.to_server.set(SystemTime::now());
        }));
        let noted = Arc::clone(seen);
        tokio::spawn(take(from_server, Arc::clone(&back), move || {
            let _ = noted.from_server.set(SystemTime::now());
        }));
        tokio::spawn(give(to_server, there));
        tokio::spawn(give(to_client, back));
    }
}

/// A line between the task that sends into it and the one that takes out what has arrived.
struct Shared {
    line: Mutex<Line>,
    sent: Notify,
    arrived: Notify,
}

impl Shared {
    fn new(delay: Duration) -> Self {
        let line = Mutex::new(Line::new(delay, CAPACITY));
        Self { line, sent: Notify::new(), arrived: Notify::new() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what comes into the line, until it ends; `first_data` is called once.
async fn take(mut from: OwnedReadHalf, shared: Arc<Shared>, first_data: impl FnOnce()) {
    let mut first_data = Some(first_data);
    let mut passed = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        let room = shared.line().room().min(CHUNK);
        if room == 0 {
            shared.arrived.notified().await;
            continue;
        }
        // A connection that is lost ends as one that is closed.
        let count = from.read(&mut buffer[..room]).await.unwrap_or(0);
        passed += count as u64;
        if passed >= FIRST_DATA
            && let Some(first_data) = first_data.take()
        {
            first_data();
        }
        shared.line().send(buffer[..count].to_vec(), Instant::now());
        shared.sent.notify_one();
        if count == 0 {
            return;
        }
    }
}

/// Hands out what has arrived, until the end has.
async fn give(mut to: OwnedWriteHalf, shared: Arc<Shared>) {
    loop {
        let Some(due) = shared.line().next() else {
            shared.sent.notified().await;
            continue;
        };
        tokio::time::sleep_until(due.into()).await;
        let Some(part) = shared.line().arrived(Instant::now()) else { continue };
        shared.arrived.notify_one();
        // What nobody takes any more goes on to arrive, so that the other side is read to its end.
        let _ = to.write_all(&part).await;
        if part.is_empty() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;

    use super::*;
    use crate::Content;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    /// A server that sends back all that it gets, for one client.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            io::copy(&mut &stream, &mut &stream).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        address
    }

    #[test]
    fn all_bytes_come_back_in_their_order_and_after_a_round_trip() {
        let way = Distance::to(&echo(), ROUND_TRIP);
        let mut stream = std::net::TcpStream::connect(way.address()).unwrap();
        let began = Instant::now();
        stream.write_all(b"first").unwrap();
        let mut first = [0; 5];
        stream.read_exact(&mut first).unwrap();
        assert!(began.elapsed() >= ROUND_TRIP, "{:?}", began.elapsed());
        assert_eq!((&first, way.first_data_to_server()), (b"first", None));

        let sent = Content::seed(4).bytes(5 << 20);
        let mut other = stream.try_clone().unwrap();
        let (sending, mut back) = (sent.clone(), Vec::new());
        let sender = thread::spawn(move || {
            other.write_all(&sending).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back == sent, "{} bytes of {}", back.len(), sent.len());
        assert!(way.first_data_to_server().unwrap() <= way.first_data_from_server().unwrap());
    }

    #[test]
    fn a_way_that_is_dropped_ends_its_connections() {
        let way = Distance::to(&echo(), ROUND_TRIP);
        let mut stream = std::net::TcpStream::connect(way.address()).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        drop(way);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
}

//! An address that leads to a server wherever it listens: it stays while the server is started again
//! on another port, and a connection can be held after so many bytes and cut off.
//!
//! Used by the tutorial's test and by the picture of a terminal, where the server has one name all the time.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where it listens. The address is as long as `files.example.org` is when a port of five digits follows.
const HOST: &str = "127.10.10.1";

/// How far the next connection gets, and what tells its end.
type Hold = Arc<Mutex<Option<(usize, Receiver<()>)>>>;

/// A port that leads to a server.
#[derive(Debug)]
pub struct Relay {
    address: String,
    server: Arc<Mutex<String>>,
    next: Hold,
}

/// A connection that is held, or will be; it is cut off when this is dropped.
#[derive(Debug)]
pub struct Held {
    _end: Sender<()>,
}

impl Relay {
    /// Leads to a server at this address.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn to(server: &str) -> Self {
        let listener = five_digits();
        let address = listener.local_addr().unwrap().to_string();
        let server = Arc::new(Mutex::new(server.to_owned()));
        let next = Hold::default();
        let (to, hold) = (Arc::clone(&server), Arc::clone(&next));
        thread::spawn(move || {
            for client in listener.incoming() {
                let to = to.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let held = hold.lock().unwrap_or_else(PoisonError::into_inner).take();
                // A server that is gone refuses, and so does this.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else { continue };
                pass(client, server, held);
            }
        });
        Self { address, server, next }
    }

    /// Where clients are to connect: `127.10.10.1` and the port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Later connections lead to this server.
    pub fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The next connection passes so many bytes to the server and no more.
    #[must_use]
    pub fn hold_next_after(&self, bytes: usize) -> Held {
        let (end, ended) = channel();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, ended));
        Held { _end: end }
    }
}

/// A listener whose port has five digits.
fn five_digits() -> TcpListener {
    let listeners = (0..100).map(|_| TcpListener::bind((HOST, 0)).unwrap());
    // All are kept until one fits, so that the kernel does not give the same one again.
    let listeners: Vec<_> = listeners.collect();
    let fits =
        |listener: &TcpListener| listener.local_addr().is_ok_and(|addr| addr.port() >= 10_000);
    listeners.into_iter().find(fits).expect("a port of five digits")
}

fn pass(client: TcpStream, server: TcpStream, held: Option<(usize, Receiver<()>)>) {
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(from, to, held));
    thread::spawn(move || copy(server, client, None));
}

/// Until one side ends, or so many bytes have passed and whoever holds it lets it go.
fn copy(mut from: TcpStream, mut to: TcpStream, mut held: Option<(usize, Receiver<()>)>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let passing = held.as_ref().map_or(count, |(left, _)| count.min(*left));
        if to.write_all(&buffer[..passing]).is_err() {
            break;
        }
        if let Some((left, end)) = &mut held {
            *left -= passing;
            if *left == 0 {
                // An error tells that the other end was dropped.
                let _ = end.recv();
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

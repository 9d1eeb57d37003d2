//! A line that is cut: a port that leads to a server, and ends its connections after so many bytes each.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// The port. Its first connections are cut; those after them are not.
#[derive(Debug)]
pub struct Cuts {
    address: String,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: AtomicUsize,
    refuses: AtomicBool,
    elsewhere: OnceLock<String>,
}

/// Which direction is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    ToServer,
    FromServer,
}

impl Cuts {
    /// Cuts each connection when so many bytes have come from its client.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn behind(server: &str, bytes: &[usize]) -> Self {
        Self::counting(server, bytes, Counted::ToServer)
    }

    /// Cuts each connection when so many bytes have come from the server.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn before(server: &str, bytes: &[usize]) -> Self {
        Self::counting(server, bytes, Counted::FromServer)
    }

    fn counting(server: &str, bytes: &[usize], counted: Counted) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let (server, bytes, shared) = (server.to_owned(), bytes.to_vec(), Arc::clone(&state));
        thread::spawn(move || {
            let mut bytes = bytes.into_iter();
            for client in listener.incoming().map_while(Result::ok) {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let left = bytes.next();
                // It is the last one that is let through.
                if left.is_none() && shared.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let elsewhere = shared.elsewhere.get().filter(|_| left.is_none());
                let Ok(upstream) = TcpStream::connect(elsewhere.unwrap_or(&server)) else {
                    continue;
                };
                let left = left.unwrap_or(usize::MAX);
                let (to_server, from_server) = match counted {
                    Counted::ToServer => (left, usize::MAX),
                    Counted::FromServer => (usize::MAX, left),
                };
                let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                thread::spawn(move || copy(&from, &to, to_server));
                thread::spawn(move || copy(&upstream, &client, from_server));
            }
        });
        Self { address, state }
    }

    /// Closes connections at once instead, when those that are cut have been.
    pub fn then_refuse(&self) {
        self.state.refuses.store(true, Ordering::SeqCst);
    }

    /// Lets them through again.
    pub fn then_serve(&self) {
        self.state.refuses.store(false, Ordering::SeqCst);
    }

    /// Leads to another server instead, when those that are cut have been.
    pub fn then_lead_to(&self, server: &str) {
        let _ = self.state.elsewhere.set(server.to_owned());
    }

    /// Where the client is to connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections till now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

/// Until one side ends, or so many bytes have passed: then both directions end.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mut left: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if count > left {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        left -= count;
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

//! A connection that stops half way until it is told to go on: bytes pass from a client to a server
//! and back, unchanged.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port that leads to a server, for one client.
#[derive(Debug)]
pub struct Valve {
    address: String,
    open: Sender<()>,
}

impl Valve {
    /// Lets so many bytes come from the server, and no more until [`Valve::open`].
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn before(server: &str, bytes: usize) -> Self {
        Self::holding(server, bytes, usize::MAX)
    }

    /// Lets so many bytes go to the server, and no more until [`Valve::open`].
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn behind(server: &str, bytes: usize) -> Self {
        Self::holding(server, usize::MAX, bytes)
    }

    fn holding(server: &str, from_server: usize, to_server: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = channel();
        let opened = Arc::new(Mutex::new(opened));
        let server = server.to_owned();
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let upstream = TcpStream::connect(server).unwrap();
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let mut wait = waiting(to_server, Arc::clone(&opened));
            thread::spawn(move || copy(from, to, &mut wait));
            copy(upstream, client, &mut waiting(from_server, opened));
        });
        Self { address, open }
    }

    /// Where the client is to connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets all pass from now on.
    pub fn open(&self) {
        // The connection may have ended.
        let _ = self.open.send(());
    }
}

/// Waits once, before so many bytes have passed, until the valve is opened.
fn waiting(bytes: usize, opened: Arc<Mutex<Receiver<()>>>) -> impl FnMut(usize) {
    let mut left = bytes;
    move |passed| {
        if left > 0 && passed >= left {
            // An end of the test opens it as well.
            let _ = opened.lock().unwrap().recv();
        }
        left = left.saturating_sub(passed);
    }
}

/// Until one side ends; `before` is called with the number of bytes that are about to pass.
fn copy(mut from: TcpStream, mut to: TcpStream, before: &mut impl FnMut(usize)) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        before(count);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

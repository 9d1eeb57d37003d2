//! The ways in which a client leaves: politely, by closing, by a reset, or by closing one direction alone.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::Raw;

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// With TLS's `close_notify`.
    Goodbye,
    /// By closing the connection without a word.
    Close,
    /// By a reset (`SO_LINGER` of 0).
    Reset,
    /// By closing its own direction alone. It goes on to hold the other.
    HalfClose,
}

impl Leaving {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Goodbye, Self::Close, Self::Reset, Self::HalfClose];
}

impl Raw {
    /// Leaves. What is returned keeps the other direction open.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use = "the connection is closed when it is dropped"]
    pub fn leave(mut self, how: Leaving) -> Option<Self> {
        if how == Leaving::Goodbye {
            self.stream.conn.send_close_notify();
            // The server may have gone first.
            let _ = self.stream.flush();
        }
        let open = leave(&self.stream.sock, how);
        open.then_some(self)
    }
}

/// Leaves as far as that is not done by dropping the socket; whether it is to be kept.
///
/// # Panics
/// When the system refuses.
pub fn leave(socket: &TcpStream, how: Leaving) -> bool {
    match how {
        Leaving::Goodbye | Leaving::Close => {}
        Leaving::Reset => {
            let at_once = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(socket, at_once).expect("SO_LINGER is set");
        }
        // A connection that the server has ended has no direction left to close.
        Leaving::HalfClose => drop(socket.shutdown(Shutdown::Write)),
    }
    how == Leaving::HalfClose
}

/// Whether the other end has closed a connection, without waiting and without taking what it has sent.
#[must_use]
pub fn is_closed(socket: &TcpStream) -> bool {
    match peek(socket) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Whether the other end has sent something that nobody has read, or closed the connection.
#[must_use]
pub fn has_news(socket: &TcpStream) -> bool {
    !peek(socket).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn peek(socket: &TcpStream) -> io::Result<usize> {
    use rustix::net::{RecvFlags, recv};
    let (count, _) = recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count)
}

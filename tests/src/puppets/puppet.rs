//! One puppet, from the test's side: orders, and what comes of them.

use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use berth_common::channel::Message;
use berth_common::codec;
use berth_puppets::line;
use berth_puppets::machine::MEMORY_BYTES;
use berth_puppets::orders::{Order, Report, Station};

/// How a system call did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The kernel refused it with this errno.
    Refused(i32),
    /// The process was ended for it.
    Ended,
}

/// A process that takes orders. It ends when this is dropped.
#[derive(Debug)]
pub struct Puppet {
    line: TcpStream,
    station: Station,
    pid: u32,
    memory: u64,
    used: u64,
    descriptors: Vec<i32>,
}

impl Puppet {
    /// Hears who it is; `None` when it ends instead.
    pub(super) fn greet(mut line: TcpStream) -> Option<Self> {
        let Ok(Report::Hello { station, pid, memory, descriptors }) = line::receive(&mut line)
        else {
            return None;
        };
        Some(Self { line, station, pid, memory, used: 0, descriptors })
    }

    pub(super) fn expect(line: TcpStream) -> Self {
        Self::greet(line).expect("a puppet says hello")
    }

    /// Where it stands.
    #[must_use]
    pub fn station(&self) -> Station {
        self.station
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its descriptors: 0 to the daemon, then its line to the test, then what came with its role (home, staging and
    /// the worker's channel of a filer that serves).
    #[must_use]
    pub fn descriptor(&self, index: usize) -> i32 {
        self.descriptors[index]
    }

    /// Takes it to the next station of its life.
    ///
    /// # Panics
    /// When it ends instead.
    #[must_use]
    pub fn proceed(mut self) -> Self {
        line::send(&mut self.line, &Order::Proceed).expect("the puppet lives");
        Self::expect(self.line)
    }

    /// Gives an order without waiting for what comes of it.
    pub fn begin(&mut self, order: &Order) {
        // One that is ended meanwhile is seen by the report that does not come.
        let _ = line::send(&mut self.line, order);
    }

    /// What came of an order.
    ///
    /// # Errors
    /// [`Fate::Ended`] when the process ended for it.
    pub fn report(&mut self) -> Result<Report, Fate> {
        line::receive(&mut self.line).map_err(|_| Fate::Ended)
    }

    /// Gives an order.
    ///
    /// # Errors
    /// [`Fate::Ended`] when the process ended for it.
    pub fn order(&mut self, order: &Order) -> Result<Report, Fate> {
        self.begin(order);
        self.report()
    }

    /// Makes a system call.
    ///
    /// # Errors
    /// See [`Fate`].
    pub fn call(&mut self, number: i64, arguments: &[u64]) -> Result<u64, Fate> {
        self.call_on(number, arguments, false)
    }

    /// Makes a system call on a helper thread.
    ///
    /// # Errors
    /// See [`Fate`].
    pub fn call_on_a_helper(&mut self, number: i64, arguments: &[u64]) -> Result<u64, Fate> {
        self.call_on(number, arguments, true)
    }

    fn call_on(&mut self, number: i64, given: &[u64], on_a_helper: bool) -> Result<u64, Fate> {
        let mut arguments = [0; 6];
        arguments[..given.len()].copy_from_slice(given);
        let number = number.cast_unsigned();
        match self.order(&Order::Call { number, arguments, on_a_helper })? {
            Report::Returned(value @ -4095..=-1) => Err(Fate::Refused(-value as i32)),
            Report::Returned(value) => Ok(value.cast_unsigned()),
            other => panic!("a call gave {other:?}"),
        }
    }

    /// Puts bytes into the process and gives their address. What was put a megabyte before is overwritten.
    ///
    /// # Errors
    /// [`Fate::Ended`] when it has ended.
    pub fn put(&mut self, bytes: &[u8]) -> Result<u64, Fate> {
        let count = bytes.len() as u64;
        if self.used + count > MEMORY_BYTES as u64 {
            self.used = 0;
        }
        let at = self.used;
        self.used = (at + count).next_multiple_of(16);
        match self.order(&Order::Poke { at, bytes: bytes.to_vec() })? {
            Report::Done => Ok(self.memory + at),
            other => panic!("{count} bytes: {other:?}"),
        }
    }

    /// The same for a text that ends with a zero byte.
    ///
    /// # Errors
    /// [`Fate::Ended`] when it has ended.
    pub fn text(&mut self, text: impl AsRef<Path>) -> Result<u64, Fate> {
        let mut bytes = text.as_ref().as_os_str().as_bytes().to_vec();
        bytes.push(0);
        self.put(&bytes)
    }

    /// Reads what stands at an address that [`Puppet::put`] gave.
    ///
    /// # Errors
    /// [`Fate::Ended`] when it has ended.
    pub fn peek(&mut self, address: u64, count: u64) -> Result<Vec<u8>, Fate> {
        match self.order(&Order::Peek { at: address - self.memory, count })? {
            Report::Memory(bytes) => Ok(bytes),
            other => panic!("{count} bytes: {other:?}"),
        }
    }

    /// Sends a message of a channel.
    ///
    /// # Errors
    /// See [`Fate`].
    pub fn send<M: Message>(&mut self, descriptor: i32, message: &M) -> Result<(), Fate> {
        let mut packet = Vec::new();
        codec::encode_into(message, &mut packet).expect("a message");
        self.send_bytes(descriptor, packet)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// See [`Fate`].
    pub fn send_bytes(&mut self, descriptor: i32, packet: Vec<u8>) -> Result<(), Fate> {
        let order = Order::Send { descriptor, packet, times: 1, per_second: 0 };
        match self.order(&order)? {
            Report::Sent { errno: 0, .. } => Ok(()),
            Report::Sent { errno, .. } => Err(Fate::Refused(errno)),
            other => panic!("sending gave {other:?}"),
        }
    }

    /// Receives a message, with its descriptors.
    ///
    /// # Errors
    /// [`Fate::Refused`] with 0 when the channel is closed, and [`Fate::Ended`].
    ///
    /// # Panics
    /// When none comes, or it is none of this direction.
    pub fn receive<M: Message>(&mut self, descriptor: i32) -> Result<(M, Vec<i32>), Fate> {
        match self.order(&Order::Receive { descriptor, wait_ms: 30_000 })? {
            Report::Packet { bytes, descriptors } => {
                Ok((codec::decode(&bytes).expect("a message"), descriptors))
            }
            Report::Failed { errno: libc_errno::EAGAIN } => panic!("no message came"),
            Report::Failed { errno } => Err(Fate::Refused(errno)),
            other => panic!("receiving gave {other:?}"),
        }
    }

    /// Waits until the process has ended, as far as its line tells.
    pub fn ended(&mut self) {
        while self.report().is_ok() {}
    }
}

/// The one errno that is looked at here.
mod libc_errno {
    pub(super) const EAGAIN: i32 = rustix::io::Errno::AGAIN.raw_os_error();
}

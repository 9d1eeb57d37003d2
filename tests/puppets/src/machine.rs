//! Carries out orders, one after the other, by the calls that each needs and no others.

use std::io::{self, Read, Write};
use std::time::Instant;

use serde_bytes::ByteBuf;

use crate::haggle;
use crate::line;
use crate::orders::{Order, Report, Station};
use crate::sys;
use crate::threads::Helpers;

/// Bytes of memory into which tests may write.
pub const MEMORY_BYTES: usize = 1 << 20;

/// More than a packet may have, so that tests see what the daemon sends whole.
const PACKET_BYTES: usize = 256 * 1024;

/// How long an answer may take.
const PATIENCE_MS: u32 = 60_000;

/// What the orders are carried out with.
pub struct Machine {
    memory: u64,
    helpers: Helpers,
}

/// Why no orders are taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The test wants the puppet to go on.
    Proceed,
    /// The test has closed the line.
    End,
}

impl Machine {
    /// With so many helper threads, which are up then.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new(helpers: usize) -> io::Result<Self> {
        let memory: &'static mut [u8] = vec![1; MEMORY_BYTES].leak();
        Ok(Self { memory: memory.as_mut_ptr() as u64, helpers: Helpers::start(helpers)? })
    }

    /// Takes orders until the test closes the line or wants the puppet to go on.
    ///
    /// # Errors
    /// When the line is broken.
    pub fn obey(
        &self,
        line: &mut (impl Read + Write),
        station: Station,
        descriptors: &[i32],
    ) -> io::Result<Next> {
        let pid = std::process::id();
        let descriptors = descriptors.to_vec();
        line::send(line, &Report::Hello { station, pid, memory: self.memory, descriptors })?;
        loop {
            match line::receive(line) {
                Ok(Order::Proceed) => return Ok(Next::Proceed),
                Ok(order) => line::send(line, &self.carry_out(order))?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Next::End),
                Err(error) => return Err(error),
            }
        }
    }

    /// Carries one order out.
    pub fn carry_out(&self, order: Order) -> Report {
        match order {
            Order::Poke { at, bytes } => match self.address(at, bytes.len() as u64) {
                Some(address) => {
                    sys::poke(address, &bytes);
                    Report::Done
                }
                None => Report::Failed { errno: libc::EFAULT },
            },
            Order::Peek { at, count } => match self.address(at, count) {
                Some(address) => Report::Memory(sys::peek(address, count as usize)),
                None => Report::Failed { errno: libc::EFAULT },
            },
            Order::Call { number, arguments, on_a_helper: false } => {
                Report::Returned(sys::call(number, arguments))
            }
            Order::Call { number, arguments, on_a_helper: true } => {
                Report::Returned(self.helpers.call(number, arguments))
            }
            Order::Call32 { number } => Report::Returned(sys::call32(number)),
            Order::Thread => match std::thread::Builder::new().spawn(|| ()) {
                Ok(thread) => {
                    let _ = thread.join();
                    Report::Done
                }
                Err(error) => failed(&error),
            },
            Order::Send { descriptor, packet, times, per_second } => {
                repeat(times, per_second, || sys::send(descriptor, &packet).map(drop))
            }
            Order::SendInTurn { descriptor, packets, times, per_second } => {
                let mut turn = packets.iter().cycle();
                repeat(times, per_second, || match turn.next() {
                    Some(packet) => sys::send(descriptor, packet).map(drop),
                    None => Ok(()),
                })
            }
            Order::AskInTurn { descriptor, packets, times, per_second } => {
                ask_in_turn(descriptor, &packets, times, per_second)
            }
            Order::Haggle { descriptor, about, times, per_second } => {
                repeat(times, per_second, || haggle::round(descriptor, about))
            }
            Order::Receive { descriptor, wait_ms } => receive(descriptor, wait_ms),
            Order::Complain { bytes, times } => repeat(times, 0, || io::stderr().write_all(&bytes)),
            Order::Hog { most } => hog(most),
            // Not answered where they have no meaning.
            Order::Proceed => Report::Done,
            Order::Hang => loop {
                std::thread::park();
            },
            Order::Exit(code) => std::process::exit(code),
            Order::Fault => {
                sys::fault();
                Report::Done
            }
            Order::Panic => panic!("the test has ordered it"),
        }
    }

    fn address(&self, at: u64, count: u64) -> Option<u64> {
        let end = at.checked_add(count)?;
        (end <= MEMORY_BYTES as u64).then_some(self.memory + at)
    }
}

fn failed(error: &io::Error) -> Report {
    Report::Failed { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

fn receive(descriptor: i32, wait_ms: u32) -> Report {
    let mut packet = vec![0; PACKET_BYTES];
    let received = match sys::is_readable(descriptor, wait_ms) {
        Ok(true) => sys::receive(descriptor, &mut packet),
        Ok(false) => return Report::Failed { errno: libc::EAGAIN },
        Err(error) => Err(error),
    };
    match received {
        Ok((0, descriptors)) if descriptors.is_empty() => Report::Failed { errno: 0 },
        Ok((bytes, descriptors)) => {
            packet.truncate(bytes);
            Report::Packet { bytes: packet, descriptors }
        }
        Err(error) => failed(&error),
    }
}

/// Does it so often, at this rate at most.
fn repeat(times: u64, per_second: u64, mut what: impl FnMut() -> io::Result<()>) -> Report {
    let begun = Instant::now();
    for count in 0..times {
        while per_second > 0 && begun.elapsed().as_secs_f64() * (per_second as f64) < count as f64 {
            std::thread::yield_now();
        }
        if let Err(error) = what() {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            return Report::Sent { times: count, errno };
        }
    }
    Report::Sent { times, errno: 0 }
}

/// Asks, and takes all answers before any question's turn comes again.
fn ask_in_turn(descriptor: i32, packets: &[ByteBuf], times: u64, per_second: u64) -> Report {
    let mut answer = vec![0; PACKET_BYTES];
    let mut questions = packets.iter().cycle();
    let mut unanswered = 0;
    repeat(times, per_second, || {
        let all_are_asked = unanswered == packets.len();
        while all_are_asked && unanswered > 0 {
            if !sys::is_readable(descriptor, PATIENCE_MS)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if sys::receive(descriptor, &mut answer)?.0 == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            unanswered -= 1;
        }
        let question = questions.next().ok_or(io::ErrorKind::InvalidInput)?;
        sys::send(descriptor, question)?;
        unanswered += 1;
        Ok(())
    })
}

/// Takes private memory by calls of its own, so that the allocator need not abort.
fn hog(most: u64) -> Report {
    const MIB: u64 = 1 << 20;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    for taken in 0..most {
        let arguments = [0, MIB, prot as u64, flags as u64, u64::MAX, 0];
        let address = sys::call(libc::SYS_mmap as u64, arguments);
        if address < 0 {
            return Report::Sent { times: taken, errno: (-address) as i32 };
        }
        (0..MIB).step_by(4096).for_each(|at| sys::poke(address as u64 + at, &[1]));
    }
    Report::Sent { times: most, errno: 0 }
}

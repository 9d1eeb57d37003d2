//! What a test orders a puppet to do, and what it reports: the test's own protocol, never the product's.

use serde::{Deserialize, Serialize};

/// An order. Each is answered by one [`Report`], unless it ends the puppet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Writes bytes into the memory that was told by `Hello`, so far from its beginning. Answered by `Done`.
    Poke {
        /// Where.
        at: u64,
        /// What.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Reads them. Answered by `Memory`.
    Peek {
        /// Where.
        at: u64,
        /// How many.
        count: u64,
    },
    /// Makes a system call. Answered by `Returned`.
    Call {
        /// Its number.
        number: u64,
        /// Its arguments; addresses are absolute.
        arguments: [u64; 6],
        /// On a helper thread, which is older than the seccomp filter.
        on_a_helper: bool,
    },
    /// Makes a 32-bit system call by `int 0x80`. Answered by `Returned`.
    Call32 {
        /// Its number, of the 32-bit table.
        number: u32,
    },
    /// Starts a thread as the standard library does. Answered by `Done`, or `Failed`.
    Thread,
    /// Sends a packet or bytes, again and again. Answered by `Sent`.
    Send {
        /// On this descriptor.
        descriptor: i32,
        /// What.
        #[serde(with = "serde_bytes")]
        packet: Vec<u8>,
        /// So often.
        times: u64,
        /// At most so many a second; 0 for as fast as it goes.
        per_second: u64,
    },
    /// Sends packets in turn, again and again. Answered by `Sent`, with the packets.
    SendInTurn {
        /// On this descriptor.
        descriptor: i32,
        /// What.
        packets: Vec<serde_bytes::ByteBuf>,
        /// So many packets.
        times: u64,
        /// At most so many packets a second.
        per_second: u64,
    },
    /// Asks in turn, again and again, and takes an answer of one packet for each. Answered by `Sent`, with the
    /// questions.
    AskInTurn {
        /// On this descriptor.
        descriptor: i32,
        /// The questions: as many as may be unanswered at once. None is asked again before all are answered.
        packets: Vec<serde_bytes::ByteBuf>,
        /// So many questions.
        times: u64,
        /// At most so many a second.
        per_second: u64,
    },
    /// Asks the daemon what a filer may ask, and takes the answers, again and again. Answered by `Sent`, with the
    /// rounds; the errno is `EIO` when an answer is not the right one.
    Haggle {
        /// The channel to the daemon.
        descriptor: i32,
        /// About what.
        about: Haggling,
        /// So many rounds.
        times: u64,
        /// At most so many rounds a second.
        per_second: u64,
    },
    /// Receives a packet. Answered by `Packet`, or `Failed`; the errno is `EAGAIN` when none came in time, and 0 at
    /// the end.
    Receive {
        /// From this descriptor.
        descriptor: i32,
        /// Waits so long.
        wait_ms: u32,
    },
    /// Writes to standard error. Answered by `Sent`.
    Complain {
        /// What.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// So often.
        times: u64,
    },
    /// Takes memory and writes to it, until there is no more or as much as this. Answered by `Sent` with the MiB.
    Hog {
        /// MiB.
        most: u64,
    },
    /// Goes on with the puppet's life to its next station. Answered there by `Hello`.
    Proceed,
    /// Reads no order any more and does nothing, for good.
    Hang,
    /// Ends with this code.
    Exit(i32),
    /// Writes to an address that is none.
    Fault,
    /// Panics.
    Panic,
}

/// What a filer's puppet asks the daemon for, only to give it back. Nothing of it breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Haggling {
    /// The ticket, once a round.
    Ticket,
    /// Reservations, [`crate::haggle::RESERVATIONS`] a round.
    Reservations,
    /// Names of intents that come to nothing, of which it says one by one that they are gone,
    /// [`crate::haggle::NAMES`] a round.
    Names,
    /// What is more than any quota has, and refused, [`crate::haggle::RESERVATIONS`] times a round.
    TooMuch,
}

/// Where a puppet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Station {
    /// A worker with a client, demoted.
    Worker,
    /// A filer that has not said that it is ready.
    Start,
    /// A filer that has its role, and is not demoted to it.
    Joining,
    /// A filer in its role, demoted; it has not said so yet.
    Filer,
    /// Not demoted at all: to see that an attack is one.
    Free,
}

/// What a puppet reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It takes orders.
    Hello {
        /// Where it stands.
        station: Station,
        /// Its process.
        pid: u32,
        /// Address of [`crate::machine::MEMORY_BYTES`] of memory.
        memory: u64,
        /// The descriptors that came with its role or its client.
        descriptors: Vec<i32>,
    },
    /// It was done.
    Done,
    /// Bytes of the memory.
    Memory(#[serde(with = "serde_bytes")] Vec<u8>),
    /// What a system call returned, as the kernel gives it: an errno is negative.
    Returned(i64),
    /// How often it was sent, and the errno that ended it.
    Sent {
        /// How often.
        times: u64,
        /// 0, or why no more was sent.
        errno: i32,
    },
    /// A packet.
    Packet {
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// The descriptors that came with it.
        descriptors: Vec<i32>,
    },
    /// It failed.
    Failed {
        /// Why.
        errno: i32,
    },
}

/// What a worker's puppet does before it has a client; its reports are dropped.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// After the first half of the demotion.
    pub at_start: Vec<Order>,
    /// After the second half, before it says that it is ready.
    pub demoted: Vec<Order>,
    /// When it has said so, and waits for a client.
    pub as_a_spare: Vec<Order>,
}

//! The private channels between Berth's processes: `SOCK_SEQPACKET`, one message a packet.
//!
//! The type carries the direction: [`Channel::pair`] gives two mirrored ends, so sending the wrong way
//! does not compile. A message states how many descriptors travel with it; a packet with another number,
//! one that was truncated and one that does not decode are errors, after which the peer is to be ended.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::limits::{MAX_PACKET, MAX_PACKET_DESCRIPTORS};

/// Bytes that a channel's send buffer must hold, as the kernel counts them (twice what was asked for).
/// It is more than every answer that may be outstanding at once, so a full buffer means a broken peer.
const SEND_BUFFER: usize = 208 * 1024;

/// What may travel on a channel.
pub trait Message: Serialize + DeserializeOwned {
    /// Most descriptors that any message of this direction carries. With 0 the receiver offers no room
    /// for any, so that a hostile sender cannot place one.
    const MAX_DESCRIPTORS: usize;

    /// How many descriptors this message carries.
    fn descriptors(&self) -> usize {
        0
    }
}

/// One end of a channel: sends `Tx`, receives `Rx`.
#[derive(Debug)]
pub struct Channel<Tx, Rx> {
    socket: OwnedFd,
    direction: PhantomData<fn(Tx) -> Rx>,
}

/// A message with the descriptors that came with it, in the order in which the message's docs name them.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// Exactly as many as `message.descriptors()`.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a channel could not send or receive. All but `WouldBlock` are final.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer has closed its end.
    #[error("the channel was closed")]
    Closed,
    /// The channel does not block, and nothing can be sent or received now.
    #[error("the channel is not ready")]
    WouldBlock,
    /// The message is larger than a packet may be.
    #[error("packet of {0} bytes, more than {MAX_PACKET}")]
    TooLarge(usize),
    /// The packet or its descriptors were cut off.
    #[error("the packet was truncated")]
    Truncated,
    /// The packet carried another number of descriptors than its message states.
    #[error("{got} descriptors came with a message that states {stated}")]
    Descriptors {
        /// How many the message states.
        stated: usize,
        /// How many came.
        got: usize,
    },
    /// The packet is no message of this direction.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The system call failed.
    #[error("channel: {0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::WouldBlock,
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

impl<Tx: Message, Rx: Message> Channel<Tx, Rx> {
    /// Makes a channel; the second end sends what the first receives. Both are blocking and close-on-exec.
    ///
    /// # Errors
    /// When the system gives no sockets, or not the send buffer that the protocol counts on.
    pub fn pair() -> io::Result<(Self, Channel<Rx, Tx>)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        for end in [&a, &b] {
            sockopt::set_socket_send_buffer_size(end, SEND_BUFFER)?;
            let got = sockopt::socket_send_buffer_size(end)?;
            if got < 2 * SEND_BUFFER {
                return Err(io::Error::other(format!(
                    "the kernel gave a send buffer of {got} bytes instead of {}; raise net.core.wmem_max",
                    2 * SEND_BUFFER
                )));
            }
        }
        Ok((Self::wrap(a), Channel::wrap(b)))
    }

    /// Takes over a descriptor that a parent or a peer has passed.
    ///
    /// # Errors
    /// When it is not a `SOCK_SEQPACKET` socket.
    pub fn from_descriptor(socket: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&socket)? != SocketType::SEQPACKET {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the descriptor is not a SOCK_SEQPACKET socket",
            ));
        }
        Ok(Self::wrap(socket))
    }

    fn wrap(socket: OwnedFd) -> Self {
        Self { socket, direction: PhantomData }
    }

    /// Makes `send` and `recv` return [`ChannelError::WouldBlock`] instead of waiting.
    /// Each end has this flag of its own.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.socket, nonblocking)?)
    }

    /// Sends one message with its descriptors.
    ///
    /// # Errors
    /// See [`ChannelError`]; [`ChannelError::Descriptors`] when `descriptors` are not as many as the message states.
    pub fn send(&self, message: &Tx, descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let stated = message.descriptors();
        if descriptors.len() != stated || stated > MAX_PACKET_DESCRIPTORS {
            return Err(ChannelError::Descriptors { stated, got: descriptors.len() });
        }
        let mut packet = Vec::new();
        codec::encode_into(message, &mut packet)?;
        if packet.len() > MAX_PACKET {
            return Err(ChannelError::TooLarge(packet.len()));
        }
        let sent = rustix::io::retry_on_intr(|| {
            if descriptors.is_empty() {
                // Not sendmsg: a worker's sandbox does not have it.
                return rustix::net::send(&self.socket, &packet, SendFlags::NOSIGNAL);
            }
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PACKET_DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(descriptors));
            rustix::net::sendmsg(
                &self.socket,
                &[IoSlice::new(&packet)],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })?;
        if sent == packet.len() { Ok(()) } else { Err(ChannelError::Truncated) }
    }

    /// Receives one message. A buffer is allocated for the time of the call only.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn recv(&self) -> Result<Received<Rx>, ChannelError> {
        let waiting = self.waiting_packet()?;
        let mut packet = vec![0; waiting];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PACKET_DESCRIPTORS))];
        let room = if Rx::MAX_DESCRIPTORS == 0 { &mut [][..] } else { &mut space[..] };
        let mut control = RecvAncillaryBuffer::new(room);
        let result = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut packet)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if result.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Truncated);
        }
        let message: Rx = codec::decode(&packet[..result.bytes])?;
        let stated = message.descriptors();
        if descriptors.len() != stated {
            return Err(ChannelError::Descriptors { stated, got: descriptors.len() });
        }
        Ok(Received { message, descriptors })
    }

    /// Length of the next packet, waiting for it if the channel blocks.
    fn waiting_packet(&self) -> Result<usize, ChannelError> {
        let mut nothing = [0u8; 1];
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, &mut nothing[..], RecvFlags::PEEK | RecvFlags::TRUNC)
        })?;
        match length {
            0 => Err(ChannelError::Closed),
            length if length > MAX_PACKET => Err(ChannelError::TooLarge(length)),
            length => Ok(length),
        }
    }
}

impl<Tx, Rx> Channel<Tx, Rx> {
    /// Gives the descriptor up, to be passed on to another process.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.socket
    }
}

impl<Tx, Rx> AsFd for Channel<Tx, Rx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For a runtime's registration only; nothing else may use the number.
impl<Tx, Rx> AsRawFd for Channel<Tx, Rx> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Down {
        Number(u32),
        File(u32),
        Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Up(u32);

    impl Message for Down {
        const MAX_DESCRIPTORS: usize = 1;

        fn descriptors(&self) -> usize {
            usize::from(matches!(self, Self::File(_)))
        }
    }

    impl Message for Up {
        const MAX_DESCRIPTORS: usize = 0;
    }

    #[test]
    fn carries_messages_both_ways_and_a_descriptor_down() {
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        parent.send(&Down::Number(1), &[]).unwrap();
        parent.send(&Down::File(2), &[file.as_fd()]).unwrap();
        child.send(&Up(3), &[]).unwrap();
        let first = child.recv().unwrap();
        assert_eq!((first.message, first.descriptors.len()), (Down::Number(1), 0));
        let second = child.recv().unwrap();
        assert_eq!((second.message, second.descriptors.len()), (Down::File(2), 1));
        assert_eq!(parent.recv().unwrap().message, Up(3));
    }

    #[test]
    fn a_wrong_number_of_descriptors_is_refused_at_both_ends() {
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        assert!(matches!(
            parent.send(&Down::File(1), &[]),
            Err(ChannelError::Descriptors { stated: 1, got: 0 })
        ));
        let mut bytes = Vec::new();
        codec::encode_into(&Down::File(1), &mut bytes).unwrap();
        rustix::net::send(&parent, &bytes, SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(child.recv(), Err(ChannelError::Descriptors { stated: 1, got: 0 })));
    }

    #[test]
    fn a_descriptor_where_none_is_expected_is_refused() {
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut bytes = Vec::new();
        codec::encode_into(&Up(1), &mut bytes).unwrap();
        let rights = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&rights));
        rustix::net::sendmsg(&child, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty())
            .unwrap();
        assert!(matches!(parent.recv(), Err(ChannelError::Truncated)));
    }

    #[test]
    fn oversize_garbage_and_closed_are_errors() {
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        assert!(matches!(
            parent.send(&Down::Bytes(vec![0; MAX_PACKET]), &[]),
            Err(ChannelError::TooLarge(_))
        ));
        rustix::net::send(&parent, &vec![0u8; MAX_PACKET + 1], SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(child.recv(), Err(ChannelError::TooLarge(_))));
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        rustix::net::send(&parent, &[0xc1, 0xff], SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(child.recv(), Err(ChannelError::Codec(_))));
        drop(parent);
        assert!(matches!(child.recv(), Err(ChannelError::Closed)));
        assert!(matches!(child.send(&Up(1), &[]), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_nonblocking_end_says_when_it_would_wait() {
        let (parent, child) = Channel::<Down, Up>::pair().unwrap();
        parent.set_nonblocking(true).unwrap();
        assert!(matches!(parent.recv(), Err(ChannelError::WouldBlock)));
        let full = (0..1000).find_map(|n| parent.send(&Down::Number(n), &[]).err());
        assert!(full.is_none_or(|error| matches!(error, ChannelError::WouldBlock)));
        drop(child);
    }

    #[test]
    fn a_full_packet_and_outstanding_answers_fit_the_buffer() {
        let (parent, _child) = Channel::<Down, Up>::pair().unwrap();
        parent.set_nonblocking(true).unwrap();
        parent.send(&Down::Bytes(vec![0; MAX_PACKET - 100]), &[]).unwrap();
        for n in 0..32 {
            parent.send(&Down::Bytes(vec![n; 1024]), &[]).unwrap();
        }
    }
}

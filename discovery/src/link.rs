//! The sockets: one for each interface and version of IP, which hears the group of mDNS there and speaks to it.
//!
//! Each is bound to the group's own address, so that the system hands over nothing that was sent to this machine
//! itself or that came on another interface; and nothing is ever sent to anybody but the group, whatever a packet
//! claims to come from. Packets wait in a short queue; what does not fit is lost in the system's buffer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::interfaces::Interface;
use crate::message::MOST_BYTES;

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// So that whoever checks it sees that no router was passed (RFC 6762, section 11).
const HOPS: u32 = 255;

/// Packets of all interfaces that may wait.
const QUEUE: usize = 64;

/// A packet, and where it came from.
pub(crate) struct Heard {
    pub(crate) interface: u32,
    pub(crate) from: IpAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Where all links' packets come together.
pub(crate) fn queue() -> (mpsc::Sender<Heard>, mpsc::Receiver<Heard>) {
    mpsc::channel(QUEUE)
}

/// The group on one interface, by IPv4, IPv6 or both. Nothing is heard any more when it is dropped.
pub(crate) struct Link {
    sockets: Vec<(Arc<UdpSocket>, SocketAddr)>,
    readers: JoinSet<()>,
}

impl Link {
    /// Joins the group on an interface, and reads into the queue from then on.
    ///
    /// # Errors
    /// When neither version of IP is possible: that of the first.
    pub(crate) fn join(interface: &Interface, queue: &mpsc::Sender<Heard>) -> io::Result<Self> {
        let v4 = interface.v4.map(|address| join_v4(interface.index, address));
        let v6 = interface.has_v6.then(|| join_v6(interface.index));
        let mut link = Self { sockets: Vec::new(), readers: JoinSet::new() };
        let mut failure = None;
        for joined in v4.into_iter().chain(v6) {
            match joined {
                Ok((socket, group)) => {
                    let socket = Arc::new(socket);
                    let reading = read(Arc::clone(&socket), interface.index, queue.clone());
                    link.readers.spawn(reading);
                    link.sockets.push((socket, group));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if link.sockets.is_empty() => Err(error),
            _ => Ok(link),
        }
    }

    /// One on which nothing is heard, and nobody hears.
    #[cfg(test)]
    pub(crate) fn to_nowhere() -> Self {
        Self { sockets: Vec::new(), readers: JoinSet::new() }
    }

    /// Sends a packet to the group. One that cannot be sent is as if it were lost: it is sent again by its turn, or
    /// the interface is about to go.
    pub(crate) fn send(&self, packet: &[u8]) {
        for (socket, group) in &self.sockets {
            // The system's own call: the runtime would refuse until it has once waited, and so lose the first packet.
            if let Err(error) = SockRef::from(&**socket).send_to(packet, &(*group).into()) {
                tracing::debug!(%error, %group, "a packet was not sent");
            }
        }
    }
}

async fn read(socket: Arc<UdpSocket>, interface: u32, queue: mpsc::Sender<Heard>) {
    // A byte more, so that a packet that is too long is told from one that fits.
    let mut buffer = vec![0; MOST_BYTES + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let bytes = buffer[..length].to_vec();
                if queue.send(Heard { interface, from: from.ip(), bytes }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // What was sent could not be delivered, or the interface has gone, which is found out elsewhere.
                tracing::debug!(%error, "a packet was not received");
                tokio::task::yield_now().await;
            }
        }
    }
}

fn join_v4(index: u32, address: Ipv4Addr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = shared(Domain::IPV4)?;
    // Else the system hands over what other sockets have joined, on other interfaces.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    let group = SocketAddr::from((GROUP_V4, PORT));
    socket.bind(&group.into())?;
    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    socket.set_multicast_if_v4(&address)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    Ok((UdpSocket::from_std(socket.into())?, group))
}

fn join_v6(index: u32) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = shared(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    // The address names the interface.
    let group = SocketAddr::from(SocketAddrV6::new(GROUP_V6, PORT, 0, index));
    socket.bind(&group.into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(HOPS)?;
    Ok((UdpSocket::from_std(socket.into())?, group))
}

/// A socket whose port others on this machine may have too, as Avahi and browsers do.
fn shared(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_before_anything_was_waited_for_arrives() {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let socket = shared(Domain::IPV4).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let socket = Arc::new(UdpSocket::from_std(socket.into()).unwrap());
        let sockets = vec![(socket, receiver.local_addr().unwrap())];
        Link { sockets, readers: JoinSet::new() }.send(b"question");
        let mut bytes = [0; 9];
        assert_eq!(receiver.recv(&mut bytes).expect("it arrives"), 8);
    }
}

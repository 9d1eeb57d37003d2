//! The listening sockets, and what is set on each connection before a worker gets it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// When a silent peer is asked whether it lives, how often after that, and how many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// Milliseconds that sent data may stay unacknowledged.
const USER_TIMEOUT_MS: u32 = 60_000;

/// A socket that listens, before there is a runtime.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: OwnedFd,
    /// Where it listens; the system's choice where port 0 was asked for.
    pub(crate) addr: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}", explain(.source))]
pub(crate) struct ListenError {
    addr: SocketAddr,
    source: io::Error,
}

/// Why a descriptor that was passed cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoListener {
    /// It is of another kind.
    #[error("it is no TCP socket")]
    NoTcp,
    /// It is connected, or only bound.
    #[error("it does not listen: Accept=no is needed")]
    DoesNotListen,
    /// It is no socket, or closed.
    #[error("it cannot be used as a socket: {0}")]
    System(#[from] Errno),
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program, perhaps another berthd, has this port".into(),
        io::ErrorKind::PermissionDenied => {
            "this user may not use ports below 1024; start as root, or by systemd".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

impl Bound {
    /// Binds an address and lets connections wait in a backlog of this length.
    ///
    /// # Errors
    /// [`ListenError`] says what to do.
    pub(crate) fn new(addr: SocketAddr, backlog: i32) -> Result<Self, ListenError> {
        bind(addr, backlog)
            .and_then(|socket| {
                let addr = rustix::net::getsockname(&socket)?.try_into()?;
                Ok(Self { socket, addr })
            })
            .map_err(|errno| ListenError { addr, source: errno.into() })
    }

    /// Takes over a socket that a service manager has opened and bound. Its backlog and its families are the
    /// manager's choice.
    ///
    /// # Errors
    /// [`NoListener`] for anything but a TCP socket that listens.
    pub(crate) fn passed(socket: OwnedFd) -> Result<Self, NoListener> {
        let is_tcp = matches!(
            (sockopt::socket_domain(&socket)?, sockopt::socket_type(&socket)?),
            (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM)
        ) && sockopt::socket_protocol(&socket)? == Some(rustix::net::ipproto::TCP);
        if !is_tcp {
            return Err(NoListener::NoTcp);
        }
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(NoListener::DoesNotListen);
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let addr = rustix::net::getsockname(&socket)?.try_into()?;
        Ok(Self { socket, addr })
    }

    /// Gives it to the runtime.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub(crate) fn start(self) -> io::Result<Listener> {
        let socket = sys::watch(self.socket)?;
        Ok(Listener { socket, addr: self.addr })
    }
}

fn bind(addr: SocketAddr, backlog: i32) -> Result<OwnedFd, Errno> {
    let (family, is_v6) = match addr {
        SocketAddr::V4(_) => (AddressFamily::INET, false),
        SocketAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for old connections to time out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_v6 {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// A socket that accepts.
pub(crate) struct Listener {
    socket: AsyncFd<OwnedFd>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

/// A client's connection, of which no byte was read.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) peer: SocketAddr,
}

impl Listener {
    /// Waits until a connection is in the backlog.
    ///
    /// # Errors
    /// When the runtime ends.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub(crate) async fn waiting(&self) -> io::Result<()> {
        // The guard is dropped as it is: the socket stays readable.
        self.socket.readable().await.map(drop)
    }

    /// Takes the next connection out of the backlog; `None` when it has gone meanwhile. Call it after
    /// [`Listener::waiting`].
    ///
    /// # Errors
    /// What `accept` reports; a shortage of descriptors or memory passes, so the caller tries again later.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub(crate) async fn accept(&self) -> io::Result<Option<Connection>> {
        let mut ready = self.socket.readable().await?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::acceptfrom_with(ready.get_inner(), flags) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).map(canonical);
                // A client that has gone already has no options to be set.
                let prepared = prepare(&socket).ok().and(peer);
                Ok(prepared.map(|peer| Connection { socket, peer }))
            }
            Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => Ok(None),
            Err(Errno::AGAIN) => {
                ready.clear_ready();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A socket that serves both families tells an IPv4 address as an IPv6 one.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => SocketAddr::from((ip, peer.port())),
        std::net::IpAddr::V6(_) => peer,
    }
}

/// Lets a dead peer be noticed without the worker's doing: a worker may set no options.
fn prepare(socket: &OwnedFd) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(addr: &str) -> Connection {
        let bound = Bound::new(addr.parse().unwrap(), 4).unwrap();
        assert_ne!(bound.addr.port(), 0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = bound.start().unwrap();
            let client = std::net::TcpStream::connect(listener.addr).unwrap();
            listener.waiting().await.unwrap();
            let connection = listener.accept().await.unwrap().unwrap();
            assert_eq!(connection.peer, client.local_addr().unwrap());
            connection
        })
    }

    #[test]
    fn connections_are_accepted_with_their_options_set() {
        let socket = accepted("127.0.0.1:0").socket;
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), KEEPALIVE_IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), KEEPALIVE_COUNT);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), USER_TIMEOUT_MS);
    }

    #[test]
    fn ipv6_is_served_beside_ipv4_on_the_same_port() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            eprintln!("skipped: this machine has no IPv6");
            return;
        }
        assert!(accepted("[::1]:0").peer.is_ipv6());
        let v6 = Bound::new("[::]:0".parse().unwrap(), 4).unwrap();
        let v4 = SocketAddr::from(([0, 0, 0, 0], v6.addr.port()));
        Bound::new(v4, 4).unwrap();
    }

    #[test]
    fn a_socket_that_was_passed_has_to_be_tcp_and_to_listen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        assert!(matches!(Bound::passed(client.into()), Err(NoListener::DoesNotListen)));
        let bound = Bound::passed(socket.into()).unwrap();
        assert_eq!(bound.addr, addr);
        assert!(
            rustix::fs::fcntl_getfl(&bound.socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK)
        );
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Bound::passed(udp.into()), Err(NoListener::NoTcp)));
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(Bound::passed(unix.into()), Err(NoListener::NoTcp)));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Bound::passed(file.into()), Err(NoListener::System(Errno::NOTSOCK))));
    }

    #[test]
    fn a_mapped_address_is_told_as_the_ipv4_address_that_it_is() {
        let told = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(told("[::ffff:10.0.0.7]:99"), "10.0.0.7:99");
        assert_eq!(told("[2001:db8::7]:99"), "[2001:db8::7]:99");
        assert_eq!(told("10.0.0.7:99"), "10.0.0.7:99");
    }

    #[test]
    fn a_port_in_use_is_explained() {
        let first = Bound::new("127.0.0.1:0".parse().unwrap(), 4).unwrap();
        let error = Bound::new(first.addr, 4).unwrap_err().to_string();
        assert!(error.contains(&first.addr.to_string()) && error.contains("berthd"), "{error}");
    }
}

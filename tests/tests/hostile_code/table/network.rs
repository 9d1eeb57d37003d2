//! Towards the network, and towards other processes by sockets.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use libc::*;

use super::{call, ended, ended_untried};
use crate::attacks::{Attack, Made, Target, Want, Without};
use berth_tests::puppets::Puppet;

/// The address of the server itself.
fn address(puppet: &mut Puppet, target: &Target) -> Result<u64, berth_tests::puppets::Fate> {
    let mut address = vec![0; 16];
    address[..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
    address[2..4].copy_from_slice(&target.port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    puppet.put(&address)
}

fn socket(puppet: &mut Puppet, family: i32, kind: i32, protocol: i32) -> Made {
    call(puppet, SYS_socket, &[family as u64, kind as u64, protocol as u64])
}

/// A row whose process is ended at its first call, `socket`.
fn from_socket(name: &'static str, how: super::How) -> Attack {
    let want = Want::Ended("socket");
    Attack { worker: want, filer: want, ..ended(name, how) }
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = new_sockets();
    rows.extend(sockets_that_are_there());
    rows
}

fn new_sockets() -> Vec<Attack> {
    vec![
        from_socket("connect: to the server, by TCP", |p, t| {
            let socket = p.call(SYS_socket, &[AF_INET as u64, SOCK_STREAM as u64, 0])?;
            let address = address(p, t)?;
            call(p, SYS_connect, &[socket, address, 16])
        }),
        from_socket("sendto: connects without connect (TCP Fast Open)", |p, t| {
            let socket = p.call(SYS_socket, &[AF_INET as u64, SOCK_STREAM as u64, 0])?;
            let (address, bytes) = (address(p, t)?, p.put(b"x")?);
            call(p, SYS_sendto, &[socket, bytes, 1, MSG_FASTOPEN as u64, address, 16])
        }),
        from_socket("bind: a port", |p, _| {
            let socket = p.call(SYS_socket, &[AF_INET as u64, SOCK_STREAM as u64, 0])?;
            let any = p.put(&[2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])?;
            call(p, SYS_bind, &[socket, any, 16])
        }),
        from_socket("listen: on a port of the kernel's choice", |p, _| {
            let socket = p.call(SYS_socket, &[AF_INET as u64, SOCK_STREAM as u64, 0])?;
            call(p, SYS_listen, &[socket, 1])
        }),
        from_socket("sendto: by UDP", |p, t| {
            let socket = p.call(SYS_socket, &[AF_INET as u64, SOCK_DGRAM as u64, 0])?;
            let (address, bytes) = (address(p, t)?, p.put(b"x")?);
            call(p, SYS_sendto, &[socket, bytes, 1, 0, address, 16])
        }),
        from_socket("connect: to the administrator's socket", |p, t| {
            let socket = p.call(SYS_socket, &[AF_UNIX as u64, SOCK_STREAM as u64, 0])?;
            let mut address = (AF_UNIX as u16).to_ne_bytes().to_vec();
            let path = t.data.join("admin").join("admin.sock");
            address.extend(path.as_os_str().as_encoded_bytes());
            address.push(0);
            let length = address.len() as u64;
            let address = p.put(&address)?;
            call(p, SYS_connect, &[socket, address, length])
        }),
        from_socket("bind: an abstract name", |p, t| {
            let socket = p.call(SYS_socket, &[AF_UNIX as u64, SOCK_STREAM as u64, 0])?;
            let mut address = (AF_UNIX as u16).to_ne_bytes().to_vec();
            address.extend(format!("\0berth-test-{}", t.own).bytes());
            let length = address.len() as u64;
            let address = p.put(&address)?;
            call(p, SYS_bind, &[socket, address, length])
        }),
        from_socket("connect: to another's abstract name", |p, t| {
            let name = format!("berth-test-{}-other", t.own);
            let other = SocketAddr::from_abstract_name(&name).unwrap();
            let _listening = UnixListener::bind_addr(&other).unwrap();
            let socket = p.call(SYS_socket, &[AF_UNIX as u64, SOCK_STREAM as u64, 0])?;
            let mut address = (AF_UNIX as u16).to_ne_bytes().to_vec();
            address.extend(format!("\0{name}").bytes());
            let length = address.len() as u64;
            let address = p.put(&address)?;
            call(p, SYS_connect, &[socket, address, length])
        }),
        from_socket("socket: netlink", |p, _| socket(p, AF_NETLINK, SOCK_RAW, 0)),
        Attack {
            free: Without::Untried,
            ..from_socket("socket: vsock", |p, _| socket(p, AF_VSOCK, SOCK_STREAM, 0))
        },
        Attack {
            free: Without::Untried,
            ..from_socket("socket: the kernel's cryptography", |p, _| {
                socket(p, AF_ALG, SOCK_SEQPACKET, 0)
            })
        },
        Attack {
            free: Without::Untried,
            ..from_socket("socket: raw packets", |p, _| socket(p, AF_PACKET, SOCK_RAW, 0))
        },
        ended("socketpair: two more descriptors", |p, _| {
            let pair = p.put(&[0; 8])?;
            call(p, SYS_socketpair, &[AF_UNIX as u64, SOCK_STREAM as u64, 0, pair])
        }),
    ]
}

/// What is there: the channels, and the client's connection or, of a puppet that is a filer, the test's.
fn sockets_that_are_there() -> Vec<Attack> {
    vec![
        ended_untried("sendto: with an address, on a connection", |p, t| {
            let (address, bytes) = (address(p, t)?, p.put(b"x")?);
            call(p, SYS_sendto, &[p.descriptor(1) as u64, bytes, 1, 0, address, 16])
        }),
        ended_untried("sendto: opens by the way, on a connection", |p, _| {
            let bytes = p.put(b"x")?;
            let flags = MSG_FASTOPEN as u64;
            call(p, SYS_sendto, &[p.descriptor(1) as u64, bytes, 1, flags, 0, 0])
        }),
        ended_untried("connect: a connection anew", |p, t| {
            let address = address(p, t)?;
            call(p, SYS_connect, &[p.descriptor(1) as u64, address, 16])
        }),
        ended_untried("bind: a connection", |p, t| {
            let address = address(p, t)?;
            call(p, SYS_bind, &[p.descriptor(1) as u64, address, 16])
        }),
        ended_untried("listen: on a connection", |p, _| {
            call(p, SYS_listen, &[p.descriptor(1) as u64, 1])
        }),
        ended_untried("accept: from the daemon's channel", |p, _| {
            call(p, SYS_accept, &[p.descriptor(0) as u64, 0, 0])
        }),
        ended_untried("accept4: from the daemon's channel", |p, _| {
            call(p, SYS_accept4, &[p.descriptor(0) as u64, 0, 0, 0])
        }),
        ended_untried("getsockname: of a connection", |p, _| {
            let (room, length) = (p.put(&[0; 128])?, p.put(&128u32.to_ne_bytes())?);
            call(p, SYS_getsockname, &[p.descriptor(1) as u64, room, length])
        }),
        ended_untried("getsockopt: who is behind the channel", |p, _| {
            let (room, length) = (p.put(&[0; 128])?, p.put(&128u32.to_ne_bytes())?);
            let option = SO_PEERCRED as u64;
            call(p, SYS_getsockopt, &[p.descriptor(0) as u64, 1, option, room, length])
        }),
        ended_untried("setsockopt: a larger buffer for the channel", |p, _| {
            let value = p.put(&(64u32 << 20).to_ne_bytes())?;
            let option = SO_SNDBUF as u64;
            call(p, SYS_setsockopt, &[p.descriptor(0) as u64, 1, option, value, 4])
        }),
        ended_untried("sendmsg: with other flags than ours", |p, _| {
            let message = p.put(&[0; 56])?;
            call(p, SYS_sendmsg, &[p.descriptor(0) as u64, message, 0])
        }),
        ended_untried("sendmmsg: several at once", |p, _| {
            let message = p.put(&[0; 64])?;
            call(p, SYS_sendmmsg, &[p.descriptor(0) as u64, message, 1, 0])
        }),
        ended_untried("recvmmsg: several at once", |p, _| {
            let message = p.put(&[0; 64])?;
            let flags = MSG_DONTWAIT as u64;
            call(p, SYS_recvmmsg, &[p.descriptor(0) as u64, message, 1, flags, 0])
        }),
    ]
}

//! From the backlog to a worker: the bounds are checked first, and nothing is accepted that cannot be served.
//!
//! While all workers are taken, or as many connections are there as may be, connections wait in the
//! kernel's backlog, so that a flood costs no memory of the daemon's.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::daemon::Daemon;
use crate::listener::{Connection, Listener};
use crate::places::Place;
use crate::session;

/// How long to wait when the system has no descriptors or memory left.
const SHORTAGE: Duration = Duration::from_millis(100);

/// What a connection has of the bounds on connections, until its worker is reaped.
pub(crate) struct Admission {
    _place: Place,
    _address: CountedAddress,
}

/// A connection that is counted for its address.
struct CountedAddress {
    daemon: Rc<Daemon>,
    peer: SocketAddr,
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        self.daemon.addresses.borrow_mut().leave(self.peer.ip());
    }
}

/// Accepts until the daemon stops.
pub(crate) async fn accept(daemon: Rc<Daemon>, listener: Listener) {
    tokio::select! {
        biased;
        () = daemon.stopping.up() => {}
        () = accept_all(&daemon, &listener) => {}
    }
}

async fn accept_all(daemon: &Rc<Daemon>, listener: &Listener) {
    let mut short = false;
    loop {
        match accept_one(daemon, listener).await {
            Ok(()) => short = false,
            Err(error) => {
                // Once, and not ten times a second for as long as the shortage lasts.
                if !std::mem::replace(&mut short, true) {
                    tracing::error!(addr = %listener.addr, %error, "cannot accept; trying on");
                }
                tokio::time::sleep(SHORTAGE).await;
            }
        }
    }
}

async fn accept_one(daemon: &Rc<Daemon>, listener: &Listener) -> io::Result<()> {
    // Somebody must be waiting before a place is taken, or idle listeners would keep others' clients out.
    listener.waiting().await?;
    let place = daemon.connections.take().await;
    daemon.workers.available().await;
    let Some(connection) = listener.accept().await? else {
        return Ok(());
    };
    let Some(address) = admit(daemon, &connection) else {
        return Ok(());
    };
    // Another listener may have been faster; this one connection waits here then.
    let (worker, made_with) = daemon.workers.take_with().await;
    let admission = Admission { _place: place, _address: address };
    spawn_local(session::run(daemon.clone(), worker, made_with, connection, admission));
    Ok(())
}

/// Counts the connection for its address; one too many is closed.
fn admit(daemon: &Rc<Daemon>, connection: &Connection) -> Option<CountedAddress> {
    let peer = connection.peer;
    if daemon.addresses.borrow_mut().enter(peer.ip()) {
        return Some(CountedAddress { daemon: daemon.clone(), peer });
    }
    let most = daemon.settings().config.max_connections_per_address;
    tracing::warn!(addr = %peer, most, "refused: too many connections from this address");
    None
}

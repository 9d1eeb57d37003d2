//! From the backlog to a worker: the bounds are checked first, and then one connection at a time waits for a worker.
//!
//! While all workers are taken, or all places are those of users who have logged in, connections wait in the
//! kernel's backlog, so that a flood costs no memory of the daemon's. For the others there is always somebody to
//! make room ([`crate::pending`]), so that strangers who hold their connections keep nobody in the backlog.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::ids::SessionId;
use tokio::task::spawn_local;

use crate::addresses::Entry;
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::listener::{Connection, Listener};
use crate::pending::{Arrival, Lack, Lot};
use crate::places::Place;
use crate::session::{self, Event};

/// How long to wait when the system has no descriptors or memory left.
const SHORTAGE: Duration = Duration::from_millis(100);

/// What a connection has of the bounds on connections, until its worker is reaped.
pub(crate) struct Admission {
    /// The number that its session is to have.
    pub(crate) session: SessionId,
    _place: Place,
    _address: CountedAddress,
    _pending: PendingLogin,
}

/// A connection that is in the table of those that have not logged in, unless it has.
struct PendingLogin {
    daemon: Rc<Daemon>,
    session: SessionId,
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        self.daemon.pending.borrow_mut().leave(self.session, Instant::now());
    }
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
    let place = match daemon.connections.try_take() {
        None if daemon.pending.borrow().is_empty() => Some(daemon.connections.take().await),
        place => place,
    };
    let Some(connection) = listener.accept().await? else {
        return Ok(());
    };
    let Some(address) = admit(daemon, &connection) else {
        return Ok(());
    };
    let lack = Lack { place: place.is_none(), worker: daemon.workers.count() == 0 };
    let lot = Lot(getrandom::u64().map_err(io::Error::other)?);
    let Some(pending) = enter(daemon, &connection, lack, lot) else {
        return Ok(());
    };
    let (worker, made_with) = daemon.workers.take_with().await;
    let place = match place {
        Some(place) => place,
        // Whoever was ended for it is about to leave one.
        None => daemon.connections.take().await,
    };
    let session = pending.session;
    let admission = Admission { session, _place: place, _address: address, _pending: pending };
    spawn_local(session::run(daemon.clone(), worker, made_with, connection, admission));
    Ok(())
}

/// Counts the connection for its address; one too many is closed.
fn admit(daemon: &Rc<Daemon>, connection: &Connection) -> Option<CountedAddress> {
    let peer = connection.peer;
    let entry = daemon.addresses.borrow_mut().enter(peer.ip());
    match entry {
        Entry::Counted => return Some(CountedAddress { daemon: daemon.clone(), peer }),
        Entry::Refused { first: true } => {
            let most = daemon.settings().config.max_connections_per_address;
            tracing::warn!(
                addr = %peer, most,
                "refused: too many connections from this address; the next are told when half have gone"
            );
        }
        Entry::Refused { first: false } => {}
    }
    None
}

/// Gives the connection its number among those that have not logged in; who has to go for it is ended, or it is
/// closed itself.
fn enter(
    daemon: &Rc<Daemon>,
    connection: &Connection,
    lack: Lack,
    lot: Lot,
) -> Option<PendingLogin> {
    let session = daemon.sessions.borrow_mut().number();
    let address = connection.peer.ip();
    let arrival = daemon.pending.borrow_mut().enter(session, address, lack, lot, Instant::now());
    let (Arrival::Displaces(_, named) | Arrival::Refused(named)) = arrival else {
        return Some(PendingLogin { daemon: daemon.clone(), session });
    };
    if let Some(network) = named {
        let most = daemon.settings().config.max_logins_pending;
        tracing::warn!(
            %network, most,
            "too many connections have not logged in: some of this network are ended or refused; \
             told once until it has been calm for a minute"
        );
    }
    let Arrival::Displaces(victim, _) = arrival else {
        return None;
    };
    // One that is not in the table of sessions yet finds out when it begins.
    if let Some(control) = daemon.control(victim) {
        drop(control.events.send(Event::Kill(KillReason::Displaced)));
    }
    Some(PendingLogin { daemon: daemon.clone(), session })
}

//! From the backlog to a worker: the bounds are checked first, and nothing is accepted that cannot be served.
//!
//! While all workers are taken, or as many connections are there as may be, connections wait in the
//! kernel's backlog, so that a flood costs no memory of the daemon's.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::daemon::Daemon;
use crate::listener::{Connection, Listener};
use crate::session::{self, Admission, CountedAddress};

/// How long to wait when the system has no descriptors or memory left.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Accepts until the daemon stops.
pub(crate) async fn accept(daemon: Rc<Daemon>, listener: Listener) {
    tokio::select! {
        biased;
        () = daemon.stopping.up() => {}
        () = accept_all(&daemon, &listener) => {}
    }
}

async fn accept_all(daemon: &Rc<Daemon>, listener: &Listener) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = daemon.connections.clone().acquire_owned().await else {
            return;
        };
        daemon.workers.available().await;
        let connection = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(addr = %listener.addr, %error, "cannot accept");
                tokio::time::sleep(SHORTAGE).await;
                continue;
            }
        };
        let Some(address) = admit(daemon, &connection) else {
            continue;
        };
        // Another listener may have been faster; this one connection waits here then.
        let worker = daemon.workers.take().await;
        let admission = Admission::new(permit, address);
        spawn_local(session::run(daemon.clone(), worker, connection, admission));
    }
}

/// Counts the connection for its address; one too many is closed.
fn admit(daemon: &Rc<Daemon>, connection: &Connection) -> Option<CountedAddress> {
    let peer = connection.peer;
    if daemon.addresses.borrow_mut().enter(peer.ip()) {
        return Some(CountedAddress {
            daemon: daemon.clone(),
            peer,
        });
    }
    let most = daemon.config.max_connections_per_address;
    tracing::warn!(addr = %peer, most, "refused: too many connections from this address");
    None
}

//! A user's ticket in the daemon's own hands, for a verification: waited for in line like any session's,
//! and given back when it is dropped.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::ids::{OpId, SessionId, UserName};
use tokio::sync::oneshot;

use crate::daemon::Daemon;
use crate::serve::Given;

/// Beyond a session's deadline: after that its replay may be under way, or hang.
const PATIENCE: Duration = Duration::from_secs(30);

const OP: OpId = OpId(1);

/// The tickets that the daemon holds or waits for, by numbers that no session has.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// Who waits; nobody, when it is granted.
    holds: HashMap<SessionId, Option<oneshot::Sender<()>>>,
}

impl Holds {
    /// Whether this number is one of these.
    pub(crate) fn has(&self, number: SessionId) -> bool {
        self.holds.contains_key(&number)
    }

    /// The ticket is granted. `false` when it is a session's.
    pub(crate) fn granted(&mut self, number: SessionId) -> bool {
        let Some(waiting) = self.holds.get_mut(&number) else {
            return false;
        };
        if let Some(waiting) = waiting.take() {
            // Who waits no longer gives it back all the same.
            let _ = waiting.send(());
        }
        true
    }

    /// The ticket is not granted any more: the home is read-only.
    pub(crate) fn turned_away(&mut self, number: SessionId) {
        if let Some(waiting) = self.holds.get_mut(&number) {
            waiting.take();
        }
    }
}

/// The ticket, or a place in line for it.
pub(crate) struct Hold {
    daemon: Rc<Daemon>,
    user: UserName,
    number: SessionId,
}

impl Hold {
    /// Waits for the ticket; `None` when it does not come in time, or the home is read-only.
    ///
    /// # Cancel safety
    /// The place in line is given up.
    pub(crate) async fn take(daemon: &Rc<Daemon>, user: &UserName) -> Option<Self> {
        let number = daemon.sessions.borrow_mut().number();
        let (waiting, granted) = oneshot::channel();
        daemon.holds.borrow_mut().holds.insert(number, Some(waiting));
        let hold = Self { daemon: daemon.clone(), user: user.clone(), number };
        daemon.request_ticket(user, number, OP, Given::Names(Vec::new()));
        let patience = daemon.settings().config.ticket + PATIENCE;
        match tokio::time::timeout(patience, granted).await {
            Ok(Ok(())) => Some(hold),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.daemon.holds.borrow_mut().holds.remove(&self.number);
        let (user, number, now) = (&self.user, self.number, Instant::now());
        let mut tickets = self.daemon.tickets.borrow_mut();
        let next = tickets.release(user, number, OP, now).unwrap_or_else(|_| {
            // It still waited.
            tickets.died(user, number, now);
            None
        });
        drop(tickets);
        self.daemon.deliver(next);
    }
}

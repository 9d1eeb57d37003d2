//! Which exchange waits for which number's answers, and why the session is over.
//!
//! A table behind a lock; it does no input or output and starts no task.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_common::ids::RequestId;
use tokio::sync::{mpsc, watch};

use super::farewell::Farewells;
use crate::connection::{ConnectionError, Frame};

/// Who waits for what, until the session is over.
pub(super) struct Routes {
    table: Mutex<Table>,
    over: watch::Sender<bool>,
    farewells: Farewells,
}

struct Table {
    next: u32,
    open: HashMap<RequestId, mpsc::Sender<Frame>>,
    reason: Option<ConnectionError>,
}

impl Routes {
    pub(super) fn new() -> Self {
        let table = Table { next: 1, open: HashMap::new(), reason: None };
        Self {
            table: Mutex::new(table),
            over: watch::Sender::new(false),
            farewells: Farewells::default(),
        }
    }

    /// Becomes true when the session is over.
    pub(super) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Of transfers that were cancelled.
    pub(super) fn farewells(&self) -> &Farewells {
        &self.farewells
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, sender: mpsc::Sender<Frame>) -> RequestId {
        let mut table = self.table();
        let mut id = RequestId(table.next);
        while table.open.contains_key(&id) {
            id = RequestId(id.0.wrapping_add(1));
        }
        table.next = id.0.wrapping_add(1);
        // Without a route the exchange's first look finds the session over.
        if table.reason.is_none() {
            table.open.insert(id, sender);
        }
        id
    }

    pub(super) fn remove(&self, id: RequestId) {
        self.table().open.remove(&id);
    }

    pub(super) fn find(&self, id: RequestId) -> Option<mpsc::Sender<Frame>> {
        self.table().open.get(&id).cloned()
    }

    /// The session is over for this reason, unless it was before.
    pub(super) fn end(&self, reason: ConnectionError) {
        let mut table = self.table();
        table.reason.get_or_insert(reason);
        table.open.clear();
        drop(table);
        self.over.send_replace(true);
    }

    pub(super) fn reason(&self) -> ConnectionError {
        self.table().reason.clone().unwrap_or(ConnectionError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_not_given_again() {
        let routes = Routes::new();
        let add = || routes.add(mpsc::channel(1).0);
        assert_eq!((add(), add()), (RequestId(1), RequestId(2)));
        routes.remove(RequestId(1));
        assert_eq!(add(), RequestId(3), "a late answer finds nobody");
        routes.table().next = 2;
        assert_eq!(add(), RequestId(4));
        routes.table().next = u32::MAX;
        assert_eq!((add(), add()), (RequestId(u32::MAX), RequestId(0)));
    }

    #[test]
    fn the_first_reason_stays_and_nobody_waits_any_more() {
        let routes = Routes::new();
        let over = routes.over();
        let (sender, mut waiting) = mpsc::channel(1);
        let id = routes.add(sender);
        routes.end(ConnectionError::Silent);
        routes.end(ConnectionError::Closed);
        assert_eq!(routes.reason(), ConnectionError::Silent);
        assert!(*over.borrow() && routes.find(id).is_none());
        assert!(
            waiting.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected)
        );
        let (sender, mut late) = mpsc::channel::<Frame>(1);
        routes.add(sender);
        assert!(late.try_recv().is_err(), "it learns so at its first look");
    }
}

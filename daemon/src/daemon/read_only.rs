//! Whose homes may not be changed, and why.
//!
//! Filers' questions are answered by it ([`crate::serve`]), and those who wait for the ticket are turned away at once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use berth_common::ids::UserName;

use super::Daemon;
use crate::exit::KillReason;
use crate::ledger::LedgerError;
use crate::session::Event;

/// Why changes of a home are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The ledger's sums do not fit what is in the home. A verification can correct them.
    Imbalance,
    /// The sums are not known to fit: a restored ledger, a disk that failed. They are to be verified.
    Unverified,
    /// The disk, or what stands on it: only a restart helps.
    Damage,
}

/// Those whose homes are stopped.
#[derive(Default)]
pub(super) struct ReadOnly {
    users: RefCell<BTreeMap<UserName, Stopped>>,
    /// A sync of the file system failed: nobody's home is changed any more.
    all: Cell<bool>,
}

impl ReadOnly {
    /// A user is gone.
    pub(super) fn forget(&self, user: &UserName) {
        self.users.borrow_mut().remove(user);
    }
}

impl Daemon {
    /// Whether changes to a user's home are stopped.
    pub(crate) fn is_read_only(&self, user: &UserName) -> bool {
        self.are_all_read_only() || self.read_only.users.borrow().contains_key(user)
    }

    /// Whether changes to all homes are stopped.
    pub(crate) fn are_all_read_only(&self) -> bool {
        self.read_only.all.get()
    }

    /// Why they are, if they are.
    pub(crate) fn stopped(&self, user: &UserName) -> Option<Stopped> {
        if self.are_all_read_only() {
            return Some(Stopped::Damage);
        }
        self.read_only.users.borrow().get(user).copied()
    }

    /// Allows changes again, after the cause was seen to.
    pub(crate) fn make_writable(&self, user: &UserName) {
        if self.read_only.users.borrow_mut().remove(user).is_some() {
            tracing::info!(%user, "the home may be changed again");
        }
    }

    /// Stops all changes to a user's home until a restart. Sessions that wait for the ticket are ended: what
    /// those have staged that have an intent must stay as it is for the replay at the next start.
    pub(crate) fn make_read_only(&self, user: &UserName, reason: &str) {
        self.stop(user, Stopped::Damage, reason);
    }

    /// The same for everybody, since a sync of the file system failed. `false` when they are stopped already.
    pub(crate) fn make_all_read_only(&self) -> bool {
        if self.read_only.all.replace(true) {
            return false;
        }
        tracing::error!(
            "a sync of the file system failed: all homes are read-only from now on; \
             docs/OPERATIONS.md says what to do"
        );
        let sessions = self.sessions.borrow();
        let users: BTreeSet<UserName> =
            sessions.iter().filter_map(|(_, entry)| entry.user.clone()).collect();
        drop(sessions);
        users.iter().for_each(|user| self.turn_waiting_away(user));
        true
    }

    /// The same, until the sums are corrected.
    pub(crate) fn make_read_only_for_imbalance(&self, user: &UserName) {
        self.stop(user, Stopped::Imbalance, &LedgerError::Imbalance.to_string());
    }

    fn stop(&self, user: &UserName, cause: Stopped, reason: &str) {
        let before = self.stopped(user);
        // A verification mends all but damage.
        if before != Some(Stopped::Damage) {
            self.read_only.users.borrow_mut().insert(user.clone(), cause);
        }
        if before != Some(cause) && before != Some(Stopped::Damage) {
            tracing::error!(
                %user,
                reason = ?reason,
                "the home is read-only from now on; docs/OPERATIONS.md says what to do"
            );
        }
        self.turn_waiting_away(user);
    }

    /// The same, until its sums are verified.
    pub(crate) fn make_read_only_until_verified(&self, user: &UserName, reason: &str) {
        self.stop(user, Stopped::Unverified, reason);
    }

    fn turn_waiting_away(&self, user: &UserName) {
        let waiting = self.tickets.borrow_mut().turn_away(user);
        for grant in waiting {
            self.holds.borrow_mut().turned_away(grant.session);
            if let Some(control) = self.control(grant.session) {
                let reason = KillReason::Internal("the home is read-only".to_owned());
                drop(control.events.send(Event::Kill(reason)));
            }
        }
    }

    /// Those who are by themselves.
    pub(crate) fn read_only_users(&self) -> Vec<UserName> {
        self.read_only.users.borrow().keys().cloned().collect()
    }
}

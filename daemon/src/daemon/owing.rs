//! What the ledger does not know yet: what users have deleted while it could not be written, and who could not be
//! recovered at the start for the same reason.
//!
//! [`crate::owed`] settles the accounts, [`crate::recovery`] recovers the users; these are their lists.

use std::cell::RefCell;
use std::collections::BTreeSet;

use berth_common::ids::UserName;
use tokio::sync::Notify;

use super::Daemon;

/// The lists.
#[derive(Default)]
pub(super) struct Owing {
    users: RefCell<BTreeSet<UserName>>,
    /// Whose account is being settled.
    accounting: RefCell<Option<UserName>>,
    unrecovered: RefCell<BTreeSet<UserName>>,
    /// Somebody owes something.
    changed: Notify,
}

impl Owing {
    /// A user is gone.
    pub(super) fn forget(&self, user: &UserName) {
        self.unrecovered.borrow_mut().remove(user);
        self.users.borrow_mut().remove(user);
    }
}

impl Daemon {
    /// A user has taken something to an owed name, or may have.
    pub(crate) fn owes(&self, user: &UserName) {
        self.owing.users.borrow_mut().insert(user.clone());
        self.owing.changed.notify_one();
    }

    /// Waits for [`Daemon::owes`]. One that nobody has waited for is enough.
    pub(crate) async fn somebody_owes(&self) {
        self.owing.changed.notified().await;
    }

    /// One who owes something, whose account is settled from now on until [`Daemon::owes_no_more`].
    pub(crate) fn next_who_owes(&self) -> Option<UserName> {
        let next = self.owing.users.borrow_mut().pop_first();
        *self.owing.accounting.borrow_mut() = next.clone();
        next
    }

    /// What [`Daemon::next_who_owes`] gave is accounted for, or cannot be.
    pub(crate) fn owes_no_more(&self) {
        self.owing.accounting.borrow_mut().take();
    }

    /// Whether something of a user's may stand at owed names: it still counts as used then.
    pub(crate) fn may_owe(&self, user: &UserName) -> bool {
        let is_owing = |(id, _)| {
            let control = self.control(id);
            control.is_some_and(|control| {
                control.serving.borrow().as_ref().is_some_and(|serving| serving.owes())
            })
        };
        let ids: Vec<_> = self.sessions.borrow().of_user(user).map(|(id, _)| (id, ())).collect();
        self.owing.users.borrow().contains(user)
            || self.owing.accounting.borrow().as_ref() == Some(user)
            || self.is_unrecovered(user)
            || ids.into_iter().any(is_owing)
    }

    /// Whether changes to a user's home wait for its recovery.
    pub(crate) fn is_unrecovered(&self, user: &UserName) -> bool {
        self.owing.unrecovered.borrow().contains(user)
    }

    /// They do.
    pub(crate) fn set_unrecovered(&self, user: &UserName) {
        self.owing.unrecovered.borrow_mut().insert(user.clone());
    }

    /// They do not any more.
    pub(crate) fn set_recovered(&self, user: &UserName) {
        self.owing.unrecovered.borrow_mut().remove(user);
    }
}

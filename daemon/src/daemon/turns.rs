//! What is done for a user by one at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use berth_common::ids::UserName;
use tokio::sync::Mutex;

use super::Daemon;

/// The locks of those for whom something is done or waited for.
pub(super) type Turns = HashMap<UserName, Rc<Mutex<()>>>;

fn turn_of(turns: &RefCell<Turns>, user: &UserName) -> Rc<Mutex<()>> {
    let mut turns = turns.borrow_mut();
    turns.retain(|_, turn| Rc::strong_count(turn) > 1);
    turns.entry(user.clone()).or_default().clone()
}

impl Daemon {
    /// What may be done for a user by one at a time: replays, expiry, coming and going.
    pub(crate) fn turn(&self, user: &UserName) -> Rc<Mutex<()>> {
        turn_of(&self.turns, user)
    }

    /// What removes in a user's staging what has no row, one at a time: clearing, sweeps, the user's removal.
    /// It may take minutes. Who needs the turn too takes it first.
    pub(crate) fn clearing(&self, user: &UserName) -> Rc<Mutex<()>> {
        turn_of(&self.clearings, user)
    }
}

//! Clearing: what dead sessions left in staging that has no row any more is removed.
//!
//! It may take minutes, and nobody waits for it: the rows are settled or dropped before, so the ticket
//! and the uploads have passed on, and the names are never used again. Until it is removed, what is left
//! counts as before. Of a session that waits for it there is a number in a queue and nothing else, so that
//! no user comes to keep descriptors by dying often. One filer at a time clears a user's staging or sweeps it
//! ([`Daemon::clearing`]), so that neither finds the other's tree gone under its hands; what is cut off is
//! left to the next start's sweep.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use berth_common::ids::{SessionId, UserName};

use super::{RecoveryError, has_left_nothing, record_end, recover, remove_without_row, stop};
use crate::daemon::Daemon;
use crate::filer_handle::Recoverer;

/// The dead sessions whose left-overs are to be removed, by user. A user is in it while a task clears.
#[derive(Debug, Default)]
pub(crate) struct ToClear {
    waiting: BTreeMap<UserName, VecDeque<SessionId>>,
}

impl ToClear {
    /// One more of a user's; whether a task has to be begun for the user.
    fn add(&mut self, user: &UserName, session: SessionId) -> bool {
        if let Some(queue) = self.waiting.get_mut(user) {
            queue.push_back(session);
            return false;
        }
        self.waiting.insert(user.clone(), VecDeque::from([session]));
        true
    }

    /// The user's next one; with `None` the task is to end.
    fn next(&mut self, user: &UserName) -> Option<SessionId> {
        let next = self.waiting.get_mut(user).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(user);
        }
        next
    }
}

/// Has removed, some time, what a session left that is replayed. Nothing of the session itself is needed for it.
pub(crate) fn clear_later(daemon: &Rc<Daemon>, user: &UserName, session: SessionId) {
    if !daemon.to_clear.borrow_mut().add(user, session) {
        return;
    }
    let (daemon, user) = (daemon.clone(), user.clone());
    tokio::task::spawn_local(async move {
        tokio::select! {
            biased;
            () = daemon.clearing_ends.up() => {}
            () = clear_all(&daemon, &user) => {}
        }
    });
}

async fn clear_all(daemon: &Daemon, user: &UserName) {
    loop {
        let next = daemon.to_clear.borrow_mut().next(user);
        let Some(session) = next else {
            return;
        };
        clear(daemon, user, session).await;
    }
}

/// Has removed what a session left that is replayed, and forgets the session.
async fn clear(daemon: &Daemon, user: &UserName, session: SessionId) {
    if has_left_nothing(daemon, session).await {
        return;
    }
    let clearing = daemon.clearing(user);
    let _clearing = clearing.lock().await;
    // The user may be gone by now, with all that was the user's.
    if has_left_nothing(daemon, session).await {
        return;
    }
    let cleared = recover(daemon, user, async |recoverer| {
        remove_left_overs(daemon, recoverer, session).await
    });
    if let Err(error) = cleared.await {
        tracing::error!(session = session.0, %user, %error, "what it left cannot be removed");
        stop(daemon, user, &error).await;
    }
    record_end(daemon, user, session).await;
}

/// Asks anew each time what there is: what an attempt has removed is not there any more.
async fn remove_left_overs(
    daemon: &Daemon,
    recoverer: &mut Recoverer,
    session: SessionId,
) -> Result<(), RecoveryError> {
    let left = daemon.ledger.orphans_of(session).await?;
    remove_without_row(daemon, recoverer, session, &left.leftovers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_sessions_are_cleared_in_turn_by_one_task() {
        let (alice, bob) = (UserName::new("alice").unwrap(), UserName::new("bob").unwrap());
        let mut queue = ToClear::default();
        assert!(queue.add(&alice, SessionId(1)));
        assert!(!queue.add(&alice, SessionId(2)));
        assert!(queue.add(&bob, SessionId(3)), "users do not wait for each other");
        assert_eq!(queue.next(&alice), Some(SessionId(1)));
        assert_eq!(queue.next(&alice), Some(SessionId(2)));
        assert!(!queue.add(&alice, SessionId(4)), "the task is still at the last one");
        assert_eq!(queue.next(&alice), Some(SessionId(4)));
        assert_eq!(queue.next(&alice), None);
        assert!(queue.add(&alice, SessionId(5)), "it has ended");
    }
}

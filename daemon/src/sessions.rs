//! The table of sessions: plain data about each, and `C`, the means to reach it.
//!
//! A session is in the table from its connection until its worker and filer are reaped and its rows
//! replayed, so that "not in the table" means that nothing of it happens any more and it has no row (rule R10).
//! What it left over in staging may still be removed then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::{Duration, Instant};

use berth_common::admin_protocol::SessionSummary;
use berth_common::broker_protocol::Direction;
use berth_common::credentials::DeviceId;
use berth_common::ids::{RequestId, SessionId, UserName};
use berth_common::rel_path::RelPath;

/// A session that moved no byte for so long may be taken over by another client.
pub(crate) const QUIET: Duration = Duration::from_secs(15);

/// The sessions, by number.
#[derive(Debug)]
pub(crate) struct Sessions<C> {
    last: u64,
    table: BTreeMap<SessionId, Entry<C>>,
}

/// What is known of one.
#[derive(Debug)]
pub(crate) struct Entry<C> {
    pub(crate) control: C,
    pub(crate) peer: SocketAddr,
    pub(crate) user: Option<UserName>,
    /// By which device the user logged in, where it was none by the password.
    pub(crate) device: Option<DeviceId>,
    pub(crate) worker_pid: u32,
    pub(crate) filer_pid: Option<u32>,
    /// Its processes are gone, and what it left waits to be replayed.
    reaped: bool,
    opened: Instant,
    active: Instant,
    moved: Option<Instant>,
    transfers: BTreeMap<RequestId, Transfer>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A transfer that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) direction: Direction,
    pub(crate) path: RelPath,
    pub(crate) size: Option<u64>,
    pub(crate) begun: Instant,
}

impl<C> Default for Sessions<C> {
    fn default() -> Self {
        Self { last: 0, table: BTreeMap::new() }
    }
}

impl<C> Sessions<C> {
    /// A number that no session has had or will have.
    pub(crate) fn number(&mut self) -> SessionId {
        self.last += 1;
        SessionId(self.last)
    }

    /// A connection begins.
    pub(crate) fn insert(
        &mut self,
        id: SessionId,
        peer: SocketAddr,
        worker_pid: u32,
        control: C,
        now: Instant,
    ) {
        let entry = Entry {
            control,
            peer,
            user: None,
            device: None,
            worker_pid,
            filer_pid: None,
            reaped: false,
            opened: now,
            active: now,
            moved: None,
            transfers: BTreeMap::new(),
            received: 0,
            sent: 0,
        };
        self.table.insert(id, entry);
    }

    /// It is reaped and replayed.
    pub(crate) fn remove(&mut self, id: SessionId) {
        self.table.remove(&id);
    }

    /// One session.
    pub(crate) fn get(&self, id: SessionId) -> Option<&Entry<C>> {
        self.table.get(&id)
    }

    /// Connections, logged in or not.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Entry<C>)> {
        self.table.iter().map(|(id, entry)| (*id, entry))
    }

    /// A user's sessions.
    pub(crate) fn of_user(&self, user: &UserName) -> impl Iterator<Item = (SessionId, &Entry<C>)> {
        self.iter().filter(move |(_, entry)| entry.user.as_ref() == Some(user))
    }

    /// Makes it a user's, if the user has fewer than `most`. From then on it is found by `of_user`.
    pub(crate) fn log_in(
        &mut self,
        id: SessionId,
        user: &UserName,
        device: Option<DeviceId>,
        most: u32,
    ) -> bool {
        let living = self.of_user(user).filter(|(_, entry)| !entry.reaped);
        let fits = living.count() < most as usize;
        if let Some(entry) = self.table.get_mut(&id).filter(|_| fits) {
            entry.user = Some(user.clone());
            entry.device = device;
        }
        fits
    }

    /// Its processes are gone: it counts among the user's sessions no more.
    pub(crate) fn set_reaped(&mut self, id: SessionId) {
        if let Some(entry) = self.table.get_mut(&id) {
            entry.reaped = true;
        }
    }

    /// Its filer has joined.
    pub(crate) fn set_filer(&mut self, id: SessionId, pid: u32) {
        if let Some(entry) = self.table.get_mut(&id) {
            entry.filer_pid = Some(pid);
        }
    }

    /// A transfer begins; `false` when the worker has as many as it may, or one of this number.
    pub(crate) fn transfer_started(
        &mut self,
        id: SessionId,
        request: RequestId,
        transfer: Transfer,
        most: u32,
    ) -> bool {
        let Some(entry) = self.table.get_mut(&id) else {
            return false;
        };
        if entry.transfers.len() >= most as usize || entry.transfers.contains_key(&request) {
            return false;
        }
        entry.active = transfer.begun;
        entry.moved = Some(transfer.begun);
        entry.transfers.insert(request, transfer);
        true
    }

    /// A transfer ends; `None` when there is none of this number.
    pub(crate) fn transfer_ended(
        &mut self,
        id: SessionId,
        request: RequestId,
        now: Instant,
    ) -> Option<Transfer> {
        let entry = self.table.get_mut(&id)?;
        entry.active = now;
        entry.transfers.remove(&request)
    }

    /// Bytes were moved.
    pub(crate) fn progress(&mut self, id: SessionId, received: u64, sent: u64, now: Instant) {
        if let Some(entry) = self.table.get_mut(&id) {
            entry.received = entry.received.saturating_add(received);
            entry.sent = entry.sent.saturating_add(sent);
            entry.active = now;
            if received > 0 {
                entry.moved = Some(now);
            }
        }
    }

    /// Small files were moved. They are no upload that others might take.
    pub(crate) fn batch_ended(
        &mut self,
        id: SessionId,
        direction: Direction,
        bytes: u64,
        now: Instant,
    ) {
        if let Some(entry) = self.table.get_mut(&id) {
            let sum = match direction {
                Direction::Put => &mut entry.received,
                Direction::Get => &mut entry.sent,
            };
            *sum = sum.saturating_add(bytes);
            entry.active = now;
        }
    }

    /// Whether it received bytes lately, so that its uploads are not for others to take.
    pub(crate) fn is_receiving(&self, id: SessionId, now: Instant) -> bool {
        let moved = self.get(id).and_then(|entry| entry.moved);
        moved.is_some_and(|moved| now.saturating_duration_since(moved) < QUIET)
    }

    /// At most `count` sessions after this one, and whether they are the last.
    pub(crate) fn page(
        &self,
        after: Option<SessionId>,
        count: usize,
        now: Instant,
    ) -> (Vec<SessionSummary>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.table.range((from, Bound::Unbounded));
        let page = rest.by_ref().take(count).map(|(id, entry)| entry.summary(*id, now)).collect();
        (page, rest.next().is_none())
    }
}

impl<C> Entry<C> {
    /// How long it has been there.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    fn summary(&self, session: SessionId, now: Instant) -> SessionSummary {
        SessionSummary {
            session,
            user: self.user.clone(),
            peer: self.peer.to_string(),
            age_s: self.age(now).as_secs(),
            idle_s: now.saturating_duration_since(self.active).as_secs(),
            transfers: self.transfers.len() as u32,
            received: self.received,
            sent: self.sent,
            worker_pid: self.worker_pid,
            filer_pid: self.filer_pid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: u64) -> (Sessions<()>, Instant) {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        for n in 0..count {
            let id = sessions.number();
            sessions.insert(id, ([127, 0, 0, 1], 1).into(), n as u32, (), now);
        }
        (sessions, now)
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn transfer(begun: Instant) -> Transfer {
        Transfer { direction: Direction::Put, path: RelPath::root(), size: Some(1), begun }
    }

    #[test]
    fn numbers_are_never_used_twice() {
        let (mut sessions, _) = table(2);
        sessions.remove(SessionId(2));
        assert_eq!(sessions.number(), SessionId(3));
    }

    #[test]
    fn a_user_has_a_bound_of_sessions_and_others_are_not_affected() {
        let (mut sessions, _) = table(4);
        assert!(sessions.log_in(SessionId(1), &user("alice"), None, 2));
        assert!(sessions.log_in(SessionId(2), &user("alice"), None, 2));
        assert!(!sessions.log_in(SessionId(3), &user("alice"), None, 2));
        assert!(sessions.get(SessionId(3)).unwrap().user.is_none());
        assert!(sessions.log_in(SessionId(3), &user("bob"), None, 2));
        sessions.remove(SessionId(1));
        assert!(sessions.log_in(SessionId(4), &user("alice"), None, 2));
        assert_eq!(sessions.of_user(&user("alice")).count(), 2);
    }

    #[test]
    fn a_dead_session_that_waits_for_its_replay_keeps_nobody_out() {
        let (mut sessions, _) = table(2);
        assert!(sessions.log_in(SessionId(1), &user("alice"), None, 1));
        assert!(!sessions.log_in(SessionId(2), &user("alice"), None, 1));
        sessions.set_reaped(SessionId(1));
        assert!(sessions.log_in(SessionId(2), &user("alice"), None, 1));
        assert_eq!(sessions.of_user(&user("alice")).count(), 2, "it is there until then");
    }

    #[test]
    fn transfers_are_bounded_and_counted() {
        let (mut sessions, now) = table(1);
        let (id, first, second) = (SessionId(1), RequestId(1), RequestId(2));
        assert!(sessions.transfer_started(id, first, transfer(now), 1));
        assert!(!sessions.transfer_started(id, first, transfer(now), 9), "the number is in use");
        assert!(!sessions.transfer_started(id, second, transfer(now), 1), "one too many");
        assert_eq!(sessions.transfer_ended(id, first, now), Some(transfer(now)));
        assert_eq!(sessions.transfer_ended(id, first, now), None);
        assert!(!sessions.transfer_started(SessionId(9), first, transfer(now), 9));
    }

    #[test]
    fn who_received_bytes_lately_is_not_taken_over() {
        let (mut sessions, start) = table(1);
        let id = SessionId(1);
        assert!(!sessions.is_receiving(id, start));
        sessions.progress(id, 0, 5, start);
        sessions.batch_ended(id, Direction::Put, 7, start);
        assert!(!sessions.is_receiving(id, start), "a download is no upload, nor are small files");
        sessions.progress(id, 5, 0, start);
        assert!(sessions.is_receiving(id, start + Duration::from_secs(14)));
        assert!(!sessions.is_receiving(id, start + QUIET));
        let entry = sessions.get(id).unwrap();
        assert_eq!((entry.received, entry.sent), (12, 5));
    }

    #[test]
    fn pages_end_where_the_table_does() {
        let (sessions, now) = table(5);
        let (page, last) = sessions.page(None, 2, now);
        assert_eq!((page.len(), last), (2, false));
        let (page, last) = sessions.page(Some(page[1].session), 3, now);
        assert_eq!((page.len(), page[0].session, last), (3, SessionId(3), true));
        assert_eq!(sessions.page(Some(SessionId(5)), 3, now), (vec![], true));
    }
}

//! What all parts of the daemon share: one thread, one [`Daemon`], borrowed for moments only.
//!
//! No borrow is held across an await: whoever waits takes what it needs, waits, and looks again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use berth_common::broker_protocol::DaemonToWorker;
use berth_common::ids::{OpId, SessionId, UserName};
use berth_common::points::{Point, reach};
use tokio::sync::{Mutex, Notify, mpsc, watch};

use crate::activity::Activity;
use crate::addresses::Addresses;
use crate::auth::Failures;
use crate::config::Config;
use crate::exit::KillReason;
use crate::filer_handle::SpareFilers;
use crate::free_space::FreeSpace;
use crate::homes::Homes;
use crate::identity::Identity;
use crate::incidents::Incidents;
use crate::ledger::{Ledger, LedgerError};
use crate::pending::Pending;
use crate::places::Places;
use crate::recovery::ToClear;
use crate::serve::{Given, Serving};
use crate::session::Event;
use crate::sessions::Sessions;
use crate::spares::Setup;
use crate::tasks::Flag;
use crate::tickets::{Grant, Tickets};
use crate::verify::{Holds, Windows};
use crate::worker_handle::{MadeWith, SpareWorkers};

/// What the administrator has set, and a reload replaces as a whole. Whoever needs what held when something began
/// keeps it.
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// New workers' certificates, and the key to them.
    pub(crate) identity: Rc<Identity>,
    /// What a client must know before it may log in, if the site has such a secret.
    pub(crate) site_secret: Option<Rc<[u8]>>,
}

/// The daemon's state.
pub(crate) struct Daemon {
    settings: RefCell<Rc<Settings>>,
    /// Decoy salts are made from it.
    pub(crate) secret: [u8; 32],
    pub(crate) ledger: Ledger,
    pub(crate) homes: Arc<Homes>,
    pub(crate) free_space: Rc<FreeSpace>,
    pub(crate) workers: Rc<SpareWorkers>,
    pub(crate) filers: Rc<SpareFilers>,
    pub(crate) activity: Rc<Activity>,
    pub(crate) sessions: RefCell<Sessions<Rc<Control>>>,
    pub(crate) tickets: RefCell<Tickets<Given>>,
    /// Tickets that the daemon itself holds or waits for.
    pub(crate) holds: RefCell<Holds>,
    /// Homes that are being verified.
    pub(crate) windows: RefCell<Windows>,
    pub(crate) failures: RefCell<Failures>,
    pub(crate) addresses: RefCell<Addresses>,
    /// A place for each connection that may be there.
    pub(crate) connections: Rc<Places>,
    /// Those of them that have not logged in.
    pub(crate) pending: RefCell<Pending>,
    pub(crate) listen: RefCell<Vec<SocketAddr>>,
    pub(crate) started: Instant,
    /// What went wrong with helpers.
    pub(crate) incidents: Rc<Incidents>,
    /// Raised when no new client or session is taken any more.
    pub(crate) stopping: Flag,
    /// A session is not there any more.
    pub(crate) session_gone: Notify,
    /// Somebody owes something to the ledger.
    pub(crate) owing: Notify,
    who_owes: RefCell<BTreeSet<UserName>>,
    /// Whose account is being settled.
    accounting: RefCell<Option<UserName>>,
    unrecovered: RefCell<BTreeSet<UserName>>,
    read_only: RefCell<BTreeMap<UserName, Stopped>>,
    /// A sync of the file system failed: nobody's home is changed any more.
    all_read_only: Cell<bool>,
    /// How many syncs of the file system are under way that will tell whether it has failed.
    sync_checks: watch::Sender<u32>,
    turns: RefCell<Turns>,
    clearings: RefCell<Turns>,
    /// Dead sessions that wait for clearing.
    pub(crate) to_clear: RefCell<ToClear>,
    /// Raised when the daemon ends: what is not cleared by then is left to the next start.
    pub(crate) clearing_ends: Flag,
}

/// A sync of the file system that is under way.
pub(crate) struct SyncCheck(Rc<Daemon>);

impl Drop for SyncCheck {
    fn drop(&mut self) {
        self.0.sync_checks.send_modify(|count| *count -= 1);
    }
}

/// Something that is done for a user by one at a time.
type Turns = HashMap<UserName, Rc<Mutex<()>>>;

fn turn_of(turns: &RefCell<Turns>, user: &UserName) -> Rc<Mutex<()>> {
    let mut turns = turns.borrow_mut();
    turns.retain(|_, turn| Rc::strong_count(turn) > 1);
    turns.entry(user.clone()).or_default().clone()
}

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

/// The means to reach a session.
pub(crate) struct Control {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// Its filer, once it serves.
    pub(crate) serving: RefCell<Option<Rc<Serving>>>,
    /// Up when it is reaped and replayed.
    pub(crate) gone: Flag,
}

/// What a [`Daemon`] is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) identity: Rc<Identity>,
    pub(crate) secret: [u8; 32],
    pub(crate) site_secret: Option<Vec<u8>>,
    pub(crate) ledger: Ledger,
    pub(crate) homes: Homes,
    pub(crate) workers: Rc<SpareWorkers>,
    pub(crate) filers: Rc<SpareFilers>,
    pub(crate) activity: Rc<Activity>,
}

impl Daemon {
    /// Puts it together; nothing runs yet.
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let Parts {
            config,
            identity,
            secret,
            site_secret,
            ledger,
            homes,
            workers,
            filers,
            activity,
        } = parts;
        Rc::new(Self {
            sessions: RefCell::default(),
            tickets: RefCell::default(),
            holds: RefCell::default(),
            windows: RefCell::default(),
            failures: RefCell::new(Failures::new(config.failures)),
            addresses: RefCell::new(Addresses::new(config.max_connections_per_address)),
            connections: Places::new(config.max_connections),
            pending: RefCell::new(Pending::new(config.max_logins_pending)),
            listen: RefCell::default(),
            started: Instant::now(),
            incidents: workers.incidents().clone(),
            stopping: Flag::default(),
            session_gone: Notify::new(),
            owing: Notify::new(),
            who_owes: RefCell::default(),
            accounting: RefCell::default(),
            unrecovered: RefCell::default(),
            read_only: RefCell::default(),
            all_read_only: Cell::default(),
            sync_checks: watch::Sender::new(0),
            turns: RefCell::default(),
            clearings: RefCell::default(),
            to_clear: RefCell::default(),
            clearing_ends: Flag::default(),
            settings: RefCell::new(Rc::new(Settings {
                config,
                identity,
                site_secret: site_secret.map(Into::into),
            })),
            secret,
            ledger,
            homes: Arc::new(homes),
            free_space: Rc::default(),
            workers,
            filers,
            activity,
        })
    }

    /// What is set now.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.settings.borrow().clone()
    }

    /// Sets all of it anew, and what follows from it; sessions go on.
    pub(crate) fn set(&self, settings: Settings, workers: Setup<DaemonToWorker, MadeWith>) {
        let config = &settings.config;
        self.connections.set_most(config.max_connections);
        self.pending.borrow_mut().set_most(config.max_logins_pending);
        self.addresses.borrow_mut().set_most(config.max_connections_per_address);
        self.failures.borrow_mut().set_policy(config.failures);
        self.ledger.set_bounds(config.ledger_bounds());
        self.workers.renew(config.spare_workers, workers);
        self.filers.resize(config.spare_filers);
        self.settings.replace(Rc::new(settings));
    }

    /// A session's control.
    pub(crate) fn control(&self, session: SessionId) -> Option<Rc<Control>> {
        self.sessions.borrow().get(session).map(|entry| entry.control.clone())
    }

    /// Ends a session at once and waits until it is reaped and replayed; what it left in staging may still
    /// be removed then. `false` when there is none.
    ///
    /// # Cancel safety
    /// The session is ended all the same.
    pub(crate) async fn end_session(&self, session: SessionId, reason: KillReason) -> bool {
        let Some(control) = self.control(session) else {
            return false;
        };
        drop(control.events.send(Event::Kill(reason)));
        control.gone.up().await;
        true
    }

    /// Ends all sessions of a user, and waits likewise.
    pub(crate) async fn end_sessions_of(&self, user: &UserName, reason: &KillReason) {
        let ids: Vec<SessionId> = self.sessions.borrow().of_user(user).map(|(id, _)| id).collect();
        let controls: Vec<Rc<Control>> =
            ids.into_iter().filter_map(|id| self.control(id)).collect();
        for control in &controls {
            drop(control.events.send(Event::Kill(reason.clone())));
        }
        for control in &controls {
            control.gone.up().await;
        }
    }

    /// Waits until there is no session.
    pub(crate) async fn no_sessions(&self) {
        while self.sessions.borrow().len() > 0 {
            self.session_gone.notified().await;
        }
    }

    /// What may be done for a user by one at a time: replays, expiry, coming and going.
    pub(crate) fn turn(&self, user: &UserName) -> Rc<Mutex<()>> {
        turn_of(&self.turns, user)
    }

    /// What removes in a user's staging what has no row, one at a time: clearing, sweeps, the user's removal.
    /// It may take minutes. Who needs the turn too takes it first.
    pub(crate) fn clearing(&self, user: &UserName) -> Rc<Mutex<()>> {
        turn_of(&self.clearings, user)
    }

    // Tickets.

    /// Asks for a user's ticket, and hands it out when it is free.
    pub(crate) fn request_ticket(
        &self,
        user: &UserName,
        session: SessionId,
        op: OpId,
        given: Given,
    ) {
        let ask = Grant { session, op, payload: given };
        let granted = self.tickets.borrow_mut().request(user, ask, Instant::now());
        reach(Point::TicketAsked);
        self.deliver(granted);
    }

    /// Tells a session that it has the ticket.
    pub(crate) fn deliver(&self, granted: Option<Grant<Given>>) {
        let Some(Grant { session, op, payload }) = granted else {
            return;
        };
        if self.holds.borrow_mut().granted(session) {
            return;
        }
        let serving = self.control(session).and_then(|control| control.serving.borrow().clone());
        match serving {
            Some(serving) => serving.granted(op, payload),
            // A session leaves the queue before it leaves the table.
            None => tracing::error!(session = session.0, "a ticket was granted to no session"),
        }
    }

    /// Refuses those who wait behind a holder that hangs, as those are refused who ask for the ticket later.
    pub(crate) fn turn_away_from(&self, user: &UserName) {
        let waiting = self.tickets.borrow_mut().turn_away(user);
        for Grant { session, op, payload } in waiting {
            self.holds.borrow_mut().turned_away(session);
            let serving = self.control(session).and_then(|it| it.serving.borrow().clone());
            if let Some(serving) = serving {
                serving.turned_away(op, &payload);
            }
        }
    }

    // Users who owe to the ledger what they have deleted while it could not be written.

    /// A user has taken something to an owed name, or may have.
    pub(crate) fn owes(&self, user: &UserName) {
        self.who_owes.borrow_mut().insert(user.clone());
        self.owing.notify_one();
    }

    /// One who owes something, whose account is settled from now on until [`Daemon::owes_no_more`].
    pub(crate) fn next_who_owes(&self) -> Option<UserName> {
        let next = self.who_owes.borrow_mut().pop_first();
        *self.accounting.borrow_mut() = next.clone();
        next
    }

    /// What [`Daemon::next_who_owes`] gave is accounted for, or cannot be.
    pub(crate) fn owes_no_more(&self) {
        self.accounting.borrow_mut().take();
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
        self.who_owes.borrow().contains(user)
            || self.accounting.borrow().as_ref() == Some(user)
            || self.is_unrecovered(user)
            || ids.into_iter().any(is_owing)
    }

    // Users who could not be recovered at the start, because the ledger could not be written.

    /// Whether changes to a user's home wait for its recovery.
    pub(crate) fn is_unrecovered(&self, user: &UserName) -> bool {
        self.unrecovered.borrow().contains(user)
    }

    /// They do.
    pub(crate) fn set_unrecovered(&self, user: &UserName) {
        self.unrecovered.borrow_mut().insert(user.clone());
    }

    /// They do not any more.
    pub(crate) fn set_recovered(&self, user: &UserName) {
        self.unrecovered.borrow_mut().remove(user);
    }

    // Whether the file system has failed.

    /// It is being found out until what this returns is dropped.
    pub(crate) fn begin_sync_check(self: &Rc<Self>) -> SyncCheck {
        self.sync_checks.send_modify(|count| *count += 1);
        SyncCheck(self.clone())
    }

    /// Waits until it is known whether the file system has failed.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn sync_checks_are_over(&self) {
        // The sender is the daemon's own.
        let _ = self.sync_checks.subscribe().wait_for(|count| *count == 0).await;
    }

    // Users whose homes are read-only.

    /// Whether changes to a user's home are stopped.
    pub(crate) fn is_read_only(&self, user: &UserName) -> bool {
        self.are_all_read_only() || self.read_only.borrow().contains_key(user)
    }

    /// Whether changes to all homes are stopped.
    pub(crate) fn are_all_read_only(&self) -> bool {
        self.all_read_only.get()
    }

    /// Why they are, if they are.
    pub(crate) fn stopped(&self, user: &UserName) -> Option<Stopped> {
        if self.are_all_read_only() {
            return Some(Stopped::Damage);
        }
        self.read_only.borrow().get(user).copied()
    }

    /// Allows changes again, after the cause was seen to.
    pub(crate) fn make_writable(&self, user: &UserName) {
        if self.read_only.borrow_mut().remove(user).is_some() {
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
        if self.all_read_only.replace(true) {
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
            self.read_only.borrow_mut().insert(user.clone(), cause);
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
        self.read_only.borrow().keys().cloned().collect()
    }

    /// A user is gone: one of the same name starts afresh.
    pub(crate) fn forget_user(&self, user: &UserName) {
        self.read_only.borrow_mut().remove(user);
        self.windows.borrow_mut().end(user);
        self.unrecovered.borrow_mut().remove(user);
        self.who_owes.borrow_mut().remove(user);
    }
}

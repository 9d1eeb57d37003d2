//! What all parts of the daemon share: one thread, one [`Daemon`], borrowed for moments only.
//!
//! No borrow is held across an await: whoever waits takes what it needs, waits, and looks again.
//! The modules beneath are what it does for all of them, a subject each with what it keeps for that.

mod control;
mod granting;
mod owing;
mod read_only;
mod sync_checks;
mod turns;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use berth_common::broker_protocol::DaemonToWorker;
use berth_common::ids::UserName;
use tokio::sync::Notify;

use crate::activity::Activity;
use crate::addresses::Addresses;
use crate::auth::Failures;
use crate::config::Config;
use crate::exec;
use crate::filer_handle::SpareFilers;
use crate::free_space::FreeSpace;
use crate::homes::Homes;
use crate::identity::Identity;
use crate::incidents::Incidents;
use crate::ledger::Ledger;
use crate::pending::Pending;
use crate::places::Places;
use crate::recovery::ToClear;
use crate::serve::Given;
use crate::sessions::Sessions;
use crate::spares::Setup;
use crate::spawn::Spawner;
use crate::tasks::Flag;
use crate::tickets::Tickets;
use crate::verify::{Holds, Windows};
use crate::worker_handle::{MadeWith, SpareWorkers};
use owing::Owing;
use read_only::ReadOnly;
use sync_checks::SyncChecks;
use turns::Turns;

pub(crate) use control::Control;
pub(crate) use read_only::Stopped;
pub(crate) use sync_checks::SyncCheck;

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
    /// For what is started when it is needed: jails.
    pub(crate) spawner: Rc<Spawner>,
    /// A place for each program that may run.
    pub(crate) programs: Rc<exec::Places>,
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
    /// What users owe to the ledger.
    owing: Owing,
    read_only: ReadOnly,
    sync_checks: SyncChecks,
    turns: RefCell<Turns>,
    clearings: RefCell<Turns>,
    /// Dead sessions that wait for clearing.
    pub(crate) to_clear: RefCell<ToClear>,
    /// Raised when the daemon ends: what is not cleared by then is left to the next start.
    pub(crate) clearing_ends: Flag,
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
    pub(crate) spawner: Rc<Spawner>,
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
            spawner,
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
            programs: exec::Places::new(config.exec.max_programs),
            pending: RefCell::new(Pending::new(config.max_logins_pending)),
            listen: RefCell::default(),
            started: Instant::now(),
            incidents: workers.incidents().clone(),
            stopping: Flag::default(),
            session_gone: Notify::new(),
            owing: Owing::default(),
            read_only: ReadOnly::default(),
            sync_checks: SyncChecks::default(),
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
            spawner,
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
        self.programs.set_most(config.exec.max_programs);
        self.pending.borrow_mut().set_most(config.max_logins_pending);
        self.addresses.borrow_mut().set_most(config.max_connections_per_address);
        self.failures.borrow_mut().set_policy(config.failures);
        self.ledger.set_bounds(config.ledger_bounds());
        self.workers.renew(config.spare_workers, workers);
        self.filers.resize(config.spare_filers);
        self.settings.replace(Rc::new(settings));
    }

    /// A user is gone: one of the same name starts afresh.
    pub(crate) fn forget_user(&self, user: &UserName) {
        self.read_only.forget(user);
        self.windows.borrow_mut().end(user);
        self.owing.forget(user);
    }
}

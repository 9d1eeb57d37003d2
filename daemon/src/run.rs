//! `berthd` from its arguments to its exit code: a table of contents. [`crate::check`] and [`crate::announce`] are the
//! other commands, and [`crate::main_loop`] what is done once everything stands.
//!
//! The order matters: as root, listeners are bound before the rights are given up; nothing of the data
//! directory is read before its lock is held; nothing is replayed before an earlier daemon's helpers are
//! gone; nobody is let in before everything is replayed.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use berth_common::ids::UserName;
use berth_common::journal::BootId;
use berth_common::ledger_protocol::StagingSync;
use berth_common::points;
use clap::Parser as _;
use rustix::fd::{AsFd as _, OwnedFd};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::activity::Activity;
use crate::announce::announce;
use crate::check::check;
use crate::cli::{Cli, Command, Serve};
use crate::config::Config;
use crate::daemon::{Daemon, Parts};
use crate::data_dir::{DataDir, USERS};
use crate::file_system::FileSystem;
use crate::homes::Homes;
use crate::identity::Identity;
use crate::kernel::Kernel;
use crate::ledger::{Ledger, Options};
use crate::listener::Bound;
use crate::lock::{DaemonLock, wait_for_old_helpers};
use crate::main_loop::serve_clients;
use crate::notify::{Notifier, SharedNotifier};
use crate::privileges::{Target, close_to_others};
use crate::programs::Programs;
use crate::reload::Reloader;
use crate::shutdown::{LAST_WORK, stop_helpers};
use crate::spawn::Spawner;
use crate::{activation, file_system, filer_handle, log, worker_handle};

/// Why the daemon does not serve: a sentence for the administrator.
pub(crate) type Fatal = Box<dyn std::error::Error>;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Check { config }) => check(config.as_deref()),
        Some(Command::Announce(args)) => announce(args),
        None => serve(&cli.serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say_why_it_ends(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Serve) -> Result<(), Fatal> {
    // First of all: there is one thread, and no descriptor besides those that were passed.
    let passed = activation::take()?;
    let notifier: SharedNotifier = Rc::new(Notifier::from_environment()?);
    points::from_environment()?;
    let config = Config::load(args.config.as_deref(), args.overrides())?;
    log::start(config.log_format);
    examine_kernel(&config)?;
    let bound = become_user(&config, passed)?;
    close_to_others()?;
    config.check_descriptors();
    // Early, so that they are of this program's version, and as the user that executes them.
    let programs = Programs::open(args.libexec_dir.as_deref())?;
    // What a jail that was killed leaves behind becomes a child of this process, which waits for it.
    let this = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(this)).map_err(std::io::Error::from)?;
    let data_dir = Arc::new(DataDir::open(&config.data_dir)?);
    let lock = DaemonLock::take(data_dir.fd())?;
    // An ordinary user binds only now, so that "is running" is told before "port in use".
    let bound = bound.map_or_else(|| bind(&config), Ok)?;
    let users = data_dir.open_directory(USERS)?;
    let sync = examine_file_system(&data_dir, &users)?;
    let homes = Homes::new(users, sync);
    let secret = data_dir.secret()?;
    let site_secret = config.site_secret()?;
    let identity = Rc::new(Identity::load(config.tls_files.as_ref(), &data_dir)?);
    let helpers_lock = wait_for_old_helpers(data_dir.fd())?;
    let spawner = Rc::new(Spawner::new(programs, helpers_lock));
    refuse_a_lost_ledger(&data_dir)?;
    let ledger = Ledger::open(&data_dir.ledger(), ledger_options(&config))?;

    // One thread: helpers are spawned on it, and die with it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = LocalSet::new().block_on(&runtime, async {
        // Where a parent has told it to ignore SIGCHLD, children would vanish without being reaped.
        let _children = signal(SignalKind::child())?;
        // A write past the limit on a file's size fails then, as on a full disk, and does not end the daemon.
        let _file_sizes = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
        let activity = Rc::new(Activity::default());
        let reloader = Reloader {
            file: args.config.clone(),
            overrides: args.overrides(),
            data_dir: data_dir.clone(),
            boot: boot_id(),
        };
        let workers = worker_handle::spares(&config, &identity, reloader.boot, &spawner, &activity);
        let filers = filer_handle::spares(&config, &spawner, &activity);
        let daemon = Daemon::new(Parts {
            config,
            identity,
            secret,
            site_secret,
            ledger,
            homes,
            workers,
            filers,
            spawner: spawner.clone(),
            activity,
        });
        let served = serve_clients(&daemon, &reloader, &notifier, bound).await;
        stop_helpers(&daemon, &spawner).await;
        daemon.ledger.close().await;
        served
    });
    // It waits for what its other threads have begun below `users/`, though not for a disk that hangs.
    runtime.shutdown_timeout(LAST_WORK);
    drop(lock);
    served
}

/// The kernel must have what confines workers and filers, if that is required.
fn examine_kernel(config: &Config) -> Result<(), Fatal> {
    let kernel = Kernel::ask();
    for missing in kernel.judge(config.sandbox)? {
        tracing::warn!("the system user is no wall between sessions: {missing}");
    }
    if let Some(what) = kernel.jails(config.sandbox) {
        tracing::warn!("{what}");
    }
    tracing::info!(kernel = ?kernel, mode = ?config.sandbox, "the sandbox of workers and filers");
    Ok(())
}

/// What homes and staging lie on must keep what the ledger's protocol rests on; tells how filers make
/// staging durable there. The ledger itself may lie elsewhere, when `users/` is a mount of its own.
fn examine_file_system(data_dir: &DataDir, users: &OwnedFd) -> Result<StagingSync, Fatal> {
    file_system::by_name(data_dir.fd(), data_dir.path())?;
    let path = data_dir.join(USERS);
    let found = file_system::examine(users.as_fd(), &path)?;
    let FileSystem { name, why, warning, .. } = &found;
    tracing::info!(
        path = ?path,
        file_system = name,
        staging_sync = ?found.sync,
        why,
        "the file system of the homes"
    );
    if let Some(warning) = warning {
        tracing::warn!(path = ?path, file_system = name, "the file system of the homes: {warning}");
    }
    Ok(found.sync)
}

/// As root: binds, and becomes the configured user for good. Sockets that were passed take the place of `listen`.
/// `None` for an ordinary user who is to bind itself.
fn become_user(config: &Config, passed: Vec<Bound>) -> Result<Option<Vec<Bound>>, Fatal> {
    let passed = (!passed.is_empty()).then_some(passed);
    if passed.is_some() {
        tracing::info!("the sockets are the service manager's; listen and backlog are not used");
    }
    let Some(target) = Target::find(&config.user)? else {
        return Ok(passed);
    };
    let bound = passed.map_or_else(|| bind(config), Ok)?;
    DataDir::make_for(&config.data_dir, target.ids())?;
    target.become_for_good()?;
    Ok(Some(bound))
}

fn bind(config: &Config) -> Result<Vec<Bound>, Fatal> {
    let bound = config.listen.iter().map(|addr| Bound::new(*addr, config.backlog));
    Ok(bound.collect::<Result<_, _>>()?)
}

/// An empty ledger beside homes was truncated or removed: a new one would know nothing of them, and give
/// their staging names out again.
fn refuse_a_lost_ledger(data_dir: &DataDir) -> Result<(), Fatal> {
    let path = data_dir.ledger();
    let is_empty = match std::fs::metadata(&path) {
        Ok(file) => file.len() == 0,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(format!("cannot look at {path:?}: {error}").into()),
    };
    let is_users = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok().and_then(|entry| entry.file_name().into_string().ok());
        name.is_some_and(|name| UserName::new(&name).is_ok())
    };
    let has_homes = || match std::fs::read_dir(data_dir.join(USERS)) {
        Ok(mut users) => users.any(is_users),
        Err(_) => false,
    };
    if is_empty && has_homes() {
        let sentence = "is missing or empty, but there are homes: restore it from a backup";
        return Err(format!("the ledger {path:?} {sentence}").into());
    }
    Ok(())
}

fn ledger_options(config: &Config) -> Options {
    let on_fatal = |reason: String| {
        tracing::error!(reason = ?reason, "the ledger is lost; berthd ends, and replays at its next start");
        // Helpers die with their parent. Nothing may be answered any more.
        std::process::exit(70);
    };
    Options { bounds: config.ledger_bounds(), ..Options::new(on_fatal) }
}

/// Which boot it is, for the journals; unknown where the kernel does not tell.
fn boot_id() -> BootId {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| BootId::parse(&text))
        .unwrap_or(BootId::UNKNOWN)
}

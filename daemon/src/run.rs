//! `berthd` from its arguments to its exit code: a table of contents.
//!
//! The order matters: as root, listeners are bound before the rights are given up; nothing of the data
//! directory is read before its lock is held; nothing is replayed before an earlier daemon's helpers are
//! gone; nobody is let in before everything is replayed.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berth_common::ids::UserName;
use berth_common::journal::BootId;
use berth_common::ledger_protocol::StagingSync;
use berth_common::points;
use clap::Parser as _;
use rustix::fd::{AsFd as _, OwnedFd};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{LocalSet, spawn_local};

use crate::accept::accept;
use crate::activity::Activity;
use crate::cli::{Cli, Command, Serve};
use crate::config::Config;
use crate::daemon::{Daemon, Parts};
use crate::data_dir::{DataDir, USERS};
use crate::exit::KillReason;
use crate::file_system::FileSystem;
use crate::homes::Homes;
use crate::identity::Identity;
use crate::kernel::Kernel;
use crate::ledger::{Ledger, Options};
use crate::listener::Bound;
use crate::lock::{DaemonLock, wait_for_old_helpers};
use crate::notify::{Notifier, SharedNotifier};
use crate::privileges::{Target, close_to_others};
use crate::programs::Programs;
use crate::reload::Reloader;
use crate::session::Event;
use crate::spares::{Setup, Spares};
use crate::spawn::{FILER, Spawner, WORKER};
use crate::{
    activation, admin, expiry, file_system, filer_handle, heartbeat, log, owed, recovery, verify,
    watch, worker_handle,
};

/// How long the replays of sessions that were cut off by the shutdown may take. What is not replayed then
/// is at the next start.
const LAST_REPLAYS: Duration = Duration::from_secs(30);

/// How long the last helpers may take to be reaped.
const LAST_HELPERS: Duration = Duration::from_secs(5);

/// The longest that the end takes after the grace time, with some seconds to spare.
const AFTER_GRACE: Duration =
    LAST_REPLAYS.saturating_add(LAST_HELPERS).saturating_add(Duration::from_secs(10));

/// Why the daemon does not serve: a sentence for the administrator.
type Fatal = Box<dyn std::error::Error>;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Check { config }) => check(config.as_deref()),
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

/// `berthd check`: everything that can be told without serving, all at once. The probe of the file system
/// makes a directory and removes it.
fn check(file: Option<&Path>) -> Result<(), Fatal> {
    let (config, mut complaints) = Config::examine(file, Default::default())?;
    if let Some(files) = &config.tls_files
        && let Err(error) = Identity::read(&files.certificate, &files.key)
    {
        complaints.add(error);
    }
    if let Err(error) = config.site_secret() {
        complaints.add(error);
    }
    if let Err(error) = Target::find(&config.user) {
        complaints.add(error);
    }
    let file_system = match check_file_system(&config.data_dir) {
        Ok(verdict) => verdict,
        Err(error) => {
            complaints.add(error);
            String::new()
        }
    };
    let kernel = Kernel::ask();
    if let Err(error) = kernel.judge(config.sandbox) {
        complaints.add(error);
    }
    kernel.describe().iter().for_each(say);
    complaints.none()?;
    say(format_args!("{file_system}"));
    say(format_args!("the configuration is valid"));
    Ok(())
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
        let setup = worker_handle::setup(&config, &identity, reloader.boot);
        let workers = Spares::start(
            WORKER,
            config.spare_workers,
            spawner.clone(),
            activity.clone(),
            setup,
            worker_handle::may_send,
        );
        let filers = Spares::start(
            FILER,
            config.spare_filers,
            spawner.clone(),
            activity.clone(),
            Setup::none(),
            filer_handle::may_send,
        );
        let daemon = Daemon::new(Parts {
            config,
            identity,
            secret,
            site_secret,
            ledger,
            homes,
            workers,
            filers,
            activity,
        });
        let served = serve_clients(&daemon, &reloader, &notifier, bound).await;
        stop_helpers(&daemon, &spawner).await;
        daemon.ledger.close().await;
        served
    });
    // It waits for what its other threads have begun below `users/`.
    drop(runtime);
    drop(lock);
    served
}

/// The kernel must have what confines workers and filers, if that is required.
fn examine_kernel(config: &Config) -> Result<(), Fatal> {
    let kernel = Kernel::ask();
    for missing in kernel.judge(config.sandbox)? {
        tracing::warn!("the system user is no wall between sessions: {missing}");
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

/// The same for `berthd check`, of what is there: a data directory that is not made yet is told by the
/// directory in which it will be.
fn check_file_system(data_dir: &Path) -> Result<String, Fatal> {
    let users = data_dir.join(USERS);
    let candidates = std::iter::once(users.as_path()).chain(data_dir.ancestors());
    let Some((path, file)) =
        candidates.filter_map(|path| Some((path, std::fs::File::open(path).ok()?))).next()
    else {
        return Err(format!("the data directory {data_dir:?} cannot be opened").into());
    };
    file_system::by_name(file.as_fd(), path)?;
    let (found, how) = if path == users {
        (file_system::examine(file.as_fd(), path)?, "tried")
    } else {
        (file_system::by_name(file.as_fd(), path)?, "told by its name")
    };
    let sync = match found.sync {
        StagingSync::Directory => "an fsync of staging",
        StagingSync::FileSystem => "a syncfs",
    };
    let FileSystem { name, why, warning, .. } = found;
    let warning = warning.map_or_else(String::new, |warning| format!("; warning: {warning}"));
    Ok(format!("{path:?} is on {name} ({how}), which takes {sync}, since {why}{warning}"))
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

async fn serve_clients(
    daemon: &Rc<Daemon>,
    reloader: &Reloader,
    notifier: &SharedNotifier,
    bound: Vec<Bound>,
) -> Result<(), Fatal> {
    let mut signals = Signals::new()?;
    // Also while it starts, when it would else end the daemon; it is answered when that is over.
    let mut hangup = signal(SignalKind::hangup())?;
    let recovered = tokio::select! {
        recovered = notifier.while_starting(recovery::at_start(daemon)) => recovered,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before serving");
            return Ok(());
        }
    };
    recovered?;
    let admin = admin::bind(&reloader.data_dir)?;
    let fingerprint = daemon.settings().identity.fingerprint();
    tracing::info!(%fingerprint, "certificate");
    say(format_args!("certificate SHA256:{fingerprint}"));
    for bound in bound {
        let listener = bound.start()?;
        let addr = listener.addr;
        daemon.listen.borrow_mut().push(addr);
        spawn_local(accept(daemon.clone(), listener));
        tracing::info!(%addr, "listening");
        say(format_args!("listening on {addr}"));
    }
    notifier.ready();
    spawn_local(verify::verify_unverified(daemon.clone()));
    let services = [
        spawn_local(admin::serve(daemon.clone(), admin)),
        spawn_local(watch::watch_tickets(daemon.clone())),
        spawn_local(heartbeat::beat(daemon.clone())),
        spawn_local(expiry::expire_uploads(daemon.clone())),
        spawn_local(owed::settle_after_outages(daemon.clone())),
        spawn_local({
            let (daemon, notifier) = (daemon.clone(), notifier.clone());
            async move { notifier.tend(&daemon).await }
        }),
    ];
    let name = loop {
        tokio::select! {
            name = signals.next() => break name,
            _ = hangup.recv() => {
                notifier.reloading();
                tokio::select! {
                    () = reloader.reload(daemon) => notifier.ready(),
                    // The files may lie on a disk that does not answer.
                    name = signals.next() => break name,
                }
            }
        }
    };
    tracing::info!(signal = name, "stopping");
    notifier.stopping(daemon.settings().config.shutdown_grace + AFTER_GRACE);
    stop_sessions(daemon, &mut signals).await;
    services.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// No new connections; running transfers may end within the grace time, or until a second signal.
async fn stop_sessions(daemon: &Rc<Daemon>, signals: &mut Signals) {
    daemon.stopping.raise();
    let grace = daemon.settings().config.shutdown_grace;
    let tell = |event: &dyn Fn() -> Event| {
        for (_, entry) in daemon.sessions.borrow().iter() {
            drop(entry.control.events.send(event()));
        }
    };
    tell(&|| Event::Shutdown(grace.as_secs() as u32));
    tokio::select! {
        () = daemon.no_sessions() => return,
        () = tokio::time::sleep(grace) => {}
        _ = signals.next() => {}
    }
    tell(&|| Event::Kill(KillReason::Shutdown));
    if tokio::time::timeout(LAST_REPLAYS, daemon.no_sessions()).await.is_err() {
        tracing::warn!("sessions are left; the next start replays them");
    }
}

async fn stop_helpers(daemon: &Daemon, spawner: &Spawner) {
    // Its filers are killed.
    daemon.clearing_ends.raise();
    daemon.workers.stop();
    daemon.filers.stop();
    if tokio::time::timeout(LAST_HELPERS, spawner.all_reaped()).await.is_err() {
        tracing::warn!("helpers are left; the next start waits for them");
    }
    tracing::info!("stopped");
}

/// The signals that stop the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// One line on standard output, for people and for programs that start a daemon. Nobody may be reading.
fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "berthd: {line}").and_then(|()| out.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_complains_of_keys_and_of_the_files_that_they_name_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("berthd.toml");
        let text = r#"
            backlog = 0
            certificate = "/absent/server.crt"
            key = "/absent/server.key"
            site_secret_file = "/absent/site.secret"
        "#;
        std::fs::write(&path, text).unwrap();
        let error = check(Some(&path)).unwrap_err().to_string();
        for part in ["berthd.toml cannot be used", "backlog: 0", "server.crt", "site.secret"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

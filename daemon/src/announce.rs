//! `berthd announce`: a process of its own that tells the local network of a server, and is none.
//!
//! It comes from the command line alone: no configuration, no data directory, no lock and no key is opened. Before
//! the first packet can be heard it has become an ordinary user and has given up all files, TCP, other processes and
//! every capability ([`berth_sandbox::confine_announcer`]). What is said and heard is the crate `berth_discovery`'s;
//! nothing of a `berthd` that serves calls either of the two.

use std::fmt;

use berth_common::client_protocol::VERSIONS;
use berth_common::sandbox_mode::{LEAST_LANDLOCK, SandboxMode};
use berth_discovery::announce::Telling;
use berth_discovery::{Announcement, InstanceName};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Announce;
use crate::log;
use crate::notify::Notifier;
use crate::privileges::{Target, close_to_others};
use crate::run::Fatal;

/// Announces until it is told to end.
pub(crate) fn announce(args: &Announce) -> Result<(), Fatal> {
    // First of all: there is one thread, and nothing was opened.
    berth_sandbox::demote_announcer()?;
    let notifier = Notifier::from_environment()?;
    log::start(args.log_format);
    let announcement = announcement(args)?;
    if let Some(target) = Target::find(&args.user)? {
        target.become_for_good()?;
    }
    close_to_others()?;
    shut_in(args.best_effort)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let [terminate, interrupt] = &mut signals;
        let end = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notifier.falls_silent();
        };
        let told = Told { notifier: &notifier };
        berth_discovery::announce::announce(&announcement, &args.interfaces, &told, end).await?;
        tracing::info!("the announcement was taken back");
        Ok(())
    })
}

/// What is told. The machine's name is asked of the kernel, which needs no file.
fn announcement(args: &Announce) -> Result<Announcement, Fatal> {
    let system = rustix::system::uname();
    let machine = system.nodename().to_string_lossy().into_owned();
    let name =
        match &args.name {
            Some(name) => name.clone(),
            None => InstanceName::new(machine.split('.').next().unwrap_or_default()).map_err(
                |error| format!("the name of this machine will not do ({error}): give --name"),
            )?,
        };
    let version = args.tell_version.then(|| env!("CARGO_PKG_VERSION").to_owned());
    let protocol: Vec<_> = VERSIONS.iter().map(u16::to_string).collect();
    Ok(Announcement { name, machine, port: args.port, protocol: protocol.join(","), version })
}

fn shut_in(best_effort: bool) -> Result<(), Fatal> {
    let mode = if best_effort { SandboxMode::BestEffort } else { SandboxMode::Require };
    let landlock = berth_sandbox::confine_announcer(mode)
        .map_err(|error| format!("cannot shut this process in ({error}); see --best-effort"))?;
    if landlock < LEAST_LANDLOCK {
        tracing::warn!(landlock, "the kernel does not keep this process from files");
    } else {
        tracing::info!(landlock, "this process has no file, no TCP and no capability");
    }
    Ok(())
}

/// The log, and the service manager, to whom it is ready once it speaks where it can: a neighbour who keeps it from a
/// name must not keep it from being ready, since one that is started anew knows nothing of who disputed it before.
struct Told<'a> {
    notifier: &'a Notifier,
}

impl Telling for Told<'_> {
    fn began(&self) {
        self.notifier.ready();
    }

    fn announced(&self, name: &str, interfaces: &[&str]) {
        tracing::info!(name = ?name, ?interfaces, "announced");
        self.notifier.announced(&match interfaces {
            [] => "no network to announce on".to_owned(),
            _ => format!("announced on {}", interfaces.join(", ")),
        });
    }

    fn renamed(&self, name: &str) {
        tracing::warn!(name = ?name, "another server has the name; this one is tried");
    }

    fn unusable(&self, interface: &str, reason: &dyn fmt::Display) {
        tracing::warn!(interface = ?interface, reason = %reason, "an interface cannot be used");
    }
}

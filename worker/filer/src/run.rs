//! A filer's life from its start to its end, as a table of contents.

use std::io;
use std::process::ExitCode;

use berth_common::channel::{Channel, ChannelError};
use berth_common::filer_protocol::WORKER_BROKE_EXIT;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};
use berth_common::points;
use berth_sandbox::DemotionError;
use rustix::fs::Mode;

use crate::errors::log;
use crate::{roles, sys};

/// The daemon's channel, as this process holds it.
pub(crate) type DaemonChannel = Channel<FilerToDaemon, DaemonToFiler>;

/// Why a filer ended other than by being told so. The daemon reads the sentence from the panic pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The process could not be demoted.
    #[error("not demoted: {0}")]
    Demotion(#[from] DemotionError),
    /// A descriptor, a helper thread or a directory could not be had at the start.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The daemon's channel failed, or the daemon said what cannot be said then.
    #[error("daemon: {0}")]
    Daemon(String),
    /// The worker broke the protocol.
    #[error("worker: {0}")]
    Worker(String),
    /// Something is as it cannot be; replay has to look at it.
    #[error("broken: {0}")]
    Broken(String),
}

/// Runs the process; success is an end because a peer has closed its channel.
pub(crate) fn run() -> ExitCode {
    match live() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("{error}"));
            match error {
                RunError::Worker(_) => ExitCode::from(WORKER_BROKE_EXIT),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn live() -> Result<(), RunError> {
    // For ps and the kernel's log, which else have the number of the descriptor by which it was executed.
    rustix::thread::set_name(c"berth-filer").map_err(io::Error::from)?;
    sys::share_one_heap();
    points::from_argument()?;
    let channel = berth_sandbox::demote_filer()?;
    // What this process makes is its user's alone, whatever it inherited.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let daemon = DaemonChannel::from_descriptor(channel)?;
    let told = daemon.send(&FilerToDaemon::Ready, &[]).and_then(|()| daemon.recv());
    match told {
        Ok(first) => roles::enter(daemon, first),
        // A spare that is not needed any more.
        Err(ChannelError::Closed) => Ok(()),
        Err(error) => Err(RunError::Daemon(error.to_string())),
    }
}

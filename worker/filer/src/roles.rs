//! The role that the daemon's first message fixes for good, with the directories that go with it.

use std::io;

use berth_common::channel::{Channel, ChannelError, Received};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role};

use crate::helper::Helper;
use crate::home::Home;
use crate::recover;
use crate::run::{DaemonChannel, RunError};
use crate::serve::Server;
use crate::staging::Staging;
use crate::walking;

/// Takes the role that `first` gives and lives it to its end.
pub(crate) fn enter(
    daemon: DaemonChannel,
    first: Received<DaemonToFiler>,
    helper: Helper,
) -> Result<(), RunError> {
    let mut directories = first.descriptors.into_iter();
    // The channel has checked that as many descriptors came as the message states.
    let mut next =
        || directories.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
    match first.message {
        DaemonToFiler::Join(Role::Serve { sync, .. }) => {
            let home = Home::new(&next()?)?;
            let staging = Staging::new(&next()?, sync)?;
            let worker = Channel::from_descriptor(next()?)?;
            let server = Server::new(daemon, worker, home, staging, helper)?;
            // Landlock on home and staging, then seccomp on both threads, come here: after this line
            // a worker's first request is read.
            server.joined().serve()
        }
        DaemonToFiler::Join(Role::Recover { sync, .. }) => {
            let staging = Staging::new(&next()?, sync)?;
            // Landlock on staging, then seccomp on both threads, come here.
            match daemon.send(&FilerToDaemon::Joined, &[]) {
                Ok(()) => recover::recover(&daemon, staging),
                Err(ChannelError::Closed) => Ok(()),
                Err(error) => Err(RunError::Daemon(error.to_string())),
            }
        }
        DaemonToFiler::Join(Role::Walk { .. }) => {
            let home = next()?;
            // Landlock on the home, reading only, then seccomp on both threads, come here.
            match daemon.send(&FilerToDaemon::Joined, &[]) {
                Ok(()) => walking::walk(&daemon, home),
                Err(ChannelError::Closed) => Ok(()),
                Err(error) => Err(RunError::Daemon(error.to_string())),
            }
        }
        other => Err(RunError::Daemon(format!("its first message was {other:?}"))),
    }
}

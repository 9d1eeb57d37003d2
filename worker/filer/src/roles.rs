//! The role that the daemon's first message fixes for good, with the directories that go with it.
//!
//! Each is entered in the same order: Landlock leaves the role's directories alone while there is one thread;
//! one that serves starts its helper threads, which inherit that; the table of system calls is closed on all threads; and only then
//! the daemon is told `Joined`, so that no worker's request is read before.

use std::io;
use std::os::fd::AsFd as _;

use berth_common::channel::{Channel, ChannelError, Received};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role};
use berth_sandbox::{FilerRole, confine_filer};

use crate::helper::Helper;
use crate::home::Home;
use crate::recover;
use crate::run::{DaemonChannel, RunError};
use crate::serve::Server;
use crate::staging::Staging;
use crate::walking;

/// Takes the role that `first` gives and lives it to its end.
pub(crate) fn enter(daemon: DaemonChannel, first: Received<DaemonToFiler>) -> Result<(), RunError> {
    let mut directories = first.descriptors.into_iter();
    // The channel has checked that as many descriptors came as the message states.
    let mut next =
        || directories.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
    match first.message {
        DaemonToFiler::Join(Role::Serve { sync, sandbox, .. }) => {
            let (home, staging, worker) = (next()?, next()?, next()?);
            let role = FilerRole::Serve { home: home.as_fd(), staging: staging.as_fd() };
            let confined = confine_filer(role, sandbox)?;
            let helper = Helper::start()?;
            let (home, staging) = (Home::new(&home)?, Staging::new(&staging, sync)?);
            let worker = Channel::from_descriptor(worker)?;
            let server = Server::new(daemon, worker, home, staging, helper)?;
            confined.seal()?;
            server.joined().serve()
        }
        DaemonToFiler::Join(Role::Recover { sync, sandbox, .. }) => {
            let staging = next()?;
            let confined = confine_filer(FilerRole::Recover { staging: staging.as_fd() }, sandbox)?;
            let staging = Staging::new(&staging, sync)?;
            confined.seal()?;
            match daemon.send(&FilerToDaemon::Joined, &[]) {
                Ok(()) => recover::recover(&daemon, staging),
                Err(ChannelError::Closed) => Ok(()),
                Err(error) => Err(RunError::Daemon(error.to_string())),
            }
        }
        DaemonToFiler::Join(Role::Walk { sandbox, .. }) => {
            let home = next()?;
            confine_filer(FilerRole::Walk { home: home.as_fd() }, sandbox)?.seal()?;
            match daemon.send(&FilerToDaemon::Joined, &[]) {
                Ok(()) => walking::walk(&daemon, home),
                Err(ChannelError::Closed) => Ok(()),
                Err(error) => Err(RunError::Daemon(error.to_string())),
            }
        }
        other => Err(RunError::Daemon(format!("its first message was {other:?}"))),
    }
}

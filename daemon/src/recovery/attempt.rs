//! One recovery of a user's staging: a filer is taken, does what it is told, and is reaped; and another one is
//! tried where it ends meanwhile, or something is missing for a while.

use std::io;
use std::os::fd::OwnedFd;

use berth_common::ids::UserName;

use super::RecoveryError;
use super::patience::Patience;
use crate::daemon::Daemon;
use crate::distrust;
use crate::filer_handle::{FilerError, Recoverer};

/// How often a filer that ends while it recovers is replaced.
const TRIES: usize = 3;

/// Has a filer recover a user's staging; does all of `work` again when the filer ends meanwhile, or the
/// ledger or descriptors are missing for a while. The filer is reaped afterwards.
pub(crate) async fn recover(
    daemon: &Daemon,
    user: &UserName,
    work: impl AsyncFn(&mut Recoverer) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    recover_with(daemon, user, Patience::until_the_end_of_an_outage(), work).await
}

pub(super) async fn recover_with(
    daemon: &Daemon,
    user: &UserName,
    mut patience: Patience,
    work: impl AsyncFn(&mut Recoverer) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let mut ended = 0;
    loop {
        let error = match recover_once(daemon, user, &work).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            // Also one that was a spare and died just before it was taken.
            RecoveryError::Filer(FilerError::Ended(report)) => {
                ended += 1;
                if ended == TRIES {
                    return Err(error);
                }
                tracing::warn!(%user, %report, "a recovering filer ended; trying again");
            }
            _ if error.is_an_outage() && patience.outlasts(&daemon.ledger).await => {}
            _ if error.is_a_shortage() => patience.pause().await,
            _ => return Err(error),
        }
    }
}

async fn recover_once(
    daemon: &Daemon,
    user: &UserName,
    work: impl AsyncFn(&mut Recoverer) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let staging = match open_staging(daemon, user).await? {
        Some(staging) => staging,
        None => make_staging(daemon, user).await?,
    };
    let filer = daemon.filers.take().await;
    let (sync, sandbox) = (daemon.homes.sync(), daemon.settings().config.sandbox);
    let mut recoverer = Recoverer::join(filer, user, staging, sync, sandbox).await?;
    let done = work(&mut recoverer).await;
    if let Err(RecoveryError::Filer(FilerError::Unsynced(_))) = &done {
        // Before anybody else's recovery can look.
        distrust::file_system(daemon);
    }
    recoverer.finish().await;
    done
}

/// Makes the staging directory of a home that was restored without it.
async fn make_staging(daemon: &Daemon, user: &UserName) -> Result<OwnedFd, RecoveryError> {
    let name = user.clone();
    if let Err(error) = daemon.homes.off_thread(move |homes| homes.open_home(&name)).await {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        return Err(if is_missing { RecoveryError::NoStaging } else { error.into() });
    }
    let name = user.clone();
    daemon.homes.off_thread(move |homes| homes.make(&name)).await?;
    open_staging(daemon, user).await?.ok_or(RecoveryError::NoStaging)
}

/// A user's staging directory, if there is one.
pub(super) async fn open_staging(daemon: &Daemon, user: &UserName) -> io::Result<Option<OwnedFd>> {
    let name = user.clone();
    daemon.homes.off_thread(move |homes| homes.open_staging(&name)).await
}

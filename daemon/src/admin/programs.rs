//! Which programs users may run.

use std::rc::Rc;

use berth_common::admin_protocol::{AdminError, DaemonToAdmin};
use berth_common::exec::{MOST_ALLOWED, ProgramName};
use berth_common::ids::UserName;

use super::users::because;
use crate::daemon::Daemon;
use crate::exec;
use crate::ledger::LedgerError;

pub(super) async fn list(daemon: &Daemon, user: &UserName) -> Result<DaemonToAdmin, AdminError> {
    daemon.ledger.programs(user).await.map(DaemonToAdmin::Programs).map_err(because(user))
}

/// A name that stands for no program now is more likely a mistake than a wish.
pub(super) async fn allow(
    daemon: &Rc<Daemon>,
    user: UserName,
    programs: Vec<ProgramName>,
) -> Result<DaemonToAdmin, AdminError> {
    let path = daemon.settings().config.exec.path.clone();
    let names = programs.clone();
    let looked = daemon.homes.off_thread(move |_| {
        Ok(names.into_iter().find_map(|name| {
            let why = exec::find(&name, &path).err()?;
            Some((name, why))
        }))
    });
    match looked.await {
        Ok(None) => {}
        Ok(Some((name, why))) => {
            return Err(AdminError::NoSuchProgram { program: name, reason: why.to_string() });
        }
        Err(error) => return Err(AdminError::Directories(error.to_string())),
    }
    match daemon.ledger.allow_programs(&user, programs).await {
        Ok(()) => Ok(DaemonToAdmin::Done),
        Err(LedgerError::Refused(_)) => Err(AdminError::TooManyPrograms(user, MOST_ALLOWED as u32)),
        Err(error) => Err(because(&user)(error)),
    }
}

pub(super) async fn deny(
    daemon: &Daemon,
    user: &UserName,
    programs: Vec<ProgramName>,
) -> Result<DaemonToAdmin, AdminError> {
    let denied = daemon.ledger.deny_programs(user, programs).await;
    denied.map(|()| DaemonToAdmin::Done).map_err(because(user))
}

/// For the log.
pub(super) fn names(programs: &[ProgramName]) -> String {
    let names: Vec<_> = programs.iter().map(ProgramName::as_str).collect();
    names.join(" ")
}

//! The role *recover*: looks at staging for the daemon, and removes there on its order.
//!
//! It decides and settles nothing, and never sees a home. Orders are carried out one after the other, each
//! to its end: there is nobody else to serve.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_common::channel::ChannelError;
use berth_common::ids::{OpId, OwedName, StagingName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding};
use berth_common::limits::FINDINGS_PER_MESSAGE;
use berth_common::points::{Point, Rule, is_off, reach};
use rustix::io::Errno;

use crate::errors::shortened;
use crate::home::What;
use crate::run::{DaemonChannel, RunError};
use crate::staging::Staging;
use crate::walk::{Totals, Walk, WalkError, next_names};

/// How often the daemon is told that an order goes on, well within the time after which it gives up a filer that
/// says nothing.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot make staging durable: {0}")]
    Sync(Errno),
    #[error("cannot look at {name}: {errno}")]
    Look { name: StagingName, errno: Errno },
    #[error("cannot list staging: {0}")]
    List(Errno),
    #[error("cannot unlink {name:?}: {errno}")]
    Unlink { name: String, errno: Errno },
    #[error("staging has an entry whose name is no text: {0:?}")]
    Name(std::ffi::CString),
    #[error("cannot rename {} to {}: {errno}", from.file_name(), to.file_name())]
    Take { from: OwedName, to: StagingName, errno: Errno },
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error("{0} names in one order")]
    TooMany(usize),
}

/// Tells the daemon while an order takes long, which it reads until it has the answer.
struct Progress<'a> {
    daemon: &'a DaemonChannel,
    every: Duration,
    told: Cell<Instant>,
}

impl<'a> Progress<'a> {
    fn new(daemon: &'a DaemonChannel, every: Duration) -> Self {
        Self { daemon, every, told: Cell::new(Instant::now()) }
    }

    /// Some more is done.
    fn goes_on(&self) {
        if self.told.get().elapsed() >= self.every {
            // A daemon that cannot be told is noticed with the answer.
            let _ = self.daemon.send(&FilerToDaemon::Alive, &[]);
            self.told.set(Instant::now());
        }
    }

    /// Walks to the end.
    fn walk(&self, walk: Walk) -> Result<Totals, WalkError> {
        walk.finish(|| self.goes_on())
    }
}

/// Carries out the daemon's orders until it closes the channel.
pub(crate) fn recover(daemon: &DaemonChannel, staging: Staging) -> Result<(), RunError> {
    let staging = Arc::new(staging);
    let mut kept = HashSet::new();
    let progress = Progress::new(daemon, TELL_EVERY);
    loop {
        let message = match daemon.recv() {
            Ok(received) => received.message,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(RunError::Daemon(error.to_string())),
        };
        let (op, result) = match message {
            DaemonToFiler::Examine { op, names } => (
                op,
                examine(&progress, &staging, &names)
                    .map(|findings| FilerToDaemon::Findings { op, findings }),
            ),
            DaemonToFiler::Look { op, names } => (
                op,
                look(&progress, &staging, &names)
                    .map(|findings| FilerToDaemon::Findings { op, findings }),
            ),
            DaemonToFiler::Remove { op, names } => {
                (op, done(op, remove(&progress, &staging, &names)))
            }
            DaemonToFiler::Keep { names } => {
                kept.extend(names);
                continue;
            }
            DaemonToFiler::Sweep { op } => {
                let spared = |name: &str| {
                    OwedName::parse(name).is_some()
                        || StagingName::parse(name).is_some_and(|name| kept.contains(&name))
                };
                (op, done(op, sweep(&progress, &staging, spared)))
            }
            DaemonToFiler::ListOwed { op } => {
                (op, list_owed(&staging).map(|names| FilerToDaemon::OwedNames { op, names }))
            }
            DaemonToFiler::TakeOwed { op, pairs } => (op, done(op, take_owed(&staging, &pairs))),
            DaemonToFiler::Empty { op } => (op, done(op, sweep(&progress, &staging, |_| false))),
            other => return Err(RunError::Daemon(format!("no order to recover: {other:?}"))),
        };
        let answer = result.unwrap_or_else(|failure| failed(op, &failure));
        match daemon.send(&answer, &[]) {
            Ok(()) => {}
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(RunError::Daemon(error.to_string())),
        }
    }
}

fn failed(op: OpId, failure: &Failure) -> FilerToDaemon {
    let reason = shortened(failure.to_string());
    match failure {
        Failure::Sync(_) => FilerToDaemon::SyncFailed { op, reason },
        Failure::Look { .. }
        | Failure::List(_)
        | Failure::Unlink { .. }
        | Failure::Name(_)
        | Failure::Take { .. }
        | Failure::Walk(_)
        | Failure::TooMany(_) => FilerToDaemon::Failed { op, reason },
    }
}

fn done(op: OpId, result: Result<(), Failure>) -> Result<FilerToDaemon, Failure> {
    result.map(|()| FilerToDaemon::Done { op })
}

/// R7: what a dead session did may be in the page cache only. It is made durable before it is looked at,
/// pinned files of renames too, which one `syncfs` does.
fn examine(
    progress: &Progress<'_>,
    staging: &Arc<Staging>,
    names: &[StagingName],
) -> Result<Vec<Finding>, Failure> {
    if !is_off(Rule::R7) {
        staging.sync_file_system().map_err(Failure::Sync)?;
    }
    look(progress, staging, names)
}

fn look(
    progress: &Progress<'_>,
    staging: &Arc<Staging>,
    names: &[StagingName],
) -> Result<Vec<Finding>, Failure> {
    if names.len() > FINDINGS_PER_MESSAGE {
        return Err(Failure::TooMany(names.len()));
    }
    names.iter().map(|name| find(progress, staging, *name)).collect()
}

fn find(
    progress: &Progress<'_>,
    staging: &Arc<Staging>,
    name: StagingName,
) -> Result<Finding, Failure> {
    let looked = staging.look(&name.file_name());
    let Some(seen) = looked.map_err(|errno| Failure::Look { name, errno })? else {
        return Ok(Finding::Missing);
    };
    if seen.what != What::Directory {
        return Ok(Finding::File { inode: seen.inode, size: seen.size, links: seen.links });
    }
    let totals = progress.walk(Walk::counting(Arc::clone(staging), &name.file_name()))?;
    Ok(Finding::Directory { inode: seen.inode, bytes: totals.bytes, entries: totals.entries })
}

fn remove(
    progress: &Progress<'_>,
    staging: &Arc<Staging>,
    names: &[StagingName],
) -> Result<(), Failure> {
    for name in names {
        progress.walk(Walk::removing(Arc::clone(staging), &name.file_name()))?;
        reach(Point::BetweenRemovals);
        let journal = name.journal_name();
        staging.unlink(&journal).map_err(|errno| Failure::Unlink { name: journal, errno })?;
    }
    Ok(())
}

/// Some of the owed names: as many as one order may take. None are left when none are listed.
fn list_owed(staging: &Staging) -> Result<Vec<OwedName>, Failure> {
    let directory = staging.reopen().map_err(Failure::List)?;
    let mut owed = Vec::new();
    loop {
        let names = next_names(&directory).map_err(Failure::List)?;
        if names.is_empty() {
            return Ok(owed);
        }
        for name in names.iter().filter_map(|(name, _)| OwedName::parse(name.to_str().ok()?)) {
            owed.push(name);
            if owed.len() == FINDINGS_PER_MESSAGE {
                return Ok(owed);
            }
        }
    }
}

/// What is owed gets the names of its intents, which are durable. One that is not there any more leaves its
/// intent without anything at its name, which is read as "not happened".
fn take_owed(staging: &Staging, pairs: &[(OwedName, StagingName)]) -> Result<(), Failure> {
    if pairs.len() > FINDINGS_PER_MESSAGE {
        return Err(Failure::TooMany(pairs.len()));
    }
    for &(from, to) in pairs {
        match staging.take_owed(from, to) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Failure::Take { from, to, errno }),
        }
        reach(Point::BetweenTakes);
    }
    Ok(())
}

/// Removes all but what is spared. Begins again until a whole pass finds nothing, since names may be missed
/// while others are removed.
fn sweep(
    progress: &Progress<'_>,
    staging: &Arc<Staging>,
    spared: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    loop {
        let directory = staging.reopen().map_err(Failure::List)?;
        let mut removed = false;
        loop {
            let names = next_names(&directory).map_err(Failure::List)?;
            if names.is_empty() {
                break;
            }
            for (name, _) in names {
                let text = name.to_str().map_err(|_| Failure::Name(name.clone()))?;
                if spared(text) {
                    continue;
                }
                progress.walk(Walk::removing(Arc::clone(staging), text))?;
                reach(Point::BetweenSweeps);
                removed = true;
            }
        }
        if !removed {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use berth_common::channel::Channel;
    use berth_common::ledger_protocol::StagingSync;

    use super::*;

    #[test]
    fn a_long_order_tells_that_it_goes_on_and_a_short_one_does_not() {
        let (filer, daemon) = Channel::<FilerToDaemon, DaemonToFiler>::pair().unwrap();
        daemon.set_nonblocking(true).unwrap();
        let told = || std::iter::from_fn(|| daemon.recv().ok()).map(|received| received.message);
        for (every, least) in [(Duration::ZERO, 3), (TELL_EVERY, 0)] {
            let directory = tempfile::tempdir().unwrap();
            let name = StagingName(7);
            let tree = directory.path().join(name.file_name());
            std::fs::create_dir(&tree).unwrap();
            (0..600).for_each(|n| std::fs::write(tree.join(n.to_string()), "").unwrap());
            let opened = OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
            let staging = Arc::new(Staging::new(&opened, StagingSync::Directory).unwrap());
            remove(&Progress::new(&filer, every), &staging, &[name]).unwrap();
            assert!(!tree.exists());
            let told: Vec<_> = told().collect();
            assert!(told.iter().all(|message| *message == FilerToDaemon::Alive), "{told:?}");
            assert!(told.len() >= least && (least > 0 || told.is_empty()), "{told:?}");
        }
    }
}

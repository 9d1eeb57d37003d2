//! Renames in the home. To a free name it moves no sum and takes the ticket alone; over a file it is an
//! intent, with the old file pinned in staging by a link while the name changes hands.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::ledger_protocol::{HomeReport, IntentItem, Outcome};
use berth_common::points::{Point, Rule, is_off, reach};
use berth_common::rel_path::RelPath;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::decide::{self, Renaming};
use crate::errors::report;
use crate::home::{Place, Seen, What};
use crate::pins;
use crate::session::{Broken, Session};

/// What happened under the ticket.
enum Act {
    /// Renamed; the two parents, to be made durable.
    Renamed(Vec<Arc<OwnedFd>>),
    /// The target is not what it was when the ticket was asked for.
    Stale,
    Refused(ErrorCode),
}

/// Renames, durably. What it returns, if anything, is to be cleared once the rename was acknowledged.
pub(crate) async fn rename(
    session: &Session,
    from: &RelPath,
    to: &RelPath,
    overwrite: bool,
) -> Result<Option<StagingName>, ErrorCode> {
    session.check_writable()?;
    if from.is_root() || to.is_root() {
        return Err(ErrorCode::NotPossible);
    }
    if from.contains(to) {
        session.home.look(from)?;
        return if from == to { Ok(None) } else { Err(ErrorCode::NotPossible) };
    }
    for _ in 0..2 {
        // Outside the ticket: whether an intent is needed, and to refuse early.
        let early = |place: &Place| pins::look(session, place);
        let Plan { renaming, .. } = plan(session, from, to, overwrite, early)?;
        let intent = match renaming {
            Renaming::Move => None,
            Renaming::Over(_) => Some(IntentItem::Over),
        };
        let early = is_off(Rule::R1)
            .then(|| plan(session, from, to, overwrite, early))
            .and_then(Result::ok);
        let acting = |name| act(session, from, to, overwrite, name, early);
        let (name, acted) = session.ledger.with_ticket(intent, acting).await?;
        if let Act::Renamed(parents) = acted {
            session.sync_changed(parents).await;
            if let (Some(name), Renaming::Over(_)) = (name, renaming) {
                session.sync_acted().await;
                // By now only the pin is left of the old file; its size is what the pin has.
                let bytes = session.count(name).await.bytes;
                session.ledger.settle(name, Outcome::Removed { bytes, entries: 1 }).await?;
            }
            return Ok(name);
        }
        if let Some(name) = name {
            session.settle_as_not_happened(name).await?;
            session.ledger.gone(name);
        }
        if let Act::Refused(error) = acted {
            return Err(error);
        }
    }
    Err(ErrorCode::Busy)
}

/// What stands at the two paths, and what a rename between them is.
struct Plan {
    renaming: Renaming,
    moving: Seen,
    source: Place,
    target: Place,
}

fn plan(
    session: &Session,
    from: &RelPath,
    to: &RelPath,
    overwrite: bool,
    look: impl Fn(&Place) -> Result<Option<Seen>, ErrorCode>,
) -> Result<Plan, ErrorCode> {
    let source = session.home.place(from)?;
    let seen = look(&source)?;
    let target = session.home.place(to)?;
    let renaming = decide::rename(seen.as_ref(), look(&target)?.as_ref(), overwrite)?;
    let moving = seen.ok_or(ErrorCode::NotFound)?;
    Ok(Plan { renaming, moving, source, target })
}

/// The act under the ticket: resolve both, check, rename. With a `pin` it is a rename over a file.
fn act(
    session: &Session,
    from: &RelPath,
    to: &RelPath,
    overwrite: bool,
    pin: Option<StagingName>,
    early: Option<Plan>,
) -> Result<Act, Broken> {
    let planned = session
        .check_writable()
        .and_then(|()| early.map_or_else(|| plan(session, from, to, overwrite, Place::look), Ok));
    let Plan { renaming, moving, source, target } = match planned {
        Ok(plan) => plan,
        Err(error) => return Ok(Act::Refused(error)),
    };
    reach(Point::Resolved);
    let (result, doing) = match (renaming, pin) {
        (Renaming::Move, None) => (rename_call(&source, &target, RenameFlags::NOREPLACE), "rename"),
        (Renaming::Over(_), Some(pin)) => {
            (rename_over(session, &source, &target, pin)?, "rename over a file")
        }
        (Renaming::Move, Some(_)) | (Renaming::Over(_), None) => return Ok(Act::Stale),
    };
    match result {
        Ok(()) => {
            let Seen { inode, size: bytes, .. } = moving;
            session.ledger.report(match moving.what {
                What::Directory => HomeReport::Moved { inode, place: to.clone() },
                What::File | What::Symlink | What::Special => HomeReport::Stands { inode, bytes },
            });
            Ok(Act::Renamed(vec![source.into_parent(), target.into_parent()]))
        }
        // Somebody without a ticket, an administrator, was between the look and the rename.
        Err(Errno::EXIST | Errno::NOENT) => Ok(Act::Stale),
        // A directory into itself, by a way that the paths do not show.
        Err(Errno::INVAL) => Ok(Act::Refused(ErrorCode::NotPossible)),
        Err(errno) => Ok(Act::Refused(report(doing, errno))),
    }
}

fn rename_call(source: &Place, target: &Place, flags: RenameFlags) -> Result<(), Errno> {
    let (from, to) = (source.parent(), target.parent());
    rustix::fs::renameat_with(from, source.name(), to, target.name(), flags)
}

/// Pins the old file and renames over it. If that fails the pin is gone before the ticket is: a pin that is
/// left would make the next rename over the same file read as "not happened" (R16).
fn rename_over(
    session: &Session,
    source: &Place,
    target: &Place,
    pin: StagingName,
) -> Result<Result<(), Errno>, Broken> {
    let staging = session.staging.directory();
    let (parent, name) = (target.parent(), target.name());
    match rustix::fs::linkat(parent, name, staging, pin.file_name(), AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            return Err(Broken(format!("something stands at the minted name {pin}")));
        }
        Err(errno) => return Ok(Err(errno)),
    }
    reach(Point::Linked);
    let renamed = rename_call(source, target, RenameFlags::empty());
    if renamed.is_err() {
        session
            .staging
            .unlink(&pin.file_name())
            .map_err(|errno| Broken(format!("the pin {pin} cannot be unlinked: {errno}")))?;
    }
    Ok(renamed)
}

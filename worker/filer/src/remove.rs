//! Removes something from the home: it is renamed into staging, measured there, settled, and then cleared.
//!
//! While the ledger cannot be written it is renamed to an owed name, and that is all: the daemon accounts for
//! it and has it cleared when the ledger works again.

use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::ledger_protocol::Outcome;
use berth_common::points::{Point, Rule, is_off, reach};
use berth_common::rel_path::RelPath;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::decide::{self, Removing};
use crate::errors::report;
use crate::home::{Place, READ_DIRECTORY, Seen};
use crate::ledger::TakeTo;
use crate::pins;
use crate::session::{Broken, Session};
use crate::walk::next_names;

/// Takes what stands at `path` out of the home, durably. What it returns, if anything, is to be cleared once
/// the removal was acknowledged (R8).
pub(crate) async fn remove(
    session: &Session,
    path: &RelPath,
    recursive: bool,
) -> Result<Option<StagingName>, ErrorCode> {
    session.check_writable()?;
    // Outside the ticket: only to refuse early.
    let place = session.home.place(path)?;
    removable(&place, pins::look(session, &place)?, recursive)?;
    let acting = |to| act(session, path, recursive, to);
    let (to, acted) = session.ledger.with_ticket_to_take(acting).await?;
    let name = match to {
        TakeTo::Intent(name) => name,
        TakeTo::Owed(_) => {
            acted?;
            session.sync_acted().await;
            reach(Point::OwedSynced);
            return Ok(None);
        }
    };
    if let Err(error) = acted {
        session.settle_as_not_happened(name).await?;
        session.ledger.gone(name);
        return Err(error);
    }
    session.sync_acted().await;
    let totals = session.count(name).await;
    if is_off(Rule::R8) {
        session.remove_staged(name).await;
    }
    let outcome = Outcome::Removed { bytes: totals.bytes, entries: totals.entries };
    session.ledger.settle(name, outcome).await?;
    Ok(Some(name))
}

/// The act under the ticket: resolve, check, one rename.
fn act(
    session: &Session,
    path: &RelPath,
    recursive: bool,
    to: TakeTo,
) -> Result<Result<(), ErrorCode>, Broken> {
    let checked = session
        .check_writable()
        .and_then(|()| session.home.place(path))
        .and_then(|place| removable(&place, place.look()?, recursive).map(|()| place));
    let place = match checked {
        Ok(place) => place,
        Err(error) => return Ok(Err(error)),
    };
    reach(Point::Resolved);
    match rustix::fs::renameat_with(
        place.parent(),
        place.name(),
        session.staging.directory(),
        to.file_name(),
        RenameFlags::NOREPLACE,
    ) {
        Ok(()) => Ok(Ok(())),
        Err(Errno::EXIST) => {
            Err(Broken(format!("something stands at the minted name {}", to.file_name())))
        }
        Err(errno) => Ok(Err(report("take something into staging", errno))),
    }
}

fn removable(place: &Place, seen: Option<Seen>, recursive: bool) -> Result<(), ErrorCode> {
    match decide::remove(seen.as_ref(), recursive)? {
        Removing::Whole => Ok(()),
        Removing::IfEmpty => {
            let names = place.open(READ_DIRECTORY).and_then(|directory| next_names(&directory));
            match names.map_err(|errno| report("look into a directory", errno))?.is_empty() {
                true => Ok(()),
                false => Err(ErrorCode::DirectoryNotEmpty),
            }
        }
    }
}

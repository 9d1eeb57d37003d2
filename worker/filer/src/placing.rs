//! Places what is staged in the home: the ticket protocol of put, overwrite and mkdir.
//!
//! The order is the rule: staging durable, intent, ticket, act, release, staging durable, settle. What is
//! staged must be durable itself before (its data, by the caller). After the settle the caller
//! acknowledges, and only then unlinks what was displaced.

use std::cell::Cell;
use std::sync::Arc;

use berth_common::entry::Usage;
use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::ledger_protocol::{HomeReport, IntentItem, Outcome};
use berth_common::points::{Point, Rule, is_off, reach};
use berth_common::rel_path::RelPath;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::decide::{self, Replaceable};
use crate::errors::report;
use crate::home::{Place, Seen};
use crate::renames::{Rename, into_home};
use crate::session::{Broken, Session};
use crate::{notes, pins};

/// What is staged.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) name: StagingName,
    pub(crate) inode: u64,
    /// Bytes; 0 for a directory.
    pub(crate) size: u64,
    pub(crate) kind: Kind,
    /// Whether it gets the note of the file that it replaces; else it has its own, or none.
    pub(crate) keeps_note: bool,
}

/// What differs between the things that are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file whose reservation lives in the daemon's memory.
    SmallFile(Replaceable),
    /// A file whose row outlives the session.
    ResumableFile(Replaceable),
    /// An empty directory; its reservation lives in the daemon's memory.
    Directory,
}

/// It is in the home, and settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// Bytes of the file that now stands at the staging name, if one was displaced.
    pub(crate) replaced: Option<u64>,
    pub(crate) usage: Usage,
}

/// It is not in the home, or that is for replay to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotPlaced {
    pub(crate) error: ErrorCode,
    pub(crate) row: Row,
}

/// How the row of a thing that was not placed stands, which decides what is to be cleaned up in what order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// It is open, as before the intent.
    Open,
    /// It was dropped with the settle; only the file is left (R9).
    Dropped,
    /// It is committing, and stays so: nothing may be touched before replay has looked.
    Unknown,
}

/// What happened under the ticket.
enum Act {
    Placed {
        replaced: Option<u64>,
    },
    /// What stood there when the intent was stated is not there any more, so that it would need more.
    Stale,
    Refused(ErrorCode),
}

/// Places `staged` at `path`. It may get another name on the way: `staged.name` is the one that counts.
pub(crate) async fn place(
    session: &Session,
    staged: &mut Staged,
    path: &RelPath,
) -> Result<Placed, NotPlaced> {
    let unknown = |error| NotPlaced { error, row: Row::Unknown };
    session.sync_staging().await.map_err(unknown)?;
    place_durable(session, staged, path, None).await
}

/// The same for what is durable in staging already. `looked` is what it is taken to replace the first time, by a look
/// just now or because it may replace nothing.
pub(crate) async fn place_durable(
    session: &Session,
    staged: &mut Staged,
    path: &RelPath,
    mut looked: Option<Option<u64>>,
) -> Result<Placed, NotPlaced> {
    let unknown = |error| NotPlaced { error, row: Row::Unknown };
    let mut row = Row::Open;
    for again in [false, true] {
        // Outside the ticket: only to state sizes, and to refuse early.
        let refused = |error| NotPlaced { error, row };
        let look = || {
            let place = session.home.place(path)?;
            target(staged.kind, pins::look(session, &place)?.as_ref())
        };
        let stated = looked.take().map_or_else(look, Ok).map_err(refused)?;
        if again && row == Row::Dropped {
            reserve_again(session, staged, decide::growth(staged.size, stated)).await?;
            row = Row::Open;
        }
        let refused = |error| NotPlaced { error, row };
        let intent = IntentItem::Stage {
            name: staged.name,
            inode: staged.inode,
            size: staged.size,
            replaces: stated,
        };
        let early = is_off(Rule::R1).then(|| session.home.place(path)).and_then(Result::ok);
        let acted = if stated.is_none() && staged.kind != Kind::Directory {
            place_where_free(session, staged, path, intent, early).await
        } else {
            let acting = |_| act(session, staged, path, stated, early);
            session.ledger.with_ticket(Some(intent), acting).await.map(|(_, acted)| acted)
        };
        let acted = acted.map_err(refused)?;
        if let Act::Placed { replaced } = acted {
            session.sync_acted().await;
            let outcome = Outcome::Placed { replaced };
            let usage = session.ledger.settle(staged.name, outcome).await.map_err(unknown)?;
            return Ok(Placed { replaced, usage });
        }
        if is_off(Rule::R9) {
            session.remove_staged(staged.name).await;
        }
        session.settle_as_not_happened(staged.name).await.map_err(unknown)?;
        row = match staged.kind {
            Kind::ResumableFile(_) => Row::Open,
            Kind::SmallFile(_) | Kind::Directory => Row::Dropped,
        };
        if let Act::Refused(error) = acted {
            return Err(NotPlaced { error, row });
        }
    }
    Err(NotPlaced { error: ErrorCode::Busy, row })
}

/// What stands at the target and would be replaced.
fn target(kind: Kind, seen: Option<&Seen>) -> Result<Option<u64>, ErrorCode> {
    match kind {
        Kind::SmallFile(replaceable) | Kind::ResumableFile(replaceable) => {
            decide::put(seen, replaceable)
        }
        Kind::Directory => decide::make_directory(seen).map(|()| None),
    }
}

/// The act for a file where nothing stands: it is resolved under the ticket, and the rename looks by itself.
async fn place_where_free(
    session: &Session,
    staged: &Staged,
    path: &RelPath,
    intent: IntentItem,
    early: Option<Place>,
) -> Result<Act, ErrorCode> {
    let early = Cell::new(early);
    let resolve = || {
        let place = resolve(session, path, early.take())?;
        let &Staged { name, inode, size: bytes, .. } = staged;
        Ok(Rename { staging: Arc::clone(&session.staging), name, inode, bytes, place })
    };
    Ok(match session.ledger.with_ticket_to_place(intent, resolve).await? {
        Ok(Ok(())) => Act::Placed { replaced: None },
        // Whatever came there meanwhile is looked at, and stated, for a next try.
        Ok(Err(errno)) => not_renamed(errno),
        Err(error) => Act::Refused(error),
    })
}

/// R1: the place under this ticket, whatever was seen before.
fn resolve(session: &Session, path: &RelPath, early: Option<Place>) -> Result<Place, ErrorCode> {
    session.check_writable()?;
    let place = early.map_or_else(|| session.ledger.place(&session.home, path), Ok)?;
    reach(Point::Resolved);
    Ok(place)
}

/// The act under the ticket: resolve, check, one rename.
fn act(
    session: &Session,
    staged: &Staged,
    path: &RelPath,
    stated: Option<u64>,
    early: Option<Place>,
) -> Result<Act, Broken> {
    let place = match resolve(session, path, early) {
        Ok(place) => place,
        Err(error) => return Ok(Act::Refused(error)),
    };
    // Where nothing stood, the rename looks by itself.
    if stated.is_none() {
        match into_home(&session.staging, staged.name, &place, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            renamed => return Ok(of_rename(session, staged, renamed)),
        }
    }
    let now = match place.look().and_then(|seen| target(staged.kind, seen.as_ref())) {
        Ok(now) => now,
        Err(error) => return Ok(Act::Refused(error)),
    };
    if !decide::still_fits(stated, now) && !is_off(Rule::R2) {
        return Ok(Act::Stale);
    }
    let carried = match now.is_some() && staged.keeps_note {
        true => notes::carry(session, staged.name, &place),
        false => Ok(None),
    };
    let carried = match carried {
        Ok(carried) => carried,
        Err(error) => return Ok(Act::Refused(error)),
    };
    let flags = if now.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    let renamed = into_home(&session.staging, staged.name, &place, flags);
    let act = of_rename(session, staged, renamed);
    if !matches!(act, Act::Placed { .. }) {
        carried.into_iter().for_each(notes::Carried::take_back);
        return Ok(act);
    }
    if now.is_none() {
        return Ok(act);
    }
    // What was displaced stands in staging now, where nobody can change it: its size is exactly known.
    match session.staging.look(&staged.name.file_name()) {
        Ok(Some(displaced)) if displaced.is_served_file() => {
            session.ledger.report(HomeReport::Left { inode: displaced.inode });
            Ok(Act::Placed { replaced: Some(displaced.size) })
        }
        other => Err(Broken(format!("{} was exchanged for {other:?}", staged.name))),
    }
}

/// What a rename into the home comes to. What it has replaced, if anything, has to be looked for.
fn of_rename(session: &Session, staged: &Staged, renamed: Result<(), Errno>) -> Act {
    match renamed {
        Ok(()) => {
            let Staged { inode, size: bytes, .. } = *staged;
            session.ledger.report(HomeReport::Stands { inode, bytes });
            Act::Placed { replaced: None }
        }
        Err(errno) => not_renamed(errno),
    }
}

fn not_renamed(errno: Errno) -> Act {
    match errno {
        // Somebody without a ticket, an administrator, was between the look and the rename.
        Errno::EXIST | Errno::NOENT => Act::Stale,
        errno => Act::Refused(report("place a staged file", errno)),
    }
}

/// Reserves anew for what was staged under a reservation that is dropped, and moves it to the new name.
pub(crate) async fn reserve_again(
    session: &Session,
    staged: &mut Staged,
    (bytes, entries): (u64, u64),
) -> Result<(), NotPlaced> {
    let name = session
        .ledger
        .reserve(bytes, entries, None)
        .await
        .map_err(|error| NotPlaced { error, row: Row::Dropped })?;
    if let Err(errno) = session.staging.rename(staged.name, name) {
        session.refuse_a_taken_name(name, errno).await;
        // The new reservation has no file.
        let _ = session.ledger.drop_row(name).await;
        let error = report("rename in staging", errno);
        return Err(NotPlaced { error, row: Row::Dropped });
    }
    session.ledger.gone(staged.name);
    staged.name = name;
    // R5 for the new name.
    let unknown = |error| NotPlaced { error, row: Row::Unknown };
    session.sync_staging().await.map_err(unknown)
}

/// Cleans up after something was not placed. `trusted` tells whether a resumable upload may go on later.
pub(crate) async fn give_up(session: &Session, staged: &Staged, row: Row, trusted: bool) {
    match (row, staged.kind) {
        (Row::Open, Kind::ResumableFile(_)) if trusted => session.ledger.let_go(staged.name),
        // A failure is logged; the daemon has the rest swept when the session ends.
        (Row::Open, _) => drop(session.discard(staged.name).await),
        (Row::Dropped, _) => session.clear(staged.name).await,
        (Row::Unknown, _) => {}
    }
}

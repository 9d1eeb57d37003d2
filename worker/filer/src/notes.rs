//! Notes: kept with a file of the home, and carried over to the file that takes its place.
//!
//! A note moves no sum, so that it needs no intent, but it stands on a file that a put may be about to replace. So
//! it changes under the ticket, like a name, and a put takes the note of what it replaces under its own ticket,
//! just before the exchange: whichever comes first, what was acknowledged is there afterwards.
//!
//! What is carried over is durable with the exchange, without a sync of its own: where staging alone is synced
//! after an act, the file system has one ordered journal, in which the attribute stands before the exchange;
//! elsewhere the whole file system is synced.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::note::{Note, NoteChange};
use berth_common::points::{Point, reach};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

use crate::errors::report;
use crate::home::{Place, READ_FILE, Seen};
use crate::session::Session;
use crate::{attributes, pins, reading};

/// Keeps a note with the file at `path`, or takes the one that is kept away; durably.
pub(crate) async fn set(
    session: &Session,
    path: &RelPath,
    note: Option<&Note>,
) -> Result<(), ErrorCode> {
    session.check_writable()?;
    if path.is_root() {
        return Err(ErrorCode::IsADirectory);
    }
    // Outside the ticket: only to refuse early.
    check(pins::look(session, &session.home.place(path)?)?)?;
    let acting = |_| Ok(act(session, path, note));
    let (_, acted) = session.ledger.with_ticket(None, acting).await?;
    session.sync_changed(vec![acted?]).await;
    Ok(())
}

/// The act under the ticket: resolve, check, one attribute. The file, to be made durable.
fn act(session: &Session, path: &RelPath, note: Option<&Note>) -> Result<Arc<OwnedFd>, ErrorCode> {
    session.check_writable()?;
    let place = session.home.place(path)?;
    check(place.look()?)?;
    let opened = place.open(READ_FILE).and_then(|file| Ok((Seen::of(&file)?, file)));
    let (seen, file) = opened.map_err(|errno| report("open a file for its note", errno))?;
    // An administrator holds no ticket.
    reading::check(&seen)?;
    reach(Point::Resolved);
    attributes::set_note(&file, note).map_err(refusal)?;
    Ok(Arc::new(file))
}

fn check(seen: Option<Seen>) -> Result<(), ErrorCode> {
    reading::check(&seen.ok_or(ErrorCode::NotFound)?)
}

/// Gives a file in staging the note that its put brings, before it is made durable.
pub(crate) fn put(staged: &OwnedFd, change: &NoteChange) -> Result<(), ErrorCode> {
    match change {
        NoteChange::Set(note) => attributes::set_note(staged, Some(note)).map_err(refusal),
        NoteChange::Keep | NoteChange::Remove => Ok(()),
    }
}

/// The same for a file that was committed before and not placed: it may have a note from then.
pub(crate) fn put_again(staged: &OwnedFd, change: &NoteChange) -> Result<(), ErrorCode> {
    attributes::set_note(staged, None).map_err(refusal)?;
    put(staged, change)
}

/// A note that was carried over to a file in staging.
pub(crate) struct Carried(OwnedFd);

impl Carried {
    /// The file was not placed: it may be placed where another note stands, or none.
    pub(crate) fn take_back(self) {
        if let Err(errno) = attributes::set_note(self.0, None) {
            report("take a note back", errno);
        }
    }
}

/// Gives what is staged the note of the file at `place`, if that has one. Under the ticket, and before the exchange.
pub(crate) fn carry(
    session: &Session,
    staged: StagingName,
    place: &Place,
) -> Result<Option<Carried>, ErrorCode> {
    let note = match place.open(READ_FILE) {
        Ok(old) => attributes::note(old).map_err(|errno| report("read a note", errno))?,
        // Made unreadable, or taken away, by an administrator: its note is not shown either.
        Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => None,
        Err(errno) => return Err(report("open a file for its note", errno)),
    };
    let Some(note) = note else { return Ok(None) };
    let new = session
        .staging
        .open_readable(&staged.file_name())
        .map_err(|errno| report("open a staged file", errno))?;
    attributes::set_note(&new, Some(&note)).map_err(refusal)?;
    Ok(Some(Carried(new)))
}

/// What a client is told of a note that cannot be stored.
fn refusal(errno: Errno) -> ErrorCode {
    match errno {
        // A full disk gives the first of these too.
        Errno::NOSPC | Errno::DQUOT | Errno::TOOBIG | Errno::RANGE | Errno::OPNOTSUPP => {
            ErrorCode::NoRoomForNote
        }
        errno => report("store a note", errno),
    }
}

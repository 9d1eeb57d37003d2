//! What reads a home without a ticket: one entry or many, an open file, the MD5 that is kept on one, and small files
//! whole.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_common::batch::{ReadResult, Room, StatResult};
use berth_common::digest::Md5;
use berth_common::entry::Entry;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::FilerToWorker;
use berth_common::ids::{Handle, OpId};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

use crate::attributes;
use crate::entries::{Wanted, entry, fingerprint};
use crate::errors::report;
use crate::handles::Reading;
use crate::home::{Parent, Place, READ_FILE, Seen, What};
use crate::pins;
use crate::session::Session;

/// The entry at `path`, its digest and note included.
pub(crate) fn stat(session: &Session, path: &RelPath) -> Result<Entry, ErrorCode> {
    stat_beside(session, path, &mut Parent::default(), Wanted::ALL)
}

fn stat_beside(
    session: &Session,
    path: &RelPath,
    parent: &mut Parent,
    wanted: Wanted,
) -> Result<Entry, ErrorCode> {
    let name = path.file_name().unwrap_or_default().to_owned();
    if path.is_root() {
        return Ok(entry(name, &session.home.look(path)?, None, wanted));
    }
    let place = session.home.place_beside(path, parent)?;
    let (seen, file) = look_and_open(session, &place)?;
    // Shown without its attributes when it is not served, or cannot be opened.
    let file = file.ok().filter(|_| seen.is_served_file());
    Ok(entry(name, &seen, file.as_ref(), wanted))
}

/// Paths that are looked at before the loop looks at its channels.
const LOOKED_AT_ONCE: usize = 16;

/// Looks at what stands at the paths and answers.
pub(crate) async fn stat_files(session: Rc<Session>, op: OpId, paths: Vec<RelPath>) {
    let mut results = Vec::with_capacity(paths.len());
    let mut parent = Parent::default();
    for (index, path) in paths.iter().enumerate() {
        if index % LOOKED_AT_ONCE == LOOKED_AT_ONCE - 1 {
            session.pacer.next_turn().await;
            // It may have been moved meanwhile.
            parent = Parent::default();
        }
        let stated = stat_beside(&session, path, &mut parent, Wanted::DIGEST);
        results.push(stated.map_or_else(StatResult::Failed, StatResult::Entry));
    }
    session.answer(op, FilerToWorker::FilesStated { op, results });
}

/// What stands at a place, and a regular file opened for reading.
fn look_and_open(
    session: &Session,
    place: &Place,
) -> Result<(Seen, Result<OwnedFd, Errno>), ErrorCode> {
    let look = || {
        let Some(seen) = place.look()? else { return Ok(None) };
        // By the name first: opening a device may do something.
        if seen.what != What::File {
            return Ok(Some((seen, Err(Errno::OPNOTSUPP))));
        }
        match place.open(READ_FILE).and_then(|file| Ok((Seen::of(&file)?, file))) {
            Ok((seen, file)) => Ok(Some((seen, Ok(file)))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Ok(Some((seen, Err(errno)))),
        }
    };
    pins::steadily(session, look)?.ok_or(ErrorCode::NotFound)
}

/// Opens a file for reading: what the worker is told, and the descriptor that goes with it.
pub(crate) fn open(
    session: &Session,
    op: OpId,
    path: &RelPath,
) -> Result<(FilerToWorker, OwnedFd), ErrorCode> {
    let doing = "open a file for reading";
    if path.is_root() {
        return Err(ErrorCode::IsADirectory);
    }
    let place = session.home.place(path)?;
    let (seen, file) = look_and_open(session, &place)?;
    check(&seen)?;
    let file = file.map_err(|errno| report(doing, errno))?;
    let own = file
        .try_clone()
        .map_err(|error| report(doing, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let md5 = attributes::plain_md5(&file, &seen);
    let entry = entry(place.name().to_owned(), &seen, Some(&file), Wanted::DIGEST);
    let fingerprint = fingerprint(&seen, &entry);
    let handle = session.handles.borrow_mut().add_reading(Reading { file: own, seen });
    Ok((FilerToWorker::Opened { op, handle, entry, fingerprint, md5 }, file))
}

/// Small files that are read before the loop looks at its channels: each may have to come from the disk.
const READ_AT_ONCE: usize = 8;

/// Reads small files and answers.
pub(crate) async fn read_files(session: Rc<Session>, op: OpId, paths: Vec<RelPath>) {
    let mut room = Room::default();
    let mut files = Vec::with_capacity(paths.len());
    let mut parent = Parent::default();
    for (index, path) in paths.iter().enumerate() {
        if index % READ_AT_ONCE == READ_AT_ONCE - 1 {
            session.pacer.next_turn().await;
            // It may have been moved meanwhile.
            parent = Parent::default();
        }
        let read = read_whole(&session, path, &mut parent, &mut room);
        files.push(read.unwrap_or_else(ReadResult::Failed));
    }
    session.answer(op, FilerToWorker::FilesRead { op, files });
}

/// All of a small file, for which there is room. Files in a home never change in place, so that one that is cut off
/// meanwhile is an administrator's doing.
fn read_whole(
    session: &Session,
    path: &RelPath,
    parent: &mut Parent,
    room: &mut Room,
) -> Result<ReadResult, ErrorCode> {
    let doing = "read a file";
    if path.is_root() {
        return Err(ErrorCode::IsADirectory);
    }
    let place = session.home.place_beside(path, parent)?;
    let (seen, file) = look_and_open(session, &place)?;
    check(&seen)?;
    let file = file.map_err(|errno| report(doing, errno))?;
    if !room.take(path.as_str(), seen.size) {
        return Ok(ReadResult::TooLarge);
    }
    let mut content = vec![0; usize::try_from(seen.size).unwrap_or_default()];
    let mut filled = 0;
    while filled < content.len() {
        let rest = &mut content[filled..];
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *rest)) {
            Ok(0) => return Err(ErrorCode::SourceChanged),
            Ok(count) => filled += count,
            Err(errno) => return Err(report(doing, errno)),
        }
    }
    let entry = entry(place.name().to_owned(), &seen, Some(&file), Wanted::DIGEST);
    Ok(ReadResult::File { entry, content })
}

/// Whether it is a file that is served.
pub(crate) fn check(seen: &Seen) -> Result<(), ErrorCode> {
    match seen.what {
        What::Directory => Err(ErrorCode::IsADirectory),
        _ if seen.is_served_file() => Ok(()),
        What::File | What::Symlink | What::Special => Err(ErrorCode::NotServed),
    }
}

/// Keeps the plain MD5 of an open file on it, if it is what it was when it was opened. `None` when the
/// worker has no such file open.
pub(crate) fn keep_md5(
    session: &Session,
    handle: Handle,
    md5: Md5,
) -> Option<Result<(), ErrorCode>> {
    let handles = session.handles.borrow();
    let Reading { file, seen } = handles.reading(handle)?;
    let kept = session.check_writable().and_then(|()| {
        let now = Seen::of(file).map_err(|errno| report("look at an open file", errno))?;
        // Not by ctime: an attribute that another session set in the meantime changes it.
        if (now.size, now.mtime_ns) != (seen.size, seen.mtime_ns) {
            return Err(ErrorCode::SourceChanged);
        }
        attributes::set_plain_md5(file, &now, md5).map_err(|errno| report("keep an MD5", errno))
    });
    Some(kept)
}

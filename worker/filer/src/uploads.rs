//! Opens, resumes, closes, aborts and lists uploads.
//!
//! A small upload is a file in staging with a reservation in the daemon's memory; a larger one has a journal
//! beside it and a row in the ledger, so that a later session can go on. One of unknown size has neither, however
//! large it gets: its source cannot be told from another, so that nothing of it could be gone on with. Its
//! reservation grows by leases. The bytes and the journal are written by the worker, through the descriptors that
//! it is handed here and nobody keeps.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_common::entry::{PutSource, SourceFingerprint, UploadSummary};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload};
use berth_common::ids::{Handle, OpId, StagingName};
use berth_common::journal;
use berth_common::ledger_protocol::UploadRow;
use berth_common::limits::{LEAF_SIZE, SMALL_UPLOAD_BYTES};
use berth_common::points::{Point, reach};
use rustix::io::Errno;

use crate::decide;
use crate::errors::report;
use crate::handles::{Extent, Room, Upload};
use crate::home::Seen;
use crate::ledger::Reserved;
use crate::listing::Credit;
use crate::pins;
use crate::session::Session;
use crate::writers;

/// What an upload is opened with.
struct Opened {
    name: StagingName,
    /// The data, and the journal of a resumable one.
    files: Vec<OwnedFd>,
    resumed: bool,
    started_over: bool,
    extent: Extent,
}

impl Opened {
    /// An upload without a journal.
    fn plain(name: StagingName, data: OwnedFd, extent: Extent) -> Self {
        Self { name, files: vec![data], resumed: false, started_over: false, extent }
    }
}

/// Opens an upload and answers.
pub(crate) async fn open(session: Rc<Session>, op: OpId, request: OpenUpload) {
    let (opened, mtime_ns) = match request.source {
        PutSource::Stream => (open_stream(&session, &request).await, None),
        PutSource::File(file) => {
            let opened = match file.size > SMALL_UPLOAD_BYTES {
                true => open_resumable(&session, &request, file).await,
                false => open_small(&session, &request, file.size).await,
            };
            (opened, Some(file.mtime_ns))
        }
    };
    let Opened { name, files, resumed, started_over, extent } = match opened {
        Ok(opened) => opened,
        Err(error) => return session.answer(op, FilerToWorker::Failed { op, error }),
    };
    let resumable = files.len() == 2;
    let handle = session.handles.borrow_mut().add_upload(Upload {
        name,
        path: request.path,
        extent,
        mtime_ns,
        mode: request.mode,
        existing: request.existing,
        note: request.note,
        resumable,
    });
    let limit = match extent {
        Extent::Exactly(_) => None,
        Extent::Within(room) => Some(room.limit()),
    };
    let answer =
        FilerToWorker::UploadOpened { op, handle, resumable, resumed, started_over, limit };
    session.answer_with_files(op, answer, files);
}

/// What stands where the file is to appear, if the put may be made at all.
fn target(session: &Session, request: &OpenUpload) -> Result<Option<Seen>, ErrorCode> {
    session.check_writable()?;
    if request.path.is_root() {
        return Err(ErrorCode::IsADirectory);
    }
    pins::look(session, &session.home.place(&request.path)?)
}

/// Bytes and entries by which the home would grow.
fn growth(session: &Session, request: &OpenUpload, size: u64) -> Result<(u64, u64), ErrorCode> {
    let target = target(session, request)?;
    // More than a file can have.
    if i64::try_from(size).is_err() {
        return Err(ErrorCode::DiskFull);
    }
    decide::growth_of(target.as_ref(), request.existing, size)
}

async fn open_small(
    session: &Session,
    request: &OpenUpload,
    size: u64,
) -> Result<Opened, ErrorCode> {
    let (bytes, entries) = growth(session, request, size)?;
    let name = session.ledger.reserve(bytes, entries, Some(size)).await?;
    reach(Point::Reserved);
    match session.staging.create(&name.file_name()) {
        Ok(data) => Ok(Opened::plain(name, data, Extent::Exactly(size))),
        Err(errno) => Err(not_created(session, name, errno).await),
    }
}

async fn open_stream(session: &Session, request: &OpenUpload) -> Result<Opened, ErrorCode> {
    let target = target(session, request)?;
    let (replaced, entries) = decide::room_of(target.as_ref(), request.existing)?;
    // Only the lease's bytes are known to fit on the disk.
    let free = if replaced > 0 { session.ledger.room().await? } else { 0 };
    let (name, granted) = session.ledger.lease(entries, replaced).await?;
    reach(Point::Reserved);
    match session.staging.create(&name.file_name()) {
        Ok(data) => {
            let room = Room::new(replaced, granted, free);
            Ok(Opened::plain(name, data, Extent::Within(room)))
        }
        Err(errno) => Err(not_created(session, name, errno).await),
    }
}

/// Asks the daemon for more room for an upload of unknown size, and answers.
pub(crate) async fn extend(
    session: Rc<Session>,
    op: OpId,
    handle: Handle,
    (name, room): (StagingName, Room),
    least: u64,
) {
    let extended = more_room(&session, name, room, least).await;
    reach(Point::Extended);
    session.handles.borrow_mut().end_extend(handle, *extended.as_ref().unwrap_or(&room));
    session.answer(
        op,
        match extended {
            Ok(room) => FilerToWorker::Extended { op, limit: room.limit() },
            Err(error) => FilerToWorker::Failed { op, error },
        },
    );
}

/// Up to what is admitted the disk alone is asked, by steps as beyond it: a file that is replaced admits its bytes
/// all at once, and frees none of them before the end.
async fn more_room(
    session: &Session,
    name: StagingName,
    mut room: Room,
    least: u64,
) -> Result<Room, ErrorCode> {
    if room.is_short_of_disk() {
        room = room.go_on(least, session.ledger.room().await?)?;
        if least <= room.limit() {
            return Ok(room);
        }
    }
    let granted = session.ledger.extend(name, least.saturating_sub(room.replaced)).await?;
    Ok(room.grow(granted))
}

async fn open_resumable(
    session: &Rc<Session>,
    request: &OpenUpload,
    source: SourceFingerprint,
) -> Result<Opened, ErrorCode> {
    // An upload that this session is dropping would be called busy.
    session.discards_are_done().await;
    let (bytes, entries) = growth(session, request, source.size)?;
    let OpenUpload { path, token, .. } = request;
    let reserved =
        session.ledger.reserve_upload(path.clone(), source, *token, bytes, entries).await?;
    let name = reserved.name;
    let started_over = reserved.superseded.is_some();
    if let Some(superseded) = reserved.superseded {
        let own = Rc::clone(session);
        session.handles.borrow_mut().use_upload(superseded);
        session.tasks.spawn(async move {
            let _ = own.discard(superseded).await;
            own.handles.borrow_mut().end_use(superseded);
        });
    }
    // Until it has a handle, or is given up.
    session.handles.borrow_mut().use_upload(name);
    let files = open_files(session, &reserved, source.size).await;
    if files.is_err() {
        session.handles.borrow_mut().end_use(name);
    }
    let (files, resumed) = files?;
    Ok(Opened { name, files, resumed, started_over, extent: Extent::Exactly(source.size) })
}

/// The files of a resumable upload, and whether they are those that were there.
async fn open_files(
    session: &Session,
    reserved: &Reserved,
    size: u64,
) -> Result<(Vec<OwnedFd>, bool), ErrorCode> {
    let name = reserved.name;
    if reserved.resumed {
        let existing = match open_existing(session, name) {
            Ok((files, staged)) => Some((files, staged)),
            // One without the other is worth nothing. A power cut may have left that.
            Err(Errno::NOENT) => {
                session.remove_staged(name).await;
                None
            }
            Err(errno) => {
                session.ledger.let_go(name);
                return Err(report("open an upload again", errno));
            }
        };
        let staged = existing.as_ref().map_or(0, |(_, staged)| *staged);
        // The daemon does not know how much of it is on the disk.
        if let Err(error) = session.ledger.check_room(size.saturating_sub(staged)).await {
            session.ledger.let_go(name);
            return Err(error);
        }
        if let Some((files, _)) = existing {
            return Ok((files, true));
        }
    }
    match create_with_journal(session, name) {
        Ok(files) => Ok((files, false)),
        Err(errno) => Err(not_created(session, name, errno).await),
    }
}

/// Data and journal, and how many bytes of data there are.
fn open_existing(session: &Session, name: StagingName) -> Result<(Vec<OwnedFd>, u64), Errno> {
    let data = session.staging.open_writable(&name.file_name())?;
    let journal = session.staging.open_writable(&name.journal_name())?;
    let staged = Seen::of(&data)?.size;
    Ok((vec![data, journal], staged))
}

fn create_with_journal(session: &Session, name: StagingName) -> Result<Vec<OwnedFd>, Errno> {
    reach(Point::Reserved);
    let data = session.staging.create(&name.file_name())?;
    reach(Point::UploadCreated);
    let journal = session.staging.create(&name.journal_name())?;
    Ok(vec![data, journal])
}

async fn not_created(session: &Session, name: StagingName, errno: Errno) -> ErrorCode {
    session.refuse_a_taken_name(name, errno).await;
    let _ = session.discard(name).await;
    report("make a file in staging", errno)
}

/// Closes an upload that is not committed.
pub(crate) async fn close(session: &Session, upload: Upload, keep: bool) -> Result<(), ErrorCode> {
    let closed = give_up(session, &upload, keep).await;
    session.handles.borrow_mut().end_use(upload.name);
    closed
}

async fn give_up(session: &Session, upload: &Upload, keep: bool) -> Result<(), ErrorCode> {
    writers::are_gone(session, upload).await;
    if upload.resumable && keep {
        session.ledger.let_go(upload.name);
        return Ok(());
    }
    session.check_writable()?;
    session.discard(upload.name).await
}

/// Closes an upload whose files cannot be handed over, and answers the question by which it was opened. A resumable
/// one is kept as it is: its client comes back for it.
pub(crate) async fn not_handed_over(session: Rc<Session>, op: OpId, handle: Handle) {
    let upload = session.handles.borrow_mut().take_upload(handle);
    if let Some(upload) = upload {
        // A failure is logged; the daemon drops the rest when the session ends.
        let _ = close(&session, upload, true).await;
    }
    session.outbox.tell(FilerToWorker::Failed { op, error: ErrorCode::Internal });
}

/// Drops an upload that no session works on.
pub(crate) async fn abort(session: &Session, name: StagingName) -> Result<(), ErrorCode> {
    session.check_writable()?;
    if !session.handles.borrow_mut().use_upload(name) {
        return Err(ErrorCode::UploadBusy);
    }
    let aborted = match session.ledger.claim(name).await {
        Ok(()) => session.discard(name).await,
        Err(error) => Err(error),
    };
    session.handles.borrow_mut().end_use(name);
    aborted
}

/// Lists the open uploads: for each credit of the worker's a part, as the ledger has them.
pub(crate) async fn list(session: &Session, op: OpId, credit: &Credit) -> Result<(), ErrorCode> {
    let mut after = None;
    loop {
        credit.take().await;
        session.outbox.has_room().await;
        let (rows, last) = session.ledger.uploads(after).await?;
        after = rows.last().map(|row| row.name).or(after);
        let uploads = rows.into_iter().map(|row| summary(session, row)).collect();
        let part = FilerToWorker::Uploads { op, uploads, last };
        if last {
            session.answer(op, part);
            return Ok(());
        }
        session.outbox.tell(part);
    }
}

fn summary(session: &Session, row: UploadRow) -> UploadSummary {
    let journal = session.staging.look(&row.name.journal_name());
    let journal_bytes = journal.ok().flatten().map_or(0, |seen| seen.size);
    let received = journal::entries_in(journal_bytes).saturating_mul(LEAF_SIZE as u64);
    UploadSummary {
        upload: row.name,
        path: row.path,
        size: row.source.size,
        received: received.min(row.source.size),
        opened_s: row.opened_s,
        expires_s: row.expires_s,
        active: row.active,
    }
}

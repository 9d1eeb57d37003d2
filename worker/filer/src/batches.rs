//! Puts small files many at a time: what [`crate::uploads`] and [`crate::commit`] do for one, with one reservation,
//! one sync, one ticket and two transactions for all that come together.
//!
//! The worker hands over bytes instead of being handed a descriptor, so that nobody else ever had one: size and
//! inode are those of the file that was written here. Files that are few are synced each by itself; of many the
//! whole file system is. From there on each file goes its own way ([`crate::placing`]), beside the others, and may
//! be refused without them.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use berth_common::batch::{PutResult, SmallPut};
use berth_common::entry::Usage;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::FilerToWorker;
use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::FileReservation;
use berth_common::note::NoteChange;
use berth_common::points::{Point, reach};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

use crate::commit::describe;
use crate::decide::{self, Replaceable};
use crate::errors::{log, report};
use crate::home::Parent;
use crate::placing::{self, Kind, NotPlaced, Row, Staged};
use crate::session::Session;
use crate::staging::Staging;
use crate::tasks::Slot;
use crate::{notes, pins};

/// So many files are synced each by itself: then a sync of the whole file system, which has what others write to
/// write too, would take longer.
const FEW: usize = 4;

/// Files that are looked at before the loop looks at its channels.
const AT_A_TIME: usize = 8;

/// Files of a batch that are made, and then filled, together: four times as many are open at once (one lot is filled,
/// two wait, and one is made).
const OPEN_AT_ONCE: usize = 32;

/// Answers a batch when the last of its files has come to its end.
struct Answering {
    session: Rc<Session>,
    op: OpId,
    results: RefCell<Vec<Option<PutResult>>>,
    left: Cell<usize>,
    usage: Cell<Option<Usage>>,
}

impl Answering {
    fn new(session: Rc<Session>, op: OpId, files: usize) -> Rc<Self> {
        let results = RefCell::new(vec![None; files]);
        Rc::new(Self { session, op, results, left: Cell::new(files), usage: Cell::default() })
    }

    fn failed(&self, index: usize, error: ErrorCode) {
        self.end(index, PutResult::Failed(error));
    }

    /// Cleans up after a file that was written, and ends it.
    async fn not_placed(&self, file: &Written, NotPlaced { error, row }: NotPlaced) {
        placing::give_up(&self.session, &file.staged, row, false).await;
        self.failed(file.index, error);
    }

    /// Each file ends once.
    fn end(&self, index: usize, result: PutResult) {
        if let Some(slot) = self.results.borrow_mut().get_mut(index) {
            *slot = Some(result);
        }
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            let ended = self.results.take().into_iter();
            let unknown = || PutResult::Failed(ErrorCode::Internal);
            let results = ended.map(|result| result.unwrap_or_else(unknown)).collect();
            let (op, usage) = (self.op, self.usage.get());
            self.session.answer(op, FilerToWorker::FilesPut { op, results, usage });
        }
    }
}

/// A file of a batch that may be put.
struct Wanted {
    index: usize,
    file: SmallPut,
    /// Bytes of the file that it replaces.
    replaces: Option<u64>,
}

/// A file of a batch that is written.
struct Written {
    index: usize,
    path: RelPath,
    staged: Staged,
    replaces: Option<u64>,
    /// Kept where it is to be synced by itself.
    data: Option<OwnedFd>,
}

/// A file of a batch that could not be written.
struct NotWritten {
    index: usize,
    name: StagingName,
    why: WhyNot,
}

enum WhyNot {
    /// The file could not be made.
    Staging(Errno),
    /// It could not get its note.
    Note(ErrorCode),
}

/// Puts the files and answers.
pub(crate) async fn put(session: Rc<Session>, op: OpId, files: Vec<SmallPut>) {
    let answering = Answering::new(Rc::clone(&session), op, files.len());
    let wanted = look_at_each(&answering, files).await;
    if wanted.is_empty() {
        return;
    }
    let mut reserved = match reserve(&session, &wanted).await {
        Ok(reserved) => reserved,
        Err(error) => {
            return wanted.iter().for_each(|it| answering.failed(it.index, error.clone()));
        }
    };
    let mut wanted = wanted;
    if reserved.iter().any(Result::is_err) {
        (wanted, reserved) = without_those_in_vain(&answering, wanted, reserved).await;
    }
    reach(Point::Reserved);
    let few = wanted.len() <= FEW;
    let failed_before = session.staging.failed_file_syncs();
    let written = write_each(&answering, wanted, reserved, few).await;
    if few {
        for file in written {
            spawn(&answering, file);
        }
        return;
    }
    match session.sync_staged_files(written.len(), failed_before).await {
        Ok(()) => written.into_iter().for_each(|file| spawn(&answering, file)),
        Err(not_placed) => {
            for file in written {
                let (own, failed) = (Rc::clone(&answering), not_placed.clone());
                session.tasks.spawn(async move { own.not_placed(&file, failed).await });
            }
        }
    }
}

/// Lets the loop look at its channels now and then, and says whether it did: each look at a home may wait for the disk.
async fn pace(session: &Session, index: usize) -> bool {
    let is_time = index % AT_A_TIME == AT_A_TIME - 1;
    if is_time {
        session.pacer.next_turn().await;
    }
    is_time
}

/// The files that may be put. What may replace nothing needs no look: if its place is free it reserves the same, and if
/// not the act refuses it.
async fn look_at_each(answering: &Answering, files: Vec<SmallPut>) -> Vec<Wanted> {
    let session = &answering.session;
    let mut wanted = Vec::with_capacity(files.len());
    let mut looking = Looking::default();
    for (index, file) in files.into_iter().enumerate() {
        let looked = match file.overwrite {
            true => looking.look(session, &file).await,
            false => check(session, &file).map(|()| None),
        };
        match looked {
            Ok(replaces) => wanted.push(Wanted { index, file, replaces }),
            Err(error) => answering.failed(index, error),
        }
    }
    wanted
}

/// Sets bytes and entries aside for each.
async fn reserve(
    session: &Session,
    wanted: &[Wanted],
) -> Result<Vec<Result<StagingName, ErrorCode>>, ErrorCode> {
    session.ledger.reserve_files(wanted.iter().map(reservation).collect()).await
}

/// Looks after all at those that may replace nothing, where there was no room for each: one that cannot be put gives
/// back what it has reserved, and says why it cannot; what was refused beside such a one is reserved for again.
async fn without_those_in_vain(
    answering: &Answering,
    wanted: Vec<Wanted>,
    reserved: Vec<Result<StagingName, ErrorCode>>,
) -> (Vec<Wanted>, Vec<Result<StagingName, ErrorCode>>) {
    let session = &answering.session;
    let (mut kept, mut names, mut refused, mut errors) = (vec![], vec![], vec![], vec![]);
    let (mut looking, mut has_room) = (Looking::default(), false);
    for (wanted, reserved) in wanted.into_iter().zip(reserved) {
        let looked = match wanted.file.overwrite {
            true => Ok(None),
            false => looking.look(session, &wanted.file).await,
        };
        match (looked, reserved) {
            (Ok(_), Ok(name)) => {
                kept.push(wanted);
                names.push(Ok(name));
            }
            (Ok(_), Err(error)) => {
                refused.push(wanted);
                errors.push(Err(error));
            }
            (Err(error), reserved) => {
                answering.failed(wanted.index, error);
                if let Ok(name) = reserved {
                    // Nothing stands there yet. A failure is logged.
                    has_room |= session.discard(name).await.is_ok();
                }
            }
        }
    }
    if has_room && !refused.is_empty() {
        match reserve(session, &refused).await {
            Ok(again) => errors = again,
            Err(error) => errors.fill(Err(error)),
        }
    }
    kept.append(&mut refused);
    names.append(&mut errors);
    (kept, names)
}

/// Looks at places one after the other.
#[derive(Default)]
struct Looking {
    parent: Parent,
    looks: usize,
}

impl Looking {
    async fn look(&mut self, session: &Session, file: &SmallPut) -> Result<Option<u64>, ErrorCode> {
        if pace(session, self.looks).await {
            // It may have been moved meanwhile.
            self.parent = Parent::default();
        }
        self.looks += 1;
        look(session, file, &mut self.parent)
    }
}

fn check(session: &Session, file: &SmallPut) -> Result<(), ErrorCode> {
    session.check_writable()?;
    if file.path.is_root() { Err(ErrorCode::IsADirectory) } else { Ok(()) }
}

/// What it replaces, if it may be put at all.
fn look(session: &Session, file: &SmallPut, parent: &mut Parent) -> Result<Option<u64>, ErrorCode> {
    check(session, file)?;
    let seen = pins::look(session, &session.home.place_beside(&file.path, parent)?)?;
    decide::put(seen.as_ref(), replaceable(file.overwrite))
}

fn replaceable(overwrite: bool) -> Replaceable {
    match overwrite {
        true => Replaceable::AnyFile,
        false => Replaceable::Nothing,
    }
}

fn reservation(wanted: &Wanted) -> FileReservation {
    let size = wanted.file.content.len() as u64;
    let (growth, entries) = decide::growth(size, wanted.replaces);
    FileReservation { growth, entries, stages: size }
}

/// Makes the files in staging, and fills them, on the threads for that.
async fn write_each(
    answering: &Answering,
    wanted: Vec<Wanted>,
    reserved: Vec<Result<StagingName, ErrorCode>>,
    keep_open: bool,
) -> Vec<Written> {
    let session = &answering.session;
    let mut named = Vec::with_capacity(wanted.len());
    for (wanted, reserved) in wanted.into_iter().zip(reserved) {
        match reserved {
            Ok(name) => named.push((wanted, name)),
            Err(error) => answering.failed(wanted.index, error),
        }
    }
    let mut results = Vec::with_capacity(named.len());
    {
        let _writing = session.syncs.writing();
        let mut parts = Vec::new();
        while !named.is_empty() {
            let part = named.drain(..named.len().min(OPEN_AT_ONCE)).collect();
            parts.push(write_some(session, part, keep_open));
        }
        for part in parts {
            results.extend(part.await);
        }
    }
    let mut written = Vec::new();
    for result in results {
        match result {
            Ok(file) => written.push(file),
            Err(NotWritten { index, name, why }) => {
                if let WhyNot::Staging(errno) = why {
                    session.refuse_a_taken_name(name, errno).await;
                }
                discard_later(session, name);
                answering.failed(
                    index,
                    match why {
                        WhyNot::Staging(errno) => report("make a file in staging", errno),
                        WhyNot::Note(error) => error,
                    },
                );
            }
        }
    }
    written
}

/// A file in staging that has nothing yet, if it could be made.
struct Made {
    wanted: Wanted,
    name: StagingName,
    data: Result<OwnedFd, Errno>,
}

/// Makes some of the files, and fills them.
fn write_some(
    session: &Session,
    files: Vec<(Wanted, StagingName)>,
    keep_open: bool,
) -> Slot<Vec<Result<Written, NotWritten>>> {
    let staging = Arc::clone(&session.staging);
    let make_each = move || {
        let made = files.into_iter().map(|(wanted, name)| make(&staging, wanted, name));
        made.collect::<Vec<_>>()
    };
    let fill_each = move |made: Vec<Made>| {
        let filled = made.into_iter().map(|made| fill(made, keep_open));
        filled.collect()
    };
    session.helper.write(make_each, fill_each)
}

fn make(staging: &Staging, wanted: Wanted, name: StagingName) -> Made {
    let data = staging.create(&name.file_name());
    if data.is_ok() {
        reach(Point::UploadCreated);
    }
    Made { wanted, name, data }
}

/// Gives a file its content, and all else that is kept with it.
fn fill(made: Made, keep_open: bool) -> Result<Written, NotWritten> {
    let Made { wanted: Wanted { index, file, replaces }, name, data } = made;
    let failed = |why| NotWritten { index, name, why };
    let written = data.and_then(|data| write(&data, &file).map(|inode| (data, inode)));
    let (data, inode) = written.map_err(|errno| failed(WhyNot::Staging(errno)))?;
    notes::put(&data, &file.note).map_err(|error| failed(WhyNot::Note(error)))?;
    let size = file.content.len() as u64;
    let kind = Kind::SmallFile(replaceable(file.overwrite));
    let keeps_note = file.note == NoteChange::Keep;
    let staged = Staged { name, inode, size, kind, keeps_note };
    let data = keep_open.then_some(data);
    Ok(Written { index, path: file.path, staged, replaces, data })
}

/// Drops what was reserved and staged at a name, while others go on.
fn discard_later(session: &Rc<Session>, name: StagingName) {
    let own = Rc::clone(session);
    session.tasks.spawn(async move { drop(own.discard(name).await) });
}

/// Its inode number.
fn write(data: &OwnedFd, file: &SmallPut) -> Result<u64, Errno> {
    let mut rest = &file.content[..];
    while !rest.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(data, rest))?;
        rest = rest.get(count..).ok_or(Errno::IO)?;
    }
    let seen = describe(data, Some(file.mtime_ns), file.mode, file.md5)?;
    if seen.size != file.content.len() as u64 {
        return Err(Errno::IO);
    }
    Ok(seen.inode)
}

fn spawn(answering: &Rc<Answering>, file: Written) {
    answering.session.tasks.spawn(place(Rc::clone(answering), file));
}

/// Places a file, and cleans up after it.
async fn place(answering: Rc<Answering>, mut file: Written) {
    let session = &*answering.session;
    if let Some(data) = file.data.take()
        && let Err(not_placed) = sync(session, file.staged.name, data).await
    {
        return answering.not_placed(&file, not_placed).await;
    }
    let looked = Some(file.replaces);
    match placing::place_durable(session, &mut file.staged, &file.path, looked).await {
        Ok(placed) => {
            answering.usage.set(Some(placed.usage));
            let replaced = placed.replaced.is_some();
            answering.end(file.index, PutResult::Done { replaced });
            // R8: after the settle. Where nothing was replaced, it has ended the name.
            if replaced {
                session.clear(file.staged.name).await;
            }
        }
        Err(not_placed) => answering.not_placed(&file, not_placed).await,
    }
}

/// Makes one file durable by itself, and then its name.
async fn sync(session: &Session, name: StagingName, data: OwnedFd) -> Result<(), NotPlaced> {
    let staging = Arc::clone(&session.staging);
    let synced = session.helper.run_once(move || staging.sync_file(&data)).await;
    synced.map_err(|errno| {
        // Final: the next fsync may succeed and prove nothing.
        log(format_args!("a sync of {name} failed, it is dropped: {errno}"));
        NotPlaced { error: report("sync a file", errno), row: Row::Open }
    })?;
    let synced = session.sync_staging().await;
    synced.map_err(|error| NotPlaced { error, row: Row::Unknown })
}

//! Streams listings, one chunk for each credit of the worker's. Of a directory's entries some are looked at
//! in each turn of the loop, so that one of any size neither fills memory nor holds others up.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_common::entry::Entry;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::FilerToWorker;
use berth_common::ids::OpId;
use berth_common::limits::LISTING_CHUNK_BYTES;
use berth_common::rel_path::RelPath;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use crate::entries::{Wanted, entry};
use crate::errors::report;
use crate::home::{JUST_LOOK, READ_FILE, Seen, open_beneath};
use crate::pins;
use crate::session::{Operation, Session};
use crate::tasks::{Filler, TaskId, slot};
use crate::uploads;
use crate::walk::next_names;

/// Entries that are looked at before the loop looks at its channels.
const SLICE: usize = 64;

/// Most bytes that an entry's fields take beside its name and note.
const ENTRY_BYTES: usize = 80;

/// A listing under way, as the loop sees it.
pub(crate) struct Listing {
    credit: Rc<Credit>,
    task: TaskId,
}

/// Chunks that the worker has room for.
#[derive(Default)]
pub(crate) struct Credit {
    chunks: Cell<u32>,
    waiting: RefCell<Option<Filler<()>>>,
}

impl Credit {
    fn add(&self) {
        self.chunks.set(self.chunks.get().saturating_add(1));
        if let Some(waiting) = self.waiting.take() {
            waiting.fill(());
        }
    }

    /// Waits for the worker's credit for one chunk, and uses it up.
    pub(crate) async fn take(&self) {
        while self.chunks.get() == 0 {
            let (filler, slot) = slot();
            self.waiting.replace(Some(filler));
            slot.await;
        }
        self.chunks.set(self.chunks.get() - 1);
    }
}

/// Begins to list a directory, with credit for the first chunk.
pub(crate) fn begin(
    session: &Rc<Session>,
    op: OpId,
    path: RelPath,
    notes: bool,
) -> Result<(), String> {
    let wanted = Wanted { digest: false, note: notes };
    begin_with(session, op, async move |session, credit| {
        list(session, op, &path, wanted, credit).await
    })
}

/// Begins to list the open uploads, with credit for the first part.
pub(crate) fn begin_uploads(session: &Rc<Session>, op: OpId) -> Result<(), String> {
    begin_with(session, op, async move |session, credit| uploads::list(session, op, credit).await)
}

fn begin_with(
    session: &Rc<Session>,
    op: OpId,
    list: impl AsyncFnOnce(&Session, &Credit) -> Result<(), ErrorCode> + 'static,
) -> Result<(), String> {
    let credit = Rc::new(Credit::default());
    credit.add();
    let (own, own_credit) = (Rc::clone(session), Rc::clone(&credit));
    let task = session.tasks.spawn(async move {
        if let Err(error) = list(&own, &own_credit).await {
            own.answer(op, FilerToWorker::Failed { op, error });
        }
    });
    session.begin(op, Operation::Listing(Listing { credit, task }))
}

/// One more chunk may be sent. For a listing that has ended this is nothing: the two may have crossed.
pub(crate) fn more(session: &Session, op: OpId) -> Result<(), String> {
    match session.operations.borrow().get(&op) {
        Some(Operation::Listing(listing)) => listing.credit.add(),
        Some(Operation::Plain | Operation::Batch) => {
            return Err(format!("operation {op} is no listing"));
        }
        None => {}
    }
    Ok(())
}

/// Ends a listing early.
pub(crate) fn stop(session: &Session, op: OpId) -> Result<(), String> {
    let mut operations = session.operations.borrow_mut();
    match operations.get(&op) {
        Some(Operation::Listing(listing)) => session.tasks.cancel(listing.task),
        Some(Operation::Plain | Operation::Batch) => {
            return Err(format!("operation {op} is no listing"));
        }
        None => return Ok(()),
    }
    operations.remove(&op);
    Ok(())
}

async fn list(
    session: &Session,
    op: OpId,
    path: &RelPath,
    wanted: Wanted,
    credit: &Credit,
) -> Result<(), ErrorCode> {
    let directory =
        session.home.directory(path).map_err(|errno| report("list a directory", errno))?;
    let mut names = Vec::new();
    loop {
        credit.take().await;
        // A credit is a promise to read that a worker may break.
        session.outbox.has_room().await;
        let (entries, last) = chunk(session, &directory, &mut names, wanted)
            .await
            .map_err(|errno| report("list a directory", errno))?;
        let part = FilerToWorker::Entries { op, entries, last };
        if last {
            session.answer(op, part);
            return Ok(());
        }
        session.outbox.tell(part);
    }
}

/// The next chunk, and whether it is the last. `names` are those that were read and not shown yet.
async fn chunk(
    session: &Session,
    directory: &OwnedFd,
    names: &mut Vec<(CString, FileType)>,
    wanted: Wanted,
) -> Result<(Vec<Entry>, bool), Errno> {
    let mut entries = Vec::new();
    let mut room = LISTING_CHUNK_BYTES;
    for looked_at in 1.. {
        let Some((name, _)) = names.last() else {
            *names = match next_names(directory) {
                // The directory itself was removed: it has no more names.
                Err(Errno::NOENT) => Vec::new(),
                result => result?,
            };
            if names.is_empty() {
                return Ok((entries, true));
            }
            continue;
        };
        // Not UTF-8: shown with U+FFFD, and cannot be addressed.
        let shown = name.to_string_lossy().into_owned();
        let Some(left) = room.checked_sub(shown.len() + ENTRY_BYTES) else {
            break;
        };
        if let Some(entry) = look(session, directory, name, shown, wanted) {
            // The last note may go beyond the room: a packet has four times as much.
            let note = entry.note.as_ref().map_or(0, |note| note.as_str().len());
            entries.push(entry);
            room = left.saturating_sub(note);
        }
        names.pop();
        if looked_at % SLICE == 0 {
            session.pacer.next_turn().await;
        }
    }
    Ok((entries, false))
}

/// The entry of one name; `None` when it has gone.
fn look(
    session: &Session,
    directory: &OwnedFd,
    name: &CStr,
    shown: String,
    wanted: Wanted,
) -> Option<Entry> {
    let look = || {
        let object = open_beneath(directory, name, JUST_LOOK, Mode::empty());
        Ok(object.and_then(Seen::of).ok().map(|seen| (seen, ())))
    };
    let (seen, ()) = pins::steadily(session, look).ok()??;
    // For the mode that the client sent. Without it the bits on disk are shown.
    let file = match seen.is_served_file() {
        true => open_beneath(directory, name, READ_FILE, Mode::empty()).ok(),
        false => None,
    };
    Some(entry(shown, &seen, file.as_ref(), wanted))
}

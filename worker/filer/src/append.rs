//! Appends: a file that continues the one in the home is built in staging and placed over it.
//!
//! Files in a home never change in place. So the upload's bytes wait in staging like those of any put, and at
//! the commit a *joined* file is made beside them: a copy of the old file with the upload's bytes behind it. It
//! is made durable and then given the upload's own name by an exchange within staging, so that the row, its
//! reservation (which is what is added) and replay's table are those of a put. Under the ticket the name in the
//! home must still lead to the file that was copied; else a new copy is made.
//!
//! What stands at the upload's name must never be taken for the upload's bytes after that. The journal, without
//! which nothing is resumed, is therefore gone from the disk *before* the exchange: whoever finds the name
//! without a journal starts over. The other name belongs to no row and is swept after a crash.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::note::NoteChange;
use berth_common::points::{Point, reach};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

use crate::decide::{self, Replaceable};
use crate::errors::report;
use crate::handles::Upload;
use crate::home::{READ_FILE, Seen};
use crate::placing::{self, Kind, NotPlaced, Placed, Row, Staged};
use crate::session::Session;
use crate::{attributes, notes, pins};

/// Copies that are made before an append gives way to the others at the same file.
const TRIES: usize = 4;

/// Bytes that are copied before the helper looks at its other work.
const SLICE: usize = 8 * 1024 * 1024;

/// Bytes of the buffer where the kernel does not copy by itself.
const BUFFER: usize = 1024 * 1024;

/// The upload's own bytes, wherever they stand.
#[derive(Debug)]
pub(crate) struct Data {
    inode: u64,
    size: u64,
    /// Their name, once a joined file has had that of the upload. It is a reservation of nothing.
    aside: Option<StagingName>,
    /// Whether the upload can still be resumed.
    trusted: bool,
}

impl Data {
    /// Of what is staged under the upload's own name.
    pub(crate) fn of(staged: &Staged) -> Self {
        Self { inode: staged.inode, size: staged.size, aside: None, trusted: true }
    }

    /// Whether the upload can still be resumed.
    pub(crate) fn can_be_resumed(&self) -> bool {
        self.trusted
    }

    /// Removes what stands aside; when nothing is known of the row, replay or the sweep does.
    pub(crate) async fn clean_up(self, session: &Session) {
        if let Some(aside) = self.aside {
            let _ = session.discard(aside).await;
        }
    }
}

/// Places the upload's bytes behind those of the file at its path, or as the file where none stands.
pub(crate) async fn place(
    session: &Session,
    staged: &mut Staged,
    upload: &Upload,
    data: &mut Data,
) -> Result<Placed, NotPlaced> {
    let mut row = Row::Open;
    for _ in 0..TRIES {
        let old = open_old(session, &upload.path).map_err(|error| NotPlaced { error, row })?;
        if row == Row::Dropped {
            let growth = (data.size, u64::from(old.is_none()));
            placing::reserve_again(session, staged, growth).await?;
        }
        let replaceable = match &old {
            Some((file, seen)) => {
                join(session, staged, upload, data, (file, seen)).await?;
                Replaceable::Only { inode: seen.inode, size: seen.size }
            }
            None => {
                take_back(session, staged, data).await?;
                Replaceable::Nothing
            }
        };
        staged.kind = match upload.resumable {
            true => Kind::ResumableFile(replaceable),
            false => Kind::SmallFile(replaceable),
        };
        match placing::place(session, staged, &upload.path).await {
            Ok(placed) => return Ok(placed),
            // Another change of this file came first, and its right to the name is the better one.
            Err(NotPlaced { error: ErrorCode::Busy | ErrorCode::AlreadyExists, row: now })
                if now != Row::Unknown =>
            {
                row = now;
            }
            Err(not_placed) => return Err(not_placed),
        }
        // Until here, so that its inode number is not another file's.
        drop(old);
    }
    Err(NotPlaced { error: ErrorCode::Busy, row })
}

/// Opens the file that is added to, if one stands there.
fn open_old(session: &Session, path: &RelPath) -> Result<Option<(Arc<OwnedFd>, Seen)>, ErrorCode> {
    let place = session.home.place(path)?;
    // By the name first: a FIFO or a device is not opened.
    if decide::put(pins::look(session, &place)?.as_ref(), Replaceable::AnyFile)?.is_none() {
        return Ok(None);
    }
    let open = || {
        let file = match place.open(READ_FILE) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(report("open a file to append to", errno)),
        };
        let seen = Seen::of(&file).map_err(|errno| report("look at a file to append to", errno))?;
        Ok(Some((seen, file)))
    };
    let Some((seen, file)) = pins::steadily(session, open)? else {
        return Ok(None);
    };
    decide::put(Some(&seen), Replaceable::AnyFile)?;
    Ok(Some((Arc::new(file), seen)))
}

/// Builds the joined file and gives it the upload's name.
async fn join(
    session: &Session,
    staged: &mut Staged,
    upload: &Upload,
    data: &mut Data,
    (old, seen): (&Arc<OwnedFd>, &Seen),
) -> Result<(), NotPlaced> {
    let open = |error| NotPlaced { error, row: Row::Open };
    let size = seen.size.checked_add(data.size).filter(|size| i64::try_from(*size).is_ok());
    let size = size.ok_or(open(ErrorCode::DiskFull))?;
    let spare = session.ledger.reserve(0, 0, None).await.map_err(open)?;
    let from = data.aside.unwrap_or(staged.name);
    let inode = match build(session, spare, (from, data.size), &upload.note, (old, seen)).await {
        Ok(inode) => inode,
        Err(unjoined) => {
            if let Unjoined::Failed(errno) = unjoined {
                session.refuse_a_taken_name(spare, errno).await;
            }
            let _ = session.discard(spare).await;
            return Err(open(match unjoined {
                // An administrator has cut the old file off under the copy.
                Unjoined::Failed(Errno::NODATA) => ErrorCode::Busy,
                Unjoined::Failed(errno) => report("join a file with what is appended", errno),
                Unjoined::Refused(error) => error,
            }));
        }
    };
    reach(Point::Joined);
    let unresumable = forget_journal(session, upload, data).await;
    let exchanged = unresumable.and_then(|()| {
        let exchanged = session.staging.exchange(staged.name, spare);
        exchanged.map_err(|errno| open(report("exchange names in staging", errno)))
    });
    if let Err(not_placed) = exchanged {
        if not_placed.row != Row::Unknown {
            let _ = session.discard(spare).await;
        }
        return Err(not_placed);
    }
    reach(Point::Exchanged);
    (staged.inode, staged.size) = (inode, size);
    match data.aside {
        None => data.aside = Some(spare),
        // An earlier joined file, which was not placed.
        Some(_) => drop(session.discard(spare).await),
    }
    Ok(())
}

/// From here on the upload cannot be resumed, and that is on disk before its name means another file.
async fn forget_journal(
    session: &Session,
    upload: &Upload,
    data: &mut Data,
) -> Result<(), NotPlaced> {
    if !upload.resumable || !data.trusted {
        return Ok(());
    }
    session.staging.unlink(&upload.name.journal_name()).map_err(|errno| {
        let error = report("remove a journal", errno);
        NotPlaced { error, row: Row::Open }
    })?;
    data.trusted = false;
    let synced = session.sync_staging().await;
    synced.map_err(|error| NotPlaced { error, row: Row::Unknown })?;
    reach(Point::JournalForgotten);
    Ok(())
}

/// Gives the upload's name back to its own bytes: there is nothing any more that they could follow.
async fn take_back(
    session: &Session,
    staged: &mut Staged,
    data: &mut Data,
) -> Result<(), NotPlaced> {
    if let Some(aside) = data.aside {
        session.staging.exchange(staged.name, aside).map_err(|errno| {
            let error = report("exchange names in staging", errno);
            NotPlaced { error, row: Row::Open }
        })?;
        reach(Point::Exchanged);
        data.aside = None;
        let _ = session.discard(aside).await;
    }
    (staged.inode, staged.size) = (data.inode, data.size);
    Ok(())
}

/// Why there is no joined file.
enum Unjoined {
    /// A call failed.
    Failed(Errno),
    /// The daemon refuses the room for it, or the file system that for its note.
    Refused(ErrorCode),
}

impl From<Errno> for Unjoined {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// Makes the joined file at `name`, durable with its attributes, and says its inode number. It has the permission
/// bits of the old file, the time of the append, and no tree digest: nobody has hashed the whole. A note that is kept
/// it gets under the ticket.
async fn build(
    session: &Session,
    name: StagingName,
    (from, added): (StagingName, u64),
    note: &NoteChange,
    (old, seen): (&Arc<OwnedFd>, &Seen),
) -> Result<u64, Unjoined> {
    let to = session.staging.create(&name.file_name())?;
    let inode = Seen::of(&to)?.inode;
    notes::put(&to, note).map_err(Unjoined::Refused)?;
    let new = session.staging.open_readable(&from.file_name())?;
    let mode = attributes::stored(old, seen).mode.unwrap_or(seen.permissions);
    let joining = Joining {
        parts: [(Arc::clone(old), seen.size), (Arc::new(new), added)],
        part: 0,
        done: 0,
        to,
        buffer: Vec::new(),
    };
    let (mut joining, to_copy) = session.helper.run_once(move || joining.share_old()).await;
    session.ledger.check_room(to_copy).await.map_err(Unjoined::Refused)?;
    let staging = Arc::clone(&session.staging);
    let joined = session.helper.copy(move || {
        joining.slice().map(|copied| {
            copied?;
            attributes::set_mode(&joining.to, mode)?;
            staging.sync_file(&joining.to)
        })
    });
    joined.await?;
    Ok(inode)
}

/// The copying of one file behind another, slice by slice.
struct Joining {
    parts: [(Arc<OwnedFd>, u64); 2],
    /// Which part is being copied, and how much of it is.
    part: usize,
    done: u64,
    to: OwnedFd,
    /// Empty as long as the kernel copies by itself.
    buffer: Vec<u8>,
}

impl Joining {
    /// Shares the old file's blocks where the file system can; says how many bytes are left to be copied.
    fn share_old(mut self) -> (Self, u64) {
        let [(old, old_size), (_, added)] = &self.parts;
        if *old_size > 0 && self.clone_old(old, *old_size) {
            self.done = *old_size;
        }
        let to_copy = old_size - self.done + added;
        (self, to_copy)
    }

    fn slice(&mut self) -> Poll<Result<(), Errno>> {
        let Some((from, size)) = self.parts.get(self.part).cloned() else {
            let whole = self.parts[0].1 + self.parts[1].1;
            let made = Seen::of(&self.to).map(|seen| seen.size == whole);
            return Poll::Ready(made.and_then(|made| made.then_some(()).ok_or(Errno::NODATA)));
        };
        if self.done == size {
            (self.part, self.done) = (self.part + 1, 0);
            return Poll::Pending;
        }
        match self.copy(&from, size) {
            Ok(()) => Poll::Pending,
            Err(errno) => Poll::Ready(Err(errno)),
        }
    }

    /// Whether it has all of the old file's blocks. What it made is overwritten otherwise.
    fn clone_old(&self, from: &OwnedFd, size: u64) -> bool {
        if rustix::fs::ioctl_ficlone(&self.to, from).is_err() {
            return false;
        }
        // The old file was changed by hand; the copy then says how.
        let exact = Seen::of(&self.to).is_ok_and(|seen| seen.size == size);
        if !exact {
            let _ = rustix::fs::ftruncate(&self.to, 0);
        }
        exact
    }

    /// Copies some bytes.
    fn copy(&mut self, from: &OwnedFd, size: u64) -> Result<(), Errno> {
        let start = if self.part == 0 { 0 } else { self.parts[0].1 };
        let (mut at, mut to_at) = (self.done, start + self.done);
        let most = usize::try_from(size - self.done).unwrap_or(SLICE).min(SLICE);
        let copied = if self.buffer.is_empty() {
            let whole =
                rustix::fs::copy_file_range(from, Some(&mut at), &self.to, Some(&mut to_at), most);
            match whole {
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    self.buffer = vec![0; BUFFER];
                    return Ok(());
                }
                copied => copied?,
            }
        } else {
            let most = most.min(BUFFER);
            let read = rustix::io::pread(from, &mut self.buffer[..most], at)?;
            rustix::io::pwrite(&self.to, &self.buffer[..read], to_at)?
        };
        if copied == 0 {
            return Err(Errno::NODATA);
        }
        self.done += copied as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> (Arc<OwnedFd>, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        (Arc::new(file.into()), bytes.len() as u64)
    }

    fn join(old: &[u8], new: &[u8], stated: u64, by_hand: bool) -> Result<Vec<u8>, Errno> {
        let target = tempfile::NamedTempFile::new().unwrap();
        let to = File::options().read(true).write(true).open(target.path()).unwrap();
        let (old, _) = file(old);
        let buffer = if by_hand { vec![0; BUFFER] } else { Vec::new() };
        let parts = [(old, stated), file(new)];
        let joining = Joining { parts, part: 0, done: 0, to: to.into(), buffer };
        let (mut joining, _) = joining.share_old();
        loop {
            if let Poll::Ready(done) = joining.slice() {
                return done.map(|()| std::fs::read(target.path()).unwrap());
            }
        }
    }

    #[test]
    fn the_new_bytes_follow_the_old_ones_however_they_are_copied() {
        for by_hand in [false, true] {
            for (old, new) in [(0, 0), (0, 3), (3, 0), (5, 7), (2 * SLICE + 1, BUFFER + 9)] {
                let old: Vec<u8> = (0..old).map(|at| (at % 251) as u8).collect();
                let new: Vec<u8> = (0..new).map(|at| (at % 241) as u8).collect();
                let joined = join(&old, &new, old.len() as u64, by_hand).unwrap();
                assert!(joined == [old, new].concat(), "{by_hand}");
            }
        }
    }

    #[test]
    fn an_old_file_that_was_cut_off_is_noticed() {
        for by_hand in [false, true] {
            assert_eq!(join(b"12345", b"6", 6, by_hand), Err(Errno::NODATA));
        }
    }
}

//! Ends an upload: what the worker wrote becomes a file in the home.
//!
//! Before anything is stated to the ledger, no writer may be left, and the file's bytes, time and
//! attributes are durable. Size and inode are taken here, not believed.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use berth_common::digest::Md5;
use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::FilerToWorker;
use berth_common::ids::OpId;
use berth_common::note::NoteChange;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::decide::Replaceable;
use crate::errors::{log, report};
use crate::handles::Upload;
use crate::home::Seen;
use crate::placing::{self, Kind, Row, Staged};
use crate::session::Session;
use crate::{append, attributes, notes, writers};

/// Why the staged file cannot be committed.
struct Unfit {
    error: ErrorCode,
    /// Whether what was received is still good, so that the upload can be resumed.
    trusted: bool,
}

/// Commits an upload and answers.
pub(crate) async fn commit(session: Rc<Session>, op: OpId, upload: Upload, digest: Md5) {
    let name = upload.name;
    carry_out(&session, op, upload, digest).await;
    session.handles.borrow_mut().end_use(name);
}

async fn carry_out(session: &Session, op: OpId, upload: Upload, digest: Md5) {
    let replaceable = match upload.existing {
        Existing::Keep => Replaceable::Nothing,
        Existing::Replace | Existing::Append => Replaceable::AnyFile,
    };
    let kind = match upload.resumable {
        true => Kind::ResumableFile(replaceable),
        false => Kind::SmallFile(replaceable),
    };
    let keeps_note = upload.note == NoteChange::Keep;
    let mut staged = Staged { name: upload.name, inode: 0, size: 0, kind, keeps_note };
    let failed = |error| FilerToWorker::Failed { op, error };
    // From here on nobody can write to it.
    let data = writers::are_gone(session, &upload).await;
    if let Err(unfit) = prepare(session, &upload, data, digest, &mut staged).await {
        placing::give_up(session, &staged, Row::Open, unfit.trusted).await;
        return session.answer(op, failed(unfit.error));
    }
    let mut data = append::Data::of(&staged);
    let placed = match upload.existing {
        Existing::Append => append::place(session, &mut staged, &upload, &mut data).await,
        Existing::Keep | Existing::Replace => {
            placing::place(session, &mut staged, &upload.path).await
        }
    };
    match placed {
        Ok(placed) => {
            let replaced = placed.replaced.is_some();
            session.answer(op, FilerToWorker::Committed { op, replaced, usage: placed.usage });
            // R8: after the settle. What was displaced, and the journal; else the settle has ended the name.
            if replaced || upload.resumable {
                session.clear(staged.name).await;
            }
            data.clean_up(session).await;
        }
        Err(not_placed) => {
            // Before the answer: the client may come back for the upload at once.
            let trusted = data.can_be_resumed();
            placing::give_up(session, &staged, not_placed.row, trusted).await;
            if not_placed.row != Row::Unknown {
                data.clean_up(session).await;
            }
            session.answer(op, failed(not_placed.error));
        }
    }
}

/// Makes the staged file final and durable, and notes its inode and size.
async fn prepare(
    session: &Session,
    upload: &Upload,
    data: Option<OwnedFd>,
    digest: Md5,
    staged: &mut Staged,
) -> Result<(), Unfit> {
    let keep = |error| Unfit { error, trusted: true };
    let lost = |error| Unfit { error, trusted: false };
    session.check_writable().map_err(keep)?;
    let data = data.ok_or_else(|| lost(ErrorCode::NoSuchUpload))?;
    let seen = Seen::of(&data).map_err(|errno| keep(report("look at an upload", errno)))?;
    if !seen.is_served_file() || !upload.extent.allows(seen.size) {
        log(format_args!("{} has {} bytes, not {:?}", upload.name, seen.size, upload.extent));
        return Err(lost(ErrorCode::Protocol));
    }
    (staged.inode, staged.size) = (seen.inode, seen.size);
    describe(&data, upload.mtime_ns, upload.mode, digest)
        .map_err(|errno| keep(report("set attributes", errno)))?;
    let noted = match upload.resumable {
        true => notes::put_again(&data, &upload.note),
        false => notes::put(&data, &upload.note),
    };
    noted.map_err(keep)?;
    let staging = std::sync::Arc::clone(&session.staging);
    let synced = session.helper.run_once(move || staging.sync_file(&data)).await;
    synced.map_err(|errno| {
        // Final: the next fsync may succeed and prove nothing.
        log(format_args!("a sync of {} failed, it is dropped: {errno}", upload.name));
        lost(match report("sync an upload", errno) {
            ErrorCode::DiskFull => ErrorCode::DiskFull,
            _ => ErrorCode::Internal,
        })
    })
}

/// Sets time, permission bits and digest, and says how the file stands then. The time first: the digest is kept for
/// the time as it is stored. What came as a stream keeps the time of its last byte.
pub(crate) fn describe(
    data: &OwnedFd,
    mtime_ns: Option<i64>,
    mode: u16,
    digest: Md5,
) -> Result<Seen, Errno> {
    if let Some(mtime_ns) = mtime_ns {
        rustix::fs::futimens(data, &modified_at(mtime_ns))?;
    }
    let seen = Seen::of(data)?;
    attributes::store(data, &seen, digest, mode)?;
    Ok(seen)
}

fn modified_at(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

//! Makes directories: each is made empty in staging and placed like a file, one after the other.

use berth_common::error_code::ErrorCode;
use berth_common::ids::StagingName;
use berth_common::points::{Point, reach};
use berth_common::rel_path::RelPath;
use rustix::io::Errno;

use crate::errors::report;
use crate::home::What;
use crate::placing::{self, Kind, Staged};
use crate::session::Session;

/// How often a directory is looked for and made, where others make and remove it too.
const TRIES: usize = 4;

/// Makes the directory at `path`; with `parents` the missing ones above it too, and one that is there
/// already is as good.
pub(crate) async fn make_directory(
    session: &Session,
    path: &RelPath,
    parents: bool,
) -> Result<(), ErrorCode> {
    if !parents {
        return make_one(session, path).await;
    }
    let mut so_far = RelPath::root();
    for name in path.components() {
        so_far = so_far.join(name).map_err(|_| ErrorCode::PathInvalid)?;
        make_if_missing(session, &so_far, so_far == *path).await?;
    }
    Ok(())
}

/// Makes the directory unless one stands there. Others may make it and remove it again meanwhile, which is no
/// reason to refuse it: only what stands there in the end is.
async fn make_if_missing(
    session: &Session,
    path: &RelPath,
    is_last: bool,
) -> Result<(), ErrorCode> {
    for _ in 0..TRIES {
        match session.home.look(path) {
            Ok(seen) if seen.what == What::Directory => return Ok(()),
            Ok(seen) if seen.what == What::File && !is_last => {
                return Err(ErrorCode::NotADirectory);
            }
            Ok(seen) if seen.what == What::File => return Err(ErrorCode::AlreadyExists),
            Ok(_) => return Err(ErrorCode::NotServed),
            Err(ErrorCode::NotFound) => {}
            Err(error) => return Err(error),
        }
        match make_one(session, path).await {
            // Another session was faster.
            Err(ErrorCode::AlreadyExists) => {}
            result => return result,
        }
    }
    Err(ErrorCode::Busy)
}

async fn make_one(session: &Session, path: &RelPath) -> Result<(), ErrorCode> {
    session.check_writable()?;
    // Refused before anything is reserved.
    match session.home.look(path) {
        Ok(_) => return Err(ErrorCode::AlreadyExists),
        Err(ErrorCode::NotFound) => {}
        Err(error) => return Err(error),
    }
    if path.split_last().is_some_and(|(parent, _)| session.home.look(&parent).is_err()) {
        return Err(ErrorCode::NotFound);
    }
    let name = session.ledger.reserve(0, 1, Some(0)).await?;
    reach(Point::Reserved);
    let inode = match stage(session, name) {
        Ok(inode) => inode,
        Err(errno) => {
            let error = report("make a directory in staging", errno);
            session.refuse_a_taken_name(name, errno).await;
            let _ = session.discard(name).await;
            return Err(error);
        }
    };
    let kind = Kind::Directory;
    let mut staged = Staged { name, inode, size: 0, kind, keeps_note: false };
    match placing::place(session, &mut staged, path).await {
        // Nothing is left at the name, and the settle has ended it.
        Ok(_) => Ok(()),
        Err(not_placed) => {
            placing::give_up(session, &staged, not_placed.row, false).await;
            Err(not_placed.error)
        }
    }
}

/// Makes the directory in staging and says its inode number.
fn stage(session: &Session, name: StagingName) -> Result<u64, Errno> {
    let name = name.file_name();
    session.staging.make_directory(&name)?;
    session.staging.look(&name)?.map(|seen| seen.inode).ok_or(Errno::NOENT)
}

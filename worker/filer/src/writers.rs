//! Makes sure that nobody can write any more to the files of an upload that its worker has ended.
//!
//! What is unlinked and still written to is disk that no ledger counts; what is committed or kept must not change
//! behind whoever has it next. So [`crate::commit`] and [`crate::uploads`] ask here first, whatever is to become of
//! the upload. An honest worker has closed its files before it says that it is done with them; one that has not
//! has broken the protocol, and its descriptors end with its process. Where it cannot be found out, the session ends
//! as well: an upload that is not known to be without a writer is touched by nobody before its worker is dead.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use crate::handles::Upload;
use crate::session::Session;
use crate::sys;

/// Gives the data of an upload, open for reading, unless it is gone. Ends the session when the worker can still write
/// to the upload or when that cannot be found out, and goes no further then.
pub(crate) async fn are_gone(session: &Session, upload: &Upload) -> Option<OwnedFd> {
    let name = upload.name;
    let data = without_a_writer(session, &name.file_name()).await;
    if upload.resumable {
        without_a_writer(session, &name.journal_name()).await;
    }
    data
}

async fn without_a_writer(session: &Session, file: &str) -> Option<OwnedFd> {
    let found = match session.staging.open_readable(file) {
        Ok(opened) => find(opened),
        Err(Errno::NOENT) => return None,
        Err(errno) => Err(errno.into()),
    };
    match found {
        Ok(Some(opened)) => return Some(opened),
        Ok(None) => {
            session.end.misbehaved(format!("it has ended an upload and can still write to {file}"));
        }
        // Not the worker's doing: the system's table of files is full, for example.
        Err(error) => session.end.broken(format!("cannot look for writers of {file}: {error}")),
    }
    std::future::pending().await
}

/// Gives the file back if it has no writer.
fn find(opened: OwnedFd) -> io::Result<Option<OwnedFd>> {
    let gone = sys::has_no_writer(opened.as_fd())?;
    Ok(gone.then_some(opened))
}

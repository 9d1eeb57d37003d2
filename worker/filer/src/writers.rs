//! Makes sure that nobody can write any more to the files of an upload that its worker has ended.
//!
//! What is unlinked and still written to is disk that no ledger counts; what is committed or kept must not change
//! behind whoever has it next. So [`crate::commit`] and [`crate::uploads`] ask here first, whatever is to become of
//! the upload. An honest worker has closed its files before it says that it is done with them; one that has not
//! has broken the protocol, and its descriptors end with its process.

use std::os::fd::{AsFd as _, OwnedFd};

use berth_common::error_code::ErrorCode;
use rustix::io::Errno;

use crate::errors::{log, report};
use crate::handles::Upload;
use crate::session::Session;
use crate::sys;

/// Ends the session when the worker can still write to the upload, and goes no further then. Otherwise gives the
/// data, open for reading, unless it is gone.
///
/// # Errors
/// When that cannot be found out. The upload is then left as it is until the session ends, and with it the worker.
pub(crate) async fn are_gone(
    session: &Session,
    upload: &Upload,
) -> Result<Option<OwnedFd>, ErrorCode> {
    let name = upload.name;
    let data = without_a_writer(session, &name.file_name()).await?;
    if upload.resumable {
        without_a_writer(session, &name.journal_name()).await?;
    }
    Ok(data)
}

async fn without_a_writer(session: &Session, file: &str) -> Result<Option<OwnedFd>, ErrorCode> {
    let opened = match session.staging.open_readable(file) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(report("open an upload", errno)),
    };
    match sys::has_no_writer(opened.as_fd()) {
        Ok(true) => Ok(Some(opened)),
        Ok(false) => {
            session.end.misbehaved(format!("it has ended an upload and can still write to {file}"));
            std::future::pending().await
        }
        Err(error) => {
            log(format_args!("cannot look for writers of {file}: {error}"));
            Err(ErrorCode::Internal)
        }
    }
}

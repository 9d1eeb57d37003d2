//! Makes sure that nobody can write any more to the files of an upload that its worker has ended.
//!
//! What is unlinked and still written to is disk that no ledger counts; what is committed or kept must not change
//! behind whoever has it next. So [`crate::commit`] and [`crate::uploads`] ask here first, whatever is to become of
//! the upload. An honest worker has closed its files before it says that it is done with them; one that has not
//! has broken the protocol, and its descriptors end with its process. Where it cannot be found out, the session ends
//! as well: an upload that is not known to be without a writer is touched by nobody before its worker is dead.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::Timespec;
use rustix::io::Errno;

use crate::handles::Upload;
use crate::session::Session;
use crate::sys;

/// How often it is looked again, before a writer is taken to be the worker. Whoever reads `/proc/PID/fd` of a worker
/// (`lsof`, `ss -xp`) holds its descriptions for a moment, also beyond the worker's close.
const LOOKS: usize = 10;

/// Between two looks.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

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
        Ok(opened) => find(session, opened).await,
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

/// Gives the file back if it has no writer. The helper looks again where it has one, since the loop must not sleep:
/// that is rare, and keeps nobody waiting but this session.
async fn find(session: &Session, opened: OwnedFd) -> io::Result<Option<OwnedFd>> {
    if sys::has_no_writer(opened.as_fd())? {
        return Ok(Some(opened));
    }
    let again = move || {
        let gone = look_again(|| sys::has_no_writer(opened.as_fd()), pause)?;
        Ok(gone.then_some(opened))
    };
    session.helper.run_once(again).await
}

/// Looks until there is no writer, or often enough.
fn look_again(
    mut look: impl FnMut() -> io::Result<bool>,
    mut pause: impl FnMut(),
) -> io::Result<bool> {
    for _ in 0..LOOKS {
        pause();
        if look()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// By `poll`, which the table of system calls has. One that a signal cuts short is as good.
fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&PAUSE));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks again, with the answers of the looks in turn; what is found, and after how many pauses.
    fn found(looks: &[io::Result<bool>]) -> (io::Result<bool>, usize) {
        let (mut answers, mut pauses) = (looks.iter(), 0);
        let look = || match answers.next() {
            Some(Ok(answer)) => Ok(*answer),
            Some(Err(error)) => Err(error.kind().into()),
            None => Ok(false),
        };
        (look_again(look, || pauses += 1), pauses)
    }

    #[test]
    fn who_holds_a_file_for_a_moment_is_no_writer() {
        let (gone, pauses) = found(&[Ok(false), Ok(false), Ok(true), Ok(false)]);
        assert_eq!((gone.unwrap(), pauses), (true, 3));
    }

    #[test]
    fn one_that_stays_is_a_writer() {
        let (gone, pauses) = found(&[]);
        assert_eq!((gone.unwrap(), pauses), (false, LOOKS));
    }

    #[test]
    fn a_look_that_fails_says_nothing_of_a_writer() {
        let (gone, pauses) = found(&[Ok(false), Err(io::ErrorKind::Other.into()), Ok(true)]);
        assert_eq!((gone.is_err(), pauses), (true, 2));
    }
}

//! Reading a block of a file of the home, on the helper.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use berth_common::digest::{self, Md5};
use berth_common::entry::Entry;

use crate::connection::Buffer;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It is not what it was when it was opened.
    #[error("the file has changed")]
    Changed,
    /// The system refused.
    #[error(transparent)]
    Io(io::Error),
}

/// Reads and hashes a block, with `unchanged` it also looks whether the file is still
/// what it was.
pub(super) fn read_block(
    file: &File,
    offset: u64,
    mut buffer: Buffer,
    unchanged: Option<&Entry>,
) -> Result<(Buffer, Vec<Md5>), ReadError> {
    file.read_exact_at(&mut buffer, offset)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Changed,
            _ => ReadError::Io(error),
        })?;
    if let Some(entry) = unchanged {
        // Not `metadata`, which is a statx. The ctime may change: another session's put has replaced the
        // name, and this is the former file, whole.
        let stat = rustix::fs::fstat(file).map_err(|errno| ReadError::Io(errno.into()))?;
        let mtime_ns = stat
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        if u64::try_from(stat.st_size) != Ok(entry.size) || mtime_ns != entry.mtime_ns {
            return Err(ReadError::Changed);
        }
    }
    let leaves = digest::leaves(&buffer);
    Ok((buffer, leaves))
}

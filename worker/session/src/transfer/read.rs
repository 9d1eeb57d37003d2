//! Reading blocks of a file of the home, on the helper.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use berth_common::digest;
use berth_common::entry::Entry;
use berth_common::frame::BlockHeader;
use berth_common::ids::RequestId;

use super::pipeline::Block;
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

/// A block that is to be read.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Where it begins.
    pub(super) offset: u64,
    /// As long as the block.
    pub(super) buffer: Buffer,
}

/// Reads blocks and hashes them together. With `unchanged` it also looks whether the file is still what
/// it was, after they were read.
pub(super) fn read_blocks(
    file: &File,
    transfer: RequestId,
    mut wanted: Vec<Wanted>,
    unchanged: Option<&Entry>,
) -> Result<Vec<Block>, ReadError> {
    for Wanted { offset, buffer } in &mut wanted {
        file.read_exact_at(buffer, *offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Changed,
            _ => ReadError::Io(error),
        })?;
    }
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
    let parts: Vec<&[u8]> = wanted.iter().map(|block| &*block.buffer).collect();
    let leaves = digest::leaves_of_blocks(&parts);
    let blocks = wanted.into_iter().zip(leaves);
    Ok(blocks
        .map(|(Wanted { offset, buffer }, leaves)| Block {
            header: BlockHeader { transfer, offset, leaves },
            data: buffer,
        })
        .collect())
}

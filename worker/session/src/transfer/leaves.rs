//! The leaf digests of a file of the home, for a client that wants to send only what differs from them.

use std::fs::File;
use std::sync::Arc;

use berth_common::client_protocol::WorkerToClient;
use berth_common::digest::Md5;
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::rel_path::RelPath;

use super::Services;
use super::read::{ReadError, Wanted, read_blocks};
use crate::filesystem::{Answer, CloseRead, OpenFile, OpenRead, Reading};

/// Blocks that the helper reads and hashes at once.
const TOGETHER: u64 = 2;

/// Leaves that are told at once: 32 MiB of a file, so that whoever sends what differs begins soon.
const LEAVES_PER_PART: usize = 256;

/// Sends all parts of the answer but the last, which it gives back. It takes the helper two blocks at a time, so that
/// transfers go on in between.
///
/// # Errors
/// The filer's, and `SourceChanged` when the file changed meanwhile.
pub(crate) async fn leaves_of(
    id: RequestId,
    path: RelPath,
    (from, most): (u64, u64),
    reading: &Reading,
    services: &Services,
) -> Answer<WorkerToClient> {
    let opened = reading.open.send(OpenRead(path)).await.unwrap_or(Err(ErrorCode::Internal))?;
    let handle = opened.handle;
    let told = tell(id, opened, (from, most), services).await;
    let _ = reading.close.send(CloseRead(handle)).await;
    told
}

async fn tell(
    id: RequestId,
    opened: OpenFile,
    (from, most): (u64, u64),
    services: &Services,
) -> Answer<WorkerToClient> {
    let OpenFile { file, entry, fingerprint, .. } = opened;
    let bytes = |leaves: u64| leaves.saturating_mul(LEAF_SIZE as u64).min(entry.size);
    let (mut offset, stop) = (bytes(from), bytes(from.saturating_add(most)));
    let file = Arc::new(File::from(file));
    let entry = Arc::new(entry);
    let mut leaves: Vec<Md5> = Vec::new();
    while offset < stop {
        let end = stop.min(offset + TOGETHER * BLOCK_SIZE as u64);
        let wanted = (offset..end).step_by(BLOCK_SIZE).map(|offset| {
            let len = usize::try_from(end - offset).unwrap_or(BLOCK_SIZE).min(BLOCK_SIZE);
            Wanted { offset, buffer: services.pool.take(len) }
        });
        let (wanted, file, entry) = (wanted.collect(), Arc::clone(&file), Arc::clone(&entry));
        let is_last = end == stop;
        let read = services.helpers.io.run(move || {
            let unchanged = is_last.then_some(&*entry);
            read_blocks(&file, id, wanted, unchanged)
        });
        let blocks = read.await.map_err(|_| ErrorCode::Internal)?.map_err(|error| match error {
            ReadError::Changed => ErrorCode::SourceChanged,
            ReadError::Io(_) => ErrorCode::Internal,
        })?;
        for block in blocks {
            leaves.extend_from_slice(&block.header.leaves);
            services.pool.give(block.data);
        }
        offset = end;
        if leaves.len() >= LEAVES_PER_PART && offset < stop {
            let leaves = std::mem::take(&mut leaves);
            let part = WorkerToClient::Leaves { id, fingerprint, leaves, last: false };
            let sent = services.outgoing.send(&part).await;
            sent.map_err(|_| ErrorCode::Cancelled)?;
        }
    }
    Ok(WorkerToClient::Leaves { id, fingerprint, leaves, last: true })
}

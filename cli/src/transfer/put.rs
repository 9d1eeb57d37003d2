//! `put`: one local file into the home, resumed where an earlier try stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::frame::BlockHeader;
use berth_common::ids::UploadToken;
use berth_common::rel_path::RelPath;

use super::TransferError;
use super::plan::{SendPlan, bytes_of};
use super::source::Source;
use crate::connection::ConnectionError;
use crate::progress::FileProgress;
use crate::session::{Exchange, Session};

/// What is to be put where.
#[derive(Clone, Debug)]
pub struct PutJob {
    /// The local file.
    pub local: PathBuf,
    /// Its path in the home; the parent must exist.
    pub remote: RelPath,
    /// Lets this client go on with the upload later, see [`crate::state::ClientKey`].
    pub token: UploadToken,
    /// What happens to a file that stands there.
    pub existing: Existing,
}

impl PutJob {
    /// What an error means once the end of the bytes may have been sent: an append whose answer is lost may have
    /// been done, and done again it would be done twice.
    fn after(&self, error: TransferError, ended: bool) -> TransferError {
        if !ended || self.existing != Existing::Append {
            return error;
        }
        match error {
            TransferError::Connection(reason) => TransferError::AppendUnknown(reason.into()),
            // It may have happened between what was done and the record of it.
            TransferError::Server(
                code @ (ErrorCode::Internal
                | ErrorCode::ReadOnly
                | ErrorCode::LedgerUnavailable
                | ErrorCode::Ended
                | ErrorCode::ShuttingDown),
            ) => TransferError::AppendUnknown(code.into()),
            error => error,
        }
    }
}

/// What a put has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutReport {
    /// Bytes of the file.
    pub size: u64,
    /// Its tree digest.
    pub digest: Md5,
    /// Leaves that the server had already.
    pub resumed_leaves: u64,
    /// Leaves that were sent, those that were sent again included.
    pub moved_leaves: u64,
    /// Whether an earlier, unfinished upload was dropped because the file had changed.
    pub started_over: bool,
    /// Whether it replaced a file.
    pub replaced: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// Limits and usage afterwards.
    pub usage: Usage,
}

/// Puts a file. On success it is in the home, whole and durable.
///
/// # Errors
/// What went wrong; after all but a few, the same put goes on where this one stopped.
///
/// # Cancel safety
/// Dropping it cancels the transfer at the server, where it can be resumed.
pub async fn put(
    session: &Session,
    job: &PutJob,
    progress: &FileProgress,
) -> Result<PutReport, TransferError> {
    let started = Instant::now();
    let path = job.local.clone();
    let source = tokio::task::spawn_blocking(move || Source::open(&path))
        .await
        .map_err(|_| ConnectionError::Closed)??;
    let mut exchange = session.exchange();
    let request = Put {
        id: exchange.id,
        path: job.remote.clone(),
        source: source.fingerprint,
        token: job.token,
        mode: source.mode,
        existing: job.existing,
    };
    exchange.cancel_when_dropped();
    exchange.send(&ClientToWorker::Put(request)).await?;
    let (leaves, started_over) = ready(&mut exchange).await?;
    let size = source.fingerprint.size;
    let mut plan = SendPlan::resume(size, leaves)?;
    progress.begin(size, plan.offset());
    if started_over {
        progress.note("the file has changed since the last try: starting over");
    }
    loop {
        let sent = send_rest(session, &mut exchange, &source, &mut plan, progress).await;
        match sent.map_err(|error| job.after(error, plan.is_complete()))? {
            Sent::Again { offset } => {
                plan.again(offset)?;
                progress.at(plan.offset());
            }
            Sent::Done { replaced, usage } => {
                exchange.finished();
                progress.end();
                return Ok(PutReport {
                    size,
                    digest: plan.digest(),
                    resumed_leaves: plan.resumed(),
                    moved_leaves: plan.moved(),
                    started_over,
                    replaced,
                    elapsed: started.elapsed(),
                    usage,
                });
            }
        }
    }
}

/// Waits until the upload is open, and for the digests of the leaves that the server has.
async fn ready(exchange: &mut Exchange) -> Result<(Vec<Md5>, bool), TransferError> {
    let (expected, started_over) = match exchange.message().await? {
        WorkerToClient::PutReady { leaves, started_over, .. } => (leaves, started_over),
        _ => return Err(ConnectionError::unexpected("answer to a put").into()),
    };
    let mut all = Vec::new();
    while (all.len() as u64) < expected {
        match exchange.message().await? {
            WorkerToClient::JournalLeaves { leaves, .. } if !leaves.is_empty() => {
                all.extend(leaves);
            }
            _ => return Err(ConnectionError::unexpected("message before the leaves").into()),
        }
    }
    if all.len() as u64 > expected {
        return Err(ConnectionError::unexpected("number of leaves").into());
    }
    Ok((all, started_over))
}

enum Sent {
    Again { offset: u64 },
    Done { replaced: bool, usage: Usage },
}

/// Sends what the plan has left, and waits until the server has stored it or wants some again.
async fn send_rest(
    session: &Session,
    exchange: &mut Exchange,
    source: &Source,
    plan: &mut SendPlan,
    progress: &FileProgress,
) -> Result<Sent, TransferError> {
    let mut blocks = source.read_from(plan.offset(), session.pool());
    let mut ended = false;
    loop {
        if plan.is_complete() && !ended {
            // After the last byte was read, so that a change during the reading cannot hide.
            source.check_unchanged()?;
            let (id, digest) = (exchange.id, plan.digest());
            let source = source.fingerprint;
            exchange.send(&ClientToWorker::PutEnd { id, digest, source }).await?;
            ended = true;
            progress.waiting("storing");
        }
        tokio::select! {
            biased;
            message = exchange.message() => {
                return match message? {
                    WorkerToClient::Again { offset, .. } => Ok(Sent::Again { offset }),
                    // Also before the end was said again: the server had heard it before it asked
                    // for blocks again.
                    WorkerToClient::PutDone { replaced, usage, .. } if plan.is_complete() => {
                        Ok(Sent::Done { replaced, usage })
                    }
                    _ => Err(ConnectionError::unexpected("message during a put").into()),
                };
            }
            block = blocks.recv(), if !ended => {
                let block = block.ok_or(TransferError::SourceChanged)??;
                let (transfer, offset) = (exchange.id, block.offset);
                plan.sent(&block.leaves);
                let header = BlockHeader { transfer, offset, leaves: block.leaves };
                exchange.send_block(&header, block.data).await?;
                progress.at(plan.offset());
            }
        }
    }
}

impl PutReport {
    /// The share that was there already, in percent; `None` when it began at the beginning.
    #[must_use]
    pub fn resumed_percent(&self) -> Option<u64> {
        let resumed = bytes_of(self.resumed_leaves, self.size);
        (self.resumed_leaves > 0).then(|| crate::human::percent(resumed, self.size))
    }
}

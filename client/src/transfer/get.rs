//! `get`: one file of the home to a local path, resumed where an earlier try stopped, or to a stream.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, GetResume, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Entry, EntryKind, HomeFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::limits::LEAVES_PER_MESSAGE;
use berth_common::rel_path::RelPath;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::local;
use super::output::{Output, Pipe};
use super::part::{Earlier, Part};
use super::part_store::PartStore;
use super::plan::{ReceivePlan, bytes_of};
use super::sink::{FromSink, Received, Sink, Store, ToSink, WAITING_BLOCKS};
use super::{TransferError, Tried};
use crate::connection::{ConnectionError, Frame};
use crate::progress::{Changed, Event, Reporter};
use crate::session::{Exchange, Session};

/// What is to be got from where.
#[derive(Clone, Debug)]
pub struct GetJob {
    /// The file in the home.
    pub remote: RelPath,
    /// The local path itself, not a directory to put it into.
    pub local: PathBuf,
    /// Whether what stands there may be replaced.
    pub force: bool,
}

/// What a get has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetReport {
    /// Bytes of the file.
    pub size: u64,
    /// Its tree digest; of a file that was there already, as far as the server has it.
    pub digest: Option<Md5>,
    /// Leaves that were here already.
    pub resumed_leaves: u64,
    /// Leaves that came, those that came again included.
    pub moved_leaves: u64,
    /// Whether what an earlier try had received was dropped because the file had changed.
    pub started_over: bool,
    /// Whether it replaced a file.
    pub replaced: bool,
    /// Whether the same content was there already, so that nothing was done.
    pub unchanged: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// Gets a file. On success it is at its place, whole and on disk.
///
/// # Errors
/// What went wrong; after all but a few, the same get goes on where this one stopped.
///
/// # Cancel safety
/// Dropping it leaves a part that the next try resumes.
pub async fn get(
    session: &Session,
    job: &GetJob,
    progress: &Reporter,
) -> Result<GetReport, TransferError> {
    let started = Instant::now();
    if let Some(unchanged) = look_before(session, job).await? {
        let target = job.local.clone();
        blocking(move || Part::tidy(&target)).await?;
        return Ok(unchanged.report(started));
    }
    let target = job.local.clone();
    let (part, earlier) = blocking(move || Part::find(&target)).await??;
    let resume = earlier.as_ref().map(|earlier| GetResume {
        fingerprint: earlier.fingerprint,
        leaves: earlier.leaves.len() as u64,
    });
    let (exchange, begun) = begin(session, &job.remote, resume).await?;
    let (size, counted) = (begun.fingerprint.size, begun.counted);
    let (received, resumed) = receive(exchange, job, progress, part, earlier, begun).await?;
    Ok(GetReport {
        size,
        digest: Some(received.digest),
        resumed_leaves: resumed,
        moved_leaves: received.moved_leaves,
        started_over: resume.is_some() && counted == 0,
        replaced: received.replaced,
        unchanged: false,
        elapsed: started.elapsed(),
    })
}

/// Gets a file and writes it to a stream, each block when it is verified.
///
/// # Errors
/// What went wrong. What was written before is the file's beginning, or all of it where the whole differs from its
/// digest; the next get begins anew.
///
/// # Cancel safety
/// Dropping it leaves the stream with the file's beginning, and a thread that writes what had come already: nothing
/// else is to be written there.
pub async fn get_stream(
    session: &Session,
    remote: &RelPath,
    output: impl Write + Send + 'static,
    progress: &Reporter,
) -> Result<GetReport, TransferError> {
    let started = Instant::now();
    let (exchange, begun) = begin(session, remote, None).await?;
    let size = begun.fingerprint.size;
    progress.tell(Event::Started { size: Some(size), from: 0 });
    let plan = ReceivePlan::resume(size, &[]);
    let sink = Sink { store: Output(output), plan, progress: progress.clone() };
    let received = fill(exchange, sink).await.map_err(|error| match error {
        TransferError::Output(error) => TransferError::Output(error),
        error => TransferError::OutputCut(Box::new(error)),
    })?;
    Ok(GetReport {
        size,
        digest: Some(received.digest),
        resumed_leaves: 0,
        moved_leaves: received.moved_leaves,
        started_over: false,
        replaced: false,
        unchanged: false,
        elapsed: started.elapsed(),
    })
}

/// Gets a file and writes it to an asynchronous stream, each block when it is verified; else as [`get_stream`].
///
/// # Errors
/// As [`get_stream`].
///
/// # Cancel safety
/// Dropping it leaves the stream with the file's beginning, and nothing is written to it any more.
pub async fn get_async(
    session: &Session,
    remote: &RelPath,
    mut output: impl AsyncWrite + Unpin,
    progress: &Reporter,
) -> Result<GetReport, TransferError> {
    let (pipe, blocks) = Pipe::new();
    let got = get_stream(session, remote, pipe, progress);
    let writing = async move {
        // Dropped here, so that the helper thread learns that nobody writes any more.
        let mut blocks = blocks;
        while let Some(block) = blocks.recv().await {
            output.write_all(&block).await?;
        }
        output.flush().await
    };
    let (got, written) = tokio::join!(got, writing);
    match (got, written) {
        // Of a pipe that broke the reason is behind it.
        (Ok(_) | Err(TransferError::Output(_)), Err(error)) => Err(TransferError::Output(error)),
        (got, _) => got,
    }
}

/// Asks for the file.
async fn begin(
    session: &Session,
    remote: &RelPath,
    resume: Option<GetResume>,
) -> Result<(Exchange, Begun), TransferError> {
    let mut exchange = session.exchange();
    exchange.cancel_when_dropped();
    let (id, path) = (exchange.id, remote.clone());
    exchange.send(&ClientToWorker::Get { id, path, resume }).await?;
    match exchange.message().await? {
        WorkerToClient::GetReady { entry, fingerprint, leaves: counted, .. } => {
            Ok((exchange, Begun { entry, fingerprint, counted }))
        }
        _ => Err(ConnectionError::unexpected("answer to a get").into()),
    }
}

/// What the server said when it opened the file.
struct Begun {
    entry: Entry,
    fingerprint: HomeFingerprint,
    counted: u64,
}

/// Receives the blocks; says what came, and how many leaves were there before.
async fn receive(
    exchange: Exchange,
    job: &GetJob,
    progress: &Reporter,
    part: Part,
    earlier: Option<Earlier>,
    begun: Begun,
) -> Result<(Received, u64), TransferError> {
    let Begun { entry, fingerprint, counted } = begun;
    let had_some = earlier.is_some();
    let leaves = earlier.map(|earlier| earlier.leaves).unwrap_or_default();
    let size = fingerprint.size;
    let leaves = match counted {
        0 => Vec::new(),
        counted if counted == leaves.len() as u64 => leaves,
        _ => return Err(ConnectionError::unexpected("number of leaves").into()),
    };
    for chunk in leaves.chunks(LEAVES_PER_MESSAGE) {
        let (id, leaves) = (exchange.id, chunk.to_vec());
        exchange.send(&ClientToWorker::JournalLeaves { id, leaves }).await?;
    }
    let plan = ReceivePlan::resume(size, &leaves);
    let missing = size - bytes_of(counted, size);
    let part = blocking(move || {
        part.check_room(missing, counted == 0)?;
        if counted == 0 { part.start_over(&fingerprint) } else { Ok(part) }
    })
    .await??;
    progress.tell(Event::Started { size: Some(size), from: plan.offset() });
    if had_some && counted == 0 {
        progress.tell(Event::StartedOver(Changed::Remote));
    }
    let resumed = plan.resumed();
    let store = PartStore::new(part, entry, job.force);
    let sink = Sink { store, plan, progress: progress.clone() };
    Ok((fill(exchange, sink).await?, resumed))
}

/// Has a sink take what comes, to the end.
async fn fill<S: Store>(mut exchange: Exchange, sink: Sink<S>) -> Result<Received, TransferError> {
    let progress = sink.progress.clone();
    let (blocks, input) = mpsc::channel(WAITING_BLOCKS);
    let (output, mut events) = mpsc::unbounded_channel();
    let lingering = exchange.lingering();
    let thread = tokio::task::spawn_blocking(move || {
        sink.run(input, &output);
        drop(lingering);
    });
    let received = relay(&mut exchange, blocks, &mut events).await;
    // A part is closed and unlocked when this returns, whatever came of it.
    if let Err(panic) = thread.await
        && panic.is_panic()
    {
        // Whoever is told the progress has panicked, and is to know.
        std::panic::resume_unwind(panic.into_panic());
    }
    let received = received.or_else(|error| {
        // What was on its way when the session was lost may have been all that was missing.
        let rest = std::iter::from_fn(|| events.try_recv().ok());
        rest.into_iter().find_map(FromSink::received).ok_or(error)
    })?;
    progress.tell(Event::Stored);
    Ok(received)
}

/// Hands on what comes, in both directions, until the helper thread is done.
async fn relay(
    exchange: &mut Exchange,
    blocks: mpsc::Sender<ToSink>,
    events: &mut mpsc::UnboundedReceiver<FromSink>,
) -> Result<Received, TransferError> {
    let mut arrived = false;
    loop {
        let next = tokio::select! {
            event = events.recv() => match event {
                Some(FromSink::Arrived) => {
                    // Storing it is nobody's business but ours, nor is a connection lost meanwhile.
                    arrived = true;
                    exchange.finished();
                    let _ = exchange.send(&ClientToWorker::GetDone { id: exchange.id }).await;
                    continue;
                }
                Some(FromSink::Again(offset)) => {
                    let id = exchange.id;
                    exchange.send(&ClientToWorker::Again { id, offset }).await?;
                    continue;
                }
                Some(FromSink::Done(received)) => return Ok(received),
                Some(FromSink::Failed(error)) => return Err(error),
                None => return Err(ConnectionError::Closed.into()),
            },
            frame = exchange.frame(), if !arrived => match frame? {
                Frame::Block(block) => ToSink::Block(block),
                Frame::Message(WorkerToClient::GetEnd { digest, .. }) => ToSink::End(digest),
                Frame::Message(WorkerToClient::Failed { error, .. }) => {
                    exchange.finished();
                    return Err(TransferError::Server(error));
                }
                Frame::Message(_) => {
                    return Err(ConnectionError::unexpected("message during a get").into());
                }
            },
        };
        // When the helper thread has ended, what it said last is taken above.
        let _ = blocks.send(next).await;
    }
}

/// A get that has nothing to do.
struct Unchanged(Entry);

impl Unchanged {
    fn report(self, started: Instant) -> GetReport {
        GetReport {
            size: self.0.size,
            digest: self.0.digest,
            resumed_leaves: 0,
            moved_leaves: 0,
            started_over: false,
            replaced: false,
            unchanged: true,
            elapsed: started.elapsed(),
        }
    }
}

/// Looks at what stands at the target, before anything is asked for: a file with other content is
/// not to be replaced, and one with the same content is all that was wanted.
async fn look_before(session: &Session, job: &GetJob) -> Result<Option<Unchanged>, TransferError> {
    let target = &job.local;
    let found = match fs::symlink_metadata(target) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TransferError::local(Tried::LookAt, target)(error)),
    };
    if found.is_dir() {
        return Err(TransferError::TargetIsADirectory { path: target.clone() });
    }
    // `-f` replaces files, and links to files; never a device, or a link to one.
    let behind = fs::metadata(target).ok();
    if behind.as_ref().is_some_and(|behind| !behind.is_file()) {
        return Err(TransferError::TargetNotAFile { path: target.clone() });
    }
    if job.force {
        return Ok(None);
    }
    let entry = session.stat(&job.remote).await?;
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Directory => return Err(TransferError::Server(ErrorCode::IsADirectory)),
        EntryKind::Symlink | EntryKind::Other => {
            return Err(TransferError::Server(ErrorCode::NotServed));
        }
    }
    let size = behind.map(|behind| behind.len());
    if size == Some(entry.size) && is_same(session, job, &entry).await? {
        return Ok(Some(Unchanged(entry)));
    }
    Err(TransferError::Exists { path: target.clone() })
}

/// Compares by the digest that the server has, or else by the one that it makes when asked.
async fn is_same(session: &Session, job: &GetJob, entry: &Entry) -> Result<bool, TransferError> {
    let path = job.local.clone();
    let (tree, plain) = digests(path).await?;
    match entry.digest {
        Some(digest) => Ok(digest == tree),
        None => Ok(session.md5(&job.remote).await? == (plain, entry.size)),
    }
}

async fn digests(path: PathBuf) -> Result<(Md5, Md5), TransferError> {
    let hash = |path: &Path| local::digests(path).map_err(TransferError::local(Tried::Read, path));
    blocking(move || hash(&path)).await?
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ConnectionError> {
    // A blocking task that does not end properly has panicked, or the runtime is going down.
    tokio::task::spawn_blocking(work).await.map_err(|_| ConnectionError::Closed)
}

impl GetReport {
    /// Bytes that were there already when it began.
    #[must_use]
    pub fn resumed_bytes(&self) -> u64 {
        bytes_of(self.resumed_leaves, self.size)
    }
}

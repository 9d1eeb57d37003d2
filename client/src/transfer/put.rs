//! `put`: one local file into the home, resumed where an earlier try stopped; or a stream, which is not.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, PutSource, SourceEnd, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::frame::BlockHeader;
use berth_common::ids::UploadToken;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::TransferError;
use super::delta::{self, Base, Run};
use super::plan::{PlanError, SendPlan, bytes_of, leaves_of};
use super::source::{self, Opened, SourceBlock};
use super::stream::Stream;
use crate::connection::ConnectionError;
use crate::progress::{Changed, Event, Reporter};
use crate::session::{Exchange, Session};

/// What is to be put where.
#[derive(Clone, Debug)]
pub struct PutJob {
    /// The local file; of a stream what it is called.
    pub local: PathBuf,
    /// Its path in the home; the parent must exist.
    pub remote: RelPath,
    /// Lets this client go on with the upload later, see [`crate::client_key::ClientKey`].
    pub token: UploadToken,
    /// What happens to a file that stands there.
    pub existing: Existing,
    /// Sends all of it, also what the file that stands there has already.
    pub whole: bool,
    /// What becomes of the file's note.
    pub note: NoteChange,
    /// The permission bits of what comes from a stream; a file has its own.
    pub mode: u16,
}

impl PutJob {
    /// What an error means once the end of the bytes may have been sent: an append whose answer is lost may have
    /// been done, and done again it would be done twice.
    fn after(&self, error: TransferError, ended: bool, source: &Source) -> TransferError {
        if !ended {
            return error;
        }
        if self.existing != Existing::Append {
            return match (error, source) {
                (TransferError::Connection(reason), Source::Stream(_)) => {
                    TransferError::StreamUnknown(reason)
                }
                (error, _) => error,
            };
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
    /// Leaves that the file which it replaced had already, at the same place.
    pub same_leaves: u64,
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
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    let started = Instant::now();
    let path = job.local.clone();
    let source = tokio::task::spawn_blocking(move || source::Source::open(&path))
        .await
        .map_err(|_| ConnectionError::Closed)??;
    send(session, job, Source::File(source.into()), started, progress).await
}

/// Puts a file that is open already; else as [`put`].
///
/// # Errors
/// As [`put`].
///
/// # Cancel safety
/// As [`put`].
pub async fn put_opened(
    session: &Session,
    job: &PutJob,
    opened: Opened,
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    send(session, job, Source::File(opened), Instant::now(), progress).await
}

/// Puts what `input` has, to its end. Nothing is resumed, nor can it be later.
///
/// # Errors
/// What went wrong; nothing was stored, unless the error says that this is unknown.
///
/// # Cancel safety
/// Dropping it cancels the transfer at the server, which keeps nothing of it. What was read is gone.
pub async fn put_stream(
    session: &Session,
    job: &PutJob,
    input: impl Read + Send + 'static,
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    let stream = Stream::start(input, session.pool())?;
    send_stream(session, job, stream, progress).await
}

/// Puts what `input` has, to its end; else as [`put_stream`]. It is read on a task of the runtime.
///
/// # Errors
/// As [`put_stream`].
///
/// # Cancel safety
/// As [`put_stream`].
pub async fn put_async(
    session: &Session,
    job: &PutJob,
    input: impl AsyncRead + Unpin + Send + 'static,
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    let stream = Stream::start_async(input, session.pool());
    send_stream(session, job, stream, progress).await
}

async fn send_stream(
    session: &Session,
    job: &PutJob,
    stream: Stream,
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    let (source, started) = (Source::Stream(stream), Instant::now());
    send(session, job, source, started, progress).await.map_err(|error| match error {
        TransferError::Connection(reason) => TransferError::StreamLost(reason),
        error => error,
    })
}

/// What is sent.
enum Source {
    File(Opened),
    Stream(Stream),
}

impl Source {
    fn announced(&self) -> PutSource {
        match self {
            Self::File(file) => file.source.fingerprint.into(),
            Self::Stream(_) => PutSource::Stream,
        }
    }

    fn mode(&self, of_a_stream: u16) -> u16 {
        match self {
            Self::File(file) => file.source.mode,
            Self::Stream(_) => of_a_stream,
        }
    }

    /// The most leaves that the server can have of it.
    fn leaves(&self) -> u64 {
        match self {
            Self::File(file) => leaves_of(file.size()),
            Self::Stream(_) => 0,
        }
    }

    fn plan(&self, leaves: Vec<Md5>) -> Result<SendPlan, TransferError> {
        match self {
            Self::File(file) => Ok(SendPlan::resume(file.size(), leaves)?),
            Self::Stream(_) if leaves.is_empty() => Ok(SendPlan::stream()),
            Self::Stream(_) => Err(ConnectionError::unexpected("number of leaves").into()),
        }
    }

    /// The blocks from `offset` on, to which a stream was led back if it was sent.
    fn blocks(&mut self, offset: u64, session: &Session) -> Blocks<'_> {
        match self {
            Self::File(Opened { source: file, whole }) => {
                let read = whole.take_if(|_| offset == 0);
                Blocks::File { coming: file.read_from(offset, read, session.pool()), file }
            }
            Self::Stream(stream) => Blocks::Stream(stream),
        }
    }

    fn back_to(&mut self, offset: u64) -> Result<(), TransferError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Stream(stream) => stream.back_to(offset),
        }
    }
}

/// Where the blocks come from.
enum Blocks<'a> {
    File { coming: mpsc::Receiver<Result<SourceBlock, TransferError>>, file: &'a source::Source },
    Stream(&'a mut Stream),
}

/// What comes from there.
enum Next {
    Block(SourceBlock),
    /// A stream has ended after so many bytes.
    End(u64),
}

impl Blocks<'_> {
    /// # Cancel safety
    /// No block is lost.
    async fn next(&mut self) -> Result<Next, TransferError> {
        match self {
            Self::File { coming, .. } => {
                let block = coming.recv().await.ok_or(TransferError::SourceChanged)?;
                block.map(Next::Block)
            }
            Self::Stream(stream) => {
                let block = stream.next().await?;
                Ok(block.map_or_else(|| Next::End(stream.size()), Next::Block))
            }
        }
    }

    /// What is said after the last byte. It is looked at then, so that a change during the reading cannot hide.
    fn end(&self) -> Result<SourceEnd, TransferError> {
        match self {
            Self::File { file, .. } => {
                file.check_unchanged()?;
                Ok(file.fingerprint.into())
            }
            Self::Stream(stream) => Ok(SourceEnd::Stream { size: stream.size() }),
        }
    }
}

async fn send(
    session: &Session,
    job: &PutJob,
    mut source: Source,
    started: Instant,
    progress: &Reporter,
) -> Result<PutReport, TransferError> {
    let base = match &source {
        Source::File(file) => delta::find(session, job, file.size()).await?,
        Source::Stream(_) => None,
    };
    let mut exchange = session.exchange();
    let request = Put {
        id: exchange.id,
        path: job.remote.clone(),
        source: source.announced(),
        token: job.token,
        mode: source.mode(job.mode),
        existing: job.existing,
        base,
        note: job.note.clone(),
    };
    exchange.cancel_when_dropped();
    exchange.send(&ClientToWorker::Put(request)).await?;
    let Ready { leaves, started_over, based } = ready(&mut exchange, source.leaves()).await?;
    let mut plan = source.plan(leaves)?;
    let mut base = match (base.filter(|_| based), &source) {
        (Some(base), Source::File(file)) if !plan.is_complete() => {
            let rest = (plan.resumed(), file.size());
            Some(Base::follow(session, job, base, rest).await?)
        }
        _ => None,
    };
    progress.tell(Event::Started { size: plan.size(), from: plan.offset() });
    if started_over {
        progress.tell(Event::StartedOver(Changed::Local));
    }
    loop {
        let sent =
            send_rest(session, &mut exchange, &mut source, base.as_ref(), &mut plan, progress)
                .await;
        match sent.map_err(|error| job.after(error, plan.is_complete(), &source))? {
            Sent::Again { offset } => {
                plan.again(offset)?;
                if let Some(base) = &mut base {
                    base.distrust(offset);
                }
                source.back_to(offset)?;
                progress.tell(Event::SentBack { position: plan.offset() });
            }
            Sent::Done { replaced, usage } => {
                exchange.finished();
                progress.tell(Event::Stored);
                return Ok(PutReport {
                    size: plan.offset(),
                    digest: plan.digest(),
                    resumed_leaves: plan.resumed(),
                    moved_leaves: plan.moved(),
                    same_leaves: plan.same(),
                    started_over,
                    replaced,
                    elapsed: started.elapsed(),
                    usage,
                });
            }
        }
    }
}

/// What the server says when the upload is open.
struct Ready {
    /// The digests of the leaves that it has.
    leaves: Vec<Md5>,
    started_over: bool,
    /// Whether leaves of the base may be named.
    based: bool,
}

/// Waits until the upload is open, and for the digests of the leaves that the server has, of which there can be `most`.
async fn ready(exchange: &mut Exchange, most: u64) -> Result<Ready, TransferError> {
    let (expected, started_over, based) = match exchange.message().await? {
        WorkerToClient::PutReady { leaves, started_over, based, .. } => {
            (leaves, started_over, based)
        }
        _ => return Err(ConnectionError::unexpected("answer to a put").into()),
    };
    if expected > most {
        return Err(PlanError::Nonsense("the server has more leaves than the file").into());
    }
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
    Ok(Ready { leaves: all, started_over, based })
}

enum Sent {
    Again { offset: u64 },
    Done { replaced: bool, usage: Usage },
}

/// Sends what the plan has left, and waits until the server has stored it or wants some again.
async fn send_rest(
    session: &Session,
    exchange: &mut Exchange,
    source: &mut Source,
    base: Option<&Base>,
    plan: &mut SendPlan,
    progress: &Reporter,
) -> Result<Sent, TransferError> {
    let mut blocks = source.blocks(plan.offset(), session);
    let mut ended = false;
    loop {
        if plan.is_complete() && !ended {
            let (id, digest, source) = (exchange.id, plan.digest(), blocks.end()?);
            exchange.send(&ClientToWorker::PutEnd { id, digest, source }).await?;
            ended = true;
            progress.tell(Event::Storing);
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
            next = blocks.next(), if !ended => {
                let block = match next? {
                    Next::Block(block) => block,
                    Next::End(size) => {
                        plan.ended(size);
                        progress.tell(Event::Advanced { position: size });
                        continue;
                    }
                };
                let runs = match base {
                    Some(base) => {
                        base.reaches(&block).await;
                        base.split(block, session.pool())
                    }
                    None => vec![Run::Data(block)],
                };
                for run in runs {
                    send_run(exchange, run, plan).await?;
                }
                progress.tell(Event::Advanced { position: plan.offset() });
            }
        }
    }
}

async fn send_run(
    exchange: &Exchange,
    run: Run,
    plan: &mut SendPlan,
) -> Result<(), ConnectionError> {
    let transfer = exchange.id;
    match run {
        Run::Data(SourceBlock { offset, leaves, data }) => {
            plan.sent(&leaves);
            exchange.send_block(&BlockHeader { transfer, offset, leaves }, data).await
        }
        Run::Same { offset, leaves } => {
            plan.named(&leaves);
            let nothing = Vec::new().into();
            exchange.send_block(&BlockHeader { transfer, offset, leaves }, nothing).await
        }
    }
}

impl PutReport {
    /// Bytes that were there already when it began.
    #[must_use]
    pub fn resumed_bytes(&self) -> u64 {
        bytes_of(self.resumed_leaves, self.size)
    }
}

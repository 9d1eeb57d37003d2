//! `berth put -r`: directories with all that is in them, and files beside them, into the home.
//!
//! First a pre-flight plans the whole ([`super::manifest`]). Then a thread walks the trees ahead. What it finds is
//! taken as fast as it can be carried out: directories are asked for at once, files wait for their directory and then for their turn, so that as many as the session allows are always
//! under way. Small files go many in one message: while messages are on their way the next one fills. Whether a file
//! is whole there is each file's own matter.

use std::future::{Future, ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth::client_key::ClientKey;
use berth::connection::ConnectionError;
use berth::session::RequestError;
use berth::transfer::{Place, PutJob, PutReport, SmallPuts, TransferError, put_opened};
use berth_common::batch::{AT_ONCE, BYTES, PutResult};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, Usage};
use berth_common::rel_path::RelPath;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rust_i18n::t;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::manifest::{Manifest, preflight, unwalkable};
use super::telling::{AHEAD, BATCHES, BATCHES_AHEAD, Next, SMALL_UNDER_WAY, Telling, UNDER_WAY};
use super::{Context, failed, means_directory, put};
use crate::args::PutArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::heap;
use crate::progress::Progress;
use crate::trees::NotFollowed;
use crate::trees::{
    Comparing, Fills, FillsError, FoundDirectory, FoundFile, FoundSmall, Paths, Root, Sieve, Step,
    Takes, Walk, contents_of,
};

/// Bytes of small files that were read and are not in the home yet, at most and but for the last ones: twice of what
/// may be on its way. More would only be further from the processor when its turn comes.
const HELD_BYTES: usize = 2 * AT_ONCE * BYTES;

/// Most pieces that the walk hands over together, each of which wakes the other side.
const HANDED: usize = 16;

/// So long a piece that was found waits for others, and for what is being looked at.
const HANDED_WITHIN: Duration = Duration::from_millis(1);

pub(super) async fn run(context: &Context, args: &PutArgs) -> Result<Exit, Failure> {
    let (roots, made) = roots(context, args).await?;
    put::settle(context, args).await?;
    let sieve = args.sieve.sieve()?;
    // What is the same is put too where it is to get a note.
    let all = args.whole_file || args.note.is_some();
    let comparing = if all { Comparing::Nothing } else { Comparing::Content };
    let mut telling = Telling::new(context);
    let keeps = args.existing() == Existing::Keep;
    let manifest = Manifest { roots: &roots, sieve: &sieve, comparing, keeps };
    let found = preflight(context, &manifest, &mut telling, |_, _| Ok(())).await?;
    let trees = found.trees(roots, sieve);
    if let Some(to) = made {
        let made = context.session.make_directory(&to, true).await;
        made.map_err(|error| failed(&error).of(t!("put to %{to}", to = to)).at(&to))?;
    }
    let telling = send_trees(context, args, trees, telling).await?;
    telling.end()
}

/// What is put.
pub(super) struct Trees {
    pub(super) roots: Vec<Root>,
    pub(super) sieve: Sieve,
    /// What is not touched.
    pub(super) settled: Paths,
}

/// Puts trees of which a plan was made.
pub(super) async fn send_trees<'a>(
    context: &'a Context,
    args: &PutArgs,
    trees: Trees,
    telling: Telling<'a>,
) -> Result<Telling<'a>, Failure> {
    heap::keeps_what_is_freed();
    let key = put::client_key(context)?;
    let (mut steps, walking) = walk_ahead(trees);
    let slots = Semaphore::new(context.at_once_of_trees(&args.moving));
    let batches = Semaphore::new(BATCHES);
    // One after the other is one of either kind.
    let batches = if args.moving.jobs == Some(1) { &slots } else { &batches };
    let run = Run { context, args, key: &key, slots: &slots, batches };
    let mut putting = Putting::new(run, telling);
    let mut walked = false;
    loop {
        tokio::select! {
            biased;
            Some(done) = putting.under_way.next() => {
                if putting.told(done)? == Next::Stop {
                    break;
                }
            }
            step = steps.recv(), if !walked && putting.has_room() && putting.telling.begins() => match step {
                Some(found) => found.into_iter().for_each(|step| putting.take(step)),
                None => walked = true,
            },
            () = ready(()), if putting.is_to_send() && putting.telling.begins() => putting.send_together(),
            else => break,
        }
    }
    let Putting { mut telling, usage, .. } = putting;
    drop(steps);
    if walking.await.is_err() {
        let stopped = Failure::new(Exit::Failure, t!("the walk stopped before its end"));
        telling.failed(&stopped.of("put"));
    }
    telling.over();
    put::remark(context, usage.as_ref());
    Ok(telling)
}

/// What all pieces are put with.
#[derive(Clone, Copy)]
struct Run<'a> {
    context: &'a Context,
    args: &'a PutArgs,
    key: &'a ClientKey,
    slots: &'a Semaphore,
    batches: &'a Semaphore,
}

/// A piece under way.
type UnderWay<'a> = Pin<Box<dyn Future<Output = Done> + 'a>>;

/// A small file of a message, but for its content.
struct Named {
    local: PathBuf,
    remote: RelPath,
    size: usize,
}

/// What is under way, and what was told of it.
struct Putting<'a, 'b> {
    run: Run<'a>,
    telling: Telling<'b>,
    usage: Option<Usage>,
    under_way: FuturesUnordered<UnderWay<'a>>,
    /// Pieces under way that are no small files.
    others: usize,
    /// The next message of small files.
    together: SmallPuts,
    names: Vec<Named>,
    /// Messages of small files that are on their way.
    sent: usize,
    /// Small files that were found and not answered, and their bytes.
    held: usize,
    held_bytes: usize,
}

impl<'a, 'b> Putting<'a, 'b> {
    fn new(run: Run<'a>, telling: Telling<'b>) -> Self {
        Self {
            run,
            telling,
            usage: None,
            under_way: FuturesUnordered::new(),
            others: 0,
            together: SmallPuts::noting(run.args.note_change()),
            names: Vec::new(),
            sent: 0,
            held: 0,
            held_bytes: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.others < UNDER_WAY && self.held < SMALL_UNDER_WAY && self.held_bytes < HELD_BYTES
    }

    /// Whether a message goes that is not full: nothing else would make the server busy.
    fn is_to_send(&self) -> bool {
        !self.together.is_empty() && self.sent < BATCHES_AHEAD
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Directory(found) => self.begin(make(self.run.context, found)),
            Step::File(found) if self.is_done(&found.remote) => {}
            Step::Small(found) if self.is_done(&found.remote) => {}
            Step::File(found) => {
                self.telling.progress.found(found.opened.size());
                self.begin(send(self.run, self.telling.progress.clone(), found));
            }
            Step::Small(found) => {
                self.telling.progress.found(found.file.size() as u64);
                self.held += 1;
                self.held_bytes += found.file.size();
                match &found.within {
                    Some(within) if !within.is_open() => {
                        self.under_way.push(Box::pin(admitted(found)));
                    }
                    _ => self.gather(found),
                }
            }
            Step::Skipped { local, kind } => {
                let path = local.display();
                self.telling.skipped(&match kind {
                    NotFollowed::Link => t!("%{path}: skipped, it is a symbolic link", path = path),
                    NotFollowed::Fifo => t!("%{path}: skipped, it is a named pipe", path = path),
                    NotFollowed::Socket => t!("%{path}: skipped, it is a socket", path = path),
                    NotFollowed::Device => t!("%{path}: skipped, it is a device", path = path),
                });
            }
            Step::Failed { local, error } => {
                self.telling.failed(&unwalkable(&local, &error));
            }
            // This walk opens all files.
            Step::LookedAt(_) => {}
        }
    }

    /// Whether an earlier try has finished it.
    fn is_done(&self, remote: &RelPath) -> bool {
        self.run.context.tries.is_done(remote)
    }

    fn begin(&mut self, piece: impl Future<Output = Done> + 'a) {
        self.others += 1;
        self.under_way.push(Box::pin(piece));
    }

    /// Puts a small file into the next message, which goes when it is full.
    fn gather(&mut self, found: FoundSmall) {
        let FoundSmall { local, remote, file, place, .. } = found;
        let named = Named { local, remote: remote.clone(), size: file.size() };
        if let Err((remote, file)) = self.together.add(remote, file, place) {
            self.send_together();
            // An empty message has room for any small file.
            let _ = self.together.add(remote, file, place);
        }
        self.names.push(named);
    }

    fn send_together(&mut self) {
        let next = SmallPuts::noting(self.run.args.note_change());
        let files = std::mem::replace(&mut self.together, next);
        let names = std::mem::take(&mut self.names);
        self.sent += 1;
        self.under_way.push(Box::pin(send_together(self.run, files, names)));
    }

    fn answered(&mut self, named: &Named) {
        self.held -= 1;
        self.held_bytes -= named.size;
    }

    /// Takes note of what came of a piece.
    fn told(&mut self, done: Done) -> Result<Next, Failure> {
        match done {
            Done::Admitted(found) => self.gather(found),
            Done::DroppedSmall(size) => {
                self.held -= 1;
                self.held_bytes -= size;
            }
            Done::Together(names, elapsed, result) => {
                self.sent -= 1;
                return self.together_told(names, elapsed, result);
            }
            Done::Dropped => self.others -= 1,
            Done::Directory(found, made) => {
                self.others -= 1;
                return Ok(self.directory_told(&found, made));
            }
            Done::File(job, result) => {
                self.others -= 1;
                return self.file_told(&job, result);
            }
        }
        Ok(Next::GoOn)
    }

    fn directory_told(&mut self, found: &FoundDirectory, made: Result<(), RequestError>) -> Next {
        let Err(error) = made else {
            let newly = self.run.context.tries.done(&found.remote);
            self.telling.tally.directories += u64::from(newly);
            return Next::GoOn;
        };
        let (local, remote) = (found.local.display(), &found.remote);
        let failure = failed(&error).of(t!("the directory %{remote}", remote = remote));
        let failure = failure.of(format_args!("put {local}")).at(remote).locally(local);
        self.telling.failed(&failure);
        match error {
            RequestError::Connection(_) => self.telling.lost(),
            RequestError::Server(_) => Next::GoOn,
        }
    }

    fn file_told(
        &mut self,
        job: &PutJob,
        result: Result<PutReport, TransferError>,
    ) -> Result<Next, Failure> {
        match result {
            Ok(report) => {
                self.run.context.tries.done(&job.remote);
                self.telling.moved(report.size, report.moved_leaves);
                put::tell(self.run.context, &self.telling.progress, job, &report)?;
                self.usage = Some(report.usage);
            }
            Err(error) => {
                if self.telling.failed(&put::failure(job, &error)) {
                    self.run.context.tries.done(&job.remote);
                }
                if error.ends_session() {
                    return Ok(self.telling.lost());
                }
            }
        }
        Ok(Next::GoOn)
    }

    fn together_told(
        &mut self,
        names: Vec<Named>,
        elapsed: Duration,
        result: Put,
    ) -> Result<Next, Failure> {
        let (results, usage) = match result {
            Ok(told) => told,
            // The message itself was refused, or nothing is known of any of them.
            Err(RequestError::Server(error)) => {
                let failed = PutResult::Failed(error);
                (vec![(Md5::of(b""), failed); names.len()], None)
            }
            Err(RequestError::Connection(reason)) => {
                for named in names {
                    self.answered(&named);
                    let error = TransferError::Connection(reason.clone());
                    self.file_told(&self.run.job(named), Err(error))?;
                }
                return Ok(self.telling.lost());
            }
        };
        for (named, (digest, result)) in names.into_iter().zip(results) {
            self.answered(&named);
            let size = named.size as u64;
            self.telling.progress.small(size);
            let result = match (result, usage) {
                (PutResult::Done { replaced }, Some(usage)) => Ok(PutReport {
                    size,
                    digest,
                    resumed_leaves: 0,
                    same_leaves: 0,
                    moved_leaves: u64::from(size > 0),
                    started_over: false,
                    replaced,
                    elapsed,
                    usage,
                }),
                (PutResult::Done { .. }, None) => Err(ConnectionError::unexpected("answer").into()),
                (PutResult::Failed(error), _) => Err(TransferError::Server(error)),
            };
            if self.file_told(&self.run.job(named), result)? == Next::Stop {
                return Ok(Next::Stop);
            }
        }
        Ok(Next::GoOn)
    }
}

impl Run<'_> {
    fn job(&self, named: Named) -> PutJob {
        put::job(self.context, self.args, self.key, named.local, named.remote)
    }
}

/// What goes where, and the directory that is made for it.
async fn roots(context: &Context, args: &PutArgs) -> Result<(Vec<Root>, Option<RelPath>), Failure> {
    let (to, into) = put::target(context, args).await?;
    let mut fills = Fills::default();
    let mut roots = Vec::with_capacity(args.files.len());
    for local in &args.files {
        let contents = contents_of(local.as_os_str().as_encoded_bytes());
        let (remote, filled) = match (contents, into) {
            (false, true) => {
                let remote = put::within(&to, local)?;
                let filled = fills.name(remote.clone());
                (remote, filled)
            }
            (true, true) => (to.clone(), fills.contents()),
            // It is the only one.
            (_, false) => (to.clone(), Ok(())),
        };
        filled.map_err(|FillsError| {
            Failure::usage(FillsError).of(t!(
                "put %{local} to %{remote}",
                local = local.display(),
                remote = remote
            ))
        })?;
        roots.push(Root { local: local.clone(), remote, place: Place::Unknown });
    }
    // What is only called a directory need not be one yet; files go into it too.
    let made = into && args.to.as_deref().is_some_and(means_directory) && !to.is_root();
    Ok((roots, made.then_some(to)))
}

/// Walks on a thread of its own, at most [`AHEAD`] pieces ahead, until nobody takes them any more.
fn walk_ahead(trees: Trees) -> (mpsc::Receiver<Vec<Step>>, JoinHandle<()>) {
    let (steps, taken) = mpsc::channel(AHEAD / HANDED);
    let Trees { roots, sieve, settled } = trees;
    let walking = tokio::task::spawn_blocking(move || {
        let walk = Walk::new(roots, Takes::ReadsSmall).without(sieve);
        let mut walk = walk.without_paths(Arc::new(settled));
        // It is over when nobody takes what is found any more.
        let _ = hand_over(std::iter::from_fn(|| walk.advance()), HANDED_WITHIN, |found| {
            steps.blocking_send(found).map_err(drop)
        });
    });
    (taken, walking)
}

/// Hands over what is found among all that is looked at: several pieces together where they come fast.
fn hand_over<T>(
    looked_at: impl Iterator<Item = Option<T>>,
    within: Duration,
    mut send: impl FnMut(Vec<T>) -> Result<(), ()>,
) -> Result<(), ()> {
    let mut found = Vec::with_capacity(HANDED);
    let mut since = Instant::now();
    for piece in looked_at {
        if found.is_empty() {
            since = Instant::now();
        }
        found.extend(piece);
        if found.len() == HANDED || !found.is_empty() && since.elapsed() >= within {
            send(std::mem::replace(&mut found, Vec::with_capacity(HANDED)))?;
        }
    }
    if found.is_empty() { Ok(()) } else { send(found) }
}

/// What is known of the files of a message.
type Put = Result<(Vec<(Md5, PutResult)>, Option<Usage>), RequestError>;

/// What came of a piece.
enum Done {
    Directory(FoundDirectory, Result<(), RequestError>),
    File(PutJob, Result<PutReport, TransferError>),
    /// It would have been in a directory that could not be made, which was told.
    Dropped,
    /// A small file's directory is there.
    Admitted(FoundSmall),
    /// As `Dropped`, for a small file of so many bytes.
    DroppedSmall(usize),
    /// A message of small files was answered.
    Together(Vec<Named>, Duration, Put),
}

async fn make(context: &Context, found: FoundDirectory) -> Done {
    if let Some(within) = &found.within
        && !within.pass().await
    {
        found.gate.shut();
        return Done::Dropped;
    }
    let made = context.session.make_directory(&found.remote, true).await;
    if made.is_ok() {
        found.gate.open();
    } else {
        found.gate.shut();
    }
    Done::Directory(found, made)
}

async fn send(run: Run<'_>, progress: Progress, found: FoundFile) -> Done {
    let progress = progress.file(&found.local.display().to_string());
    if let Some(within) = &found.within
        && !within.pass().await
    {
        return Done::Dropped;
    }
    // It is never closed.
    let _slot = run.slots.acquire().await;
    let job = put::job(run.context, run.args, run.key, found.local, found.remote);
    let result = put_opened(&run.context.session, &job, found.opened, &progress.reporter()).await;
    progress.end();
    Done::File(job, result)
}

/// Waits for a small file's directory.
async fn admitted(found: FoundSmall) -> Done {
    match &found.within {
        Some(within) if !within.pass().await => Done::DroppedSmall(found.file.size()),
        _ => Done::Admitted(found),
    }
}

async fn send_together(run: Run<'_>, files: SmallPuts, names: Vec<Named>) -> Done {
    let _slot = run.batches.acquire().await;
    let started = Instant::now();
    let overwrite = run.args.existing() == Existing::Replace;
    let put = files.put(&run.context.session, overwrite).await;
    Done::Together(names, started.elapsed(), put)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(looked_at: &[Option<u32>], within: Duration) -> Vec<Vec<u32>> {
        let mut handed = Vec::new();
        let send = |found| {
            handed.push(found);
            Ok(())
        };
        assert_eq!(hand_over(looked_at.iter().copied(), within, send), Ok(()));
        handed
    }

    #[test]
    fn pieces_that_come_fast_are_handed_over_together() {
        let looked_at: Vec<_> = (0..40).map(|n| (n % 2 == 0).then_some(n)).collect();
        let handed = handed(&looked_at, Duration::MAX);
        assert_eq!(handed.iter().map(Vec::len).collect::<Vec<_>>(), [16, 4]);
        assert_eq!(handed.concat(), (0..40).step_by(2).collect::<Vec<_>>(), "in their order");
        assert!(self::handed(&[None, None], Duration::MAX).is_empty());
    }

    #[test]
    fn what_has_waited_goes_while_others_are_passed_over() {
        let looked_at = [None, Some(1), None, Some(2), None];
        assert_eq!(handed(&looked_at, Duration::ZERO), [vec![1], vec![2]]);
    }

    #[test]
    fn the_walk_ends_when_nobody_takes_what_it_finds() {
        let mut seen = 0;
        let looked_at = std::iter::repeat(Some(())).inspect(|_| seen += 1);
        assert_eq!(hand_over(looked_at, Duration::MAX, |_| Err(())), Err(()));
        assert_eq!(seen, HANDED);
    }
}

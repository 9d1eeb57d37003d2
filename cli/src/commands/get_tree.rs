//! `berth get -r`: directories of the home with all that is in them, and files beside them, to local paths.
//!
//! A task lists the trees ahead and makes the local directories. Files wait for their turn; small ones are asked for
//! many in one message, and while messages are on their way the next one fills. Each is whole or not there, as with a single get.

pub(super) mod ahead;
mod lister;

use std::fs;
use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use berth::transfer::{
    GetJob, GetReport, SmallGets, SmallGot, Storing, TransferError, fingerprint, get as get_file,
};
use berth_common::batch::FILE_BYTES;
use berth_common::rel_path::RelPath;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rust_i18n::t;
use tokio::sync::{Semaphore, mpsc};

use super::sync::{Would, would};
use super::telling::{AHEAD, BATCHES, BATCHES_AHEAD, Next, SMALL_UNDER_WAY, Telling, UNDER_WAY};
use super::{Context, get};
use crate::args::GetArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::heap;
use crate::language::message;
use crate::progress::Progress;
use crate::transfer_failures::local;
use crate::trees::{Fills, FillsError, Paths, contents_of, joined};
use lister::{Lister, Step};

pub(super) async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Failure> {
    let roots = roots(context, args)?;
    let (telling, _) = fetch(context, args, roots, None).await?;
    telling.end()
}

/// How trees are got that are synced.
pub(super) struct Syncing {
    /// Files of the same size are compared by content.
    pub(super) checksum: bool,
    /// Nothing is done.
    pub(super) dry_run: bool,
    /// What was found becomes these local paths.
    pub(super) names: Option<Paths>,
    /// Of those, what is passed over.
    pub(super) skipped: Paths,
    /// How many they are.
    pub(super) found: u64,
}

/// Gets trees.
pub(super) async fn fetch<'a>(
    context: &'a Context,
    args: &GetArgs,
    roots: Vec<Root>,
    syncing: Option<Syncing>,
) -> Result<(Telling<'a>, Option<Syncing>), Failure> {
    let makes = !syncing.as_ref().is_some_and(|syncing| syncing.dry_run);
    heap::keeps_what_is_freed();
    let (steps, mut taken) = mpsc::channel(AHEAD);
    // It ends by itself when nobody takes what it finds.
    let lister = Lister::new(context.session.clone(), args.sieve.sieve()?, makes, steps);
    tokio::spawn(lister.list(roots));
    let slots = Semaphore::new(context.at_once_of_trees(&args.moving));
    let batches = Semaphore::new(BATCHES);
    // One after the other is one of either kind.
    let batches = if args.moving.jobs == Some(1) { &slots } else { &batches };
    let storing = Storing::start();
    let run = Run { context, args, slots: &slots, batches, storing: &storing };
    let mut getting = Getting::new(run, Telling::new(context), syncing);
    let mut listed = false;
    loop {
        tokio::select! {
            biased;
            Some(done) = getting.under_way.next() => {
                if getting.told(done)? == Next::Stop {
                    break;
                }
            }
            step = taken.recv(), if !listed && getting.has_room() && getting.telling.begins() => match step {
                Some(Step::Lost(failure)) => {
                    getting.telling.failed(&failure);
                    if getting.telling.lost() == Next::Stop {
                        break;
                    }
                    listed = true;
                }
                Some(Step::End) => listed = true,
                Some(step) => getting.take(step)?,
                None => {
                    listed = true;
                    let stopped = Failure::new(Exit::Failure, t!("the listing stopped before its end"));
                    getting.telling.failed(&stopped.of("get"));
                }
            },
            () = ready(()), if getting.is_to_send() && getting.telling.begins() => getting.send_together(),
            else => {
                if getting.telling.begins() {
                    getting.check_whole()?;
                }
                break;
            }
        }
    }
    let Getting { telling, syncing, .. } = getting;
    telling.over();
    Ok((telling, syncing))
}

/// What all files are got with.
#[derive(Clone, Copy)]
struct Run<'a> {
    context: &'a Context,
    args: &'a GetArgs,
    slots: &'a Semaphore,
    batches: &'a Semaphore,
    storing: &'a Storing,
}

/// What is under way.
type UnderWay<'a> = Pin<Box<dyn Future<Output = Done> + 'a>>;

/// What came of it.
enum Done {
    Alone(GetJob, Result<GetReport, TransferError>),
    Together(Vec<SmallGot>),
}

/// What is under way, and what was told of it.
struct Getting<'a, 'b> {
    run: Run<'a>,
    telling: Telling<'b>,
    syncing: Option<Syncing>,
    under_way: FuturesUnordered<UnderWay<'a>>,
    /// Files under way by themselves.
    alone: usize,
    /// The next message of small files.
    together: SmallGets,
    /// Messages of small files that are on their way.
    sent: usize,
    /// Small files that were found and are not in place.
    held: usize,
    /// What was found has to be in place before more is taken.
    settling: bool,
}

impl<'a, 'b> Getting<'a, 'b> {
    fn new(run: Run<'a>, telling: Telling<'b>, syncing: Option<Syncing>) -> Self {
        Self {
            run,
            telling,
            syncing,
            under_way: FuturesUnordered::new(),
            alone: 0,
            together: SmallGets::default(),
            sent: 0,
            held: 0,
            settling: false,
        }
    }

    fn has_room(&mut self) -> bool {
        self.settling &= self.alone > 0 || self.held > 0;
        !self.settling && self.alone < UNDER_WAY && self.held < SMALL_UNDER_WAY
    }

    /// Nothing is under way any more. That a file was found of which nothing was heard is a fault of this program.
    fn check_whole(&self) -> Result<(), Failure> {
        match self.held + self.alone + self.sent {
            0 => Ok(()),
            lost => {
                Err(Failure::new(Exit::Failure, t!("%{lost} files were not stored", lost = lost)))
            }
        }
    }

    /// Whether a message goes that is not full: nothing else would make the server busy.
    fn is_to_send(&self) -> bool {
        !self.together.is_empty() && self.sent < BATCHES_AHEAD
    }

    fn take(&mut self, step: Step) -> Result<(), Failure> {
        match (&mut self.syncing, &step) {
            (Some(syncing), Step::Directory(local) | Step::File { local, .. }) => {
                syncing.note(local);
            }
            (Some(syncing), Step::Skipped(local, _)) => {
                syncing.note(local);
                syncing.skipped.insert(local);
            }
            _ => {}
        }
        match step {
            Step::Directory(local) => return self.take_directory(&local),
            Step::File { local, .. } if self.run.context.tries.is_done(&local) => {}
            Step::File { remote, local, size, mtime_ns } => {
                let job = GetJob { remote, local, force: self.run.args.force };
                match self.syncing.as_ref().map(|syncing| syncing.what(&job.local, size, mtime_ns))
                {
                    None => self.take_file(job, size),
                    Some(Differs::No) => {
                        let newly = self.run.context.tries.done(&job.local);
                        self.telling.tally.unchanged += u64::from(newly);
                    }
                    Some(_) if self.is_dry() => {
                        self.telling.tally.files += 1;
                        self.telling.tally.bytes += size;
                        would(self.run.context, Would::Get, &job.local.display().to_string())?;
                    }
                    Some(Differs::Yes) => self.take_file(job, size),
                    Some(Differs::Perhaps) => {
                        self.telling.progress.found(size);
                        self.get_alone(GetJob { force: false, ..job });
                    }
                }
            }
            Step::Skipped(_, sentence) => self.telling.skipped(&sentence),
            Step::Failed(failure) | Step::Lost(failure) => {
                self.telling.failed(&failure);
            }
            Step::Settle => self.settling = true,
            // Whoever takes the steps has seen it.
            Step::End => {}
        }
        Ok(())
    }

    fn is_dry(&self) -> bool {
        self.syncing.as_ref().is_some_and(|syncing| syncing.dry_run)
    }

    fn take_directory(&mut self, local: &Path) -> Result<(), Failure> {
        if self.is_dry() {
            if local.is_dir() {
                return Ok(());
            }
            would(self.run.context, Would::Make, &local.display().to_string())?;
        }
        let newly = self.run.context.tries.done(&local);
        self.telling.tally.directories += u64::from(newly);
        Ok(())
    }

    fn take_file(&mut self, job: GetJob, size: u64) {
        self.telling.progress.found(size);
        self.gather(job, size);
    }

    /// Puts a small file into the next message, which goes when it is full.
    fn gather(&mut self, job: GetJob, size: u64) {
        if size > FILE_BYTES as u64 {
            return self.get_alone(job);
        }
        let Err(job) = self.together.add(job, size) else {
            return self.held += 1;
        };
        self.send_together();
        match self.together.add(job, size) {
            Ok(()) => self.held += 1,
            Err(job) => self.get_alone(job),
        }
    }

    fn send_together(&mut self) {
        let files = std::mem::take(&mut self.together);
        self.sent += 1;
        self.under_way.push(Box::pin(get_together(self.run, files)));
    }

    fn get_alone(&mut self, job: GetJob) {
        self.alone += 1;
        let progress = self.telling.progress.clone();
        self.under_way.push(Box::pin(get_alone(self.run, progress, job)));
    }

    /// Takes note of what came of a file, or of several.
    fn told(&mut self, done: Done) -> Result<Next, Failure> {
        match done {
            Done::Alone(job, result) => {
                self.alone -= 1;
                self.file_told(&job, result)
            }
            Done::Together(files) => {
                self.sent -= 1;
                for file in files {
                    self.held -= 1;
                    let (job, result) = match file {
                        SmallGot::Alone(job) => {
                            self.get_alone(job);
                            continue;
                        }
                        SmallGot::Ended(job, result) => (job, result),
                    };
                    let size = result.as_ref().map_or(0, |report| report.size);
                    self.telling.progress.small(size);
                    if self.file_told(&job, result)? == Next::Stop {
                        return Ok(Next::Stop);
                    }
                }
                Ok(Next::GoOn)
            }
        }
    }

    fn file_told(
        &mut self,
        job: &GetJob,
        result: Result<GetReport, TransferError>,
    ) -> Result<Next, Failure> {
        match result {
            Ok(report) => {
                self.run.context.tries.done(&job.local);
                if report.unchanged {
                    self.telling.tally.unchanged += 1;
                } else {
                    self.telling.moved(report.size, report.moved_leaves);
                }
                get::tell(self.run.context, &self.telling.progress, job, &report)?;
            }
            Err(error) => {
                if self.telling.failed(&get::failure(job, &error)) {
                    self.run.context.tries.done(&job.local);
                }
                if error.ends_session() {
                    return Ok(self.telling.lost());
                }
            }
        }
        Ok(Next::GoOn)
    }
}

/// What is got, and what it becomes.
pub(super) struct Root {
    pub(super) remote: RelPath,
    pub(super) local: PathBuf,
}

/// Whether a local file differs from the one in the home.
enum Differs {
    Yes,
    No,
    /// Their content decides.
    Perhaps,
}

impl Syncing {
    fn note(&mut self, local: &Path) {
        self.found += 1;
        if let Some(names) = &mut self.names {
            names.insert(local);
        }
    }

    fn what(&self, local: &Path, size: u64, mtime_ns: i64) -> Differs {
        let Ok(here) = fs::symlink_metadata(local) else {
            return Differs::Yes;
        };
        if !here.is_file() || here.len() != size {
            return Differs::Yes;
        }
        match self.checksum {
            true => Differs::Perhaps,
            false if fingerprint(&here).mtime_ns == mtime_ns => Differs::No,
            false => Differs::Yes,
        }
    }
}

/// What goes where. The directories that the trees go into are there afterwards.
fn roots(context: &Context, args: &GetArgs) -> Result<Vec<Root>, Failure> {
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from("."));
    let found = || to.is_dir() || get::ends_with_slash(&to);
    let into = context.tries.went_into().unwrap_or_else(found);
    context.tries.goes_into(into);
    if !into && args.files.len() > 1 {
        return Err(get::no_directory(&to));
    }
    let mut fills = Fills::default();
    let mut roots = Vec::with_capacity(args.files.len());
    for typed in &args.files {
        let remote = context.resolve(typed)?;
        // Of the working directory and what is above it a name is known too, and not meant.
        let name = remote.file_name().filter(|_| !contents_of(typed.as_bytes()));
        let (local, filled) = match name {
            Some(name) if into => {
                let local = joined(&to, name);
                let filled = fills.name(local.clone());
                (local, filled)
            }
            None if into => (to.clone(), fills.contents()),
            // It is the only one.
            _ => (to.clone(), Ok(())),
        };
        filled.map_err(|FillsError| {
            Failure::usage(FillsError).of(t!(
                "get %{remote} to %{local}",
                remote = remote,
                local = local.display()
            ))
        })?;
        roots.push(Root { remote, local });
    }
    let needed = if into { Some(to.as_path()) } else { to.parent() };
    if let Some(directory) = needed.filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|error| {
            local(message!("cannot make %{path}: %{reason}"), directory, &error)
                .locally(directory.display())
        })?;
    }
    Ok(roots)
}

async fn get_alone(run: Run<'_>, progress: Progress, job: GetJob) -> Done {
    let progress = progress.file(&job.remote.to_string());
    // It is never closed.
    let _slot = run.slots.acquire().await;
    let mut result = get_file(&run.context.session, &job, &progress.reporter()).await;
    let mut job = job;
    // One that was to be compared first.
    if run.args.force && !job.force && matches!(result, Err(TransferError::Exists { .. })) {
        job.force = true;
        result = get_file(&run.context.session, &job, &progress.reporter()).await;
    }
    progress.end();
    Done::Alone(job, result)
}

async fn get_together(run: Run<'_>, files: SmallGets) -> Done {
    let _slot = run.batches.acquire().await;
    Done::Together(files.get(&run.context.session, run.storing).await)
}

#[cfg(test)]
mod tests;

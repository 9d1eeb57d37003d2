//! `berth get -r`: directories of the home with all that is in them, and files beside them, to local paths.
//!
//! A task lists the trees ahead and makes the local directories; each listing is taken off the line as fast as it
//! comes, because the transfers share that line. Files wait for their turn; each is whole or not there, as with a
//! single get.

use std::fs;
use std::io;
use std::path::PathBuf;

use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};

use super::telling::{AHEAD, Next, Telling, UNDER_WAY};
use super::{Context, failed, get};
use crate::args::GetArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::progress::Progress;
use crate::session::{RequestError, Session};
use crate::transfer::{GetJob, GetReport, TransferError, get as get_file};
use crate::trees::{Fills, FillsError, Listed, Piece, contents_of, joined, make_directory};

pub(super) async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Failure> {
    let roots = roots(context, args)?;
    let (steps, mut taken) = mpsc::channel(AHEAD);
    let lister = Lister { session: context.session.clone(), listed: Listed::default(), steps };
    // It ends by itself when nobody takes what it finds.
    tokio::spawn(lister.list(roots));
    let slots = Semaphore::new(context.at_once_of_trees());
    let mut telling = Telling::new(context);
    let progress = telling.progress.clone();
    let (mut listed, mut settling) = (false, false);
    let mut under_way = FuturesUnordered::new();
    loop {
        settling &= !under_way.is_empty();
        tokio::select! {
            biased;
            Some((job, result)) = under_way.next() => {
                if told(context, &mut telling, &job, result)? == Next::Stop {
                    break;
                }
            }
            step = taken.recv(), if !listed && !settling && under_way.len() < UNDER_WAY => {
                match step {
                    Some(Step::Directory) => telling.tally.directories += 1,
                    Some(Step::File { remote, local, size }) => {
                        progress.found(size);
                        let job = GetJob { remote, local, force: args.force };
                        under_way.push(receive(context, &slots, &progress, job));
                    }
                    Some(Step::Skipped(sentence)) => telling.skipped(&sentence),
                    Some(Step::Failed(failure)) => telling.failed(&failure),
                    Some(Step::Settle) => settling = true,
                    Some(Step::Lost(failure)) => {
                        telling.failed(&failure);
                        break;
                    }
                    None => listed = true,
                }
            },
            else => break,
        }
    }
    telling.end()
}

/// What is got, and what it becomes.
struct Root {
    remote: RelPath,
    local: PathBuf,
}

/// What goes where. The directories that the trees go into are there afterwards.
fn roots(context: &Context, args: &GetArgs) -> Result<Vec<Root>, Failure> {
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from("."));
    let into = to.is_dir() || get::ends_with_slash(&to);
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
            Failure::usage(FillsError).of(format_args!("get {remote} to {}", local.display()))
        })?;
        roots.push(Root { remote, local });
    }
    let needed = if into { Some(to.as_path()) } else { to.parent() };
    if let Some(directory) = needed.filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|error| {
            let error = TransferError::local("cannot make", directory)(error);
            Failure::from(&error).locally(directory.display())
        })?;
    }
    Ok(roots)
}

/// What was found.
enum Step {
    /// A directory, which is here too.
    Directory,
    File {
        remote: RelPath,
        local: PathBuf,
        size: u64,
    },
    Skipped(String),
    Failed(Failure),
    /// What was found has to be in place before what follows begins.
    Settle,
    /// The session is over.
    Lost(Failure),
}

/// Why nothing more is listed: nobody takes it, or the session is over, which was told.
struct Over;

/// Lists the trees, one directory at a time.
struct Lister {
    session: Session,
    listed: Listed,
    steps: mpsc::Sender<Step>,
}

impl Lister {
    async fn list(mut self, roots: Vec<Root>) {
        for root in roots {
            if let Err(Over) = self.root(root).await {
                return;
            }
        }
    }

    async fn root(&mut self, Root { remote, local }: Root) -> Result<(), Over> {
        let entry = match self.session.stat(&remote).await {
            Ok(entry) => entry,
            Err(error) => return self.refused(&remote, &error).await,
        };
        match entry.kind {
            EntryKind::Directory => self.enter(remote, local).await?,
            EntryKind::File => self.step(Step::File { remote, local, size: entry.size }).await?,
            // It was named, so leaving it out is not enough.
            EntryKind::Symlink | EntryKind::Other => {
                self.refused(&remote, &ErrorCode::NotServed.into()).await?;
            }
        }
        loop {
            let piece = self.listed.next_piece();
            match piece {
                Ok(None) => return Ok(()),
                Ok(Some(Piece::Directory { remote, local })) => self.enter(remote, local).await?,
                Ok(Some(Piece::File { remote, local, size })) => {
                    self.step(Step::File { remote, local, size }).await?;
                }
                Ok(Some(Piece::Skipped { remote, kind })) => {
                    let what = if kind == EntryKind::Symlink {
                        "a symbolic link"
                    } else {
                        "no file that is served"
                    };
                    self.step(Step::Skipped(format!("{remote}: skipped, it is {what}"))).await?;
                }
                Ok(Some(Piece::Refused { within, name, error })) => {
                    let sentence = format!("get {within}: the name {name:?} is refused: {error}");
                    let failure = Failure::new(Exit::Failure, sentence).at(&within);
                    self.step(Step::Failed(failure)).await?;
                }
                Ok(Some(Piece::Settle)) => self.step(Step::Settle).await?,
                Err(error) => {
                    self.step(Step::Failed(spool_failure(&error))).await?;
                    self.listed.leave();
                }
            }
        }
    }

    /// Makes a directory here and asks what is in it. All of the answer is taken before anything waits.
    async fn enter(&mut self, remote: RelPath, local: PathBuf) -> Result<(), Over> {
        let path = local.clone();
        let made = tokio::task::spawn_blocking(move || make_directory(&path)).await;
        match made {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let failure = Failure::new(error.exit(), error).of(format_args!("get {remote}"));
                let failure = failure.at(&remote).locally(local.display());
                return self.step(Step::Failed(failure)).await;
            }
            // The runtime is going down.
            Err(_) => return Err(Over),
        }
        self.listed.enter(remote.clone(), local);
        let kept = match self.take_listing(&remote).await {
            Ok(kept) => kept,
            Err(error) => {
                self.listed.leave();
                return self.refused(&remote, &error).await;
            }
        };
        if let Err(error) = kept {
            let failure = spool_failure(&error).of(format_args!("get {remote}")).at(&remote);
            self.step(Step::Failed(failure)).await?;
        }
        self.step(Step::Directory).await
    }

    /// Keeps a listing; of what cannot be kept the rest is left where it is.
    async fn take_listing(&mut self, remote: &RelPath) -> Result<io::Result<()>, RequestError> {
        let mut listing = self.session.list(remote).await?;
        while let Some(entries) = listing.next_part().await? {
            if let Err(error) = self.listed.add(&entries) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn refused(&mut self, remote: &RelPath, error: &RequestError) -> Result<(), Over> {
        let failure = failed(error).of(format_args!("get {remote}")).at(remote);
        match error {
            RequestError::Server(_) => self.step(Step::Failed(failure)).await,
            RequestError::Connection(_) => {
                self.step(Step::Lost(failure)).await?;
                Err(Over)
            }
        }
    }

    async fn step(&self, step: Step) -> Result<(), Over> {
        self.steps.send(step).await.map_err(|_| Over)
    }
}

fn spool_failure(error: &io::Error) -> Failure {
    let directory = std::env::temp_dir();
    let reason = human::reason(error);
    let sentence = format!("cannot keep the listing in {}: {reason}", directory.display());
    Failure::new(Exit::Failure, sentence)
}

async fn receive(
    context: &Context,
    slots: &Semaphore,
    progress: &Progress,
    job: GetJob,
) -> (GetJob, Result<GetReport, TransferError>) {
    let progress = progress.file(&job.remote.to_string());
    // It is never closed.
    let _slot = slots.acquire().await;
    let result = get_file(&context.session, &job, &progress).await;
    progress.end();
    (job, result)
}

fn told(
    context: &Context,
    telling: &mut Telling<'_>,
    job: &GetJob,
    result: Result<GetReport, TransferError>,
) -> Result<Next, Failure> {
    match result {
        Ok(report) => {
            if report.unchanged {
                telling.tally.unchanged += 1;
            } else {
                telling.moved(report.size, report.moved_leaves);
            }
            get::tell(context, &telling.progress, job, &report)?;
        }
        Err(error) => {
            telling.failed(&get::failure(job, &error));
            if error.ends_session() {
                return Ok(Next::Stop);
            }
        }
    }
    Ok(Next::GoOn)
}

#[cfg(test)]
mod tests;

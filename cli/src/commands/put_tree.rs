//! `berth put -r`: directories with all that is in them, and files beside them, into the home.
//!
//! A thread walks the trees ahead. What it finds is taken as fast as it can be carried out: directories are asked for
//! at once, files wait for their directory and then for their turn, so that as many as the session allows are always
//! under way and the server has batches to form. Whether a file is whole there is each file's own matter.

use berth_common::entry::Usage;
use futures_util::future::Either;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};

use super::telling::{Bounds, Next, Telling};
use super::{Context, failed, means_directory, put};
use crate::args::PutArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::RequestError;
use crate::state::ClientKey;
use crate::transfer::{PutJob, PutReport, TransferError, put_opened};
use crate::trees::{Fills, FillsError, FoundDirectory, FoundFile, Root, Step, Walk, contents_of};

pub(super) async fn run(context: &Context, args: &PutArgs) -> Result<Exit, Failure> {
    let bounds = Bounds::of(context);
    let key = put::client_key(context)?;
    let mut steps = walk_ahead(roots(context, args).await?, bounds.ahead);
    let slots = Semaphore::new(bounds.at_once);
    let mut telling = Telling::new(context);
    let progress = telling.progress.clone();
    let mut usage = None;
    let mut walked = false;
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(done) = under_way.next() => {
                if told(context, &mut telling, &mut usage, done)? == Next::Stop {
                    break;
                }
            }
            step = steps.recv(), if !walked && under_way.len() < bounds.under_way => match step {
                Some(Step::Directory(found)) => {
                    under_way.push(Either::Left(make(context, found)));
                }
                Some(Step::File(found)) => {
                    progress.found(found.opened.size());
                    let sent = send(context, args, &key, &slots, &progress, found);
                    under_way.push(Either::Right(sent));
                }
                Some(Step::Skipped { local, kind }) => {
                    telling.skipped(&format!("{}: skipped, it is {kind}", local.display()));
                }
                Some(Step::Failed { local, error }) => {
                    let failure = Failure::new(error.exit(), error.about(&local));
                    let local = local.display();
                    telling.failed(&failure.of(format_args!("put {local}")).locally(local));
                }
                None => walked = true,
            },
            else => break,
        }
    }
    let exit = telling.end()?;
    put::remark(context, usage.as_ref());
    Ok(exit)
}

/// What goes where.
async fn roots(context: &Context, args: &PutArgs) -> Result<Vec<Root>, Failure> {
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
            Failure::usage(FillsError).of(format_args!("put {} to {remote}", local.display()))
        })?;
        roots.push(Root { local: local.clone(), remote });
    }
    // What is only called a directory need not be one yet; files go into it too.
    if into && args.to.as_deref().is_some_and(means_directory) && !to.is_root() {
        let made = context.session.make_directory(&to, true).await;
        made.map_err(|error| failed(&error).of(format_args!("put to {to}")).at(&to))?;
    }
    Ok(roots)
}

/// Walks on a thread of its own, so many pieces ahead, until nobody takes them any more.
fn walk_ahead(roots: Vec<Root>, ahead: usize) -> mpsc::Receiver<Step> {
    let (steps, taken) = mpsc::channel(ahead);
    tokio::task::spawn_blocking(move || {
        for step in Walk::new(roots) {
            if steps.blocking_send(step).is_err() {
                return;
            }
        }
    });
    taken
}

/// What came of a piece.
enum Done {
    Directory(FoundDirectory, Result<(), RequestError>),
    File(PutJob, Result<PutReport, TransferError>),
    /// It would have been in a directory that could not be made, which was told.
    Dropped,
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

async fn send(
    context: &Context,
    args: &PutArgs,
    key: &ClientKey,
    slots: &Semaphore,
    progress: &Progress,
    found: FoundFile,
) -> Done {
    let progress = progress.file(&found.local.display().to_string());
    if let Some(within) = &found.within
        && !within.pass().await
    {
        return Done::Dropped;
    }
    // It is never closed.
    let _slot = slots.acquire().await;
    let job = put::job(context, args, key, found.local, found.remote);
    let result = put_opened(&context.session, &job, found.opened, &progress).await;
    progress.end();
    Done::File(job, result)
}

fn told(
    context: &Context,
    telling: &mut Telling<'_>,
    usage: &mut Option<Usage>,
    done: Done,
) -> Result<Next, Failure> {
    match done {
        Done::Dropped => {}
        Done::Directory(_, Ok(())) => telling.tally.directories += 1,
        Done::Directory(found, Err(error)) => {
            let (local, remote) = (found.local.display(), &found.remote);
            let failure = failed(&error).of(format_args!("the directory {remote}"));
            let failure = failure.of(format_args!("put {local}")).at(remote).locally(local);
            telling.failed(&failure);
            if matches!(error, RequestError::Connection(_)) {
                return Ok(Next::Stop);
            }
        }
        Done::File(job, Ok(report)) => {
            telling.moved(report.size, report.moved_leaves);
            put::tell(context, &telling.progress, &job, &report)?;
            *usage = Some(report.usage);
        }
        Done::File(job, Err(error)) => {
            telling.failed(&put::failure(&job, &error));
            if error.ends_session() {
                return Ok(Next::Stop);
            }
        }
    }
    Ok(Next::GoOn)
}

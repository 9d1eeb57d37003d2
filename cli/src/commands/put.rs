//! `berth put`: local files, or standard input, into the home.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use berth::client_key::ClientKey;
use berth::session::RequestError;
use berth::transfer::{PutJob, PutReport, TransferError, put, put_stream, tree_digest};
use berth_common::entry::{Entry, EntryKind, Existing, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::limits::LEAF_SIZE;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use futures_util::stream::{self, StreamExt as _};
use rust_i18n::t;
use rustix::fs::Mode;
use serde_json::json;

use super::{Context, failed, means_directory, put_tree, show};
use crate::args::{PutArgs, is_standard};
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::human;
use crate::progress::Progress;
use crate::state;
use crate::wording::{InWords, about};

/// What is wrong with the command line, told before anybody is asked for a password.
pub(super) fn check(args: &PutArgs) -> Result<(), Failure> {
    if !args.reads_stdin() {
        return Ok(());
    }
    if args.recursive {
        return Err(Failure::usage(t!(
            "put -: standard input is no directory; give -r without it"
        )));
    }
    if args.files.len() > 1 {
        return Err(Failure::usage(t!("put -: standard input can only be put alone")));
    }
    match &args.to {
        Some(to) if !means_directory(to) => Ok(()),
        _ => Err(no_name()),
    }
}

fn no_name() -> Failure {
    Failure::usage(t!("put -: standard input has no name; give the file's with --to"))
}

pub(super) async fn run(context: &Context, args: &PutArgs) -> Result<Exit, Failure> {
    if args.recursive {
        return put_tree::run(context, args).await;
    }
    let mut jobs = jobs(context, args).await?;
    settle(context, args).await?;
    jobs.retain(|job| !context.tries.is_done(&job.remote));
    // A file that cannot be looked at fails later, with its own sentence.
    let sizes = jobs.iter().map(|job| job.local.metadata().map_or(0, |found| found.len()));
    let progress = Progress::new(context.progress, jobs.len(), Some(sizes.sum()));
    let running = jobs.into_iter().map(|job| {
        let file = progress.file(&shown(&job));
        let reporter = file.reporter();
        async move {
            let result = match is_standard(&job.local) {
                true => put_stream(&context.session, &job, io::stdin(), &reporter).await,
                false => put(&context.session, &job, &reporter).await,
            };
            file.end();
            (job, result)
        }
    });
    let mut results = stream::iter(running).buffer_unordered(context.at_once(&args.moving));
    let mut failures = Failures::of_tries(context.output.style(), context.tries.clone());
    let mut usage = None;
    while let Some((job, result)) = results.next().await {
        match result {
            Ok(report) => {
                usage = Some(report.usage);
                context.tries.done(&job.remote);
                tell(context, &progress, &job, &report)?;
            }
            Err(error) => {
                if progress.suspend(|| failures.take(&failure(&job, &error))) {
                    context.tries.done(&job.remote);
                }
                // The others come to their ends, if there is another try.
                if error.ends_session() && !context.tries.are_more() {
                    break;
                }
            }
        }
    }
    progress.end();
    remark(context, usage.as_ref());
    Ok(failures.exit())
}

/// Whether a file has the note that it was to be given, if it was.
fn has_note(entry: &Entry, args: &PutArgs) -> bool {
    match args.note_change() {
        NoteChange::Set(note) => entry.note.as_ref() == Some(&note),
        NoteChange::Keep | NoteChange::Remove => true,
    }
}

/// With -n: what had come to its end when the connection was lost, before its answer came, is in the way of the next
/// try. It is ours if it is the same; then it is finished.
pub(super) async fn settle(context: &Context, args: &PutArgs) -> Result<(), Failure> {
    let under_way = context.tries.take_under_way();
    if args.existing() != Existing::Keep {
        return Ok(());
    }
    for (remote, local) in under_way {
        let remote = context.resolve(&remote)?;
        let entry = match context.session.stat(&remote).await {
            // Where a note was given, the answer is not known before it stands there.
            Ok(entry) if entry.kind == EntryKind::File && has_note(&entry, args) => entry,
            Ok(_) | Err(RequestError::Server(_)) => continue,
            Err(error) => {
                return Err(failed(&error).of(t!("put to %{remote}", remote = remote)).at(&remote));
            }
        };
        let path = PathBuf::from(&local);
        let digest = tokio::task::spawn_blocking(move || tree_digest(&path)).await;
        // What cannot be read is told by its own put.
        if matches!(digest, Ok(Ok(digest)) if Some(digest) == entry.digest) {
            context.tries.done(&remote);
            context.tries.arrived(entry.size);
            context.output.note(&t!(
                "%{local} -> %{remote}: had arrived",
                local = local,
                remote = remote
            ));
        }
    }
    Ok(())
}

/// Says so when the quota is nearly used up.
pub(super) fn remark(context: &Context, usage: Option<&Usage>) {
    // Programs have it in each file's line.
    let text = !context.output.style().json && !context.tries.has_lost();
    if let Some(remark) = usage.filter(|_| text).and_then(show::quota_remark) {
        context.output.note(&remark);
    }
}

/// Which file goes where.
async fn jobs(context: &Context, args: &PutArgs) -> Result<Vec<PutJob>, Failure> {
    let key = client_key(context)?;
    let (to, into) = target(context, args).await?;
    if into && args.reads_stdin() {
        return Err(no_name().of(t!("%{to} is a directory", to = to)));
    }
    let mut taken = HashSet::new();
    let mut jobs = Vec::with_capacity(args.files.len());
    for local in &args.files {
        let remote = if into { within(&to, local)? } else { to.clone() };
        if !taken.insert(remote.clone()) {
            return Err(Failure::usage(t!(
                "two of the files would become %{remote}",
                remote = remote
            )));
        }
        jobs.push(job(context, args, &key, local.clone(), remote));
    }
    Ok(jobs)
}

/// From which the tokens of uploads are made.
pub(super) fn client_key(context: &Context) -> Result<ClientKey, Failure> {
    let key = state::client_key().or_else(|error| {
        context.output.note(&format!(
            "berth: {}",
            t!("%{error}; an upload cannot be taken over at once", error = error.in_words())
        ));
        ClientKey::of_this_process()
    });
    key.map_err(|error| Failure::new(Exit::Failure, error))
}

/// Where the files go, and whether they go into it or become it.
pub(super) async fn target(context: &Context, args: &PutArgs) -> Result<(RelPath, bool), Failure> {
    let Some(typed) = &args.to else {
        return Ok((context.cwd.clone(), true));
    };
    let to = context.resolve(typed)?;
    let into = match context.tries.went_into() {
        Some(into) => into,
        None => is_directory(context, typed, &to).await?,
    };
    context.tries.goes_into(into);
    if !into && args.files.len() > 1 {
        return Err(Failure::usage(t!(
            "%{to} is no directory, and several files can only be put into one; make it first",
            to = to
        )));
    }
    Ok((to, into))
}

pub(super) fn job(
    context: &Context,
    args: &PutArgs,
    key: &ClientKey,
    local: PathBuf,
    remote: RelPath,
) -> PutJob {
    let token = key.token(&context.fingerprint, &context.session.info().user, &remote);
    let (existing, note) = (args.existing(), args.note_change());
    let mode = if is_standard(&local) { mode_of_no_file() } else { 0 };
    PutJob { local, remote, token, existing, whole: args.whole_file, note, mode }
}

/// The permission bits of what comes from no file: those that a new file here would have. No other thread makes files.
fn mode_of_no_file() -> u16 {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(mask);
    ((Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH) - mask).bits()
        as u16
}

/// Whether files go into `to` or become it.
async fn is_directory(context: &Context, typed: &str, to: &RelPath) -> Result<bool, Failure> {
    if means_directory(typed) || to.is_root() {
        return Ok(true);
    }
    match context.session.stat(to).await {
        Ok(entry) => Ok(entry.kind == EntryKind::Directory),
        Err(RequestError::Server(ErrorCode::NotFound)) => Ok(false),
        Err(error) => Err(failed(&error).of(t!("put to %{to}", to = to)).at(to)),
    }
}

pub(super) fn within(directory: &RelPath, local: &Path) -> Result<RelPath, Failure> {
    let refused = |why: String| Failure::usage(why).of(format_args!("put {}", local.display()));
    let name = local.file_name().ok_or_else(|| refused(t!("it names no file").into_owned()))?;
    let name = name
        .to_str()
        .ok_or_else(|| refused(t!("its name is not UTF-8; give --to a name").into_owned()))?;
    directory.join(name).map_err(|error| refused(error.in_words()))
}

/// What the source of a job is called.
fn shown(job: &PutJob) -> String {
    match is_standard(&job.local) {
        true => t!("standard input").into_owned(),
        false => job.local.display().to_string(),
    }
}

pub(super) fn failure(job: &PutJob, error: &TransferError) -> Failure {
    let local = job.local.display();
    let failure = match error {
        TransferError::Server(ErrorCode::NotFound) => {
            let parent = job.remote.split_last().map_or(RelPath::root(), |(parent, _)| parent);
            let sentence =
                t!("there is no directory %{parent}; make it with berth mkdir", parent = parent);
            Failure::new(Exit::NotFound, sentence).coded(&ErrorCode::NotFound)
        }
        TransferError::Server(
            ErrorCode::AlreadyExists
            | ErrorCode::IsADirectory
            | ErrorCode::NotADirectory
            | ErrorCode::NotServed
            | ErrorCode::UploadBusy,
        ) => Failure::from(error).of(&job.remote),
        _ => Failure { sentence: about(error, &job.local), ..error.into() },
    };
    failure.of(format_args!("put {local}")).at(&job.remote).locally(local)
}

pub(super) fn tell(
    context: &Context,
    progress: &Progress,
    job: &PutJob,
    report: &PutReport,
) -> Result<(), Failure> {
    if context.output.style().json {
        let value = json!({
            "path": job.remote.to_string(),
            "local": job.local.display().to_string(),
            "size": report.size,
            "digest": report.digest.to_string(),
            "resumed_leaves": report.resumed_leaves,
            "moved_leaves": report.moved_leaves,
            "same_leaves": report.same_leaves,
            "started_over": report.started_over,
            "replaced": report.replaced && job.existing != Existing::Append,
            "appended": report.replaced && job.existing == Existing::Append,
            "seconds": report.elapsed.as_secs_f64(),
            "usage": show::usage(&report.usage),
        });
        context.output.json(&value)?;
        // A reader of the pipe learns of each file when it is done.
        return Ok(context.output.flush()?);
    }
    if progress.is_quiet() {
        return Ok(());
    }
    let mut line = format!("{} -> {}: ", shown(job), job.remote);
    line.push_str(&summary(report.size, report.moved_leaves, report.elapsed.as_secs_f64()));
    if report.same_leaves > 0 {
        let same = report.same_leaves.saturating_mul(LEAF_SIZE as u64).min(report.size);
        line.push_str(&t!(", %{same} unchanged", same = human::size(same)));
    }
    match (report.replaced, job.existing) {
        (true, Existing::Append) => line.push_str(&t!(", appended")),
        (true, Existing::Keep | Existing::Replace) => line.push_str(&t!(", replaced")),
        (false, _) => {}
    }
    progress.line(&line);
    Ok(())
}

/// `1.2 GiB in 3.1 s (390.0 MiB/s)`, the rate that of what was moved.
pub(super) fn summary(size: u64, moved_leaves: u64, seconds: f64) -> String {
    let moved = moved_leaves.saturating_mul(LEAF_SIZE as u64).min(size);
    let rate = if seconds > 0.0 { (moved as f64 / seconds) as u64 } else { 0 };
    let (size, rate) = (human::size(size), human::size(rate));
    t!(
        "%{size} in %{seconds} (%{rate}/s)",
        size = size,
        seconds = human::duration(seconds),
        rate = rate
    )
    .into_owned()
}

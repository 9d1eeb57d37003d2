//! `berth get`: files of the home to local paths.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use berth::transfer::{GetJob, GetReport, TransferError, get};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use futures_util::stream::{self, StreamExt as _};
use rust_i18n::t;
use serde_json::json;

use super::{Context, get_to_output, get_tree, put};
use crate::args::GetArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::progress::Progress;
use crate::trees::joined;

pub(super) async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Failure> {
    if args.recursive {
        return get_tree::run(context, args).await;
    }
    if args.writes_stdout() {
        return get_to_output::run(context, args).await;
    }
    let mut jobs = jobs(context, args)?;
    jobs.retain(|job| !context.tries.is_done(&job.local));
    let progress = Progress::new(context.progress, jobs.len(), None);
    let running = jobs.into_iter().map(|job| {
        let file = progress.file(&job.remote.to_string());
        async move {
            let result = get(&context.session, &job, &file.reporter()).await;
            file.end();
            (job, result)
        }
    });
    let mut results = stream::iter(running).buffer_unordered(context.at_once(&args.moving));
    let mut failures = Failures::of_tries(context.output.style(), context.tries.clone());
    while let Some((job, result)) = results.next().await {
        match result {
            Ok(report) => {
                context.tries.done(&job.local);
                tell(context, &progress, &job, &report)?;
            }
            Err(error) => {
                if progress.suspend(|| failures.take(&failure(&job, &error))) {
                    context.tries.done(&job.local);
                }
                // The others come to their ends, if there is another try.
                if error.ends_session() && !context.tries.are_more() {
                    break;
                }
            }
        }
    }
    progress.end();
    Ok(failures.exit())
}

/// Which file goes where.
fn jobs(context: &Context, args: &GetArgs) -> Result<Vec<GetJob>, Failure> {
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from("."));
    let into = to.is_dir();
    let directory = if ends_with_slash(&to) {
        Some(to.as_path())
    } else {
        // Of a name alone the parent is the empty path: the directory that we are in.
        to.parent().filter(|parent| !parent.as_os_str().is_empty())
    };
    if let Some(missing) = directory.filter(|directory| !into && !directory.is_dir()) {
        let missing = missing.display();
        let sentence = t!("there is no such local directory; make it first");
        return Err(Failure::new(Exit::NotFound, sentence).of(&missing).locally(missing));
    }
    if !into && args.files.len() > 1 {
        return Err(no_directory(&to));
    }
    let mut taken = HashSet::new();
    let mut jobs = Vec::with_capacity(args.files.len());
    for typed in &args.files {
        let remote = context.resolve(typed)?;
        let Some(name) = remote.file_name() else {
            let sentence = t!("is a directory; give -r to get it with all that is in it");
            return Err(Failure::new(Exit::Failure, sentence)
                .of(format_args!("get {remote}"))
                .at(&remote));
        };
        let local = if into { joined(&to, name) } else { to.clone() };
        if !taken.insert(local.clone()) {
            return Err(Failure::usage(t!(
                "two of the files would become %{local}",
                local = local.display()
            )));
        }
        jobs.push(GetJob { remote, local, force: args.force });
    }
    Ok(jobs)
}

pub(super) fn no_directory(to: &Path) -> Failure {
    let to = to.display();
    Failure::usage(t!("%{to} is no directory, and several files can only be got into one", to = to))
}

pub(super) fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

pub(super) fn failure(job: &GetJob, error: &TransferError) -> Failure {
    let failure = match error {
        TransferError::Server(ErrorCode::IsADirectory) => Failure::new(
            Exit::Failure,
            t!("is a directory; give -r to get it with all that is in it"),
        )
        .coded(&ErrorCode::IsADirectory),
        _ => error.into(),
    };
    failure.of(format_args!("get {}", job.remote)).at(&job.remote).locally(job.local.display())
}

pub(super) fn tell(
    context: &Context,
    progress: &Progress,
    job: &GetJob,
    report: &GetReport,
) -> Result<(), Failure> {
    if context.output.style().json {
        let value = json!({
            "path": job.remote.to_string(),
            "local": job.local.display().to_string(),
            "size": report.size,
            "digest": report.digest.map(|digest| digest.to_string()),
            "resumed_leaves": report.resumed_leaves,
            "moved_leaves": report.moved_leaves,
            "started_over": report.started_over,
            "replaced": report.replaced,
            "unchanged": report.unchanged,
            "seconds": report.elapsed.as_secs_f64(),
        });
        context.output.json(&value)?;
        return Ok(context.output.flush()?);
    }
    let (from, to) = (RelPath::to_string(&job.remote), job.local.display());
    if report.unchanged {
        progress.line(&t!("%{from} -> %{to}: already there, unchanged", from = from, to = to));
        return Ok(());
    }
    let seconds = report.elapsed.as_secs_f64();
    let mut line = format!("{from} -> {to}: ");
    line.push_str(&put::summary(report.size, report.moved_leaves, seconds));
    if report.replaced {
        line.push_str(&t!(", replaced"));
    }
    progress.line(&line);
    Ok(())
}

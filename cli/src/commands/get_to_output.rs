//! `berth get REMOTE --to -`: files of the home to standard output, one after the other, as `cat` does.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;

use berth::transfer::{TransferError, get_stream};
use rust_i18n::t;

use super::{Context, put};
use crate::args::{Args, GetArgs};
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::progress::Progress;

/// What is wrong with the command line, told before anybody is asked for a password.
pub(super) fn check(args: &Args, get: &GetArgs) -> Result<(), Failure> {
    if !get.writes_stdout() {
        return Ok(());
    }
    if get.recursive {
        return Err(Failure::usage(t!(
            "get --to -: a directory cannot be written to standard output"
        )));
    }
    if args.json {
        return Err(Failure::usage(t!("get --to -: standard output has the file, not JSON")));
    }
    Ok(())
}

pub(super) async fn run(context: &Context, args: &GetArgs) -> Result<Exit, Failure> {
    // Without the buffer of `std`, which looks for the ends of lines.
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let progress = Progress::new(context.progress, args.files.len(), None);
    let mut failures = Failures::new(context.output.style());
    for typed in &args.files {
        let remote = context.resolve(typed)?;
        let file = progress.file(&remote.to_string());
        let (output, reporter) = (output.try_clone()?, file.reporter());
        let result = get_stream(&context.session, &remote, output, &reporter).await;
        file.end();
        match result {
            Ok(report) => {
                let seconds = report.elapsed.as_secs_f64();
                let summary = put::summary(report.size, report.moved_leaves, seconds);
                progress.line(&format!("{remote}: {summary}"));
            }
            // Nobody is left who would read the others.
            Err(TransferError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
                return Err(error.into());
            }
            Err(error) => {
                let failure = Failure::from(&error).of(format_args!("get {remote}")).at(&remote);
                progress.suspend(|| failures.tell(&failure));
                if error.ends_session() || matches!(error, TransferError::Output(_)) {
                    break;
                }
            }
        }
    }
    progress.end();
    Ok(failures.exit())
}

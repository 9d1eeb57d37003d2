//! `berth mv`: files and directories get other paths. Like `mv`, into what is a directory.

use berth::session::RequestError;
use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;

use super::{Context, failed, means_directory};
use crate::args::MvArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Failures};

pub(super) async fn run(context: &Context, args: &MvArgs) -> Result<Exit, Failure> {
    let to = context.resolve(&args.to)?;
    if let [from] = &args.from[..] {
        one(context, args, &context.resolve(from)?, &to).await?;
        return Ok(Exit::Success);
    }
    into_directory(context, &to).await?;
    let mut failures = Failures::new(context.output.style());
    for from in &args.from {
        let from = context.resolve(from)?;
        match one(context, args, &from, &to).await {
            Ok(()) => {}
            // The others would fail like it.
            Err(failure) if context.session.has_ended() => return Err(failure),
            Err(failure) => failures.tell(&failure),
        }
    }
    Ok(failures.exit())
}

async fn one(
    context: &Context,
    args: &MvArgs,
    from: &RelPath,
    to: &RelPath,
) -> Result<(), Failure> {
    let to = target(context, &args.to, from, to.clone()).await?;
    if to == *from {
        let sentence = t!("it is the same path as before");
        return Err(Failure::new(Exit::Failure, sentence).of(format_args!("mv {from}")).at(from));
    }
    let renamed = context.session.rename(from, &to, !args.no_overwrite).await;
    renamed.map_err(|error| {
        failed(&error).of(t!("mv %{from} to %{to}", from = from, to = to)).at(from)
    })
}

/// Several can only go into a directory.
async fn into_directory(context: &Context, to: &RelPath) -> Result<(), Failure> {
    if to.is_root() {
        return Ok(());
    }
    match context.session.stat(to).await {
        Ok(entry) if entry.kind == EntryKind::Directory => Ok(()),
        Ok(_) | Err(RequestError::Server(ErrorCode::NotFound)) => Err(Failure::usage(t!(
            "it is no directory, and several can only be moved into one; make it first"
        ))
        .of(t!("mv to %{to}", to = to))),
        Err(error) => Err(failed(&error).of(t!("mv to %{to}", to = to)).at(to)),
    }
}

/// The new path itself.
async fn target(
    context: &Context,
    typed: &str,
    from: &RelPath,
    to: RelPath,
) -> Result<RelPath, Failure> {
    let into = || match from.file_name() {
        Some(name) => to.join(name).map_err(|error| Failure::usage(error).of("mv")),
        // The home itself cannot be moved; the server says so.
        None => Ok(to.clone()),
    };
    if to.is_root() {
        return into();
    }
    let refused = |error: &RequestError| {
        failed(error).of(t!("mv %{from} to %{to}", from = from, to = to)).at(from)
    };
    let no_directory = || {
        let sentence = t!("%{to} is not a directory", to = to);
        let failure = Failure::new(Exit::Failure, sentence);
        failure.of(t!("mv %{from} to %{to}", from = from, to = to)).at(from)
    };
    match context.session.stat(&to).await {
        Ok(entry) if entry.kind == EntryKind::Directory => into(),
        Ok(_) if means_directory(typed) => Err(no_directory()),
        Ok(_) => Ok(to),
        // A directory may get a new name that is written with a slash, as with mv; a file may not.
        Err(RequestError::Server(ErrorCode::NotFound)) if means_directory(typed) => {
            match context.session.stat(from).await {
                Ok(entry) if entry.kind == EntryKind::Directory => Ok(to),
                Ok(_) => Err(no_directory()),
                Err(error) => Err(refused(&error)),
            }
        }
        Err(RequestError::Server(ErrorCode::NotFound)) => Ok(to),
        Err(error) => Err(refused(&error)),
    }
}

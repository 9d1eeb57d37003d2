//! `berth mv`: a file or directory gets another path. Like `mv`, into what is a directory.

use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;

use super::{Context, failed, means_directory};
use crate::args::MvArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::RequestError;

pub(super) async fn run(context: &Context, args: &MvArgs) -> Result<Exit, Failure> {
    let (from, to) = (context.resolve(&args.from)?, context.resolve(&args.to)?);
    let to = target(context, &args.to, &from, to).await?;
    if to == from {
        let sentence = format!("mv {from}: it is the same path as before");
        return Err(Failure::new(Exit::Failure, sentence).at(&from));
    }
    let renamed = context.session.rename(&from, &to, !args.no_overwrite).await;
    renamed.map_err(|error| failed(&error).of(format_args!("mv {from} to {to}")).at(&from))?;
    Ok(Exit::Success)
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
    let refused =
        |error: &RequestError| failed(error).of(format_args!("mv {from} to {to}")).at(from);
    let no_directory = || {
        let sentence = format!("mv {from} to {to}: {to} is not a directory");
        Failure::new(Exit::Failure, sentence).at(from)
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

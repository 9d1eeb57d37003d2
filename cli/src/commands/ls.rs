//! `berth ls`: directories, printed as they come.

use berth_common::entry::Entry;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;

use super::{Context, Problem, show};
use crate::args::LsArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::RequestError;

/// A directory of up to so many entries is sorted by name; a larger one is printed as it comes,
/// so that it needs no memory and its beginning is there at once.
const MOST_SORTED: usize = 10_000;

pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<Exit, Failure> {
    let here = [".".to_owned()];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let mut first = true;
    context
        .for_each("ls", paths, async |path| {
            let heading = paths.len() > 1 && !context.output.style().json;
            let mut listing = context.session.list(path).await?;
            let mut part = match listing.next_part().await {
                Ok(part) => part,
                Err(RequestError::Server(ErrorCode::NotADirectory)) => {
                    let entry = context.session.stat(path).await?;
                    return print(context, args, &path.to_string(), &path.to_string(), &entry);
                }
                Err(error) => return Err(error.into()),
            };
            if heading {
                let gap = if std::mem::take(&mut first) { "" } else { "\n" };
                context
                    .output
                    .line(&format!("{gap}{}:", context.output.name(&path.to_string())))?;
            }
            let mut waiting = Vec::new();
            let mut sorting = true;
            while let Some(entries) = part {
                waiting.extend(entries);
                if waiting.len() > MOST_SORTED {
                    sorting = false;
                }
                if !sorting {
                    print_all(context, args, path, &mut waiting)?;
                }
                part = listing.next_part().await?;
            }
            waiting.sort_by(|one, other| one.name.cmp(&other.name));
            print_all(context, args, path, &mut waiting)
        })
        .await
}

fn print_all(
    context: &Context,
    args: &LsArgs,
    directory: &RelPath,
    entries: &mut Vec<Entry>,
) -> Result<(), Problem> {
    for entry in entries.drain(..) {
        // A name that cannot be addressed is shown all the same.
        let slash = if directory.is_root() { "" } else { "/" };
        let path = format!("{directory}{slash}{}", entry.name);
        print(context, args, &path, &entry.name, &entry)?;
    }
    Ok(())
}

fn print(
    context: &Context,
    args: &LsArgs,
    path: &str,
    name: &str,
    entry: &Entry,
) -> Result<(), Problem> {
    let output = &context.output;
    if output.style().json {
        return Ok(output.json(&show::entry(path, entry))?);
    }
    let mut line = String::new();
    if args.long {
        let (mode, time) = (show::mode(entry), show::local_time(entry.mtime_ns));
        line = format!("{mode} {:>14} {time} ", entry.size);
    }
    line.push_str(&output.name(name));
    Ok(output.line(&line)?)
}

//! `berth stat`: all that is known of files and directories.

use super::{Context, show};
use crate::args::StatArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;

pub(super) async fn run(context: &Context, args: &StatArgs) -> Result<Exit, Failure> {
    let mut first = true;
    context
        .for_each("stat", &args.paths, async |path| {
            let entry = context.session.stat(path).await?;
            let output = &context.output;
            let path = path.to_string();
            if output.style().json {
                return Ok(output.json(&show::entry(&path, &entry))?);
            }
            if !std::mem::take(&mut first) {
                output.line("")?;
            }
            output.line(&format!("path:   {}", output.name(&path)))?;
            output.line(&format!("kind:   {}", show::kind(entry.kind)))?;
            output.line(&format!("size:   {} ({})", entry.size, human::size(entry.size)))?;
            output.line(&format!("mode:   {:04o} ({})", entry.mode, show::mode(&entry)))?;
            output.line(&format!("mtime:  {}", show::utc_time(entry.mtime_ns)))?;
            if let Some(digest) = entry.digest {
                output.line(&format!("digest: {digest}"))?;
            }
            if let Some(note) = &entry.note {
                output.line(&format!("note:   {}", output.name(note.as_str())))?;
            }
            Ok(())
        })
        .await
}

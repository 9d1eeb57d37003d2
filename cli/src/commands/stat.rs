//! `berth stat`: all that is known of files and directories.

use rust_i18n::t;

use super::{Context, show};
use crate::args::StatArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::columns::left;

/// How wide the column of the names is.
const WIDTH_OF_NAMES: usize = 8;

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
            let mut rows = vec![
                (t!("path"), output.name(&path).into_owned()),
                (t!("kind"), t!(show::kind(entry.kind)).into_owned()),
                (t!("size"), format!("{} ({})", entry.size, human::size(entry.size))),
                (t!("mode"), format!("{:04o} ({})", entry.mode, show::mode(&entry))),
                (t!("mtime"), show::utc_time(entry.mtime_ns)),
            ];
            rows.extend(entry.digest.map(|digest| (t!("digest"), digest.to_string())));
            let note = entry.note.as_ref().map(|note| output.name(note.as_str()).into_owned());
            rows.extend(note.map(|note| (t!("note"), note)));
            for (name, value) in rows {
                output.line(&format!("{}{value}", left(&format!("{name}:"), WIDTH_OF_NAMES)))?;
            }
            Ok(())
        })
        .await
}

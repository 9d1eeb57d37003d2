//! `berth note`: the note that is kept with a file, shown, changed or taken away.

use berth::session::RequestError;
use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::note::{Note, NoteChange};
use serde_json::json;

use super::{Context, Problem};
use crate::args::NoteArgs;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(context: &Context, args: &NoteArgs) -> Result<Exit, Failure> {
    let paths = std::slice::from_ref(&args.path);
    context
        .for_each("note", paths, async |path| match args.change() {
            Some(NoteChange::Set(note)) => Ok(context.session.set_note(path, Some(note)).await?),
            Some(NoteChange::Remove) => Ok(context.session.set_note(path, None).await?),
            None | Some(NoteChange::Keep) => {
                let entry = context.session.stat(path).await?;
                let refused = match entry.kind {
                    EntryKind::File => None,
                    EntryKind::Directory => Some(ErrorCode::IsADirectory),
                    EntryKind::Symlink | EntryKind::Other => Some(ErrorCode::NotServed),
                };
                match refused {
                    Some(code) => Err(RequestError::Server(code).into()),
                    None => show(context, &path.to_string(), entry.note.as_ref()),
                }
            }
        })
        .await
}

/// Of a file without a note nothing is printed.
fn show(context: &Context, path: &str, note: Option<&Note>) -> Result<(), Problem> {
    let output = &context.output;
    if output.style().json {
        let value = json!({ "path": path, "note": note.map(Note::as_str) });
        return Ok(output.json(&value)?);
    }
    match note {
        Some(note) => Ok(output.line(&output.name(note.as_str()))?),
        None => Ok(()),
    }
}

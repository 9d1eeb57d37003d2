//! What the tally calls the operations. Pure.

use berth_common::entry::Existing;
use berth_common::limits::SMALL_UPLOAD_BYTES;

use super::plan::{Action, BrokenOff};

/// One of a batch.
#[must_use]
pub fn kind_in_batch(action: &Action) -> &'static str {
    match action {
        Action::Put { .. } => "in a batch: put",
        Action::MakeDirectory { .. } => "in a batch: mkdir",
        Action::Remove { .. } => "in a batch: remove",
        Action::Rename { .. } => "in a batch: rename",
        _ => "in a batch: another",
    }
}

/// An operation by itself.
#[must_use]
pub fn kind(action: &Action) -> &'static str {
    match action {
        Action::Batch { .. } => "batch",
        Action::Put { streams: true, broken_off: Some(_), .. } => "stream, hung up half way",
        Action::Put { streams: true, existing: Existing::Append, .. } => "stream, appended",
        Action::Put { streams: true, .. } => "stream",
        Action::Put { broken_off: Some(BrokenOff { hangs: true, .. }), .. } => {
            "put, silent half way"
        }
        Action::Put { broken_off: Some(_), .. } => "put, hung up half way",
        Action::Put { existing: Existing::Append, size, .. } if *size > SMALL_UPLOAD_BYTES => {
            "append, resumable"
        }
        Action::Put { existing: Existing::Append, .. } => "append",
        Action::Put { existing: Existing::Keep, .. } => "put without overwriting",
        Action::Put { size, .. } if *size > SMALL_UPLOAD_BYTES => "put, resumable",
        Action::Put { .. } => "put",
        Action::Resume { same_token: true, .. } => "resume, same token",
        Action::Resume { .. } => "resume, other token",
        Action::Abort { .. } => "abort",
        Action::MakeDirectory { parents: true, .. } => "mkdir with parents",
        Action::MakeDirectory { .. } => "mkdir",
        Action::Remove { recursive: true, .. } => "remove, recursive",
        Action::Remove { .. } => "remove",
        Action::Rename { overwrite: true, .. } => "rename, overwriting",
        Action::Rename { .. } => "rename",
        Action::Get { .. } => "get",
        Action::List { .. } => "list",
        Action::Usage => "usage",
    }
}

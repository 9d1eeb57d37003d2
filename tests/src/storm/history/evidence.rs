//! What a round's operations tell of each other, whatever order they happened in. Pure.

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;

use super::{End, Operation};
use crate::storm::content::Content;
use crate::storm::tree::Step;

/// So often the filer (`append.rs`) joins an append to a file that somebody else then changes, until it is refused.
const TRIES: usize = 4;

/// Whether this operation was cut off and cannot have happened: what it had sent was there to be
/// resumed afterwards, and nobody else had sent it meanwhile.
pub(super) fn is_disproved(operation: &Operation, all: &[Operation]) -> bool {
    let Some(content) = content_of(operation).filter(|_| operation.end == End::CutOff) else {
        return false;
    };
    let of_same = |other: &&Operation| content_of(other) == Some(content);
    all.iter().filter(of_same).any(|resuming| {
        // A part of it that the server had was received by one that had begun before this end, or
        // else by a third one.
        let third = |other: &&Operation| {
            let is_either = other.begun == operation.begun || other.begun == resuming.begun;
            !is_either && other.ended > operation.begun && other.begun < resuming.ended
        };
        resuming.resumed
            && resuming.begun > operation.ended
            && !all.iter().filter(of_same).any(|other| third(&other))
    })
}

/// Whether an append that gave way to others was beside so many of them.
pub(super) fn had_to_give_way(operation: &Operation, all: &[Operation]) -> bool {
    let [Step::Put { path, existing: Existing::Append, .. }] = operation.steps.as_slice() else {
        return true;
    };
    if operation.end != End::Refused(ErrorCode::Busy) {
        return true;
    }
    let changes_it = |step: &Step| {
        let reaches = |other: &&berth_common::rel_path::RelPath| other.contains(path);
        step.changes() && step.paths().iter().any(reaches)
    };
    let beside = all.iter().filter(|other| {
        let may_have_happened = match other.end {
            End::Acknowledged => other.ended > operation.begun,
            // It may happen later than its client has lost it.
            End::CutOff => true,
            End::Refused(_) | End::NotAsked => false,
        };
        may_have_happened && other.begun < operation.ended && other.steps.iter().any(changes_it)
    });
    beside.count() >= TRIES
}

fn content_of(operation: &Operation) -> Option<Content> {
    match operation.steps.as_slice() {
        [Step::Put { content, .. }] => Some(*content),
        _ => None,
    }
}

//! Replay's decision: what a row's own staging name tells about what happened. Pure.
//!
//! It is the table under "Recovery" in `docs/LEDGER.md`, and looks at nothing but what a recovering filer
//! found at the name that the daemon minted. "Missing" stays true whatever other sessions do in the
//! home meanwhile, and an inode number cannot be reused while both inodes of an exchange are alive.

use berth_common::ledger_protocol::Finding;
use berth_common::points::{Rule, is_off};

use super::model::{IntentKind, IntentRow};

/// What replay found out about an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// By how much the sums change; `None` when it had not happened.
    pub(super) settled: Option<Settled>,
    /// Whether what stands at the name (and the journal beside it) is to be removed, and when.
    pub(crate) removal: Removal,
}

impl Verdict {
    /// Whether the change of the home was made.
    pub(crate) fn happened(&self) -> bool {
        self.settled.is_some()
    }

    /// Bytes that stand at the name of an intent of this kind until they are removed, after the settle;
    /// `None` where nothing does.
    pub(super) fn left(&self, kind: IntentKind) -> Option<i64> {
        if self.removal != Removal::After {
            return None;
        }
        let staged = match kind {
            IntentKind::Stage { size, .. } => size.cast_signed(),
            IntentKind::Take | IntentKind::Over => 0,
        };
        // What came in less what went out is the change; what went out stands there.
        let change = self.settled.map_or(0, |settled| settled.bytes);
        Some(staged.saturating_sub(change))
    }
}

/// By how much the sums change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) bytes: i64,
    pub(super) entries: i64,
}

/// When what stands at an intent's name is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Never: nothing stands there, or an upload that may be resumed.
    Nothing,
    /// Before the row is dropped: a pin left over would make the next rename-over read "2 links"
    /// (R16).
    Before,
    /// After the verdict is settled: while the row is there, "missing" would be misread (R8, R9).
    After,
}

/// A finding that no course of the protocol leads to. Nothing may be settled by it: the user's
/// changes are to be stopped until an administrator has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what stands at staging name {} fits no course of its intent", .0.name.file_name())]
pub(crate) struct Unexplained(pub(crate) IntentRow);

/// Reads an intent's state from its own name.
///
/// # Errors
/// [`Unexplained`] for a directory where a file's pin belongs, and for sizes that no file has.
pub(crate) fn decide(row: &IntentRow, finding: &Finding) -> Result<Verdict, Unexplained> {
    let happened = |bytes: Option<i64>, entries: Option<i64>, removal| match (bytes, entries) {
        (Some(bytes), Some(entries)) => {
            Ok(Verdict { settled: Some(Settled { bytes, entries }), removal })
        }
        _ => Err(Unexplained(*row)),
    };
    let not_happened = |removal| Ok(Verdict { settled: None, removal });
    let signed = |number: u64| i64::try_from(number).ok();
    match (row.kind, *finding) {
        // The staged inode is not in staging any more, so it is in the home. Its journal may be
        // left.
        (IntentKind::Stage { size, .. }, Finding::Missing) => {
            let removal = if row.resumable { Removal::After } else { Removal::Nothing };
            happened(signed(size), Some(1), removal)
        }
        (
            IntentKind::Stage { inode: staged, .. },
            Finding::File { inode, .. } | Finding::Directory { inode, .. },
        ) if inode == staged || is_off(Rule::R3) => {
            not_happened(if row.resumable { Removal::Nothing } else { Removal::After })
        }
        // The exchange put here what stood in the home.
        (IntentKind::Stage { size, .. }, Finding::File { size: displaced, .. }) => {
            let bytes = signed(size).zip(signed(displaced)).map(|(new, old)| new - old);
            happened(bytes, Some(0), Removal::After)
        }
        (IntentKind::Stage { size, .. }, Finding::Directory { bytes, entries, .. }) => {
            let bytes = signed(size).zip(signed(bytes)).map(|(new, old)| new - old);
            happened(bytes, signed(entries).map(|old| 1 - old), Removal::After)
        }
        (IntentKind::Take | IntentKind::Over, Finding::Missing) => not_happened(Removal::Nothing),
        (IntentKind::Take, Finding::File { size, .. }) => {
            happened(signed(size).map(|size| -size), Some(-1), Removal::After)
        }
        (IntentKind::Take, Finding::Directory { bytes, entries, .. }) => {
            let (bytes, entries) = (signed(bytes).map(|n| -n), signed(entries).map(|n| -n));
            happened(bytes, entries, Removal::After)
        }
        // With two links the pin was made and the old file still has its name in the home.
        (IntentKind::Over, Finding::File { links: 1, size, .. }) => {
            happened(signed(size).map(|size| -size), Some(-1), Removal::After)
        }
        (IntentKind::Over, Finding::File { .. }) => not_happened(Removal::Before),
        (IntentKind::Over, Finding::Directory { .. }) => Err(Unexplained(*row)),
    }
}

#[cfg(test)]
mod tests {
    use berth_common::ids::StagingName;

    use super::*;

    #[test]
    fn reads_every_state_of_every_kind_of_row() {
        let file = |inode, size, links| Finding::File { inode, size, links };
        let directory = |inode, bytes, entries| Finding::Directory { inode, bytes, entries };
        let happened = |bytes, entries, removal| {
            Ok(Verdict { settled: Some(Settled { bytes, entries }), removal })
        };
        let not = |removal| Ok(Verdict { settled: None, removal });
        let put = IntentKind::Stage { inode: 7, size: 5 };
        let mkdir = IntentKind::Stage { inode: 7, size: 0 };
        let (take, over) = (IntentKind::Take, IntentKind::Over);
        let huge = u64::MAX;
        let unexplained = Err(());
        use Removal::{After, Before, Nothing};

        let table = [
            // kind, resumable, finding, verdict
            (put, false, file(7, 5, 1), not(After)),
            (put, true, file(7, 5, 1), not(Nothing)),
            (put, false, Finding::Missing, happened(5, 1, Nothing)),
            (put, true, Finding::Missing, happened(5, 1, After)),
            (put, false, file(8, 2, 1), happened(3, 0, After)),
            (put, true, file(8, 9, 1), happened(-4, 0, After)),
            (put, true, directory(8, 9, 3), happened(-4, -2, After)),
            (put, false, file(8, huge, 1), unexplained),
            (mkdir, false, directory(7, 0, 1), not(After)),
            (mkdir, false, Finding::Missing, happened(0, 1, Nothing)),
            (take, false, Finding::Missing, not(Nothing)),
            (take, false, file(9, 4, 1), happened(-4, -1, After)),
            (take, false, file(9, 0, 2), happened(0, -1, After)),
            (take, false, directory(9, 40, 6), happened(-40, -6, After)),
            (take, false, directory(9, huge, 6), unexplained),
            (over, false, Finding::Missing, not(Nothing)),
            (over, false, file(9, 4, 2), not(Before)),
            (over, false, file(9, 4, 3), not(Before)),
            (over, false, file(9, 4, 1), happened(-4, -1, After)),
            (over, false, directory(9, 0, 1), unexplained),
        ];
        for (kind, resumable, finding, expected) in table {
            let row = IntentRow { name: StagingName(1), kind, resumable };
            let verdict = decide(&row, &finding);
            assert_eq!(verdict.map_err(|_| ()), expected, "{row:?} {finding:?}");
        }
    }
}

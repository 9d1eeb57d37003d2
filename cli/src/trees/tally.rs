//! What came of a tree, in numbers and in one line.

use std::time::Duration;

use rust_i18n::t;
use serde_json::{Value, json};

use crate::human;
use crate::language::message;

/// What came of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were moved.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of them that were sent or received now, and not by an earlier try.
    pub moved: u64,
    /// Files that were there already.
    pub unchanged: u64,
    /// Files and directories that were removed, each with all that was in it.
    pub deleted: u64,
    /// Directories that were made or were there.
    pub directories: u64,
    /// What is neither a file nor a directory, and was left out.
    pub skipped: u64,
    /// Failures that were told: files, or directories with all that is in them.
    pub failed: u64,
}

impl Tally {
    /// `120 files (1.2 MiB) and 7 directories in 3.1 s (390.0 KiB/s), 2 skipped, 1 failed`.
    #[must_use]
    pub fn line(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { (self.moved as f64 / seconds) as u64 } else { 0 };
        let files = human::count(
            usize_of(self.files),
            message!("%{number} file"),
            message!("%{number} files"),
        );
        let directories = human::count(
            usize_of(self.directories),
            message!("%{number} directory"),
            message!("%{number} directories"),
        );
        let mut line = t!(
            "%{files} (%{bytes}) and %{directories} in %{took} (%{rate}/s)",
            files = files,
            bytes = human::size(self.bytes),
            directories = directories,
            took = human::duration(seconds),
            rate = human::size(rate)
        )
        .into_owned();
        let others = [
            (self.unchanged, message!(", %{number} unchanged")),
            (self.deleted, message!(", %{number} deleted")),
            (self.skipped, message!(", %{number} skipped")),
            (self.failed, message!(", %{number} failed")),
        ];
        for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
            line.push_str(&t!(what, number = number));
        }
        line
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self, elapsed: Duration) -> Value {
        json!({ "summary": {
            "files": self.files,
            "bytes": self.bytes,
            "moved_bytes": self.moved,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "directories": self.directories,
            "skipped": self.skipped,
            "failed": self.failed,
            "seconds": elapsed.as_secs_f64(),
        }})
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_only_what_happened() {
        let second = Duration::from_secs(2);
        let mut tally =
            Tally { files: 1, bytes: 4096, moved: 4096, directories: 2, ..Tally::default() };
        assert_eq!(tally.line(second), "1 file (4.0 KiB) and 2 directories in 2.0 s (2.0 KiB/s)");
        (tally.skipped, tally.failed, tally.unchanged, tally.deleted) = (3, 1, 5, 2);
        assert!(tally.line(second).ends_with(", 5 unchanged, 2 deleted, 3 skipped, 1 failed"));
        assert!(!tally.line(Duration::ZERO).contains("inf"));
        assert_eq!(tally.json(second)["summary"]["skipped"], 3);
    }
}

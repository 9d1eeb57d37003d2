//! The history of the shell's lines: a file in the state directory that others cannot read.
//!
//! A line that begins with a blank is not kept, as in many shells; passwords and answers to questions
//! never come here. Where the file cannot be written, the shell goes without it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use berth::private_file::{make_private, write_private};

use crate::dirs;

/// Most lines that are kept.
pub(super) const MOST_LINES: usize = 1000;

/// Longest line that is kept, in bytes.
const LONGEST: usize = 4096;

/// The file; several shells may add to it at once.
#[derive(Debug, Default)]
pub(super) struct History {
    path: Option<PathBuf>,
    last: Option<String>,
}

impl History {
    /// The history of this user, and its lines from the oldest on.
    pub(super) fn of_the_user() -> (Self, Vec<String>) {
        match dirs::state() {
            Some(directory) => Self::load(&directory),
            None => (Self::default(), Vec::new()),
        }
    }

    fn load(directory: &Path) -> (Self, Vec<String>) {
        let path = directory.join("history");
        let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut lines: Vec<String> =
            text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        let spare = lines.len().saturating_sub(MOST_LINES);
        if spare > 0 {
            lines.drain(..spare);
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            // What cannot be shortened is read again next time.
            let _ = write_private(&path, text.as_bytes());
        }
        (Self { path: Some(path), last: lines.last().cloned() }, lines)
    }

    /// Keeps a line, unless it is one that is not kept. Tells whether it was.
    pub(super) fn keep(&mut self, line: &str) -> bool {
        let kept = !line.is_empty()
            && !line.starts_with(char::is_whitespace)
            && !line.contains(char::is_control)
            && line.len() <= LONGEST
            && self.last.as_deref() != Some(line);
        if kept {
            self.last = Some(line.to_owned());
            // Without a file the line is known until the shell ends.
            let _ = self.append(line);
        }
        kept
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        if let Some(directory) = path.parent() {
            make_private(directory)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // In one write, so that lines of two shells do not mix.
        file.write_all(format!("{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_kept_in_a_file_that_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (mut history, lines) = History::load(&state);
        assert!(lines.is_empty());
        for (line, kept) in [
            ("ls", true),
            ("ls", false),
            ("put 'a b'", true),
            (" put secret", false),
            ("", false),
            ("a\tb", false),
            ("ls", true),
        ] {
            assert_eq!(history.keep(line), kept, "{line:?}");
        }
        assert!(!history.keep(&"x".repeat(LONGEST + 1)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state.join("history")), mode(&state)), (0o600, 0o700));
        assert_eq!(History::load(&state).1, ["ls", "put 'a b'", "ls"]);
    }

    #[test]
    fn only_the_newest_lines_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (mut history, _) = History::load(dir.path());
        for number in 0..MOST_LINES + 5 {
            assert!(history.keep(&format!("ls {number}")));
        }
        let (_, lines) = History::load(dir.path());
        assert_eq!((lines.len(), lines[0].as_str()), (MOST_LINES, "ls 5"));
        let text = fs::read_to_string(dir.path().join("history")).unwrap();
        assert_eq!(text.lines().count(), MOST_LINES);
    }
}

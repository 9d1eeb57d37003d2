//! The two programs that the daemon starts: their names on the disk, in the process list, in the log and in
//! `berthctl status`.

use std::fmt;

/// A helper's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `berth-worker` speaks with a client.
    Worker,
    /// `berth-filer` holds a user's files.
    Filer,
}

impl Program {
    /// The name of its file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "berth-worker",
            Self::Filer => "berth-filer",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

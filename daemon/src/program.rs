//! The three programs that the daemon starts: their names on the disk, in the process list, in the log and in
//! `berthctl status`.

use std::fmt;

/// A helper's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `berth-worker` speaks with a client.
    Worker,
    /// `berth-filer` holds a user's files.
    Filer,
    /// `berth-jail` runs a program that a user may run.
    Jail,
}

impl Program {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Worker, Self::Filer, Self::Jail];

    /// The name of its file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "berth-worker",
            Self::Filer => "berth-filer",
            Self::Jail => "berth-jail",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

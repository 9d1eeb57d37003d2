//! How `berth` ends: the documented exit codes, and the failures that choose one.

use std::fmt;
use std::process::ExitCode;

use berth_common::error_code::ErrorCode;

/// The exit codes of `berth`. Where several things failed, the first one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Success = 0,
    /// Any failure that has no code of its own.
    Failure = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The server could not be reached, or the connection was lost.
    Connect = 3,
    /// User or password were refused, or the server takes nobody from here now.
    Login = 4,
    /// Nothing stands at the path.
    NotFound = 5,
    /// A quota or a disk has no room.
    NoRoom = 6,
    /// Data differs from its MD5, also when sent again.
    Integrity = 7,
    /// The server is not the one it was, or is unknown.
    Identity = 8,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// The table for `berth --help` and the manual page.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    everything asked for was done
  1    another failure
  2    the command line is wrong
  3    the server cannot be reached, or the connection was lost
  4    the login was refused
  5    a file or directory does not exist
  6    over quota, or a disk is full
  7    data differs from its MD5, also when sent again
  8    the server's certificate is unknown or has changed
  130  interrupted
Where several things fail, the first failure decides.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code for what a server refused a request with.
    #[must_use]
    pub fn of_server_error(error: &ErrorCode) -> Self {
        match error {
            ErrorCode::NotFound | ErrorCode::NoSuchUpload => Self::NotFound,
            ErrorCode::QuotaExceeded { .. } | ErrorCode::DiskFull => Self::NoRoom,
            ErrorCode::IntegrityMismatch { .. } => Self::Integrity,
            ErrorCode::LoginRefused
            | ErrorCode::TooManyFailures { .. }
            | ErrorCode::TooManySessions { .. } => Self::Login,
            ErrorCode::Stalled { .. }
            | ErrorCode::TimedOut
            | ErrorCode::Ended
            | ErrorCode::ShuttingDown
            | ErrorCode::Version
            | ErrorCode::Protocol => Self::Connect,
            ErrorCode::AlreadyExists
            | ErrorCode::NotADirectory
            | ErrorCode::IsADirectory
            | ErrorCode::DirectoryNotEmpty
            | ErrorCode::NotServed
            | ErrorCode::PathInvalid
            | ErrorCode::NotPossible
            | ErrorCode::UploadBusy
            | ErrorCode::SourceChanged
            | ErrorCode::PasswordRefused
            | ErrorCode::TooManyTransfers { .. }
            | ErrorCode::ReadOnly
            | ErrorCode::Busy
            | ErrorCode::LedgerUnavailable
            | ErrorCode::Cancelled
            | ErrorCode::Internal => Self::Failure,
        }
    }
}

/// A failure as it is told: one sentence that names the thing, and the code it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The sentence, without the `berth: ` before it. Empty when there is nothing to say.
    pub sentence: String,
}

impl Failure {
    /// A failure with this sentence.
    #[must_use]
    pub fn new(exit: Exit, sentence: impl fmt::Display) -> Self {
        Self {
            exit,
            sentence: sentence.to_string(),
        }
    }

    /// A command line that cannot be carried out.
    #[must_use]
    pub fn usage(sentence: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// The same failure with what it happened to put before it.
    #[must_use]
    pub fn of(self, what: impl fmt::Display) -> Self {
        Self {
            sentence: format!("{what}: {}", self.sentence),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Standard output cannot be written. A reader that has seen enough (`berth ls | head`) is told
/// nothing, as with other tools.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Failure, "");
        }
        Self::new(Exit::Failure, format!("cannot write the output: {error}"))
    }
}

/// Collects failures of a command that goes on after one: the first decides.
#[derive(Debug, Default)]
pub struct Failures {
    first: Option<Exit>,
}

impl Failures {
    /// Tells a failure at once and remembers its code.
    pub fn tell(&mut self, failure: &Failure) {
        tell(failure);
        self.first.get_or_insert(failure.exit);
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.first.unwrap_or(Exit::Success)
    }
}

/// Prints a failure as `berth: sentence`.
pub fn tell(failure: &Failure) {
    if !failure.sentence.is_empty() {
        crate::output::complain(&format!("berth: {failure}"));
    }
}

#[cfg(test)]
mod tests {
    use berth_common::error_code::Resource;

    use super::*;

    #[test]
    fn the_first_failure_decides() {
        let mut failures = Failures::default();
        assert_eq!(failures.exit(), Exit::Success);
        failures.tell(&Failure::new(Exit::NotFound, ""));
        failures.tell(&Failure::new(Exit::NoRoom, ""));
        assert_eq!(failures.exit(), Exit::NotFound);
    }

    #[test]
    fn codes_are_those_that_are_documented() {
        let codes = [
            (Exit::Success, 0),
            (Exit::Failure, 1),
            (Exit::Usage, 2),
            (Exit::Connect, 3),
            (Exit::Login, 4),
            (Exit::NotFound, 5),
            (Exit::NoRoom, 6),
            (Exit::Integrity, 7),
            (Exit::Identity, 8),
            (Exit::Interrupted, 130),
        ];
        for (exit, number) in codes {
            assert_eq!(exit as u8, number);
            assert!(EXIT_CODES.contains(&format!("\n  {number} ")), "{number}");
        }
    }

    #[test]
    fn what_the_server_says_has_its_code() {
        let quota = ErrorCode::QuotaExceeded {
            resource: Resource::Bytes,
            limit: 1,
            used: 1,
            reserved: 0,
            requested: 1,
        };
        let table = [
            (ErrorCode::NotFound, Exit::NotFound),
            (quota, Exit::NoRoom),
            (ErrorCode::DiskFull, Exit::NoRoom),
            (ErrorCode::IntegrityMismatch { offset: 1 }, Exit::Integrity),
            (ErrorCode::LoginRefused, Exit::Login),
            (ErrorCode::ShuttingDown, Exit::Connect),
            (ErrorCode::AlreadyExists, Exit::Failure),
        ];
        for (error, exit) in table {
            assert_eq!(Exit::of_server_error(&error), exit, "{error:?}");
        }
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(failure.sentence, "");
    }
}

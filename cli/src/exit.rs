//! How `berth` ends: the documented exit codes. The failures that choose one are in `failure`.

use std::process::ExitCode;

use berth_common::error_code::ErrorCode;

/// The exit codes of `berth`. Where several things failed, the first one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Success,
    /// Any failure that has no code of its own.
    Failure,
    /// The command line was wrong.
    Usage,
    /// The server could not be reached, or the connection was lost.
    Connect,
    /// User or password were refused, or the server takes nobody from here now.
    Login,
    /// Nothing stands at the path.
    NotFound,
    /// A quota or a disk has no room.
    NoRoom,
    /// Data differs from its MD5, also when sent again.
    Integrity,
    /// The server is not the one it was, or is unknown.
    Identity,
    /// The connection was lost when it could have been done or not, and doing it again would do it twice.
    Unknown,
    /// The server ended a program that ran into a limit, as timeout(1) says it.
    Limit,
    /// The server does not run a program, or not now, as a shell says it.
    NotRun,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted,
    /// What a program that ran at the server ended with: its exit code, or 128 and its signal's number.
    Program(u8),
}

/// The table for `berth --help`, the manual page and `README.md`.
pub const EXIT_CODES: &[(Exit, &str)] = &[
    (Exit::Success, "everything asked for was done"),
    (Exit::Failure, "another failure"),
    (Exit::Usage, "the command line is wrong, or there is no password"),
    (Exit::Connect, "the server cannot be reached, or the connection was lost"),
    (Exit::Login, "the login was refused"),
    (Exit::NotFound, "a file or directory does not exist, here or there"),
    (Exit::NoRoom, "over quota, or a disk is full, here or there"),
    (Exit::Integrity, "data differs from its MD5, also when sent again"),
    (Exit::Identity, "the server's certificate is unknown, or not the expected one"),
    (Exit::Unknown, "it is unknown whether an append or a join was done: look before repeating it"),
    (Exit::Limit, "exec: the server ended the program, which ran into a limit"),
    (Exit::NotRun, "exec: the server does not run the program, or not now"),
    (Exit::Interrupted, "interrupted; a put or get that is repeated goes on"),
];

/// [`EXIT_CODES`] as text.
#[must_use]
pub fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (exit, meaning) in EXIT_CODES {
        text.push_str(&format!("  {:<4} {meaning}\n", exit.code()));
    }
    text.push_str(
        "All others are of the program that exec ran: its own, or 128 and a signal's number.\n",
    );
    text.push_str("Where several things fail, the first failure decides.");
    text
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Connect => 3,
            Self::Login => 4,
            Self::NotFound => 5,
            Self::NoRoom => 6,
            Self::Integrity => 7,
            Self::Identity => 8,
            Self::Unknown => 9,
            Self::Limit => 124,
            Self::NotRun => 126,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }

    /// The code for what a server refused a request with.
    #[must_use]
    pub fn of_server_error(error: &ErrorCode) -> Self {
        match error {
            ErrorCode::NotFound | ErrorCode::NoSuchUpload => Self::NotFound,
            ErrorCode::QuotaExceeded { .. }
            | ErrorCode::TooManyUploads { .. }
            | ErrorCode::DiskFull
            | ErrorCode::NoRoomForNote => Self::NoRoom,
            ErrorCode::IntegrityMismatch { .. } | ErrorCode::DigestMismatch => Self::Integrity,
            ErrorCode::LoginRefused
            | ErrorCode::NotInvited
            | ErrorCode::TooManyFailures { .. }
            | ErrorCode::TooManySessions { .. } => Self::Login,
            ErrorCode::ProgramNotAllowed
            | ErrorCode::ExecUnavailable
            | ErrorCode::TooManyPrograms { .. } => Self::NotRun,
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
            | ErrorCode::TooManyDevices { .. }
            | ErrorCode::NameTaken
            | ErrorCode::OtherName
            | ErrorCode::TooManyTransfers { .. }
            | ErrorCode::ReadOnly
            | ErrorCode::Busy
            | ErrorCode::LedgerUnavailable
            | ErrorCode::Cancelled
            | ErrorCode::Internal => Self::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::error_code::Resource;

    use super::*;

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
            (Exit::Unknown, 9),
            (Exit::Limit, 124),
            (Exit::NotRun, 126),
            (Exit::Interrupted, 130),
        ];
        for (exit, number) in codes {
            assert_eq!(exit.code(), number);
            assert!(exit_codes().contains(&format!("\n  {number} ")), "{number}");
        }
        assert_eq!(
            codes.map(|(exit, _)| exit)[..],
            EXIT_CODES.iter().map(|(exit, _)| *exit).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let row = |(exit, meaning): &(Exit, &str)| format!("| {} | {meaning} |\n", exit.code());
        let table: String = EXIT_CODES.iter().map(row).collect();
        assert!(readme.contains(&table), "README.md should have\n{table}");
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
            (ErrorCode::DigestMismatch, Exit::Integrity),
            (ErrorCode::LoginRefused, Exit::Login),
            (ErrorCode::ShuttingDown, Exit::Connect),
            (ErrorCode::AlreadyExists, Exit::Failure),
        ];
        for (error, exit) in table {
            assert_eq!(Exit::of_server_error(&error), exit, "{error:?}");
        }
    }
}

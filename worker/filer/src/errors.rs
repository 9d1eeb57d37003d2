//! From the kernel's error numbers to the closed set of errors that a client may learn.

use std::fmt;
use std::io::Write as _;

use berth_common::error_code::ErrorCode;
use rustix::io::Errno;

/// Most bytes of a reason that the daemon is told.
const REASON_BYTES: usize = 1024;

/// What a client is told of a failed call on a path. What is not in the table is a fault of the server's
/// and told as `Internal`.
pub(crate) fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::NOENT => ErrorCode::NotFound,
        Errno::NOTDIR => ErrorCode::NotADirectory,
        Errno::ISDIR => ErrorCode::IsADirectory,
        Errno::EXIST => ErrorCode::AlreadyExists,
        Errno::NOTEMPTY => ErrorCode::DirectoryNotEmpty,
        // A symbolic link on the way, another file system, or a mode that an administrator set.
        Errno::LOOP | Errno::XDEV | Errno::ACCESS | Errno::PERM => ErrorCode::NotServed,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorCode::DiskFull,
        Errno::NAMETOOLONG => ErrorCode::PathInvalid,
        _ => ErrorCode::Internal,
    }
}

/// As [`code`], with a line for the operator where the client learns nothing useful.
pub(crate) fn report(doing: &str, errno: Errno) -> ErrorCode {
    let code = code(errno);
    if code == ErrorCode::Internal || matches!(errno, Errno::ACCESS | Errno::PERM) {
        log(format_args!("cannot {doing}: {errno}"));
    }
    code
}

/// Writes one line into the pipe that the daemon logs, escapes and caps. A pipe that is gone is ignored.
pub(crate) fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "berth-filer: {line}");
}

/// A reason, short enough to be told in any message.
pub(crate) fn shortened(mut reason: String) -> String {
    while reason.len() > REASON_BYTES {
        reason.pop();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let cut = shortened(format!("x{}", "ü".repeat(REASON_BYTES)));
        assert_eq!(cut.len(), REASON_BYTES - 1);
    }

    #[test]
    fn every_number_that_a_path_call_gives_has_its_code() {
        let table = [
            (Errno::NOENT, ErrorCode::NotFound),
            (Errno::NOTDIR, ErrorCode::NotADirectory),
            (Errno::ISDIR, ErrorCode::IsADirectory),
            (Errno::LOOP, ErrorCode::NotServed),
            (Errno::XDEV, ErrorCode::NotServed),
            (Errno::ACCESS, ErrorCode::NotServed),
            (Errno::PERM, ErrorCode::NotServed),
            (Errno::NOSPC, ErrorCode::DiskFull),
            (Errno::DQUOT, ErrorCode::DiskFull),
            (Errno::FBIG, ErrorCode::DiskFull),
            (Errno::NAMETOOLONG, ErrorCode::PathInvalid),
            (Errno::EXIST, ErrorCode::AlreadyExists),
            (Errno::NOTEMPTY, ErrorCode::DirectoryNotEmpty),
            (Errno::IO, ErrorCode::Internal),
            (Errno::MFILE, ErrorCode::Internal),
        ];
        for (errno, expected) in table {
            assert_eq!(code(errno), expected, "{errno}");
        }
    }
}

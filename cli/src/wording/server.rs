//! What a server refuses a request with, as sentences for people.
//!
//! The server sends no text: a closed code crosses the wire, with its numbers, and each side has its own words for it.

use std::borrow::Cow;

use berth_common::error_code::{ErrorCode, Resource};
use rust_i18n::t;

use super::InWords;
use crate::human;

impl InWords for ErrorCode {
    fn in_words(&self) -> String {
        sentence(self)
    }
}

/// A refusal of the server's as a sentence for people: sizes have units, and are exact only where
/// rounded ones would hide what is missing.
#[must_use]
fn sentence(code: &ErrorCode) -> String {
    match code {
        ErrorCode::NotFound => t!("no such file or directory"),
        ErrorCode::AlreadyExists => t!("already exists"),
        ErrorCode::NotADirectory => t!("a part of the path is not a directory"),
        ErrorCode::IsADirectory => t!("is a directory"),
        ErrorCode::DirectoryNotEmpty => t!("the directory is not empty"),
        ErrorCode::NotServed => {
            t!("is a link or a special file, which the server does not serve; ask its administrator")
        }
        ErrorCode::PathInvalid => t!("is not a path within the home"),
        ErrorCode::NotPossible => {
            t!("this cannot be done to the home itself, nor a directory moved into itself")
        }
        ErrorCode::QuotaExceeded { resource, limit, used, reserved, requested } => {
            over_quota(*resource, *limit, *used, *reserved, *requested)
        }
        ErrorCode::DiskFull => t!("the server's disk is full"),
        ErrorCode::NoRoomForNote => {
            t!("the server's file system has no room for this note; a shorter one may fit")
        }
        ErrorCode::ProgramNotAllowed => t!(
            "the server has no such program for you; its administrator may allow it (berthctl user allow-exec)"
        ),
        ErrorCode::ExecUnavailable => t!("the server cannot run programs; its log says why"),
        ErrorCode::TooManyPrograms { limit } => {
            t!("more than %{limit} programs at once; try again later", limit = limit)
        }
        ErrorCode::UploadBusy => {
            t!("another client is uploading this file; try again when it has been silent for 15 s")
        }
        ErrorCode::NoSuchUpload => t!("no such upload"),
        ErrorCode::TooManyUploads { limit } => t!(
            "more than %{limit} unfinished uploads of this user; finish or abort some",
            limit = limit
        ),
        ErrorCode::IntegrityMismatch { offset } => {
            t!("data differs from its MD5 at byte %{offset}, also when sent again", offset = offset)
        }
        ErrorCode::DigestMismatch => t!("the file as a whole differs from its checksum"),
        ErrorCode::SourceChanged => t!("the file changed during the transfer"),
        ErrorCode::LoginRefused => {
            t!("login refused: wrong user or password, or the account is locked")
        }
        ErrorCode::TooManyFailures { retry_after_s } => t!(
            "too many failed logins from this address; try again in %{seconds} s",
            seconds = retry_after_s
        ),
        ErrorCode::PasswordRefused => t!("the current password is wrong; nothing was changed"),
        ErrorCode::TooManyDevices { limit } => {
            t!("more than %{limit} devices of this user; revoke some", limit = limit)
        }
        ErrorCode::NotInvited => {
            t!("the invitation is not valid: it was used, revoked or has expired, or its code is wrong")
        }
        ErrorCode::NameTaken => t!("another user has this name; choose another one"),
        ErrorCode::OtherName => t!("the invitation is for another user name"),
        ErrorCode::TooManyTransfers { limit } => {
            t!("more than %{limit} transfers at once in one session", limit = limit)
        }
        ErrorCode::TooManySessions { limit } => {
            t!("more than %{limit} sessions at once for this user", limit = limit)
        }
        ErrorCode::Stalled { seconds } => {
            t!("no byte moved for %{seconds} s; it can be resumed", seconds = seconds)
        }
        ErrorCode::TimedOut => t!("the session timed out"),
        ErrorCode::ReadOnly => {
            t!("this home is read-only for now; the server's administrator has to look at it")
        }
        ErrorCode::Busy => t!("the home is busy with other changes; try again later"),
        ErrorCode::LedgerUnavailable => {
            t!("the server cannot record changes now; nothing was changed")
        }
        ErrorCode::Ended => t!("the session was ended by the server"),
        ErrorCode::ShuttingDown => t!("the server is shutting down; it can be resumed"),
        ErrorCode::Version => t!("client and server have no protocol version in common"),
        ErrorCode::Protocol => t!("the other side broke the protocol"),
        ErrorCode::Cancelled => t!("cancelled"),
        ErrorCode::Internal => t!("internal error; the server's log says more"),
    }
    .into_owned()
}

fn over_quota(
    resource: Resource,
    limit: u64,
    used: i64,
    reserved: u64,
    requested: u64,
) -> Cow<'static, str> {
    let taken = i128::from(used) + i128::from(reserved);
    let free = u64::try_from((i128::from(limit) - taken).max(0)).unwrap_or(u64::MAX);
    let rounded = resource == Resource::Bytes && human::size(requested) != human::size(free);
    let show: fn(u64) -> String = if rounded { human::size } else { |number| number.to_string() };
    let (requested, free, limit) = (show(requested), show(free), show(limit));
    let reserved = show(reserved);
    let used = match u64::try_from(used) {
        Ok(used) => show(used),
        // Below zero for a moment, see `Usage`.
        Err(_) => format!("-{}", show(used.unsigned_abs())),
    };
    match resource {
        Resource::Bytes if rounded => t!(
            "over quota: %{requested} more asked for, and %{free} of %{limit} free (%{used} used, %{reserved} reserved)",
            requested = requested,
            free = free,
            limit = limit,
            used = used,
            reserved = reserved
        ),
        Resource::Bytes => t!(
            "over quota: %{requested} more bytes asked for, and %{free} of %{limit} free (%{used} used, %{reserved} reserved)",
            requested = requested,
            free = free,
            limit = limit,
            used = used,
            reserved = reserved
        ),
        Resource::Entries => t!(
            "over quota: %{requested} more files and directories asked for, and %{free} of %{limit} free (%{used} used, %{reserved} reserved)",
            requested = requested,
            free = free,
            limit = limit,
            used = used,
            reserved = reserved
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_quota(limit: u64, used: i64, requested: u64) -> ErrorCode {
        ErrorCode::QuotaExceeded { resource: Resource::Bytes, limit, used, reserved: 0, requested }
    }

    #[test]
    fn a_quota_is_told_in_units_and_exactly_where_units_would_hide_it() {
        assert_eq!(
            sentence(&over_quota(20 << 20, 19 << 20, 3 << 20)),
            "over quota: 3.0 MiB more asked for, and 1.0 MiB of 20.0 MiB free \
             (19.0 MiB used, 0 B reserved)"
        );
        let exact = sentence(&over_quota(20 << 20, 19 << 20, (1 << 20) + 1));
        assert!(exact.contains("1048577 more bytes asked for, and 1048576 of"), "{exact}");
        let over = sentence(&over_quota(1, i64::MAX, u64::MAX));
        assert!(over.contains("and 0 B of 1 B free"), "{over}");
        assert!(sentence(&over_quota(1, -5, 9)).contains("(-5 B used"));
    }

    #[test]
    fn the_english_sentences_of_the_others_are_those_of_the_crate() {
        let codes = [
            ErrorCode::NotFound,
            ErrorCode::AlreadyExists,
            ErrorCode::NotADirectory,
            ErrorCode::IsADirectory,
            ErrorCode::DirectoryNotEmpty,
            ErrorCode::NotServed,
            ErrorCode::PathInvalid,
            ErrorCode::NotPossible,
            ErrorCode::DiskFull,
            ErrorCode::NoRoomForNote,
            ErrorCode::ProgramNotAllowed,
            ErrorCode::ExecUnavailable,
            ErrorCode::TooManyPrograms { limit: 3 },
            ErrorCode::UploadBusy,
            ErrorCode::NoSuchUpload,
            ErrorCode::TooManyUploads { limit: 3 },
            ErrorCode::IntegrityMismatch { offset: 3 },
            ErrorCode::DigestMismatch,
            ErrorCode::SourceChanged,
            ErrorCode::LoginRefused,
            ErrorCode::TooManyFailures { retry_after_s: 3 },
            ErrorCode::PasswordRefused,
            ErrorCode::TooManyDevices { limit: 3 },
            ErrorCode::NotInvited,
            ErrorCode::NameTaken,
            ErrorCode::OtherName,
            ErrorCode::TooManyTransfers { limit: 3 },
            ErrorCode::TooManySessions { limit: 3 },
            ErrorCode::Stalled { seconds: 3 },
            ErrorCode::TimedOut,
            ErrorCode::ReadOnly,
            ErrorCode::Busy,
            ErrorCode::LedgerUnavailable,
            ErrorCode::Ended,
            ErrorCode::ShuttingDown,
            ErrorCode::Version,
            ErrorCode::Protocol,
            ErrorCode::Cancelled,
            ErrorCode::Internal,
        ];
        for code in codes {
            assert_eq!(sentence(&code), code.to_string());
        }
    }
}

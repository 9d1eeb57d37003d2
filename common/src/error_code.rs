//! The closed set of errors that a client may learn, with their data and never with internal text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Bytes of regular files.
    Bytes,
    /// Files and directories.
    Entries,
}

/// Why a request failed. `Display` is the sentence that clients show after the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// Nothing stands at the path, or at one of its parents.
    NotFound,
    /// Something stands there already, and overwriting was not asked for or cannot be.
    AlreadyExists,
    /// A component that has to be a directory is none.
    NotADirectory,
    /// It is a directory, and a file was expected.
    IsADirectory,
    /// The directory is not empty.
    DirectoryNotEmpty,
    /// A symbolic link, a special file, or a file with several links: Berth does not serve it.
    NotServed,
    /// The path is no path within a home (the client should have refused it).
    PathInvalid,
    /// The home itself cannot be removed, renamed or replaced; nothing can be moved into itself.
    NotPossible,
    /// The change would exceed the quota. Nothing was changed.
    QuotaExceeded {
        /// Which quota.
        resource: Resource,
        /// The limit.
        limit: u64,
        /// What is used now.
        used: i64,
        /// What is set aside for open uploads.
        reserved: u64,
        /// How much more was asked for.
        requested: u64,
    },
    /// The server's disk has too little space left.
    DiskFull,
    /// The file system has no room for this note beside the file's other attributes, or none at all.
    NoRoomForNote,
    /// Another client is sending this upload; it may be taken over when it has been silent for 15 s.
    UploadBusy,
    /// There is no such upload of this user.
    NoSuchUpload,
    /// An unfinished upload more than the user may have.
    TooManyUploads {
        /// The bound.
        limit: u32,
    },
    /// A block differs from its MD5, also when sent again.
    IntegrityMismatch {
        /// Where in the file, in bytes.
        offset: u64,
    },
    /// The file as a whole differs from its tree digest: an upload is dropped; a file in the home has rotted
    /// on the server's disk.
    DigestMismatch,
    /// The file changed while it was being transferred.
    SourceChanged,
    /// User or password is wrong, or the account is locked: which, is not said.
    LoginRefused,
    /// Too many failures from this address.
    TooManyFailures {
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// The password that a change of credentials asks for is wrong.
    PasswordRefused,
    /// A device more than a user may have.
    TooManyDevices {
        /// The bound.
        limit: u32,
    },
    /// The invitation is not one, was used or revoked, or is no longer valid: which, is not said.
    NotInvited,
    /// Another user has the name.
    NameTaken,
    /// The invitation is for another name.
    OtherName,
    /// A transfer more than a session may have.
    TooManyTransfers {
        /// The bound.
        limit: u32,
    },
    /// No administrator has allowed this program to the user, or it is not there.
    ProgramNotAllowed,
    /// The server cannot run programs in a jail, which its log explains.
    ExecUnavailable,
    /// A program more than a session, or the server, may run.
    TooManyPrograms {
        /// The bound.
        limit: u32,
    },
    /// A session more than the user may have.
    TooManySessions {
        /// The bound.
        limit: u32,
    },
    /// No byte moved for this many seconds.
    Stalled {
        /// The bound.
        seconds: u32,
    },
    /// The session was idle, or did not log in, for too long.
    TimedOut,
    /// Changes to this home are stopped until an administrator has looked; reading works.
    ReadOnly,
    /// Too much is under way in this home, or another change came first again and again; reading works.
    Busy,
    /// The ledger cannot be written: uploads are refused; reading and deleting work.
    LedgerUnavailable,
    /// The session was ended by an administrator, or the upload was taken over by another session.
    Ended,
    /// The server is shutting down.
    ShuttingDown,
    /// No common version of the protocol.
    Version,
    /// The peer broke the protocol.
    Protocol,
    /// The transfer was cancelled by the client.
    Cancelled,
    /// A fault of the server's, which its log describes.
    Internal,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotFound => "no such file or directory",
            Self::AlreadyExists => "already exists",
            Self::NotADirectory => "a part of the path is not a directory",
            Self::IsADirectory => "is a directory",
            Self::DirectoryNotEmpty => "the directory is not empty",
            Self::NotServed => {
                "is a link or a special file, which the server does not serve; ask its administrator"
            }
            Self::PathInvalid => "is not a path within the home",
            Self::NotPossible => {
                "this cannot be done to the home itself, nor a directory moved into itself"
            }
            Self::QuotaExceeded { resource, limit, used, reserved, requested } => {
                let unit = match resource {
                    Resource::Bytes => "bytes",
                    Resource::Entries => "entries",
                };
                return write!(
                    f,
                    "over quota: {requested} more {unit} asked for, {used} used and {reserved} reserved of {limit}"
                );
            }
            Self::DiskFull => "the server's disk is full",
            Self::NoRoomForNote => {
                "the server's file system has no room for this note; a shorter one may fit"
            }
            Self::UploadBusy => {
                "another client is uploading this file; try again when it has been silent for 15 s"
            }
            Self::NoSuchUpload => "no such upload",
            Self::TooManyUploads { limit } => {
                return write!(
                    f,
                    "more than {limit} unfinished uploads of this user; finish or abort some"
                );
            }
            Self::IntegrityMismatch { offset } => {
                return write!(
                    f,
                    "data differs from its MD5 at byte {offset}, also when sent again"
                );
            }
            Self::DigestMismatch => "the file as a whole differs from its checksum",
            Self::SourceChanged => "the file changed during the transfer",
            Self::LoginRefused => "login refused: wrong user or password, or the account is locked",
            Self::TooManyFailures { retry_after_s } => {
                return write!(
                    f,
                    "too many failed logins from this address; try again in {retry_after_s} s"
                );
            }
            Self::PasswordRefused => "the current password is wrong; nothing was changed",
            Self::TooManyDevices { limit } => {
                return write!(f, "more than {limit} devices of this user; revoke some");
            }
            Self::NotInvited => {
                "the invitation is not valid: it was used, revoked or has expired, or its code is wrong"
            }
            Self::NameTaken => "another user has this name; choose another one",
            Self::OtherName => "the invitation is for another user name",
            Self::TooManyTransfers { limit } => {
                return write!(f, "more than {limit} transfers at once in one session");
            }
            Self::ProgramNotAllowed => {
                "the server has no such program for you; its administrator may allow it (berthctl user allow-exec)"
            }
            Self::ExecUnavailable => "the server cannot run programs; its log says why",
            Self::TooManyPrograms { limit } => {
                return write!(f, "more than {limit} programs at once; try again later");
            }
            Self::TooManySessions { limit } => {
                return write!(f, "more than {limit} sessions at once for this user");
            }
            Self::Stalled { seconds } => {
                return write!(f, "no byte moved for {seconds} s; it can be resumed");
            }
            Self::TimedOut => "the session timed out",
            Self::ReadOnly => {
                "this home is read-only for now; the server's administrator has to look at it"
            }
            Self::Busy => "the home is busy with other changes; try again later",
            Self::LedgerUnavailable => "the server cannot record changes now; nothing was changed",
            Self::Ended => "the session was ended by the server",
            Self::ShuttingDown => "the server is shutting down; it can be resumed",
            Self::Version => "client and server have no protocol version in common",
            Self::Protocol => "the other side broke the protocol",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal error; the server's log says more",
        };
        f.write_str(text)
    }
}

impl std::error::Error for ErrorCode {}

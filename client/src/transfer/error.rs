//! Why a transfer failed. Whoever shows it to a person says what can be done in words of its own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use berth_common::error_code::ErrorCode;
use berth_common::journal::JournalError;

use super::plan::PlanError;
use crate::connection::{ConnectionError, passes};
use crate::reason::reason;
use crate::session::RequestError;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server refused it or gave it up.
    #[error(transparent)]
    Server(ErrorCode),
    /// The session is over.
    #[error(transparent)]
    Connection(ConnectionError),
    /// The session is over, and what came from a stream cannot be read again.
    #[error("{0}; what came from the stream cannot be read again")]
    StreamLost(ConnectionError),
    /// The session is over after the end of a stream was sent, and nothing says whether it was stored.
    #[error("{0}; it is unknown whether the file was stored")]
    StreamUnknown(ConnectionError),
    /// A file that is written to a stream does not come to its end, or is not right.
    #[error("{0}; what was written is not the whole file, or not right")]
    OutputCut(Box<TransferError>),
    /// The stream that a file is written to does not take it.
    #[error("cannot write the output: {}", reason(.0))]
    Output(#[source] io::Error),
    /// The stream that is put cannot be read.
    #[error("cannot read the input: {}", reason(.0))]
    Input(#[source] io::Error),
    /// The server wants bytes of a stream again that are kept no longer.
    #[error("data was damaged on its way and is not kept any more")]
    StreamNotKept,
    /// All of an append's bytes were sent, and what came (nothing, or a fault of the server's) does not say whether
    /// they were appended.
    #[error("{0}; it is unknown whether the bytes were appended")]
    AppendUnknown(RequestError),
    /// The operating system refused something here.
    #[error("cannot {tried} {}: {}", path.display(), reason(source))]
    Local {
        /// What was tried.
        tried: Tried,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What is to be put is a directory.
    #[error("is a directory")]
    SourceIsADirectory,
    /// What is to be put is neither a file nor a directory.
    #[error("is not a regular file; only files can be put")]
    SourceNotAFile,
    /// A directory is in the place of the file that is got.
    #[error("{} is a directory", path.display())]
    TargetIsADirectory {
        /// Which.
        path: PathBuf,
    },
    /// What stands in the place of the file that is got is neither a file nor a directory.
    #[error("{} is not a regular file and is not replaced", path.display())]
    TargetNotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The local file changed while it was being read.
    #[error("the file changed while it was being sent")]
    SourceChanged,
    /// The local file was removed while it was being read.
    #[error("the file was removed or replaced while it was being sent; nothing was stored")]
    SourceVanished,
    /// A local file with other content is in the way.
    #[error("{} exists with other content", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file where the data would be received is not ours.
    #[error("{} is in the way and was not made by berth", path.display())]
    ForeignPart {
        /// Which.
        path: PathBuf,
    },
    /// Another process receives the same file.
    #[error("another process is receiving {}", path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// Somebody has removed or replaced the file into which the data was received.
    #[error("{} was removed or replaced while it was being received", path.display())]
    PartGone {
        /// Which.
        path: PathBuf,
    },
    /// The local disk is too small for the rest of the file.
    #[error("the disk of {} has {available} bytes left and {needed} are needed", path.display())]
    NoRoom {
        /// Of which file's.
        path: PathBuf,
        /// Bytes left.
        available: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// Data is not what its digest says.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// All blocks were right and the whole is not.
    #[error("the whole file differs from its digest, and was discarded")]
    WholeDiffers,
    /// The journal of a get failed.
    #[error("{}: {}", path.display(), journal_sentence(source))]
    Journal {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: JournalError,
    },
}

/// What was tried on a local file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// To open it.
    Open,
    /// To read it, or what the system knows of an open one.
    Read,
    /// To write it, or to make durable what was written.
    Write,
    /// To create it.
    Create,
    /// To remove it.
    Remove,
    /// To find out what stands at its path.
    LookAt,
    /// To set its time.
    SetTime,
    /// To set its permission bits.
    SetMode,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::LookAt => "look at",
            Self::SetTime => "set the time of",
            Self::SetMode => "set the mode of",
        })
    }
}

fn journal_sentence(source: &JournalError) -> String {
    match source {
        JournalError::Io(error) => format!("{source}: {}", reason(error)),
        _ => source.to_string(),
    }
}

impl TransferError {
    /// For `map_err` on a local operation.
    pub fn local<E: Into<io::Error>>(tried: Tried, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Local { tried, path, source: source.into() }
    }

    /// Whether the same transfer can go on, on another connection.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Connection(error) => error.passes(),
            Self::Server(code) => passes(code),
            _ => false,
        }
    }

    /// Whether nothing else can be done on the session either.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::StreamLost(_)
            | Self::StreamUnknown(_)
            | Self::AppendUnknown(RequestError::Connection(_)) => true,
            Self::OutputCut(error) => error.ends_session(),
            _ => false,
        }
    }
}

impl From<ConnectionError> for TransferError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl From<RequestError> for TransferError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Server(code) => Self::Server(code),
            RequestError::Connection(error) => Self::Connection(error),
        }
    }
}

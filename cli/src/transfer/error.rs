//! Why a transfer failed, in sentences for the user.

use std::io;
use std::path::{Path, PathBuf};

use berth_common::error_code::ErrorCode;
use berth_common::journal::JournalError;

use super::plan::PlanError;
use crate::connection::ConnectionError;
use crate::exit::Exit;
use crate::failure::{Failure, passes};
use crate::human;
use crate::session::RequestError;
use crate::wording::sentence;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server refused it or gave it up.
    #[error("{}", sentence(.0))]
    Server(ErrorCode),
    /// The session is over.
    #[error("{0}; run the same command again to go on")]
    Connection(ConnectionError),
    /// The session is over, and what came from a stream cannot be read again.
    #[error("{0}; standard input cannot be read again, so start over")]
    StreamLost(ConnectionError),
    /// The session is over after the end of a stream was sent, and nothing says whether it was stored.
    #[error(
        "{0}; it is unknown whether the file was stored: look at it, and start over if it was not"
    )]
    StreamUnknown(ConnectionError),
    /// A file that is written to standard output does not come to its end, or is not right.
    #[error("{}; what was written is not the whole file, or not right", why_cut(.0))]
    OutputCut(Box<TransferError>),
    /// Standard output cannot be written.
    #[error("cannot write the output: {}", human::reason(.0))]
    Output(io::Error),
    /// The server wants bytes of a stream again that are kept no longer.
    #[error("data was damaged on its way and is not kept any more; start over")]
    StreamNotKept,
    /// All of an append's bytes were sent, and what came (nothing, or a fault of the server's) does not say whether
    /// they were appended.
    #[error(
        "{0}; it is unknown whether the bytes were appended: look at the file before appending again"
    )]
    AppendUnknown(RequestError),
    /// The operating system refused something here.
    #[error("{}", local_sentence(what, path, source))]
    Local {
        /// What was tried, such as "cannot read".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What is to be put is no regular file.
    #[error("{0}")]
    NotAFile(&'static str),
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
    #[error("the file changed while it was being sent; run the same command again")]
    SourceChanged,
    /// The local file was removed while it was being read.
    #[error("the file was removed or replaced while it was being sent; nothing was stored")]
    SourceVanished,
    /// A local file with other content is in the way.
    #[error("{} exists with other content; give -f to replace it", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file where the data would be received is not ours.
    #[error("{} is in the way and was not made by berth; move it elsewhere", path.display())]
    ForeignPart {
        /// Which.
        path: PathBuf,
    },
    /// Another process receives the same file.
    #[error("another berth is receiving {}", path.display())]
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
    #[error(
        "the disk of {} has {} left and {} are needed",
        path.display(), human::size(*available), human::size(*needed)
    )]
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
    #[error("the whole file differs from its digest; it was discarded, so run the command again")]
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

fn local_sentence(what: &str, path: &Path, source: &io::Error) -> String {
    format!("{what} {}: {}", path.display(), human::reason(source))
}

fn journal_sentence(source: &JournalError) -> String {
    match source {
        JournalError::Io(error) => format!("{source}: {}", human::reason(error)),
        _ => source.to_string(),
    }
}

/// Without what can be done for a file that is kept.
fn why_cut(error: &TransferError) -> String {
    match error {
        TransferError::Connection(error) => error.to_string(),
        TransferError::Server(ErrorCode::Stalled { seconds }) => {
            format!("nothing was taken for {seconds} s")
        }
        TransferError::Server(ErrorCode::ShuttingDown) => "the server is shutting down".to_owned(),
        TransferError::WholeDiffers => "the whole file differs from its digest".to_owned(),
        error => error.to_string(),
    }
}

fn local_exit(source: &io::Error) -> Exit {
    match source.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoRoom,
        _ => Exit::Failure,
    }
}

impl TransferError {
    /// For `map_err` on a local operation.
    pub(crate) fn local<E: Into<io::Error>>(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Local { what, path, source: source.into() }
    }

    /// The sentence about `path`, which whoever shows it has named already.
    #[must_use]
    pub fn about(&self, named: &Path) -> String {
        match self {
            Self::Local { what, path, source } if path == named => {
                format!("{what} it: {}", human::reason(source))
            }
            _ => self.to_string(),
        }
    }

    /// How the command ends for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Server(code) => Exit::of_server_error(code),
            Self::Connection(ConnectionError::Refused(code))
            | Self::StreamLost(ConnectionError::Refused(code))
            | Self::StreamUnknown(ConnectionError::Refused(code)) => Exit::of_server_error(code),
            Self::OutputCut(error) => error.exit(),
            Self::Connection(_)
            | Self::StreamLost(_)
            | Self::StreamUnknown(_)
            | Self::Plan(PlanError::Nonsense(_)) => Exit::Connect,
            Self::AppendUnknown(_) => Exit::Unknown,
            Self::Local { source, .. }
            | Self::Journal { source: JournalError::Io(source), .. }
            | Self::Output(source) => local_exit(source),
            Self::NoRoom { .. } => Exit::NoRoom,
            Self::Plan(PlanError::Integrity { .. }) | Self::WholeDiffers | Self::StreamNotKept => {
                Exit::Integrity
            }
            Self::NotAFile(_)
            | Self::TargetIsADirectory { .. }
            | Self::TargetNotAFile { .. }
            | Self::PartGone { .. }
            | Self::SourceChanged
            | Self::SourceVanished
            | Self::Exists { .. }
            | Self::ForeignPart { .. }
            | Self::Busy { .. }
            | Self::Journal { .. } => Exit::Failure,
        }
    }

    /// Whether the same transfer can go on, on another connection.
    fn passes(&self) -> bool {
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

impl From<&TransferError> for Failure {
    fn from(error: &TransferError) -> Self {
        let failure = Self::new(error.exit(), error);
        let failure = Self { lost: error.passes(), ..failure };
        let cause = if let TransferError::OutputCut(cause) = error { cause } else { error };
        match cause {
            TransferError::Server(code)
            | TransferError::Connection(ConnectionError::Refused(code))
            | TransferError::StreamLost(ConnectionError::Refused(code))
            | TransferError::StreamUnknown(ConnectionError::Refused(code)) => failure.coded(code),
            _ => failure,
        }
    }
}

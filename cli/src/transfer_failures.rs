//! What the library says of a transfer that failed, as `berth` tells it: the sentence, with what can be done, and the
//! exit code.

use std::io;
use std::path::Path;

use berth::connection::ConnectionError;
use berth::session::RequestError;
use berth::transfer::plan::PlanError;
use berth::transfer::{TransferError, Tried};
use berth_common::error_code::ErrorCode;
use berth_common::journal::JournalError;

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::human;

impl From<&TransferError> for Failure {
    fn from(error: &TransferError) -> Self {
        let failure = Self::new(exit(error), sentence(error));
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

/// The sentence about `named`, which whoever shows it has named already.
pub(crate) fn about(error: &TransferError, named: &Path) -> String {
    match error {
        TransferError::Local { tried, path, source } if path == named => {
            format!("{} it: {}", cannot(*tried), human::reason(source))
        }
        _ => sentence(error),
    }
}

/// The sentence for a person.
pub(crate) fn sentence(error: &TransferError) -> String {
    use TransferError as E;
    match error {
        E::Server(code) => failure::sentence(code),
        E::Connection(error) => format!("{error}; run the same command again to go on"),
        E::StreamLost(error) => {
            format!("{error}; standard input cannot be read again, so start over")
        }
        E::StreamUnknown(error) => format!(
            "{error}; it is unknown whether the file was stored: look at it, and start over if it was not"
        ),
        E::OutputCut(error) => {
            format!("{}; what was written is not the whole file, or not right", why_cut(error))
        }
        E::Output(error) => format!("cannot write the output: {}", human::reason(error)),
        E::Input(error) => format!("cannot read standard input: {}", human::reason(error)),
        E::StreamNotKept => {
            "data was damaged on its way and is not kept any more; start over".to_owned()
        }
        E::AppendUnknown(error) => format!(
            "{}; it is unknown whether the bytes were appended: look at the file before appending again",
            of_request(error)
        ),
        E::Local { tried, path, source } => {
            format!("{} {}: {}", cannot(*tried), path.display(), human::reason(source))
        }
        E::SourceIsADirectory => {
            "is a directory; give -r to put it with all that is in it".to_owned()
        }
        E::SourceNotAFile => "is not a regular file; only files can be put".to_owned(),
        E::TargetIsADirectory { path } => format!("{} is a directory", path.display()),
        E::TargetNotAFile { path } => {
            format!("{} is not a regular file and is not replaced", path.display())
        }
        E::SourceChanged => {
            "the file changed while it was being sent; run the same command again".to_owned()
        }
        E::SourceVanished => {
            "the file was removed or replaced while it was being sent; nothing was stored"
                .to_owned()
        }
        E::Exists { path } => {
            format!("{} exists with other content; give -f to replace it", path.display())
        }
        E::ForeignPart { path } => {
            let path = path.display();
            format!("{path} is in the way and was not made by berth; move it elsewhere")
        }
        E::Busy { path } => format!("another berth is receiving {}", path.display()),
        E::PartGone { path } => {
            format!("{} was removed or replaced while it was being received", path.display())
        }
        E::NoRoom { path, available, needed } => format!(
            "the disk of {} has {} left and {} are needed",
            path.display(),
            human::size(*available),
            human::size(*needed)
        ),
        E::Plan(error) => error.to_string(),
        E::WholeDiffers => {
            "the whole file differs from its digest; it was discarded, so run the command again"
                .to_owned()
        }
        E::Journal { path, source } => format!("{}: {}", path.display(), of_journal(source)),
    }
}

/// What could not be done on a local path, which follows.
fn cannot(tried: Tried) -> &'static str {
    match tried {
        Tried::Open => "cannot open",
        Tried::Read => "cannot read",
        Tried::Write => "cannot write",
        Tried::Create => "cannot create",
        Tried::Remove => "cannot remove",
        Tried::LookAt => "cannot look at",
        Tried::SetTime => "cannot set the time of",
        Tried::SetMode => "cannot set the mode of",
    }
}

/// The operating system has refused something else on a local path: `what` begins the sentence, as in "cannot sync".
pub(crate) fn local(what: &str, path: &Path, error: &io::Error) -> Failure {
    let sentence = format!("{what} {}: {}", path.display(), human::reason(error));
    Failure::new(local_exit(error), sentence)
}

fn of_request(error: &RequestError) -> String {
    match error {
        RequestError::Server(code) => failure::sentence(code),
        RequestError::Connection(error) => error.to_string(),
    }
}

fn of_journal(error: &JournalError) -> String {
    match error {
        JournalError::Io(cause) => format!("{error}: {}", human::reason(cause)),
        _ => error.to_string(),
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
        error => sentence(error),
    }
}

/// How the command ends for it.
pub(crate) fn exit(error: &TransferError) -> Exit {
    use TransferError as E;
    match error {
        E::Server(code)
        | E::Connection(ConnectionError::Refused(code))
        | E::StreamLost(ConnectionError::Refused(code))
        | E::StreamUnknown(ConnectionError::Refused(code)) => Exit::of_server_error(code),
        E::OutputCut(error) => exit(error),
        E::Connection(_)
        | E::StreamLost(_)
        | E::StreamUnknown(_)
        | E::Plan(PlanError::Nonsense(_)) => Exit::Connect,
        E::AppendUnknown(_) => Exit::Unknown,
        E::Local { source, .. }
        | E::Journal { source: JournalError::Io(source), .. }
        | E::Input(source)
        | E::Output(source) => local_exit(source),
        E::NoRoom { .. } => Exit::NoRoom,
        E::Plan(PlanError::Integrity { .. }) | E::WholeDiffers | E::StreamNotKept => {
            Exit::Integrity
        }
        E::SourceIsADirectory
        | E::SourceNotAFile
        | E::TargetIsADirectory { .. }
        | E::TargetNotAFile { .. }
        | E::PartGone { .. }
        | E::SourceChanged
        | E::SourceVanished
        | E::Exists { .. }
        | E::ForeignPart { .. }
        | E::Busy { .. }
        | E::Journal { .. } => Exit::Failure,
    }
}

/// How a command ends for what the operating system says.
pub(crate) fn local_exit(source: &io::Error) -> Exit {
    match source.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoRoom,
        _ => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_code() {
        use ConnectionError as C;
        use TransferError as E;
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let table = [
            (E::Server(ErrorCode::DiskFull), Exit::NoRoom),
            (E::Connection(C::Closed), Exit::Connect),
            (E::Connection(C::Refused(ErrorCode::NotFound)), Exit::NotFound),
            (E::StreamLost(C::Closed), Exit::Connect),
            (E::StreamUnknown(C::Closed), Exit::Connect),
            (E::OutputCut(Box::new(E::WholeDiffers)), Exit::Integrity),
            (E::OutputCut(Box::new(E::Connection(C::Closed))), Exit::Connect),
            (E::AppendUnknown(C::Closed.into()), Exit::Unknown),
            (E::AppendUnknown(ErrorCode::Internal.into()), Exit::Unknown),
            (E::StreamNotKept, Exit::Integrity),
            (E::Plan(PlanError::Integrity { offset: 0 }), Exit::Integrity),
            (E::Plan(PlanError::Nonsense("x")), Exit::Connect),
            (E::Input(io(io::ErrorKind::Other)), Exit::Failure),
            (E::Output(io(io::ErrorKind::StorageFull)), Exit::NoRoom),
            (E::local(Tried::Read, Path::new("a"))(io(io::ErrorKind::NotFound)), Exit::NotFound),
            (E::SourceChanged, Exit::Failure),
            (E::NoRoom { path: "a".into(), available: 0, needed: 1 }, Exit::NoRoom),
        ];
        for (error, expected) in table {
            let failure = Failure::from(&error);
            assert_eq!((failure.exit, failure.sentence.is_empty()), (expected, false), "{error}");
        }
    }

    #[test]
    fn what_is_named_already_is_not_named_again() {
        let error = TransferError::local(Tried::Read, Path::new("a"))(io::ErrorKind::NotFound);
        assert_eq!(about(&error, Path::new("a")), "cannot read it: no such file or directory");
        assert_eq!(about(&error, Path::new("b")), "cannot read a: no such file or directory");
    }
}

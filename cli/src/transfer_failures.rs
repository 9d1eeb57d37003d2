//! How `berth` ends for what the library says of a transfer that failed. The sentences are in `wording`.

use std::io;
use std::path::Path;

use berth::connection::ConnectionError;
use berth::transfer::TransferError;
use berth::transfer::plan::PlanError;
use berth_common::journal::JournalError;
use rust_i18n::t;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;

impl From<&TransferError> for Failure {
    fn from(error: &TransferError) -> Self {
        let failure = Self::new(exit(error), error);
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

/// The operating system has refused something else on a local path: a message with `%{path}` and `%{reason}`.
pub(crate) fn local(message: &'static str, path: &Path, error: &io::Error) -> Failure {
    let reason = human::reason(error);
    Failure::new(local_exit(error), t!(message, path = path.display(), reason = reason))
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
    use berth::transfer::Tried;
    use berth_common::error_code::ErrorCode;

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
}

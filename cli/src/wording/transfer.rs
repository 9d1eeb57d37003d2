//! Why a file was not transferred, with what can be done about it.

use std::path::Path;

use berth::transfer::plan::PlanError;
use berth::transfer::{TransferError, Tried};
use berth_common::error_code::ErrorCode;
use berth_common::journal::JournalError;
use rust_i18n::t;

use super::InWords;
use crate::human;

impl InWords for TransferError {
    fn in_words(&self) -> String {
        match self {
            Self::Server(code) => return code.in_words(),
            Self::Connection(error) => {
                t!("%{error}; run the same command again to go on", error = error.in_words())
            }
            Self::StreamLost(error) => t!(
                "%{error}; standard input cannot be read again, so start over",
                error = error.in_words()
            ),
            Self::StreamUnknown(error) => t!(
                "%{error}; it is unknown whether the file was stored: look at it, and start over if it was not",
                error = error.in_words()
            ),
            Self::OutputCut(error) => t!(
                "%{error}; what was written is not the whole file, or not right",
                error = why_cut(error)
            ),
            Self::Output(error) => {
                t!("cannot write the output: %{reason}", reason = human::reason(error))
            }
            Self::Input(error) => {
                t!("cannot read standard input: %{reason}", reason = human::reason(error))
            }
            Self::StreamNotKept => {
                t!("data was damaged on its way and is not kept any more; start over")
            }
            Self::AppendUnknown(error) => t!(
                "%{error}; it is unknown whether the bytes were appended: look at the file before appending again",
                error = error.in_words()
            ),
            Self::Local { tried, path, source } => {
                return cannot(*tried, path, &human::reason(source));
            }
            Self::SourceIsADirectory => {
                t!("is a directory; give -r to put it with all that is in it")
            }
            Self::SourceNotAFile => t!("is not a regular file; only files can be put"),
            Self::TargetIsADirectory { path } => t!("%{to} is a directory", to = path.display()),
            Self::TargetNotAFile { path } => {
                t!("%{path} is not a regular file and is not replaced", path = path.display())
            }
            Self::SourceChanged => {
                t!("the file changed while it was being sent; run the same command again")
            }
            Self::SourceVanished => {
                t!("the file was removed or replaced while it was being sent; nothing was stored")
            }
            Self::Exists { path } => {
                t!("%{path} exists with other content; give -f to replace it", path = path.display())
            }
            Self::ForeignPart { path } => t!(
                "%{path} is in the way and was not made by berth; move it elsewhere",
                path = path.display()
            ),
            Self::Busy { path } => t!("another berth is receiving %{path}", path = path.display()),
            Self::PartGone { path } => t!(
                "%{path} was removed or replaced while it was being received",
                path = path.display()
            ),
            Self::NoRoom { path, available, needed } => t!(
                "the disk of %{path} has %{available} left and %{needed} are needed",
                path = path.display(),
                available = human::size(*available),
                needed = human::size(*needed)
            ),
            Self::Plan(error) => return error.in_words(),
            Self::WholeDiffers => t!(
                "the whole file differs from its digest; it was discarded, so run the command again"
            ),
            Self::Journal { path, source } => {
                return format!("{}: {}", path.display(), source.in_words());
            }
        }
        .into_owned()
    }
}

/// The sentence about `named`, which whoever shows it has named already.
pub(crate) fn about(error: &TransferError, named: &Path) -> String {
    match error {
        TransferError::Local { tried, path, source } if path == named => {
            cannot_it(*tried, &human::reason(source))
        }
        _ => error.in_words(),
    }
}

/// What could not be done on a local path.
fn cannot(tried: Tried, path: &Path, reason: &str) -> String {
    let path = path.display();
    match tried {
        Tried::Open => t!("cannot open %{path}: %{reason}", path = path, reason = reason),
        Tried::Read => t!("cannot read %{path}: %{reason}", path = path, reason = reason),
        Tried::Write => t!("cannot write %{path}: %{reason}", path = path, reason = reason),
        Tried::Create => t!("cannot create %{path}: %{reason}", path = path, reason = reason),
        Tried::Remove => t!("cannot remove %{path}: %{reason}", path = path, reason = reason),
        Tried::LookAt => t!("cannot look at %{path}: %{reason}", path = path, reason = reason),
        Tried::SetTime => {
            t!("cannot set the time of %{path}: %{reason}", path = path, reason = reason)
        }
        Tried::SetMode => {
            t!("cannot set the mode of %{path}: %{reason}", path = path, reason = reason)
        }
    }
    .into_owned()
}

/// The same on what was named already.
fn cannot_it(tried: Tried, reason: &str) -> String {
    match tried {
        Tried::Open => t!("cannot open it: %{reason}", reason = reason),
        Tried::Read => t!("cannot read it: %{reason}", reason = reason),
        Tried::Write => t!("cannot write it: %{reason}", reason = reason),
        Tried::Create => t!("cannot create it: %{reason}", reason = reason),
        Tried::Remove => t!("cannot remove it: %{reason}", reason = reason),
        Tried::LookAt => t!("cannot look at it: %{reason}", reason = reason),
        Tried::SetTime => t!("cannot set the time of it: %{reason}", reason = reason),
        Tried::SetMode => t!("cannot set the mode of it: %{reason}", reason = reason),
    }
    .into_owned()
}

/// Without what can be done for a file that is kept.
fn why_cut(error: &TransferError) -> String {
    match error {
        TransferError::Connection(error) => error.in_words(),
        TransferError::Server(ErrorCode::Stalled { seconds }) => {
            t!("nothing was taken for %{seconds} s", seconds = seconds).into_owned()
        }
        TransferError::Server(ErrorCode::ShuttingDown) => {
            t!("the server is shutting down").into_owned()
        }
        TransferError::WholeDiffers => t!("the whole file differs from its digest").into_owned(),
        error => error.in_words(),
    }
}

impl InWords for PlanError {
    fn in_words(&self) -> String {
        match self {
            // What exactly only who debugs a server wants to know.
            Self::Nonsense(what) => t!("the transfer does not add up: %{what}", what = what),
            Self::Integrity { offset } => {
                t!(
                    "data differs from its MD5 at byte %{offset}, also when sent again",
                    offset = offset
                )
            }
        }
        .into_owned()
    }
}

impl InWords for JournalError {
    fn in_words(&self) -> String {
        match self {
            Self::Truncated => t!("the journal is shorter than what it must hold"),
            Self::NotAJournal => t!("the file is not a journal that this version can read"),
            Self::OtherSource => t!("the journal belongs to another source"),
            Self::Unconfirmed(number) => t!(
                "%{number} leaves of an earlier boot must be checked before the journal goes on",
                number = number
            ),
            Self::OutOfRange { leaf, available } => t!(
                "leaf %{leaf} is beyond the journal's %{available}",
                leaf = leaf,
                available = available
            ),
            Self::FlushFailed => {
                t!("the journal could not be flushed earlier and cannot be used any more")
            }
            Self::Io(error) => {
                t!("cannot read or write the journal: %{reason}", reason = human::reason(error))
            }
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_is_named_already_is_not_named_again() {
        let error = TransferError::local(Tried::Read, Path::new("a"))(io::ErrorKind::NotFound);
        assert_eq!(about(&error, Path::new("a")), "cannot read it: no such file or directory");
        assert_eq!(about(&error, Path::new("b")), "cannot read a: no such file or directory");
    }

    #[test]
    fn the_english_sentences_of_a_journal_are_those_of_the_crate() {
        let errors = [
            JournalError::Truncated,
            JournalError::NotAJournal,
            JournalError::OtherSource,
            JournalError::Unconfirmed(3),
            JournalError::OutOfRange { leaf: 3, available: 2 },
            JournalError::FlushFailed,
        ];
        for error in errors {
            assert_eq!(error.in_words(), error.to_string());
        }
        let error = PlanError::Nonsense("x");
        assert_eq!(error.in_words(), error.to_string());
    }
}

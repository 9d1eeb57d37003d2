//! Why `berthctl` failed, and the exit code that says so.

use std::io::ErrorKind;
use std::path::PathBuf;

use berth_common::admin_protocol::AdminError;
use berth_common::scram::ScramError;
use rust_i18n::t;

use super::socket::SocketError;
use crate::exit::Exit;
use crate::failure;
use crate::human;
use crate::language::message;
use crate::password::PasswordError;
use crate::wording::InWords;

/// Why a command failed. `Display` is the sentence that follows `berthctl: `.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no answer.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The daemon refuses.
    #[error("{}", _0.in_words())]
    Refused(#[from] AdminError),
    /// The daemon answers something else.
    #[error("{}", t!("berthd answered something that was not asked for; is it of the same version as berthctl?"))]
    OtherAnswer,
    /// There is no password, or it cannot be read.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password cannot be used.
    #[error("{}", _0.in_words())]
    Verifier(#[from] ScramError),
    /// The operating system gives no random bytes.
    #[error("{}", t!("cannot make a secret: %{reason}", reason = _0))]
    Random(#[from] getrandom::Error),
    /// Nothing that berthd listens on is an address, and the machine has no name.
    #[error("{}", t!("it is not known by which name this server is reached: say --server HOST[:PORT]"))]
    NoAddress,
    /// A question that needs a person, and there is none.
    #[error("{}", t!("this removes user %{name} and all of the user's files: say --yes when there is no terminal to ask at", name = _0))]
    NeedsYes(String),
    /// Ctrl-C, within a question or while the daemon was waited for.
    #[error("{}", t!("interrupted; a change that berthd was asked for already may have been made"))]
    Interrupted,
    /// A ledger differs from the disk, and was not corrected. The answer, printed before, says whose.
    #[error("{}", human::count(*.0, message!("%{number} ledger differs from the disk; quota verify --fix corrects the ledger"), message!("%{number} ledgers differ from the disk; quota verify --fix corrects the ledger")))]
    Differs(usize),
    /// Homes could not be verified; the answer says which and why.
    #[error("{}", human::count(*.0, message!("%{number} home could not be verified"), message!("%{number} homes could not be verified")))]
    NotVerified(usize),
    /// The person said no.
    #[error("{}", t!("not confirmed; nothing was changed"))]
    NotConfirmed,
    /// There is a file already.
    #[error("{}", t!("%{file} is there already; say --force to replace it", file = _0.display()))]
    FileExists(PathBuf),
    /// The backup cannot be written.
    #[error("{}", t!("cannot write %{path}: %{reason}", path = path.display(), reason = human::reason(error)))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// Other bytes came than berthd has sent.
    #[error("{}", t!("the copy of the ledger has arrived damaged; nothing was written"))]
    Damaged,
    /// Standard output or the terminal failed.
    #[error("{}", t!("cannot print the answer: %{reason}", reason = human::reason(_0)))]
    Output(#[from] std::io::Error),
}

impl InWords for Failure {
    fn in_words(&self) -> String {
        self.to_string()
    }
}

impl Failure {
    /// The exit code, from the same table as `berth`'s.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Socket(_) => Exit::Connect,
            Self::Refused(
                AdminError::NoSuchUser(_)
                | AdminError::NoSuchSession(_)
                | AdminError::NoSuchDevice(..)
                | AdminError::NoSuchInvitation(_),
            ) => Exit::NotFound,
            Self::Interrupted | Self::Password(PasswordError::Interrupted) => Exit::Interrupted,
            Self::NeedsYes(_) | Self::Password(_) | Self::Verifier(_) | Self::NoAddress => {
                Exit::Usage
            }
            Self::Differs(_) => Exit::Integrity,
            Self::FileExists(_)
            | Self::File { .. }
            | Self::Damaged
            | Self::Refused(_)
            | Self::OtherAnswer
            | Self::NotVerified(_)
            | Self::Random(_)
            | Self::NotConfirmed
            | Self::Output(_) => Exit::Failure,
        }
    }

    /// The same for `failure::tell`, which knows both forms in which failures are told.
    pub(super) fn told(&self) -> failure::Failure {
        failure::Failure::new(self.exit(), self)
    }

    /// Whether nobody is left to read the answer (`berthctl user list | head`): nothing is said.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use berth_common::ids::{SessionId, UserName};

    use super::*;

    #[test]
    fn what_is_missing_is_told_apart_from_what_is_refused() {
        let alice = || UserName::new("alice").unwrap();
        for (error, exit) in [
            (AdminError::NoSuchUser(alice()), Exit::NotFound),
            (AdminError::NoSuchSession(SessionId(7)), Exit::NotFound),
            (AdminError::UserExists(alice()), Exit::Failure),
            (AdminError::Ledger, Exit::Failure),
        ] {
            assert_eq!(Failure::from(error).exit(), exit);
        }
        assert_eq!(Failure::from(PasswordError::Empty).exit(), Exit::Usage);
        assert!(Failure::Output(ErrorKind::BrokenPipe.into()).is_closed_pipe());
        assert!(!Failure::NotConfirmed.is_closed_pipe());
    }
}

//! What an administrator hears of the daemon's refusals and of the channel to it.

use berth_common::admin_protocol::AdminError;
use berth_common::codec::CodecError;
use berth_common::frame::FrameError;
use rust_i18n::t;

use super::InWords;
use crate::language::system;

impl InWords for AdminError {
    fn in_words(&self) -> String {
        match self {
            Self::NoSuchUser(user) => t!("there is no user %{user}", user = user),
            Self::UserExists(user) => t!("user %{user} exists already", user = user),
            Self::UserGoing(user) => t!("user %{user} is being made or removed", user = user),
            Self::NoSuchDevice(user, device) => {
                t!("user %{user} has no device %{device}", user = user, device = device)
            }
            Self::NoSuchInvitation(invitation) => {
                t!(
                    "there is no invitation %{invitation} that could be used",
                    invitation = invitation
                )
            }
            Self::TooManyInvitations(number) => {
                t!("there are %{number} invitations that can be used; revoke some", number = number)
            }
            Self::NoSuchProgram { program, reason } => t!(
                "%{program} cannot be run: %{reason}; nothing was changed",
                program = program,
                reason = system::in_words(reason)
            ),
            Self::TooManyPrograms(user, most) => t!(
                "user %{user} would be allowed more than %{most} programs; nothing was changed",
                user = user,
                most = most
            ),
            Self::NoSuchSession(session) => t!("there is no session %{session}", session = session),
            Self::Ledger => t!("the ledger cannot be written; the server's log says why"),
            // The daemon's own words, which are English as its log is.
            Self::Directories(reason) => t!("the user's directories: %{reason}", reason = reason),
            Self::Backup(reason) => t!("there is no backup: %{reason}", reason = reason),
            Self::NotVerified { user, reason } => {
                t!("%{user} could not be verified: %{reason}", user = user, reason = reason)
            }
            Self::Refused => t!("the request was refused"),
        }
        .into_owned()
    }
}

impl InWords for FrameError {
    fn in_words(&self) -> String {
        match self {
            Self::Empty => t!("empty frame"),
            Self::Kind(kind) => t!("frame of unknown kind %{kind}", kind = kind),
            Self::TooLong { got, most } => {
                t!("frame of %{got} bytes, more than %{most}", got = got, most = most)
            }
            Self::Block => t!("malformed data block"),
            Self::Codec(CodecError::Malformed(_)) => t!("not a valid message"),
            Self::Codec(CodecError::Trailing(bytes)) => {
                t!("%{bytes} bytes follow the message", bytes = bytes)
            }
            Self::Codec(CodecError::Encode(_)) => t!("message cannot be encoded"),
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use berth_common::exec::ProgramName;
    use berth_common::ids::{SessionId, UserName};

    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_crate() {
        let user = UserName::new("alice").unwrap();
        let errors = [
            AdminError::NoSuchUser(user.clone()),
            AdminError::UserExists(user.clone()),
            AdminError::UserGoing(user.clone()),
            AdminError::NoSuchDevice(user.clone(), "00000000000000ab".parse().unwrap()),
            AdminError::NoSuchInvitation("00000000000000ab".parse().unwrap()),
            AdminError::TooManyInvitations(7),
            AdminError::NoSuchProgram {
                program: ProgramName::new("du").unwrap(),
                reason: "x".to_owned(),
            },
            AdminError::TooManyPrograms(user.clone(), 9),
            AdminError::NoSuchSession(SessionId(5)),
            AdminError::Ledger,
            AdminError::Directories("x".to_owned()),
            AdminError::Backup("x".to_owned()),
            AdminError::NotVerified { user, reason: "x".to_owned() },
            AdminError::Refused,
        ];
        for error in errors {
            assert_eq!(error.in_words(), error.to_string());
        }
        let frames = [
            FrameError::Empty,
            FrameError::Kind(9),
            FrameError::TooLong { got: 5, most: 4 },
            FrameError::Block,
            CodecError::Trailing(3).into(),
            berth_common::codec::decode::<u8>(b"\xc1").unwrap_err().into(),
        ];
        for error in frames {
            assert_eq!(error.in_words(), error.to_string());
        }
    }
}

//! Why a text is no server, no fingerprint and no invitation, and what is wrong with the list of known servers.

use berth::invitation::InvitationCodeError;
use berth::target::TargetError;
use berth::trust::{FingerprintError, KnownServersError};
use rust_i18n::t;

use super::InWords;
use crate::human;

impl InWords for TargetError {
    fn in_words(&self) -> String {
        match self {
            Self::NoUser(text) => t!(
                "%{text} names no user: write USER@HOST or USER@HOST:PORT",
                text = format_args!("{text:?}")
            ),
            Self::User(error) => return error.in_words(),
            Self::Host(text) => t!(
                "%{text} is not a host: write HOST, HOST:PORT, or an IPv6 address as [ADDRESS]:PORT",
                text = format_args!("{text:?}")
            ),
            Self::Port(text) => t!(
                "%{text} is not a port: write a number from 1 to 65535",
                text = format_args!("{text:?}")
            ),
        }
        .into_owned()
    }
}

impl InWords for FingerprintError {
    fn in_words(&self) -> String {
        t!("a fingerprint is SHA256: and 64 hexadecimal digits, as berthd prints it at its start")
            .into_owned()
    }
}

impl InWords for InvitationCodeError {
    fn in_words(&self) -> String {
        match self {
            Self::Form => {
                t!("an invitation's code is berth://HOST/join/ and 64 characters; copy all of the line")
            }
            Self::Token(length) => t!(
                "the code is not complete: 64 letters, digits, - and _ come after /join/, not %{length}",
                length = length
            ),
            Self::User(error) => return error.in_words(),
            Self::Server(error) => return error.in_words(),
        }
        .into_owned()
    }
}

impl InWords for KnownServersError {
    fn in_words(&self) -> String {
        match self {
            Self::Io { path, source } => t!(
                "cannot use the file of known servers %{path}: %{reason}",
                path = path.display(),
                reason = human::reason(source)
            ),
            Self::Line { path, line } => t!(
                "%{path}, line %{line}: expected HOST:PORT SHA256:…; correct or delete the line",
                path = path.display(),
                line = line
            ),
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use berth::target::Target;

    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_library() {
        for text in ["host", "A@h", "a@h/x", "a@h:0"] {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.in_words(), error.to_string());
        }
        let target = TargetError::Port("0".to_owned());
        let codes = [
            InvitationCodeError::Form,
            InvitationCodeError::Token(3),
            InvitationCodeError::Server(target),
        ];
        for error in codes {
            assert_eq!(error.in_words(), error.to_string());
        }
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let known = [
            KnownServersError::Io { path: "p".into(), source },
            KnownServersError::Line { path: "p".into(), line: 3 },
        ];
        for error in known {
            assert_eq!(error.in_words(), error.to_string());
        }
        assert_eq!(FingerprintError.in_words(), FingerprintError.to_string());
    }
}

//! Why nobody was logged in or has joined, and why the keys of this device and client are not used.

use berth::client_key::ClientKeyError;
use berth::device::DeviceError;
use berth::login::{JoinError, LOGIN_TIMEOUT, LoginError};
use rust_i18n::t;

use super::InWords;
use crate::human;

impl InWords for LoginError {
    fn in_words(&self) -> String {
        match self {
            Self::Refused(code) => return code.in_words(),
            Self::Connection(error) => return error.in_words(),
            Self::SiteSecretMissing => {
                t!("this server asks for a site secret: give --site-secret-file")
            }
            Self::SiteSecretWrong => t!("the server refused the site secret"),
            Self::DeviceRefused => {
                t!("this device is not signed in any more, or the user is locked")
            }
            Self::Impostor => {
                t!("the server could not prove that it knows this user; it may be an impostor")
            }
            Self::Scram(error) => return error.in_words(),
            Self::TimedOut => {
                t!(
                    "the server did not answer within %{seconds} s",
                    seconds = LOGIN_TIMEOUT.as_secs()
                )
            }
        }
        .into_owned()
    }
}

impl InWords for JoinError {
    fn in_words(&self) -> String {
        match self {
            Self::Before(error) => error.in_words(),
            Self::Unknown(error) => t!(
                "it is unknown whether the account was made: %{reason}",
                reason = error.in_words()
            )
            .into_owned(),
            Self::After(error) => t!(
                "the account was made, but its first login failed: %{reason}",
                reason = error.in_words()
            )
            .into_owned(),
        }
    }
}

impl InWords for DeviceError {
    fn in_words(&self) -> String {
        match self {
            Self::Io { path, source } => t!(
                "cannot use the device's key %{path}: %{reason}",
                path = path.display(),
                reason = human::reason(source)
            ),
            Self::Open { path, mode } => t!(
                "the device's key %{path} can be read by others (mode %{mode}), so it is not used: give it mode 0600 if nobody has read it, or sign in again by `berth login`",
                path = path.display(),
                mode = format_args!("{mode:04o}")
            ),
            Self::Damaged(path) => t!(
                "%{path} is no device's key; sign in again by `berth login`",
                path = path.display()
            ),
            Self::Random(error) => t!("cannot make a device's key: %{reason}", reason = error),
            Self::Rejected => t!("cannot make a device's key"),
        }
        .into_owned()
    }
}

impl InWords for ClientKeyError {
    fn in_words(&self) -> String {
        match self {
            Self::Io { path, source } => t!(
                "cannot keep the client's key in %{path}: %{reason}",
                path = path.display(),
                reason = human::reason(source)
            ),
            Self::Random(error) => t!("no random bytes: %{error}", error = error),
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use berth::connection::ConnectionError;
    use berth_common::error_code::ErrorCode;
    use berth_common::scram::ScramError;

    use super::*;

    #[test]
    fn the_english_sentences_begin_as_those_of_the_library() {
        let errors = [
            LoginError::Refused(ErrorCode::LoginRefused),
            LoginError::Connection(ConnectionError::Closed),
            LoginError::SiteSecretMissing,
            LoginError::SiteSecretWrong,
            LoginError::DeviceRefused,
            LoginError::Impostor,
            LoginError::Scram(ScramError::Proof),
            LoginError::TimedOut,
        ];
        for error in errors {
            assert!(error.in_words().starts_with(&error.to_string()), "{error}");
        }
        let io = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let keys = [
            DeviceError::Io { path: "p".into(), source: io() },
            DeviceError::Open { path: "p".into(), mode: 0o644 },
            DeviceError::Damaged("p".into()),
            DeviceError::Random(getrandom::Error::UNSUPPORTED),
            DeviceError::Rejected,
        ];
        for error in keys {
            assert!(error.in_words().starts_with(&error.to_string()), "{error}");
        }
        let error = ClientKeyError::Io { path: "p".into(), source: io() };
        assert_eq!(error.in_words(), error.to_string());
        for error in [JoinError::Unknown, JoinError::After, JoinError::Before] {
            let error = error(LoginError::Impostor);
            assert_eq!(error.in_words(), error.to_string());
        }
    }
}

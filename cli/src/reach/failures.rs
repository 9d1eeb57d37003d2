//! Why nobody was reached, as it is told, and the exit code of each reason.

use berth_common::error_code::ErrorCode;

use crate::connect::ConnectError;
use crate::connection::ConnectionError;
use crate::device::DeviceError;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::login::LoginError;
use crate::password::PasswordError;
use crate::profiles::{ChoiceError, ProfileError};

/// What the user can mend is wrong usage; what the system does not do is a failure.
impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let exit = match &error {
            ProfileError::Io { .. }
            | ProfileError::Key(
                DeviceError::Io { .. } | DeviceError::Random(_) | DeviceError::Rejected,
            ) => Exit::Failure,
            ProfileError::Damaged { .. }
            | ProfileError::Missing(_)
            | ProfileError::NoKey(_)
            | ProfileError::Key(DeviceError::Open { .. } | DeviceError::Damaged(_)) => Exit::Usage,
        };
        Self::new(exit, error)
    }
}

impl From<ChoiceError> for Failure {
    fn from(error: ChoiceError) -> Self {
        Self::usage(error)
    }
}

pub(crate) fn no_password(error: PasswordError) -> Failure {
    match error {
        PasswordError::Interrupted => Failure::new(Exit::Interrupted, error),
        _ => Failure::usage(error),
    }
}

pub(crate) fn connect_failure(error: &ConnectError) -> Failure {
    let exit = match error {
        ConnectError::Untrusted { .. } => Exit::Identity,
        ConnectError::Trust(_) => Exit::Usage,
        ConnectError::Resolve { .. }
        | ConnectError::Tcp { .. }
        | ConnectError::Mute { .. }
        | ConnectError::NotBerth { .. }
        | ConnectError::Closed { .. }
        | ConnectError::Handshake { .. } => Exit::Connect,
    };
    Failure::new(exit, error)
}

pub(crate) fn login_failure(error: &LoginError) -> Failure {
    let code = match error {
        LoginError::Refused(code) | LoginError::Connection(ConnectionError::Refused(code)) => {
            Some(code)
        }
        _ => None,
    };
    let exit = match error {
        LoginError::Refused(code) => login_exit(code),
        LoginError::Connection(ConnectionError::Refused(code)) => login_exit(code),
        LoginError::Connection(_) | LoginError::TimedOut => Exit::Connect,
        LoginError::SiteSecretMissing | LoginError::SiteSecretWrong | LoginError::DeviceRefused => {
            Exit::Login
        }
        LoginError::Impostor => Exit::Identity,
        LoginError::Scram(_) => Exit::Login,
    };
    let failure = Failure::new(exit, error);
    match code {
        Some(code) => failure.coded(code),
        None => failure,
    }
}

fn login_exit(code: &ErrorCode) -> Exit {
    match Exit::of_server_error(code) {
        Exit::Connect => Exit::Connect,
        _ => Exit::Login,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_not_to_get_in_has_its_code() {
        let login = [
            (LoginError::Refused(ErrorCode::LoginRefused), Exit::Login),
            (LoginError::Refused(ErrorCode::TooManySessions { limit: 1 }), Exit::Login),
            (LoginError::Refused(ErrorCode::Version), Exit::Connect),
            (LoginError::Connection(ConnectionError::Closed), Exit::Connect),
            (LoginError::SiteSecretMissing, Exit::Login),
            (LoginError::DeviceRefused, Exit::Login),
            (LoginError::Impostor, Exit::Identity),
        ];
        for (error, exit) in login {
            assert_eq!(login_failure(&error).exit, exit, "{error}");
        }
    }
}

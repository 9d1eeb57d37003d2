//! Why nobody was reached, as it is told, and the exit code of each reason.

use berth::connect::ConnectError;
use berth::connection::ConnectionError;
use berth::device::DeviceError;
use berth::login::LoginError;
use berth_common::error_code::ErrorCode;

use crate::exit::Exit;
use crate::failure::Failure;
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
    let lost = matches!(
        error,
        ConnectError::Resolve { .. }
            | ConnectError::Tcp { .. }
            | ConnectError::Mute { .. }
            | ConnectError::Closed { .. }
            | ConnectError::Handshake { .. }
    );
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
    Failure { lost, ..Failure::new(exit, error) }
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
    let failure = Failure { lost: passes(error), ..Failure::new(exit, error) };
    match code {
        Some(code) => failure.coded(code),
        None => failure,
    }
}

/// Whether the same login may be taken later.
fn passes(error: &LoginError) -> bool {
    match error {
        // Our own session, which the server has not missed yet, may be one of them.
        LoginError::Refused(ErrorCode::TooManySessions { .. } | ErrorCode::Busy) => true,
        LoginError::Refused(code) => berth::connection::passes(code),
        LoginError::Connection(error) => error.passes(),
        LoginError::TimedOut => true,
        LoginError::SiteSecretMissing
        | LoginError::SiteSecretWrong
        | LoginError::DeviceRefused
        | LoginError::Impostor
        | LoginError::Scram(_) => false,
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

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let table = [
            (LoginError::Refused(ErrorCode::LoginRefused), false),
            (LoginError::Refused(ErrorCode::TooManyFailures { retry_after_s: 1 }), false),
            (LoginError::Refused(ErrorCode::TooManySessions { limit: 1 }), true),
            (LoginError::Refused(ErrorCode::ShuttingDown), true),
            (LoginError::Refused(ErrorCode::Version), false),
            (LoginError::Connection(ConnectionError::Closed), true),
            (LoginError::Connection(ConnectionError::Protocol(String::new())), false),
            (LoginError::TimedOut, true),
            (LoginError::DeviceRefused, false),
            (LoginError::Impostor, false),
        ];
        for (error, lost) in table {
            assert_eq!(login_failure(&error).lost, lost, "{error}");
        }
    }
}

//! What a person has to be asked for, and by what is logged in: decided before anything is connected to.

use std::path::PathBuf;

use berth::device::DeviceSecret;
use berth::login::Proof;
use berth::target::Target;
use rust_i18n::t;

use super::failures::no_password;
use crate::args::{Args, Command, SignIn};
use crate::ask;
use crate::failure::Failure;
use crate::password::{self, Password, PasswordError};
use crate::profiles::ProfileError;

/// What a session is wanted for, as far as passwords are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For any command.
    Work,
    /// For a device's key, which the password has to prove.
    SignIn,
    /// For another password, which may be in a file; the current one has to prove it.
    NewPassword(Option<PathBuf>),
}

impl Purpose {
    pub(crate) fn of(args: &Args) -> Self {
        match &args.command {
            Command::Passwd(passwd) => Self::NewPassword(passwd.new_password_file.clone()),
            Command::SignIn(SignIn::Login(_)) => Self::SignIn,
            _ => Self::Work,
        }
    }
}

/// A password that may have to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    NotNeeded,
    Known(Password),
    Asked,
}

impl Answer {
    pub(crate) fn known(self) -> Option<Password> {
        match self {
            Self::Known(password) => Some(password),
            Self::NotNeeded | Self::Asked => None,
        }
    }
}

/// By what is logged in, and what has to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    device: Option<DeviceSecret>,
    pub(crate) current: Answer,
    pub(crate) new: Answer,
}

impl Questions {
    /// A password that is given is used instead of a key. `key` loads the profile's, if there is a profile.
    pub(crate) fn new(
        purpose: &Purpose,
        given: Option<Password>,
        key: impl FnOnce() -> Option<Result<DeviceSecret, ProfileError>>,
    ) -> Result<Self, Failure> {
        let device = match (&given, purpose) {
            (Some(_), _) | (None, Purpose::SignIn) => None,
            (None, Purpose::Work | Purpose::NewPassword(_)) => key().transpose()?,
        };
        let current = match (given, purpose) {
            (Some(password), _) => Answer::Known(password),
            (None, Purpose::Work) if device.is_some() => Answer::NotNeeded,
            (None, Purpose::Work | Purpose::SignIn | Purpose::NewPassword(_)) => Answer::Asked,
        };
        let new = match purpose {
            Purpose::Work | Purpose::SignIn => Answer::NotNeeded,
            Purpose::NewPassword(None) => Answer::Asked,
            Purpose::NewPassword(Some(file)) => {
                Answer::Known(password::from_file(file).map_err(no_password)?)
            }
        };
        Ok(Self { device, current, new })
    }

    /// Whether a key is what is logged in by.
    pub(crate) fn are_by_key(&self) -> bool {
        self.device.is_some()
    }

    /// Whether a person has to be asked.
    pub(crate) fn are_open(&self) -> bool {
        self.current == Answer::Asked || self.new == Answer::Asked
    }

    /// Asks what is open. It blocks.
    pub(crate) fn ask(mut self, target: &Target) -> Result<Self, PasswordError> {
        if self.current == Answer::Asked {
            let question =
                t!("Password of %{user}@%{server}: ", user = target.user, server = target.server);
            self.current = Answer::Known(password::ask(&question)?);
        }
        if self.new == Answer::Asked {
            self.new = Answer::Known(password::ask_new(&t!("New password: "))?);
        }
        Ok(self)
    }

    /// That there is somebody to ask, told before the server is connected to.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.are_open() && !ask::somebody() {
            return Err(no_password(PasswordError::NoTerminal));
        }
        Ok(())
    }

    /// By what is logged in, once all is answered.
    pub(crate) fn proof(&self) -> Result<Proof, Failure> {
        match (&self.device, &self.current) {
            (Some(device), _) => Ok(Proof::Device(device.clone())),
            (None, Answer::Known(password)) => Ok(Proof::Password(password.clone())),
            (None, _) => Err(no_password(PasswordError::NoTerminal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(purpose: &Purpose, given: bool, key: bool) -> Questions {
        let given = given.then(|| Password::new("secret".into()));
        let key = || key.then(|| Ok(DeviceSecret::generate().unwrap()));
        Questions::new(purpose, given, key).unwrap()
    }

    #[test]
    fn a_key_needs_no_password_and_a_password_that_is_given_no_key() {
        let by_key = questions(&Purpose::Work, false, true);
        assert!(matches!(by_key.proof(), Ok(Proof::Device(_))));
        assert_eq!((by_key.are_open(), by_key.current), (false, Answer::NotNeeded));
        for key in [false, true] {
            let given = questions(&Purpose::Work, true, key);
            assert!(matches!(given.proof(), Ok(Proof::Password(_))));
            assert!(!given.are_open());
        }
        let asked = questions(&Purpose::Work, false, false);
        assert_eq!((asked.current, asked.new), (Answer::Asked, Answer::NotNeeded));
    }

    #[test]
    fn a_key_that_is_not_needed_is_not_read() {
        let password = Some(Password::new("secret".into()));
        let key = || panic!("it is read");
        assert!(Questions::new(&Purpose::Work, password, key).is_ok());
        let key = || panic!("it is read");
        assert!(Questions::new(&Purpose::SignIn, None, key).is_ok());
    }

    #[test]
    fn a_new_credential_needs_the_password_also_where_there_is_a_key() {
        let sign_in = questions(&Purpose::SignIn, false, true);
        assert_eq!(sign_in.current, Answer::Asked);
        let passwd = questions(&Purpose::NewPassword(None), false, true);
        assert!(matches!(passwd.proof(), Ok(Proof::Device(_))));
        assert_eq!((passwd.current, passwd.new), (Answer::Asked, Answer::Asked));
        let given = questions(&Purpose::NewPassword(None), true, false);
        assert_eq!(given.new, Answer::Asked);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_and_nobody_is_asked_instead() {
        let name = "work".parse().unwrap();
        let key = || Some(Err(ProfileError::NoKey(name)));
        let failure = Questions::new(&Purpose::Work, None, key).unwrap_err();
        assert!(failure.sentence.contains("has lost its key"), "{failure}");
    }
}

//! What a profile is called: a name that is also a file's.

use std::fmt;
use std::str::FromStr;

use berth::target::Target;
use berth_common::client_protocol::DEFAULT_PORT;
use rust_i18n::t;

/// A profile's name: 1 to 64 letters, digits and `_ . @ : -`, not beginning with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

/// A text that is no profile's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", t!("a profile's name has 1 to 64 of the characters A-Z, a-z, 0-9, _ . @ : - and does not begin with . or -"))]
pub struct ProfileNameError;

impl ProfileName {
    const MAX_BYTES: usize = 64;

    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, too long, or could be another file's name, an option, or hidden.
    pub fn new(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:-".contains(&byte);
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(allowed) && !text.starts_with(['.', '-']) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProfileNameError)
        }
    }

    /// What the profile of a user on a server is called unless something else is said: `USER@HOST`, and the port
    /// where it is not the usual one.
    ///
    /// # Errors
    /// When that is too long, or the host has other characters.
    pub fn of(target: &Target) -> Result<Self, ProfileNameError> {
        let Target { user, server } = target;
        match server.port {
            DEFAULT_PORT => Self::new(&format!("{user}@{}", server.host)),
            port => Self::new(&format!("{user}@{}:{port}", server.host)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        Self::new(text)
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_no_option_and_not_hidden() {
        for name in ["work", "alice@files.example.org:4023", "a", "A_b-c.d", &"x".repeat(64)] {
            assert_eq!(ProfileName::new(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", ".x", "-P", "a/b", "a b", "é", "a\n", "[::1]", &"x".repeat(65)]
        {
            assert_eq!(ProfileName::new(name), Err(ProfileNameError), "{name:?}");
        }
    }

    #[test]
    fn a_profile_is_called_by_user_and_host_unless_something_else_is_said() {
        for (target, name) in [
            ("alice@files.example.org", "alice@files.example.org"),
            ("alice@h:4022", "alice@h"),
            ("alice@h:4023", "alice@h:4023"),
            ("a@[::1]:5", "a@::1:5"),
        ] {
            let target = target.parse().unwrap();
            assert_eq!(ProfileName::of(&target).unwrap().as_str(), name);
        }
        assert!(ProfileName::of(&"a@höst".parse().unwrap()).is_err());
    }
}

//! Names and numbers that identify things, each a type of its own, checked where it enters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A user's name: `[a-z_][a-z0-9_.-]*`, at most 64 bytes. It is also a directory's name below `users/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

/// Why a text is not a user's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a user name: it must match [a-z_][a-z0-9_.-]* and have at most 64 characters"
)]
pub struct UserNameError(pub String);

impl UserName {
    /// Most bytes in a name.
    pub const MAX_BYTES: usize = 64;

    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, longer than 64 bytes or has a character outside the set above.
    pub fn new(text: &str) -> Result<Self, UserNameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        let rest = bytes.all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-')
        });
        if first && rest && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(UserNameError(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = UserNameError;

    fn try_from(text: String) -> Result<Self, UserNameError> {
        Self::new(&text)
    }
}

impl std::str::FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        Self::new(text)
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A connection's number, given by the daemon, never used twice while it runs.
    SessionId(u64)
}
number! {
    /// The number a client gives a request; a transfer keeps its request's number until it ends.
    RequestId(u32)
}
number! {
    /// The number a worker or a filer gives a question on an internal channel.
    OpId(u32)
}
number! {
    /// What a filer calls a file that it has opened for its worker: an upload or a file being read.
    Handle(u32)
}
number! {
    /// An entry of a staging directory, minted by the daemon from one durable sequence and never used twice.
    StagingName(u64)
}

impl StagingName {
    /// The entry's name in the staging directory.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The name of the journal beside it.
    #[must_use]
    pub fn journal_name(self) -> String {
        format!("{:016x}.journal", self.0)
    }

    /// Reads back either of the two names; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".journal").unwrap_or(name);
        let minted = digits.len() == 16
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !minted {
            return None;
        }
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

number! {
    /// An entry of a staging directory that was taken out of the home while the ledger could not be written:
    /// no row speaks of it, and it counts as used until one does. Minted like a [`StagingName`].
    OwedName(u64)
}

impl OwedName {
    const PREFIX: &str = "owed-";

    /// The entry's name in the staging directory.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{}{:016x}", Self::PREFIX, self.0)
    }

    /// Reads it back; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let StagingName(number) = StagingName::parse(name.strip_prefix(Self::PREFIX)?)?;
        let name_of_it = Self(number);
        (name_of_it.file_name() == name).then_some(name_of_it)
    }
}

/// Who may go on with an upload: 16 random bytes that the client keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadToken(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses_user_names() {
        for good in ["alice", "_x", "a.b-c_9", &"a".repeat(64)] {
            assert!(UserName::new(good).is_ok(), "{good}");
        }
        let bad = ["", ".", "..", "-a", "9a", "Alice", "a/b", "a b", "é", "a\0", &"a".repeat(65)];
        for bad in bad {
            assert!(UserName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unchecked_user_name_cannot_be_decoded() {
        let bytes = rmp_serde::to_vec("../root").unwrap();
        assert!(rmp_serde::from_slice::<UserName>(&bytes).is_err());
    }

    #[test]
    fn staging_names_round_trip_and_refuse_others() {
        let name = StagingName(0xabc);
        assert_eq!(name.file_name(), "0000000000000abc");
        assert_eq!(StagingName::parse(&name.file_name()), Some(name));
        assert_eq!(StagingName::parse(&name.journal_name()), Some(name));
        for bad in ["abc", "0000000000000ABC", "0000000000000abc.x", "+000000000000abc", ""] {
            assert_eq!(StagingName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn owed_names_round_trip_and_are_no_staging_names() {
        let name = OwedName(0xabc);
        assert_eq!(name.file_name(), "owed-0000000000000abc");
        assert_eq!(OwedName::parse(&name.file_name()), Some(name));
        assert_eq!(StagingName::parse(&name.file_name()), None);
        let bad = [
            "owed-",
            "owed-abc",
            "owed-0000000000000abc.journal",
            "owed-0000000000000ABC",
            "owed-owed-0000000000000abc",
            "0000000000000abc",
            "owed-1",
        ];
        for bad in bad {
            assert_eq!(OwedName::parse(bad), None, "{bad}");
        }
    }
}

//! What proves who somebody is besides a password, and what a second proof must cover before it is stored: devices'
//! keys, new accounts, invitations. Plain types, checked where they enter; who stores and checks them is the daemon.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::UserName;
use crate::scram::ScramVerifier;

/// Most devices that a user may have.
pub const MAX_DEVICES: usize = 64;

/// The public half of a device's key: Ed25519 (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.id())
    }
}

impl DeviceKey {
    /// What the key is called.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        DeviceId(first_bytes(b"berth/1 device id", &self.0))
    }
}

/// What a device signs to log in: that this user does so by this key, on this TLS channel. No other channel has the
/// same `exporter` (RFC 9266), so a signature is of no use on another connection, and not twice.
#[must_use]
pub fn login_statement(exporter: &[u8; 32], user: &UserName, key: &DeviceKey) -> Vec<u8> {
    // All but the name have a fixed length, and the name is last.
    [b"berth/1 device login\0", &exporter[..], &key.0, user.as_str().as_bytes()].concat()
}

/// A device's key, shortened: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(#[serde(with = "serde_bytes")] pub [u8; 8]);

/// An invitation's secret, shortened: 16 hexadecimal digits. The user name of its SCRAM exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvitationId(#[serde(with = "serde_bytes")] pub [u8; 8]);

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ID has 16 digits of 0-9 and a-f")]
pub struct IdError;

fn from_hex(text: &str) -> Result<[u8; 8], IdError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(IdError),
    };
    let bytes: &[[u8; 2]; 8] = pairs.try_into().map_err(|_| IdError)?;
    let mut id = [0; 8];
    for (byte, [high, low]) in id.iter_mut().zip(bytes) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    if rest.is_empty() { Ok(id) } else { Err(IdError) }
}

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                from_hex(text).map(Self)
            }
        }
    };
}

hex_id!(DeviceId);
hex_id!(InvitationId);

fn first_bytes(label: &[u8], secret: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::new().chain_update(label).chain_update(secret).finalize().into();
    std::array::from_fn(|at| hash[at])
}

/// What a device is called by its user: 1 to 64 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

/// Why a text is no device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device's name has 1 to 64 bytes and no control characters")]
pub struct DeviceNameError;

impl DeviceName {
    /// Most bytes in a name.
    pub const MAX_BYTES: usize = 64;

    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, DeviceNameError> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        match fits && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(DeviceNameError),
        }
    }

    /// The name as text. It may turn the direction of writing, so it is escaped before it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceNameError;

    fn try_from(text: String) -> Result<Self, DeviceNameError> {
        Self::new(&text)
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

/// What a user who is logged in wants to log in by from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewCredential {
    /// A password, in place of the one of before.
    Password(ScramVerifier),
    /// A device's key, besides those that are there. One that is there gets the new name.
    Device {
        /// Its key.
        key: DeviceKey,
        /// What the user calls it.
        name: DeviceName,
    },
}

impl NewCredential {
    /// One encoding for each credential, for [`crate::scram::ChannelBinding::new_credential`]. Each begins with the
    /// label of its kind.
    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        match self {
            Self::Password(verifier) => {
                [&b"berth/1 new verifier"[..], &verifier.canonical_bytes()].concat()
            }
            Self::Device { key, name } => {
                [&b"berth/1 new device"[..], &key.0, name.as_str().as_bytes()].concat()
            }
        }
    }
}

/// The account that somebody who was invited wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// Its name.
    pub user: UserName,
    /// Made from the password, which stays with the client.
    pub verifier: ScramVerifier,
}

impl NewAccount {
    /// One encoding for each account, for [`crate::scram::ChannelBinding::new_account`].
    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        let name = self.user.as_str().as_bytes();
        // A name has at most 64 bytes.
        let length = [name.len() as u8];
        [&b"berth/1 new account"[..], &length, name, &self.verifier.canonical_bytes()].concat()
    }
}

/// A device, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSummary {
    /// Its key, shortened.
    pub device: DeviceId,
    /// What its user calls it.
    pub name: DeviceName,
    /// When it was registered, in seconds since the epoch.
    pub created_s: i64,
    /// When it was last logged in by, within an hour; `None` when never.
    pub used_s: Option<i64>,
}

/// What whoever was invited proves to know: 16 random bytes, of which the server keeps a SCRAM verifier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvitationSecret(pub [u8; 16]);

impl fmt::Debug for InvitationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationSecret(…)")
    }
}

/// PBKDF2's iterations for an invitation's secret: the fewest that SCRAM allows, since nobody guesses 128 random bits.
pub const INVITATION_ITERATIONS: u32 = 4096;

impl InvitationSecret {
    /// A secret that nobody guesses.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        Ok(Self(secret))
    }

    /// What the invitation is called; it does not tell the secret.
    #[must_use]
    pub fn id(&self) -> InvitationId {
        InvitationId(first_bytes(b"berth/1 invitation id", &self.0))
    }

    /// The password of its SCRAM exchange: its hexadecimal digits.
    #[must_use]
    pub fn as_password(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_shown_and_nothing_else_is() {
        let id = DeviceKey([7; 32]).id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, DeviceKey([8; 32]).id());
        let shown = id.to_string();
        for bad in
            ["", &shown[1..], &format!("{shown}0"), &shown.to_uppercase(), "+00000000000000a"]
        {
            // An upper-case text without letters is the same text.
            assert!(bad == shown || bad.parse::<InvitationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unchecked_device_name_cannot_be_decoded() {
        for (name, ok) in
            [("laptop", true), ("", false), ("a\u{1b}[2J", false), (&"é".repeat(33), false)]
        {
            let bytes = rmp_serde::to_vec(name).unwrap();
            assert_eq!(rmp_serde::from_slice::<DeviceName>(&bytes).is_ok(), ok, "{name:?}");
        }
    }

    #[test]
    fn a_statement_is_of_one_channel_one_key_and_one_user() {
        let (alice, bob) = (UserName::new("alice").unwrap(), UserName::new("bob").unwrap());
        let (one, two) = (DeviceKey([1; 32]), DeviceKey([2; 32]));
        let statements = [
            login_statement(&[1; 32], &alice, &one),
            login_statement(&[2; 32], &alice, &one),
            login_statement(&[1; 32], &bob, &one),
            login_statement(&[1; 32], &alice, &two),
        ];
        for (at, statement) in statements.iter().enumerate() {
            assert!(!statements[..at].contains(statement));
        }
    }

    #[test]
    fn what_a_proof_covers_is_told_apart() {
        let verifier =
            |byte| ScramVerifier::new(vec![byte; 16], 4096, [byte; 32], [byte; 32]).unwrap();
        let device = |byte, name| NewCredential::Device {
            key: DeviceKey([byte; 32]),
            name: DeviceName::new(name).unwrap(),
        };
        let account = |name, byte| NewAccount {
            user: UserName::new(name).unwrap(),
            verifier: verifier(byte),
        };
        let encodings = [
            NewCredential::Password(verifier(1)).canonical_bytes(),
            NewCredential::Password(verifier(2)).canonical_bytes(),
            device(1, "a").canonical_bytes(),
            device(1, "b").canonical_bytes(),
            device(2, "a").canonical_bytes(),
            account("a", 1).canonical_bytes(),
            account("b", 1).canonical_bytes(),
            account("a", 2).canonical_bytes(),
        ];
        for (at, encoding) in encodings.iter().enumerate() {
            assert!(!encodings[..at].contains(encoding), "{at}");
        }
    }

    #[test]
    fn an_invitation_is_named_without_its_secret_told() {
        let secret = InvitationSecret([0xab; 16]);
        assert_eq!(secret.as_password(), "ab".repeat(16));
        assert!(!format!("{secret:?} {}", secret.id()).contains("abab"));
    }
}

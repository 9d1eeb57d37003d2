//! What a proof is bound to.

use std::fmt;

use super::primitives::hash;
use crate::credentials::{NewAccount, NewCredential};

/// The channel binding data of an exchange: the TLS exporter's value (RFC 9266), and for a
/// change of credentials also what is to be changed, so that the proof covers it.
///
/// The client proves that it knows the password *for these bytes*; the server, which makes them
/// itself from its own end of the channel, accepts no others. A login's data are shorter than the
/// others, so its proof never passes for a change.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding(Vec<u8>);

impl ChannelBinding {
    /// For a login: the channel alone. `exporter` is the 32 bytes that TLS exports for the label
    /// `EXPORTER-Channel-Binding` with an empty context.
    #[must_use]
    pub fn login(exporter: &[u8; 32]) -> Self {
        Self(exporter.to_vec())
    }

    /// For a new credential: the channel and the credential, which a relay between the client and
    /// the daemon can then neither make nor swap.
    #[must_use]
    pub fn new_credential(exporter: &[u8; 32], new: &NewCredential) -> Self {
        Self([*exporter, hash(&[&new.canonical_bytes()])].concat())
    }

    /// For the account of somebody who was invited: the channel and the account.
    #[must_use]
    pub fn new_account(exporter: &[u8; 32], new: &NewAccount) -> Self {
        Self([*exporter, hash(&[&new.canonical_bytes()])].concat())
    }

    /// Any other bytes that both sides agree on; at most 512, or the message gets too long.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelBinding({} bytes)", self.0.len())
    }
}

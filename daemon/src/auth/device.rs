//! A login by a device's key: one message, signed for its TLS channel.

use berth_common::credentials::{DeviceKey, login_statement};
use berth_common::ids::UserName;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::login::{Accepted, Refusal, RefusalReason};
use crate::ledger::DeviceRecord;

/// What a client signed, as the worker relays it.
#[derive(Debug)]
pub(crate) struct DeviceLogin {
    /// Who.
    pub(crate) user: UserName,
    /// By which key.
    pub(crate) key: DeviceKey,
    /// The signature.
    pub(crate) signature: [u8; 64],
}

impl DeviceLogin {
    /// Whether the signature is this key's, for this channel. Checked before anything is looked up, so that whoever has
    /// no key learns nothing of who has which.
    ///
    /// # Errors
    /// With the reason `Signature`.
    pub(crate) fn verify(&self, exporter: &[u8; 32]) -> Result<(), Refusal> {
        let statement = login_statement(exporter, &self.user, &self.key);
        UnparsedPublicKey::new(&ED25519, &self.key.0)
            .verify(&statement, &self.signature)
            .map_err(|_| RefusalReason::Signature.into())
    }

    /// Lets the device's user in, if there is one. `record` is the ledger's of this user and key.
    ///
    /// # Errors
    /// `UnknownDevice` and `Locked`.
    pub(crate) fn accept(self, record: Option<&DeviceRecord>) -> Result<Accepted, Refusal> {
        match record {
            None => Err(RefusalReason::UnknownDevice.into()),
            Some(record) if !record.user.may_log_in() => Err(RefusalReason::Locked.into()),
            Some(_) => {
                Ok(Accepted { server_final: Vec::new(), user: self.user, device: Some(self.key) })
            }
        }
    }
}

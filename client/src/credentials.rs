//! The requests of a session about what its user logs in by: the password and the devices.
//!
//! What the server is to store is covered by a second proof of the password, so that nobody between this client and
//! the daemon can make a credential or swap one.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::credentials::{
    DeviceId, DeviceKey, DeviceName, DeviceSummary, MAX_DEVICES, NewCredential,
};
use berth_common::scram::{ChannelBinding, ClientFirst, ScramError, ScramVerifier};

use crate::connection::ConnectionError;
use crate::login::answer;
use crate::password::Password;
use crate::requests::unexpected;
use crate::session::{RequestError, Session};

/// Why a credential was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The server refused, or the session is over.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The new password cannot be one, or hashing failed.
    #[error(transparent)]
    Scram(#[from] ScramError),
}

impl From<ConnectionError> for CredentialError {
    fn from(error: ConnectionError) -> Self {
        Self::Request(error.into())
    }
}

impl Session {
    /// Changes the user's password. The new one never leaves this machine.
    ///
    /// # Errors
    /// `Server(PasswordRefused)` when the current password is wrong, `Scram` when the new one
    /// cannot be a password.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn change_password(
        &self,
        current: &Password,
        new: &Password,
    ) -> Result<(), CredentialError> {
        let new = new.clone();
        let verifier = tokio::task::spawn_blocking(move || ScramVerifier::generate(new.as_str()))
            .await
            .unwrap_or(Err(ScramError::Password))?;
        self.store_credential(current, NewCredential::Password(verifier)).await
    }

    /// Registers a device, which logs in by its key from now on. One that is known gets the new name.
    ///
    /// # Errors
    /// `Server(PasswordRefused)` when the password is wrong, `Server(TooManyDevices)`.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn register_device(
        &self,
        password: &Password,
        key: DeviceKey,
        name: DeviceName,
    ) -> Result<(), CredentialError> {
        self.store_credential(password, NewCredential::Device { key, name }).await
    }

    async fn store_credential(
        &self,
        password: &Password,
        credential: NewCredential,
    ) -> Result<(), CredentialError> {
        let info = self.info();
        let binding = ChannelBinding::new_credential(&info.exporter, &credential);
        let first = ClientFirst::new(info.user.as_str(), binding)?;
        let mut exchange = self.exchange();
        let id = exchange.id;
        let message = first.message().to_vec();
        exchange.send(&ClientToWorker::CredentialFirst { id, message, credential }).await?;
        let WorkerToClient::CredentialChallenge { message, .. } = exchange.message().await? else {
            return Err(unexpected().into());
        };
        let last = answer(first, password.clone(), message).await?;
        let message = last.message().to_vec();
        exchange.send(&ClientToWorker::CredentialFinal { id, message }).await?;
        match exchange.message().await? {
            WorkerToClient::Done { .. } => Ok(()),
            _ => Err(unexpected().into()),
        }
    }

    /// The user's devices, in the order of their registration.
    ///
    /// # Errors
    /// What the server refused it with, or why the session is over; so in all methods here.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn devices(&self) -> Result<Vec<DeviceSummary>, RequestError> {
        match self.request(|id| ClientToWorker::Devices { id }).await? {
            WorkerToClient::Devices { devices, .. } => Ok(devices),
            _ => Err(unexpected()),
        }
    }

    /// Lets devices log in no more, and ends their other sessions. One that is not there is none.
    ///
    /// # Errors
    /// See [`Session::devices`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn revoke_devices(&self, devices: &[DeviceId]) -> Result<(), RequestError> {
        for devices in devices.chunks(MAX_DEVICES) {
            let devices = devices.to_vec();
            self.done(|id| ClientToWorker::RevokeDevices { id, devices }).await?;
        }
        Ok(())
    }
}

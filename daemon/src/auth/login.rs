//! A login, as the daemon sees it: two messages of a client that a worker relays.
//!
//! The broker takes the steps, and between them reads the user's record from the ledger, both
//! times: `LoginHello::parse` → record → `challenge` → the client's proof → record →
//! `AwaitingFinal::finish`. Each step consumes the one before.
//!
//! Whether there is such a user, and whether it is locked, shows in nothing that a client can see:
//! the steps are the same ones, a user without a record is challenged by a decoy, and a locked one
//! has the decoy's keys under its own salt, so that even the right password ends at the same
//! comparison as a wrong one. The code is always [`ErrorCode::LoginRefused`]; the reason is for the
//! log alone.

use berth_common::credentials::DeviceKey;
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{
    AwaitingProof, ChannelBinding, ClientHello, ScramError, ScramVerifier, ServerFirst,
};

use super::crypto;
use crate::ledger::UserRecord;

/// A login, an invitation or a new credential was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    /// For the log; a client is never told it.
    pub(crate) reason: RefusalReason,
}

impl Refusal {
    /// What a client whose login was refused is told, whatever the reason.
    pub(crate) const LOGIN_CODE: ErrorCode = ErrorCode::LoginRefused;
}

/// Why a login, an invitation or a new credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusalReason {
    /// The first message is not one, or no challenge could be made.
    #[error("no SCRAM exchange could begin: {0}")]
    Exchange(ScramError),
    /// The name is no user's.
    #[error("unknown user")]
    UnknownUser,
    /// The user is locked, or is being made or removed.
    #[error("the user is locked")]
    Locked,
    /// The proof is wrong, or no proof at all.
    #[error("{0}")]
    Proof(ScramError),
    /// The signature is not of this key, or not for this channel.
    #[error("a device's signature is wrong")]
    Signature,
    /// No such device of this user.
    #[error("unknown device")]
    UnknownDevice,
    /// No such invitation that could be used.
    #[error("unknown invitation")]
    UnknownInvitation,
    /// The user was locked or removed, or the password changed, while the client answered.
    #[error("the account was changed during the login")]
    Changed,
    /// The session of one user asked for another's credentials.
    #[error("the exchange is for another user than the session's")]
    OtherUser,
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason }
    }
}

/// A client has said who it wants to be.
#[derive(Debug)]
pub(crate) struct LoginHello(ClientHello);

impl LoginHello {
    /// Reads SCRAM's client-first-message.
    ///
    /// # Errors
    /// With the reason `Exchange`.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Refusal> {
        match ServerFirst::parse(message) {
            Ok(hello) => Ok(Self(hello)),
            Err(error) => Err(RefusalReason::Exchange(error).into()),
        }
    }

    /// What the client wrote; for the log, which escapes it.
    pub(crate) fn claimed_name(&self) -> &str {
        self.0.username()
    }

    /// The user to look up; `None` where the name cannot be one. Then there is no record.
    pub(crate) fn user(&self) -> Option<UserName> {
        UserName::new(self.claimed_name()).ok()
    }

    /// Makes the challenge to be relayed. `exporter` is the daemon's knowledge of the TLS channel.
    ///
    /// # Errors
    /// With the reason `Exchange`, when the client's nonce is too long or there are no random
    /// bytes.
    pub(crate) fn challenge(
        self,
        record: Option<&UserRecord>,
        server_secret: &[u8; 32],
        exporter: &[u8; 32],
    ) -> Result<(Vec<u8>, AwaitingFinal), Refusal> {
        // Made for every name, so that the work is the same.
        let decoy = crypto::decoy(server_secret, self.claimed_name());
        let (verifier, standing) = match record {
            None => (decoy, Standing::Unknown),
            Some(record) if !record.may_log_in() => {
                (with_keys_of(&decoy, &record.verifier), Standing::Locked)
            }
            Some(record) => (record.verifier.clone(), Standing::Good),
        };
        let user = self.user();
        let (message, awaiting) =
            crypto::challenge(self.0, verifier.clone()).map_err(RefusalReason::Exchange)?;
        let binding = ChannelBinding::login(exporter);
        Ok((message, AwaitingFinal { awaiting, binding, verifier, standing, user }))
    }
}

/// The salt and iterations of `shown` with keys that no password fits.
fn with_keys_of(decoy: &ScramVerifier, shown: &ScramVerifier) -> ScramVerifier {
    let keys = (*decoy.stored_key(), *decoy.server_key());
    // `shown` was checked when it was made, so the same salt and iterations are within bounds.
    ScramVerifier::new(shown.salt().to_vec(), shown.iterations(), keys.0, keys.1)
        .unwrap_or_else(|_| decoy.clone())
}

/// What the record said when the challenge was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Locked,
    Unknown,
}

/// A client was challenged.
#[derive(Debug)]
pub(crate) struct AwaitingFinal {
    awaiting: AwaitingProof,
    binding: ChannelBinding,
    verifier: ScramVerifier,
    standing: Standing,
    user: Option<UserName>,
}

/// A login was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// SCRAM's server-final-message, to be relayed.
    pub(crate) server_final: Vec<u8>,
    /// Who it is.
    pub(crate) user: UserName,
    /// By which device, where it is none by the password.
    pub(crate) device: Option<DeviceKey>,
}

impl AwaitingFinal {
    /// What the client wrote; for the log, which escapes it.
    pub(crate) fn claimed_name(&self) -> &str {
        self.awaiting.username()
    }

    /// The user to look up again.
    pub(crate) fn user(&self) -> Option<UserName> {
        self.user.clone()
    }

    /// Checks SCRAM's client-final-message. `now` is the record as it is now: a lock or a new
    /// password since the challenge counts.
    ///
    /// # Errors
    /// With any reason but `OtherUser`.
    pub(crate) fn finish(
        self,
        message: &[u8],
        now: Option<&UserRecord>,
    ) -> Result<Accepted, Refusal> {
        let verified = crypto::verify(self.awaiting, message, &self.binding);
        let server_final = match (verified, self.standing) {
            (Ok(server_final), Standing::Good) => server_final,
            (_, Standing::Unknown) => return Err(RefusalReason::UnknownUser.into()),
            (_, Standing::Locked) => return Err(RefusalReason::Locked.into()),
            (Err(error), Standing::Good) => return Err(RefusalReason::Proof(error).into()),
        };
        match (self.user, now) {
            (Some(user), Some(now)) if now.may_log_in() && now.verifier == self.verifier => {
                Ok(Accepted { server_final, user, device: None })
            }
            _ => Err(RefusalReason::Changed.into()),
        }
    }

    /// How far the check of a proof gets.
    #[cfg(test)]
    pub(super) fn verify_for_test(self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        crypto::verify(self.awaiting, message, &self.binding)
    }
}

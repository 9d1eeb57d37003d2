//! The client's half.

use std::fmt;

use super::message::{self, Attributes, HEADER};
use super::primitives::{client_key, hash, hmac, hmac_matches, salted_password, server_key, xor};
use super::verifier::{check_bounds, prepare_password};
use super::{ChannelBinding, Nonce, ScramError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The client has its first message ready and waits for the server's.
pub struct ClientFirst {
    header: &'static str,
    binding: ChannelBinding,
    message: String,
    nonce: String,
}

impl ClientFirst {
    /// Begins an exchange for a user, whose proof will be bound to `binding`.
    ///
    /// # Errors
    /// `UserName` when it is empty or SASLprep prohibits it, `TooLong` when it has about a
    /// kilobyte, `Random` when the operating system gives no random bytes.
    pub fn new(user: &str, binding: ChannelBinding) -> Result<Self, ScramError> {
        Self::with(HEADER, user, Nonce::random()?, binding)
    }

    /// The same with any header and nonce: what tests take the RFC's example through.
    pub(super) fn with(
        header: &'static str,
        user: &str,
        nonce: Nonce,
        binding: ChannelBinding,
    ) -> Result<Self, ScramError> {
        let user = stringprep::saslprep(user).map_err(|_| ScramError::UserName)?;
        if user.is_empty() {
            return Err(ScramError::UserName);
        }
        let nonce = nonce.as_str().to_owned();
        let message = format!("{header}n={},r={nonce}", message::escape(&user));
        message::text(message.as_bytes())?;
        Ok(Self { header, binding, message, nonce })
    }

    /// The client-first message, to be sent.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Answers the server-first message with a proof. The costly step: see
    /// [`super::DEFAULT_ITERATIONS`]; a caller with other work does it on another thread.
    ///
    /// # Errors
    /// `TooLong`, `Malformed` or `MandatoryExtension` for a message of another form; `Nonce` when
    /// it does not continue ours; `Verifier` when it has too short a salt, or fewer iterations than
    /// are safe or more than are sane; `Password` when SASLprep prohibits ours.
    pub fn answer(self, password: &str, server_first: &[u8]) -> Result<ClientFinal, ScramError> {
        let server_first = message::text(server_first)?;
        let mut attributes = Attributes::new(server_first);
        let nonce = message::nonce(attributes.next('r', "the nonce")?)?;
        let salt = message::bytes(attributes.next('s', "the salt")?, "the salt")?;
        let iterations = message::iterations(attributes.next('i', "the iterations")?)?;
        attributes.end()?;
        // A server that adds nothing could replay an exchange that it has seen.
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        check_bounds(&salt, iterations)?;

        let salted = salted_password(&prepare_password(password)?, &salt, iterations)?;
        let bound = [self.header.as_bytes(), self.binding.as_bytes()].concat();
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(&bound));
        let bare = self.message.strip_prefix(self.header).unwrap_or(&self.message);
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let client_key = client_key(&salted);
        let signature = hmac(&hash(&[&client_key]), &[auth_message.as_bytes()]);
        let proof = STANDARD.encode(xor(&client_key, &signature));
        Ok(ClientFinal {
            message: format!("{without_proof},p={proof}"),
            server_key: server_key(&salted),
            auth_message,
        })
    }
}

/// The client has its proof ready and waits for the server's.
pub struct ClientFinal {
    message: String,
    server_key: [u8; 32],
    auth_message: String,
}

impl ClientFinal {
    /// The client-final message, to be sent.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Checks the server-final message. Only after this does the client know that it speaks with
    /// one who has its verifier.
    ///
    /// # Errors
    /// `Refused` when the server says so, `ServerSignature` when it could not prove itself, and
    /// `TooLong`, `Malformed` or `MandatoryExtension` for a message of another form.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = message::text(server_final)?;
        if text.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let mut attributes = Attributes::new(text);
        let signature = message::key(attributes.next('v', "the signature")?, "the signature")?;
        attributes.end()?;
        if hmac_matches(&self.server_key, &[self.auth_message.as_bytes()], &signature) {
            Ok(())
        } else {
            Err(ScramError::ServerSignature)
        }
    }
}

// Neither shows what it holds: the second would give away a proof and a key.
impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientFirst(…)")
    }
}

impl fmt::Debug for ClientFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientFinal(…)")
    }
}

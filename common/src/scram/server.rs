//! The server's half, which the daemon runs on bytes that a worker relays: nothing in them is
//! trusted. It hashes a few hundred bytes an exchange; the costly part is the client's.

use std::fmt;

use super::message::{self, Attributes, HEADER};
use super::primitives::{hash_matches, hmac, xor};
use super::{ChannelBinding, Nonce, ScramError, ScramVerifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The server's first step.
#[derive(Clone, Copy, Debug)]
pub struct ServerFirst;

impl ServerFirst {
    /// Reads a client-first message.
    ///
    /// # Errors
    /// `TooLong` beyond 1 KiB, `Header` when it is not bound to the TLS channel by `tls-exporter`
    /// or names an authorization identity, `MandatoryExtension`, or `Malformed`.
    pub fn parse(client_first: &[u8]) -> Result<ClientHello, ScramError> {
        Self::parse_with(HEADER, client_first)
    }

    /// The same with any header: what tests take the RFC's example through.
    pub(super) fn parse_with(
        header: &'static str,
        client_first: &[u8],
    ) -> Result<ClientHello, ScramError> {
        let bare = message::text(client_first)?.strip_prefix(header).ok_or(ScramError::Header)?;
        let mut attributes = Attributes::new(bare);
        let username = message::unescape(attributes.next('n', "the user name")?)?;
        let nonce = message::nonce(attributes.next('r', "the nonce")?)?.to_owned();
        attributes.end()?;
        Ok(ClientHello { header, bare: bare.to_owned(), username, nonce })
    }
}

/// A client has said who it wants to be.
#[derive(Debug)]
pub struct ClientHello {
    header: &'static str,
    bare: String,
    username: String,
    nonce: String,
}

impl ClientHello {
    /// The name, as the client wrote it: it may not be a user's, nor a valid one.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Makes the server-first message. `verifier` is the user's, or for a name without a user
    /// its [`ScramVerifier::decoy`].
    ///
    /// # Errors
    /// `TooLong` when the client's nonce leaves no room for the server's.
    pub fn challenge(
        self,
        verifier: ScramVerifier,
        nonce: &Nonce,
    ) -> Result<(Vec<u8>, AwaitingProof), ScramError> {
        let nonce = [&self.nonce, nonce.as_str()].concat();
        message::nonce(&nonce).map_err(|_| ScramError::TooLong)?;
        let salt = STANDARD.encode(verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations());
        let message = server_first.clone().into_bytes();
        let Self { header, bare, username, .. } = self;
        Ok((message, AwaitingProof { header, bare, username, nonce, server_first, verifier }))
    }
}

/// The server has sent its challenge and waits for the proof.
pub struct AwaitingProof {
    header: &'static str,
    bare: String,
    username: String,
    nonce: String,
    server_first: String,
    verifier: ScramVerifier,
}

impl AwaitingProof {
    /// The name for which a proof is awaited.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Checks a client-final message against the challenge, the verifier and the server's own
    /// view of the channel. Returns the server-final message; only with it is the client who it
    /// says. A second try needs a new exchange.
    ///
    /// # Errors
    /// `Binding`, `Nonce` or `Proof` when one of these is not of this exchange; `TooLong`,
    /// `Malformed` or `MandatoryExtension` for a message of another form.
    pub fn verify(
        self,
        client_final: &[u8],
        binding: &ChannelBinding,
    ) -> Result<Vec<u8>, ScramError> {
        let text = message::text(client_final)?;
        let mut attributes = Attributes::new(text);
        let bound = message::bytes(attributes.next('c', "the binding")?, "the binding")?;
        let nonce = message::nonce(attributes.next('r', "the nonce")?)?;
        let coded_proof = attributes.next('p', "the proof")?;
        let proof = message::key(coded_proof, "the proof")?;
        attributes.end()?;

        if bound != [self.header.as_bytes(), binding.as_bytes()].concat() {
            return Err(ScramError::Binding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        // Base64 is decoded in its canonical form only, so this is what the client signed.
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(&bound));
        let auth_message = format!("{},{},{without_proof}", self.bare, self.server_first);
        let signature = hmac(self.verifier.stored_key(), &[auth_message.as_bytes()]);
        if !hash_matches(&xor(&proof, &signature), self.verifier.stored_key()) {
            return Err(ScramError::Proof);
        }
        let signature = hmac(self.verifier.server_key(), &[auth_message.as_bytes()]);
        Ok(format!("v={}", STANDARD.encode(signature)).into_bytes())
    }
}

impl fmt::Debug for AwaitingProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitingProof({:?}, …)", self.username)
    }
}

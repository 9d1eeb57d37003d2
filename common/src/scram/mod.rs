//! Login: SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), bound to the TLS channel by `tls-exporter`
//! (RFC 9266), both halves. Pure: it reads no network, no file and no clock; only random bytes.
//!
//! ```text
//! client                                        server
//! ClientFirst::new ── client-first ──────────▶  ServerFirst::parse → ClientHello
//! ClientFirst::answer ◀──── server-first ─────  ClientHello::challenge → AwaitingProof
//! ClientFinal      ── client-final ──────────▶  AwaitingProof::verify
//! ClientFinal::verify ◀──── server-final ─────
//! ```
//!
//! Each step consumes the one before, so that no nonce or challenge is used twice. The password
//! never leaves the client. Berth is stricter than the RFCs, since both halves are here: the
//! channel binding is not optional, there is no authorization identity, and no extension at all.
//!
//! [`site_proof`] is the smaller proof that may be asked for before any of this.

mod binding;
mod client;
mod message;
mod nonce;
mod primitives;
mod server;
mod site;
mod verifier;

pub use binding::ChannelBinding;
pub use client::{ClientFinal, ClientFirst};
pub use nonce::Nonce;
pub use server::{AwaitingProof, ClientHello, ServerFirst};
pub use site::{site_proof, verify_site_proof};
pub use verifier::{
    DEFAULT_ITERATIONS, ITERATIONS, SALT_BYTES, SALT_SIZE, ScramVerifier, ScramVerifierError,
};

/// Why a SCRAM exchange ended. What a peer is told is decided elsewhere: to it, an unknown user,
/// a wrong password and a wrong binding must look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message is longer than [`crate::limits::MAX_SCRAM_MESSAGE`]; it was not read.
    #[error("a SCRAM message is too long")]
    TooLong,
    /// A message has not the form that RFC 5802 gives it; names the part.
    #[error("a SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    /// The client offers no channel binding, another one than `tls-exporter`, or asks to act as
    /// someone else.
    #[error("a SCRAM client's header is not `p=tls-exporter,,`")]
    Header,
    /// A message needs an extension (`m=`); there is none that Berth knows.
    #[error("a SCRAM message has a mandatory extension")]
    MandatoryExtension,
    /// The nonce is not the one of this exchange, or the server added nothing to it.
    #[error("a SCRAM nonce is not of this exchange")]
    Nonce,
    /// The client's proof is for another TLS channel, or covers something else.
    #[error("a SCRAM proof is bound to another channel")]
    Binding,
    /// The client's proof is wrong: another password, or a change on the way.
    #[error("a SCRAM proof is wrong")]
    Proof,
    /// The server's signature is wrong: it does not know the user's verifier.
    #[error("the server could not prove that it knows this user")]
    ServerSignature,
    /// The server answered a proof with an error (`e=`).
    #[error("the server refused the proof")]
    Refused,
    /// The password is empty, or has characters that SASLprep (RFC 4013) prohibits.
    #[error("the password is empty or has characters that are not allowed in one")]
    Password,
    /// The user's name is empty, or has characters that SASLprep (RFC 4013) prohibits.
    #[error("the user name is empty or has characters that are not allowed in one")]
    UserName,
    /// The salt or the iterations are out of bounds.
    #[error(transparent)]
    Verifier(#[from] ScramVerifierError),
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

#[cfg(test)]
mod tests;

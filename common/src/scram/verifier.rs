//! What the daemon keeps of a password.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::ScramError;
use super::primitives::{Key, client_key, hash, hmac, salted_password, server_key};

/// Bytes that a salt may have.
pub const SALT_BYTES: RangeInclusive<usize> = 16..=64;

/// Bytes in the salts that Berth makes, a decoy's too.
pub const SALT_SIZE: usize = 16;

/// Iterations that either side accepts. RFC 7677 asks for 4096 at least; more than a million
/// would let a server keep a client busy for seconds.
pub const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// Iterations of a new verifier: what OWASP recommends for PBKDF2 with HMAC-SHA-256 (2023).
///
/// They are the client's cost, once a login: measured 0.1 s with SHA instructions and 0.3 s
/// without, and that much for each password that a thief of the ledger tries out. An unoptimised
/// build takes most of a second, so tests make cheaper verifiers by
/// [`ScramVerifier::from_password`].
pub const DEFAULT_ITERATIONS: u32 = 600_000;

/// What proves a password without being one: RFC 5802's salt, iterations, `StoredKey` and
/// `ServerKey`.
///
/// Whoever has it can pass for the server towards this user and can try passwords out, but
/// cannot log in. It is never shown, and `==` is not for checking proofs: it takes no care of time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct ScramVerifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

/// Why a salt and iterations make no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramVerifierError {
    /// The salt's length is not within [`SALT_BYTES`].
    #[error("a salt has 16 to 64 bytes, not {0}")]
    Salt(usize),
    /// The count is not within [`ITERATIONS`].
    #[error("iterations are 4096 to 1000000, not {0}")]
    Iterations(u32),
}

impl ScramVerifier {
    /// Puts a verifier together again from its parts.
    ///
    /// # Errors
    /// When the salt or the iterations are out of bounds.
    pub fn new(
        salt: Vec<u8>,
        iterations: u32,
        stored_key: [u8; 32],
        server_key: [u8; 32],
    ) -> Result<Self, ScramVerifierError> {
        check_bounds(&salt, iterations)?;
        Ok(Self { salt, iterations, stored_key, server_key })
    }

    /// Makes the verifier of a password. It takes as long as a login does.
    ///
    /// # Errors
    /// `Password` when it is empty or has characters that SASLprep (RFC 4013) prohibits;
    /// `Verifier` when the salt or the iterations are out of bounds.
    pub fn from_password(
        password: &str,
        salt: Vec<u8>,
        iterations: u32,
    ) -> Result<Self, ScramError> {
        check_bounds(&salt, iterations)?;
        let salted = salted_password(&prepare_password(password)?, &salt, iterations)?;
        let stored_key = hash(&[&client_key(&salted)]);
        Ok(Self { salt, iterations, stored_key, server_key: server_key(&salted) })
    }

    /// Makes the verifier of a new password, with a random salt and [`DEFAULT_ITERATIONS`].
    ///
    /// # Errors
    /// `Password` as above; `Random` when the operating system gives no random bytes.
    pub fn generate(password: &str) -> Result<Self, ScramError> {
        let mut salt = vec![0; SALT_SIZE];
        getrandom::fill(&mut salt)?;
        Self::from_password(password, salt, DEFAULT_ITERATIONS)
    }

    /// A verifier that no password fits, for a user that is not there: the same for the same
    /// secret and name, and from the outside like one that [`ScramVerifier::generate`] made. (A
    /// user whose iterations are not the default can be told from it.)
    #[must_use]
    pub fn decoy(server_secret: &[u8; 32], user: &str) -> Self {
        let derive = |label: &[u8]| hmac(server_secret, &[label, user.as_bytes()]);
        Self {
            salt: derive(b"berth/1 decoy salt\0")[..SALT_SIZE].to_vec(),
            iterations: DEFAULT_ITERATIONS,
            stored_key: derive(b"berth/1 decoy stored key\0"),
            server_key: derive(b"berth/1 decoy server key\0"),
        }
    }

    /// The salt; the client is told it.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// PBKDF2's iterations; the client is told them.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// `StoredKey`, by which the server checks a proof.
    #[must_use]
    pub fn stored_key(&self) -> &[u8; 32] {
        &self.stored_key
    }

    /// `ServerKey`, by which the server proves itself.
    #[must_use]
    pub fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }

    /// One encoding for each verifier, for what a proof covers: length of the salt
    /// (one byte), salt, iterations (big-endian), `StoredKey`, `ServerKey`.
    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        let salt_len = self.salt.len() as u8;
        let iterations = self.iterations.to_be_bytes();
        [&[salt_len], &self.salt[..], &iterations, &self.stored_key, &self.server_key].concat()
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramVerifier({} iterations, …)", self.iterations)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(with = "serde_bytes")]
    salt: Vec<u8>,
    iterations: u32,
    #[serde(with = "serde_bytes")]
    stored_key: Key,
    #[serde(with = "serde_bytes")]
    server_key: Key,
}

impl TryFrom<Wire> for ScramVerifier {
    type Error = ScramVerifierError;

    fn try_from(wire: Wire) -> Result<Self, ScramVerifierError> {
        Self::new(wire.salt, wire.iterations, wire.stored_key, wire.server_key)
    }
}

impl From<ScramVerifier> for Wire {
    fn from(verifier: ScramVerifier) -> Self {
        let ScramVerifier { salt, iterations, stored_key, server_key } = verifier;
        Self { salt, iterations, stored_key, server_key }
    }
}

/// Checks the two values that a server sends to a client, and that a client sends for storing.
pub(super) fn check_bounds(salt: &[u8], iterations: u32) -> Result<(), ScramVerifierError> {
    if !SALT_BYTES.contains(&salt.len()) {
        return Err(ScramVerifierError::Salt(salt.len()));
    }
    if !ITERATIONS.contains(&iterations) {
        return Err(ScramVerifierError::Iterations(iterations));
    }
    Ok(())
}

/// SASLprep (RFC 4013). The error names no character: it may end up in a log.
pub(super) fn prepare_password(password: &str) -> Result<String, ScramError> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared.into_owned()),
        _ => Err(ScramError::Password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(password: &str) -> Result<ScramVerifier, ScramError> {
        ScramVerifier::from_password(password, vec![1; 16], 4096)
    }

    #[test]
    fn refuses_salts_and_iterations_out_of_bounds() {
        for (salt, iterations, ok) in [
            (15, 4096, false),
            (16, 4096, true),
            (64, 1_000_000, true),
            (65, 4096, false),
            (16, 4095, false),
            (16, 1_000_001, false),
            (16, 0, false),
        ] {
            let made = ScramVerifier::new(vec![0; salt], iterations, [0; 32], [0; 32]);
            assert_eq!(made.is_ok(), ok, "{salt} {iterations}");
        }
        let refused = ScramVerifier::from_password("x", vec![0; 16], 4095);
        assert_eq!(refused, Err(ScramVerifierError::Iterations(4095).into()));
    }

    #[test]
    fn passwords_are_prepared_by_rfc_4013() {
        let verifier = cheap("IX").unwrap();
        assert_eq!(cheap("I\u{ad}X").unwrap(), verifier, "soft hyphens vanish");
        assert_eq!(cheap("\u{2168}").unwrap(), verifier, "compatibility forms are mapped");
        assert_ne!(cheap("ix").unwrap(), verifier, "case is kept");
        for bad in ["", "\u{ad}", "a\u{7}", "\u{627}1", "a\u{0}"] {
            assert_eq!(cheap(bad), Err(ScramError::Password), "{bad:?}");
        }
    }

    #[test]
    fn an_unchecked_verifier_cannot_be_decoded() {
        let good = cheap("x").unwrap();
        let bytes = rmp_serde::to_vec_named(&good).unwrap();
        assert_eq!(rmp_serde::from_slice::<ScramVerifier>(&bytes).unwrap(), good);
        let few = Wire { iterations: 1, ..good.clone().into() };
        let short = Wire { salt: vec![1; 15], ..good.into() };
        for bad in [few, short] {
            let bytes = rmp_serde::to_vec_named(&bad).unwrap();
            assert!(rmp_serde::from_slice::<ScramVerifier>(&bytes).is_err());
        }
    }

    #[test]
    fn never_shows_its_keys() {
        let verifier = ScramVerifier::new(vec![77; 16], 4096, [77; 32], [77; 32]).unwrap();
        assert_eq!(format!("{verifier:?}"), "ScramVerifier(4096 iterations, …)");
    }

    #[test]
    fn a_decoy_is_stable_and_looks_like_a_new_verifier() {
        let decoy = ScramVerifier::decoy(&[1; 32], "alice");
        assert_eq!(decoy, ScramVerifier::decoy(&[1; 32], "alice"));
        let others =
            [ScramVerifier::decoy(&[1; 32], "bob"), ScramVerifier::decoy(&[2; 32], "alice")];
        for other in others {
            assert_ne!(decoy.salt(), other.salt());
            assert_ne!(decoy.stored_key(), other.stored_key());
        }
        assert_eq!((decoy.salt().len(), decoy.iterations()), (SALT_SIZE, DEFAULT_ITERATIONS));
        assert_ne!(decoy.stored_key(), decoy.server_key());
    }

    #[test]
    fn generated_verifiers_differ_in_salt_and_keys() {
        // Not by `generate`, whose iterations a debug build takes too long over.
        let salts: [Vec<u8>; 2] = [vec![1; 16], vec![2; 16]];
        let [a, b] = salts.map(|salt| ScramVerifier::from_password("x", salt, 4096).unwrap());
        assert_ne!(a.stored_key(), b.stored_key());
        assert_ne!(a.canonical_bytes(), b.canonical_bytes());
    }
}

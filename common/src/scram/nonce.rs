//! The random half of a nonce that each side adds.

use std::fmt;

use super::ScramError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One side's part of an exchange's nonce. Made for one exchange and used up by it.
pub struct Nonce(String);

impl Nonce {
    /// Random bytes in a nonce.
    const SIZE: usize = 24;

    /// A new one, of 24 random bytes.
    ///
    /// # Errors
    /// `Random` when the operating system gives none.
    pub fn random() -> Result<Self, ScramError> {
        let mut bytes = [0; Self::SIZE];
        getrandom::fill(&mut bytes)?;
        // Base64 has no comma, which is all that RFC 5802 asks of a nonce's characters.
        Ok(Self(STANDARD.encode(bytes)))
    }

    /// A nonce that is not random: for tests alone.
    #[cfg(test)]
    pub(super) fn fixed(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

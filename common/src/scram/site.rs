//! The proof that a client knows the site secret, asked for before any login.

use super::primitives::{hmac, hmac_matches};

const LABEL: &[u8] = b"berth/1 site";

/// The client's answer to a site challenge: HMAC-SHA-256 with the site secret over a label, the
/// server's 32 random bytes and the TLS exporter's value, so that an answer is of use in one
/// channel only. `secret` may have any length; an empty one is as good as none.
#[must_use]
pub fn site_proof(secret: &[u8], challenge: &[u8; 32], exporter: &[u8; 32]) -> [u8; 32] {
    hmac(secret, &[LABEL, challenge, exporter])
}

/// Whether `proof` is the answer that [`site_proof`] makes, compared in constant time. A proof
/// that has not 32 bytes is not.
#[must_use]
pub fn verify_site_proof(
    secret: &[u8],
    challenge: &[u8; 32],
    exporter: &[u8; 32],
    proof: &[u8],
) -> bool {
    hmac_matches(secret, &[LABEL, challenge, exporter], proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_proof_holds_for_its_secret_challenge_and_channel_only() {
        let proof = site_proof(b"secret", &[1; 32], &[2; 32]);
        assert!(verify_site_proof(b"secret", &[1; 32], &[2; 32], &proof));
        assert!(!verify_site_proof(b"Secret", &[1; 32], &[2; 32], &proof));
        assert!(!verify_site_proof(b"secret", &[3; 32], &[2; 32], &proof));
        assert!(!verify_site_proof(b"secret", &[1; 32], &[3; 32], &proof));
        for bad in [&proof[..31], &[], &[proof.as_slice(), &[0]].concat()] {
            assert!(!verify_site_proof(b"secret", &[1; 32], &[2; 32], bad));
        }
    }
}

//! The site secret: what a client must know before it may even try to log in.

use berth_common::scram::verify_site_proof;

/// 32 random bytes for one connection's challenge.
///
/// # Errors
/// When the operating system gives none; the connection is to be closed.
pub(crate) fn site_challenge() -> Result<[u8; 32], getrandom::Error> {
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge)?;
    Ok(challenge)
}

/// Whether a client's proof shows that it knows the secret, on this channel and for this challenge.
/// Never for an empty secret: a site without one sends no challenge.
pub(crate) fn site_proof_holds(
    secret: &[u8],
    challenge: &[u8; 32],
    exporter: &[u8; 32],
    proof: &[u8; 32],
) -> bool {
    !secret.is_empty() && verify_site_proof(secret, challenge, exporter, proof)
}

#[cfg(test)]
mod tests {
    use berth_common::scram::site_proof;

    use super::*;

    #[test]
    fn a_site_proof_holds_once_and_never_for_an_empty_secret() {
        let (first, second) = (site_challenge().unwrap(), site_challenge().unwrap());
        assert_ne!(first, second);
        let proof = site_proof(b"site", &first, &[7; 32]);
        assert!(site_proof_holds(b"site", &first, &[7; 32], &proof));
        assert!(!site_proof_holds(b"site", &second, &[7; 32], &proof));
        assert!(!site_proof_holds(b"site", &first, &[8; 32], &proof));
        let empty = site_proof(b"", &first, &[7; 32]);
        assert!(!site_proof_holds(b"", &first, &[7; 32], &empty));
    }
}

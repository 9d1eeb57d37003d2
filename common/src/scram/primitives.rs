//! HMAC, Hi and the keys of RFC 5802, section 3, for SHA-256; comparisons in constant time.

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::ScramError;

/// A SHA-256 value: a key, a signature, a proof.
pub(super) type Key = [u8; 32];

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    hmac_of(key, parts).finalize().into_bytes().into()
}

/// Whether `tag` is the HMAC-SHA-256 over the parts, in constant time for tags of 32 bytes.
pub(super) fn hmac_matches(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    hmac_of(key, parts).verify_slice(tag).is_ok()
}

/// Whether SHA-256 of `preimage` is `digest`, in constant time.
pub(super) fn hash_matches(preimage: &[u8], digest: &Key) -> bool {
    let found = CtOutput::<Sha256>::new(Sha256::digest(preimage));
    found == CtOutput::new((*digest).into())
}

/// SHA-256 over the parts, one after the other.
pub(super) fn hash(parts: &[&[u8]]) -> Key {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block. The costly step.
pub(super) fn salted_password(
    password: &str,
    salt: &[u8],
    iterations: u32,
) -> Result<Key, ScramError> {
    // HMAC takes keys of every length, so this error does not happen.
    pbkdf2::pbkdf2_array::<Hmac<Sha256>, 32>(password.as_bytes(), salt, iterations)
        .map_err(|_| ScramError::Password)
}

/// `ClientKey`: its hash is the `StoredKey`, so it must not be kept.
pub(super) fn client_key(salted_password: &Key) -> Key {
    hmac(salted_password, &[b"Client Key"])
}

/// `ServerKey`, by which the server proves that it knows the user.
pub(super) fn server_key(salted_password: &Key) -> Key {
    hmac(salted_password, &[b"Server Key"])
}

/// The exclusive or of both.
pub(super) fn xor(a: &Key, b: &Key) -> Key {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// HMAC fills a key up with zeros to a block, and hashes a longer one. Doing so here gives a key
/// of the one size for which making the HMAC cannot fail.
fn hmac_of(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    if let Some(start) = block.get_mut(..key.len()) {
        start.copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&hash(&[key]));
    }
    let mut mac = Hmac::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_agree_with_the_crate() {
        for len in [0, 1, 32, 63, 64, 65, 200] {
            let key = vec![0x5a; len];
            let expected = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(b"ab");
            let tag = hmac(&key, &[b"a", b"b"]);
            assert_eq!(tag[..], expected.finalize().into_bytes()[..], "{len}");
            assert!(hmac_matches(&key, &[b"ab"], &tag));
            assert!(!hmac_matches(&key, &[b"ab"], &tag[..31]));
            assert!(!hmac_matches(&key, &[b"ac"], &tag));
        }
    }

    #[test]
    fn compares_hashes() {
        let digest = hash(&[b"a", b"b"]);
        assert!(hash_matches(b"ab", &digest));
        assert!(!hash_matches(b"ac", &digest));
    }
}

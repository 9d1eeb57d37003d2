//! What the TLS key signs, and nothing else: a TLS 1.3 server's CertificateVerify.
//!
//! A worker that is taken over asks for signatures too. RFC 8446, section 4.4.3, gives the content of what
//! is signed in a handshake; anything else, such as a certificate of the attacker's making, is refused.

const PADDING: [u8; 64] = [b' '; 64];
const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";

/// Whether `content` is 64 spaces, the server's context string, a zero byte and a transcript hash:
/// SHA-256's 32 bytes, or SHA-384's 48.
pub(crate) fn is_certificate_verify(content: &[u8]) -> bool {
    content
        .strip_prefix(&PADDING)
        .and_then(|rest| rest.strip_prefix(CONTEXT))
        .is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(context: &[u8], hash: usize) -> Vec<u8> {
        [&PADDING, context, &vec![7; hash]].concat()
    }

    #[test]
    fn accepts_what_a_tls_server_signs_and_nothing_else() {
        assert!(is_certificate_verify(&content(CONTEXT, 32)));
        assert!(is_certificate_verify(&content(CONTEXT, 48)));
        for hash in [0, 31, 33, 47, 49, 64] {
            assert!(!is_certificate_verify(&content(CONTEXT, hash)), "{hash}");
        }
        assert!(!is_certificate_verify(&content(b"TLS 1.3, client CertificateVerify\0", 32)));
        assert!(!is_certificate_verify(&content(&CONTEXT[..CONTEXT.len() - 1], 33)));
        assert!(!is_certificate_verify(&content(CONTEXT, 32)[1..]));
        assert!(!is_certificate_verify(&[b" ", &content(CONTEXT, 32)[..]].concat()));
        assert!(!is_certificate_verify(b""));
        assert!(!is_certificate_verify(&[b' '; 64]));
    }
}

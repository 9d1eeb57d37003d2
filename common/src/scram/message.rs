//! The grammar of SCRAM messages (RFC 5802, section 7), in the strict form that Berth speaks:
//! every attribute in its place, nothing after the last one.

use super::ScramError;
use crate::limits::MAX_SCRAM_MESSAGE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The GS2 header of a Berth client: channel binding by `tls-exporter`, no other identity.
pub(super) const HEADER: &str = "p=tls-exporter,,";

/// Most bytes in a nonce, of both sides together.
const MAX_NONCE: usize = 256;

/// Reads a message's attributes one after the other.
pub(super) struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// The value of the next attribute, which must have this name.
    pub(super) fn next(&mut self, name: char, part: &'static str) -> Result<&'a str, ScramError> {
        let rest = self.rest.ok_or(ScramError::Malformed(part))?;
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        if attribute.starts_with("m=") {
            return Err(ScramError::MandatoryExtension);
        }
        attribute
            .strip_prefix(name)
            .and_then(|value| value.strip_prefix('='))
            .ok_or(ScramError::Malformed(part))
    }

    /// Checks that nothing follows.
    pub(super) fn end(self) -> Result<(), ScramError> {
        match self.rest {
            None => Ok(()),
            Some(rest) if rest.starts_with("m=") => Err(ScramError::MandatoryExtension),
            Some(_) => Err(ScramError::Malformed("an extension")),
        }
    }
}

/// The text of a message, if it is short enough and UTF-8.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_SCRAM_MESSAGE {
        return Err(ScramError::TooLong);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))
}

/// A nonce: printable ASCII without a comma, of a sane length.
pub(super) fn nonce(text: &str) -> Result<&str, ScramError> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if text.is_empty() || text.len() > MAX_NONCE || !printable {
        return Err(ScramError::Malformed("the nonce"));
    }
    Ok(text)
}

/// An iteration count: a decimal number without a sign or leading zeros.
pub(super) fn iterations(text: &str) -> Result<u32, ScramError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or(ScramError::Malformed("the iterations"))
}

/// Base64 of any length.
pub(super) fn bytes(text: &str, part: &'static str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(text).map_err(|_| ScramError::Malformed(part))
}

/// Base64 of 32 bytes.
pub(super) fn key(text: &str, part: &'static str) -> Result<[u8; 32], ScramError> {
    bytes(text, part)?.try_into().map_err(|_| ScramError::Malformed(part))
}

/// Writes a user's name as a `saslname`.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname`: no NUL, and `=` only as `=2C` or `=3D`.
pub(super) fn unescape(text: &str) -> Result<String, ScramError> {
    const BAD: ScramError = ScramError::Malformed("the user name");
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(BAD),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') { Err(BAD) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_names_that_are_not_escaped() {
        assert_eq!(unescape("a=2Cb=3D=3D2C").unwrap(), "a,b==2C");
        for bad in ["", "a=", "=2c", "=3d", "a=2", "a==", "=00", "a\0"] {
            assert!(unescape(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refuses_numbers_in_other_forms() {
        assert_eq!(iterations("4096"), Ok(4096));
        for bad in ["", "0", "04096", "+4096", "-1", " 4096", "4096 ", "4294967296", "0x10"] {
            assert!(iterations(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refuses_nonces_with_other_characters() {
        assert!(nonce("a%!~").is_ok());
        for bad in ["", "a b", "a,b", "é", "\n", &"a".repeat(MAX_NONCE + 1)] {
            assert!(nonce(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(name in "[^\0]{1,40}") {
            let escaped = escape(&name);
            prop_assert!(!escaped.contains(','));
            prop_assert_eq!(unescape(&escaped), Ok(name));
        }
    }
}

//! MessagePack as every channel uses it: structs as maps, shallow, nothing left over.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting that a message may have; ours need about half of it.
const MAX_DEPTH: usize = 24;

/// Why bytes are not a message, or a message could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not MessagePack, or not one of the messages expected here.
    #[error("not a valid message")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// Our own message could not be encoded.
    #[error("message cannot be encoded")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Encodes a message, appending to `out`.
///
/// # Errors
/// [`CodecError::Encode`] for a type that MessagePack cannot express; none of Berth's messages is one.
pub fn encode_into<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    rmp_serde::encode::write_named(out, message).map_err(CodecError::Encode)
}

/// Decodes exactly one message. A length that it states is not believed: for a sequence at most 1 MiB is
/// allocated (serde's own bound) before its elements have come.
///
/// # Errors
/// [`CodecError::Malformed`] and [`CodecError::Trailing`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(MAX_DEPTH);
    let message = T::deserialize(&mut decoder).map_err(CodecError::Malformed)?;
    if rest.is_empty() { Ok(message) } else { Err(CodecError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_trailing_bytes_deep_nesting_and_absurd_lengths() {
        let mut bytes = Vec::new();
        encode_into(&7u32, &mut bytes).unwrap();
        assert_eq!(decode::<u32>(&bytes).unwrap(), 7);
        bytes.push(0);
        assert!(matches!(decode::<u32>(&bytes), Err(CodecError::Trailing(1))));

        // A map whose unknown field is an array nested ten thousand deep.
        let mut nested = vec![0x81, 0xa1, b'x'];
        nested.extend(std::iter::repeat_n(0x91, 10_000));
        nested.push(0xc0);
        #[derive(serde::Deserialize, Debug)]
        struct Empty {}
        assert!(decode::<Empty>(&nested).is_err());

        // A string and an array that claim 4 GiB.
        assert!(decode::<String>(&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a']).is_err());
        assert!(decode::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}

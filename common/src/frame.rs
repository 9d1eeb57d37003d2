//! Frames between client and worker: `u32` big-endian length of what follows, `u8` kind, body.
//!
//! Kind 0 is a MessagePack message, kind 1 a data block of one transfer. The same constants cap the length
//! in the encoder and in the decoder, before anything is allocated. `docs/PROTOCOL.md` has an example in
//! hexadecimal, which a test here checks.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::digest::Md5;
use crate::ids::RequestId;
use crate::limits::{BLOCK_SIZE, LEAF_SIZE, LEAVES_PER_BLOCK, MAX_MESSAGE_BODY};

/// Bytes in a frame's header: length and kind.
pub const HEADER_BYTES: usize = 5;

/// Bytes before the leaf digests in a block's body: transfer, offset, number of leaves.
const BLOCK_FIXED: usize = 4 + 8 + 1;

/// Most bytes before the data in a block's body.
const BLOCK_PREFIX_MAX: usize = BLOCK_FIXED + 16 * LEAVES_PER_BLOCK;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A MessagePack message.
    Message,
    /// A data block.
    Block,
}

impl FrameKind {
    fn most(self) -> usize {
        match self {
            Self::Message => MAX_MESSAGE_BODY,
            Self::Block => BLOCK_PREFIX_MAX + BLOCK_SIZE,
        }
    }
}

/// A frame's header, its length within the bound of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: FrameKind,
    /// The body's length in bytes, without the kind.
    pub body: usize,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length of 0, which leaves no room for the kind.
    #[error("empty frame")]
    Empty,
    /// A kind that this version does not know.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// A body longer than its kind may have.
    #[error("frame of {got} bytes, more than {most}")]
    TooLong {
        /// What the header states.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// A block whose lengths contradict each other.
    #[error("malformed data block")]
    Block,
    /// The message cannot be decoded or encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl FrameHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// [`FrameError::Empty`], [`FrameError::Kind`] and [`FrameError::TooLong`].
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let body = length.checked_sub(1).ok_or(FrameError::Empty)?;
        let kind = match kind {
            0 => FrameKind::Message,
            1 => FrameKind::Block,
            other => return Err(FrameError::Kind(other)),
        };
        Self { kind, body }.checked()
    }

    fn checked(self) -> Result<Self, FrameError> {
        let most = self.kind.most();
        if self.body > most {
            return Err(FrameError::TooLong { got: self.body, most });
        }
        Ok(self)
    }

    fn encode(self) -> Result<[u8; HEADER_BYTES], FrameError> {
        let Self { kind, body } = self.checked()?;
        let too_long = FrameError::TooLong { got: body, most: kind.most() };
        let [a, b, c, d] = u32::try_from(body + 1).map_err(|_| too_long)?.to_be_bytes();
        Ok([a, b, c, d, u8::from(kind == FrameKind::Block)])
    }
}

/// Encodes a message as a whole frame.
///
/// # Errors
/// [`FrameError::TooLong`] when the message exceeds a frame, and the codec's.
pub fn encode_message<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER_BYTES];
    codec::encode_into(message, &mut frame)?;
    let body = frame.len() - HEADER_BYTES;
    let header = FrameHeader { kind: FrameKind::Message, body }.encode()?;
    frame[..HEADER_BYTES].copy_from_slice(&header);
    Ok(frame)
}

/// Decodes the body of a frame of kind [`FrameKind::Message`].
///
/// # Errors
/// The codec's.
pub fn decode_message<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(codec::decode(body)?)
}

/// All of a data block but its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The transfer that it belongs to.
    pub transfer: RequestId,
    /// Where the data begins in the file; a multiple of [`LEAF_SIZE`].
    pub offset: u64,
    /// The MD5 of each leaf: 1 to 8 of them.
    pub leaves: Vec<Md5>,
}

impl BlockHeader {
    /// How many bytes the leaves of a block without data have in a file of this size; `None` when some lie beyond it.
    #[must_use]
    pub fn len_without_data(&self, size: u64) -> Option<usize> {
        let rest = size.checked_sub(self.offset)?;
        let full = self.leaves.len() * LEAF_SIZE;
        let len = usize::try_from(rest).unwrap_or(full).min(full);
        (len.div_ceil(LEAF_SIZE) == self.leaves.len()).then_some(len)
    }

    /// The bytes that precede `data_len` bytes of data in a frame: frame header, block header, digests.
    ///
    /// # Errors
    /// [`FrameError::Block`] when the number of digests, the offset and the data's length do not agree.
    pub fn encode(&self, data_len: usize) -> Result<Vec<u8>, FrameError> {
        check_block(self.offset, self.leaves.len(), data_len)?;
        let body = BLOCK_FIXED + 16 * self.leaves.len() + data_len;
        let header = FrameHeader { kind: FrameKind::Block, body }.encode()?;
        let mut out = Vec::with_capacity(HEADER_BYTES + BLOCK_PREFIX_MAX);
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.transfer.0.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.push(self.leaves.len() as u8);
        for leaf in &self.leaves {
            out.extend_from_slice(leaf.as_bytes());
        }
        Ok(out)
    }

    /// Reads the body of a frame of kind [`FrameKind::Block`]: its header, and where in `body` the data begins.
    ///
    /// # Errors
    /// [`FrameError::Block`] when the parts contradict each other.
    pub fn decode(body: &[u8]) -> Result<(Self, usize), FrameError> {
        let (fixed, rest) = body.split_first_chunk::<BLOCK_FIXED>().ok_or(FrameError::Block)?;
        let [t0, t1, t2, t3, o0, o1, o2, o3, o4, o5, o6, o7, count] = *fixed;
        let count = usize::from(count);
        if count > LEAVES_PER_BLOCK || rest.len() < 16 * count {
            return Err(FrameError::Block);
        }
        let offset = u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        check_block(offset, count, rest.len() - 16 * count)?;
        let (digests, _) = rest[..16 * count].as_chunks::<16>();
        let leaves = digests.iter().map(|bytes| Md5::from_bytes(*bytes)).collect();
        let transfer = RequestId(u32::from_be_bytes([t0, t1, t2, t3]));
        Ok((Self { transfer, offset, leaves }, BLOCK_FIXED + 16 * count))
    }
}

/// Without data the leaves are those of the file that stands there.
fn check_block(offset: u64, leaves: usize, data_len: usize) -> Result<(), FrameError> {
    let agrees = (1..=LEAVES_PER_BLOCK).contains(&leaves)
        && (data_len == 0 || data_len.div_ceil(LEAF_SIZE) == leaves)
        && offset.is_multiple_of(LEAF_SIZE as u64)
        && offset.checked_add(data_len as u64).is_some_and(|end| end <= i64::MAX as u64);
    if agrees { Ok(()) } else { Err(FrameError::Block) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(bytes: &[u8]) -> Result<FrameHeader, FrameError> {
        FrameHeader::decode(bytes[..HEADER_BYTES].try_into().unwrap())
    }

    #[test]
    fn lengths_are_capped_before_anything_is_allocated() {
        assert!(matches!(header(&[0, 0, 0, 0, 0]), Err(FrameError::Empty)));
        assert!(matches!(header(&[0, 0, 0, 1, 9]), Err(FrameError::Kind(9))));
        assert!(matches!(header(&[0xff; 5]), Err(FrameError::Kind(0xff))));
        assert!(matches!(header(&[0xff, 0xff, 0xff, 0xff, 0]), Err(FrameError::TooLong { .. })));
        assert!(matches!(header(&[0xff, 0xff, 0xff, 0xff, 1]), Err(FrameError::TooLong { .. })));
        let most = (MAX_MESSAGE_BODY as u32 + 1).to_be_bytes();
        assert!(header(&[most[0], most[1], most[2], most[3], 0]).is_ok());
        assert!(encode_message(&"x".repeat(MAX_MESSAGE_BODY)).is_err());
    }

    #[test]
    fn blocks_whose_parts_disagree_are_refused() {
        let leaf = Md5::from_bytes([7; 16]);
        let block = |offset, leaves: usize| BlockHeader {
            transfer: RequestId(1),
            offset,
            leaves: vec![leaf; leaves],
        };
        for (offset, leaves, data) in [
            (0, 0, 0),
            (0, 1, LEAF_SIZE + 1),
            (0, 2, LEAF_SIZE),
            (1, 1, 1),
            (0, 9, 9 * LEAF_SIZE),
            (u64::MAX / (LEAF_SIZE as u64) * LEAF_SIZE as u64, 1, 1),
        ] {
            assert!(block(offset, leaves).encode(data).is_err(), "{offset} {leaves} {data}");
        }
        let mut body = block(0, 2).encode(LEAF_SIZE + 1).unwrap().split_off(HEADER_BYTES);
        let header_alone = body.len();
        assert!(BlockHeader::decode(&body).is_ok(), "its leaves are those of a file that is there");
        body.push(0);
        assert!(BlockHeader::decode(&body).is_err(), "data is missing");
        body.pop();
        body.extend(vec![0; LEAF_SIZE + 1]);
        assert!(BlockHeader::decode(&body).is_ok());
        for cut in (0..60).filter(|cut| *cut != header_alone) {
            assert!(BlockHeader::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn leaves_without_data_lie_within_the_file() {
        const LEAF: u64 = LEAF_SIZE as u64;
        let len = |offset, leaves: usize, size| {
            let leaves = vec![Md5::from_bytes([7; 16]); leaves];
            BlockHeader { transfer: RequestId(1), offset, leaves }.len_without_data(size)
        };
        assert_eq!(len(0, 2, 3 * LEAF), Some(2 * LEAF_SIZE));
        assert_eq!(len(LEAF, 2, 2 * LEAF + 5), Some(LEAF_SIZE + 5));
        assert_eq!(len(LEAF, 2, 2 * LEAF), None);
        assert_eq!(len(2 * LEAF, 1, 2 * LEAF), None);
        assert_eq!(len(3 * LEAF, 1, 2 * LEAF), None);
    }

    proptest! {
        #[test]
        fn a_block_round_trips(
            transfer in any::<u32>(), leaf_index in 0u64..1 << 40, len in 1usize..=BLOCK_SIZE, byte in any::<u8>()
        ) {
            let count = len.div_ceil(LEAF_SIZE);
            let block = BlockHeader {
                transfer: RequestId(transfer),
                offset: leaf_index * LEAF_SIZE as u64,
                leaves: vec![Md5::from_bytes([byte; 16]); count],
            };
            let mut frame = block.encode(len).unwrap();
            frame.resize(frame.len() + len, byte);
            let header = header(&frame).unwrap();
            prop_assert_eq!(header, FrameHeader { kind: FrameKind::Block, body: frame.len() - HEADER_BYTES });
            let (decoded, data) = BlockHeader::decode(&frame[HEADER_BYTES..]).unwrap();
            prop_assert_eq!(decoded, block);
            prop_assert_eq!(frame.len() - HEADER_BYTES - data, len);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = BlockHeader::decode(&bytes);
            if bytes.len() >= HEADER_BYTES {
                let _ = header(&bytes);
            }
            let _ = decode_message::<crate::client_protocol::ClientToWorker>(&bytes);
        }
    }
}

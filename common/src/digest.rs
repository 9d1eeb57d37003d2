//! MD5 as Berth uses it: of leaves, of whole files as a tree, of whole files as one stream.
//!
//! The leaves of a block are hashed side by side by `md5-simd` (feature `simd`), which takes
//! its lanes from `cpuid` alone: it starts no thread, opens no file and allocates nothing.
//! Without the feature, and for streams, it is the `md-5` crate, which is also the reference
//! of the tests. MD5 (RFC 1321) guards against accidents; TLS guards against people.

use std::fmt;
use std::str::FromStr;

use md5::Digest as _;
use serde::{Deserialize, Serialize};

use crate::limits::LEAF_SIZE;

/// An MD5 digest (RFC 1321). Shown and parsed as 32 lowercase hexadecimal digits, encoded as
/// 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Md5(#[serde(with = "serde_bytes")] [u8; 16]);

/// A text that is not 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an MD5 is written as 32 lowercase hexadecimal digits")]
pub struct Md5ParseError;

impl Md5 {
    /// Bytes in a digest.
    pub const SIZE: usize = 16;

    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// The digest of `bytes` as one stream.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(md5::Md5::digest(bytes).into())
    }

    /// Digests one after the other, 16 bytes each, as a journal or a message holds them.
    #[must_use]
    pub fn concat(digests: &[Self]) -> Vec<u8> {
        digests.iter().flat_map(|digest| digest.0).collect()
    }

    /// Undoes [`Md5::concat`]; `None` when the length is not a multiple of 16.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<Vec<Self>> {
        let (digests, rest) = bytes.as_chunks::<16>();
        rest.is_empty().then(|| digests.iter().copied().map(Self).collect())
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Md5 {
    type Err = Md5ParseError;

    fn from_str(text: &str) -> Result<Self, Md5ParseError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::SIZE || !rest.is_empty() {
            return Err(Md5ParseError);
        }
        let mut digest = [0; Self::SIZE];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(digest))
    }
}

fn nibble(digit: u8) -> Result<u8, Md5ParseError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(Md5ParseError),
    }
}

/// The MD5s of a block's leaves: of each [`LEAF_SIZE`] bytes, the last leaf being what is left.
///
/// No bytes have no leaves. `block` may have any length, but more than a block gains nothing.
#[must_use]
pub fn leaves(block: &[u8]) -> Vec<Md5> {
    let leaves: Vec<&[u8]> = block.chunks(LEAF_SIZE).collect();
    hash_each(&leaves)
}

/// The MD5s of the leaves of several blocks, hashed together: for each block what [`leaves`] gives.
///
/// Where a processor hashes more leaves at once than a block has (sixteen with AVX-512), two
/// blocks together take hardly longer than one.
#[must_use]
pub fn leaves_of_blocks(blocks: &[&[u8]]) -> Vec<Vec<Md5>> {
    let leaves: Vec<&[u8]> = blocks.iter().flat_map(|block| block.chunks(LEAF_SIZE)).collect();
    let mut digests = hash_each(&leaves).into_iter();
    blocks
        .iter()
        .map(|block| digests.by_ref().take(block.len().div_ceil(LEAF_SIZE)).collect())
        .collect()
}

/// The plain MD5 of each of several small files, of which those of equal length that stand side by side are hashed
/// together.
#[must_use]
pub fn of_each(files: &[&[u8]]) -> Vec<Md5> {
    hash_each(files)
}

// Only neighbours of equal length share lanes, and all leaves but a file's last are equal.
#[cfg(feature = "simd")]
fn hash_each(leaves: &[&[u8]]) -> Vec<Md5> {
    let mut digests = vec![[0; Md5::SIZE]; leaves.len()];
    md5_simd::md5_many(leaves, &mut digests);
    digests.into_iter().map(Md5).collect()
}

#[cfg(not(feature = "simd"))]
fn hash_each(leaves: &[&[u8]]) -> Vec<Md5> {
    leaves.iter().map(|leaf| Md5::of(leaf)).collect()
}

/// The tree digest of a file, made from its leaves' MD5s in the file's order.
///
/// It is the MD5 of the leaves' MD5s one after the other; of a file with one leaf that leaf's
/// MD5 itself, and of an empty file the MD5 of nothing, so that for both it is what `md5sum`
/// prints. It needs the digests only, never the bytes: a resumed transfer starts from a journal.
#[derive(Clone, Debug, Default)]
pub struct TreeDigest {
    over_leaves: md5::Md5,
    first: Option<Md5>,
    leaves: u64,
}

impl TreeDigest {
    /// The digest of a file of which no leaf is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of a file that begins with these leaves.
    #[must_use]
    pub fn resume(leaves: &[Md5]) -> Self {
        let mut tree = Self::new();
        tree.extend(leaves);
        tree
    }

    /// Adds the file's next leaf.
    pub fn push(&mut self, leaf: Md5) {
        self.over_leaves.update(leaf.0);
        self.first.get_or_insert(leaf);
        self.leaves += 1;
    }

    /// Adds the file's next leaves.
    pub fn extend(&mut self, leaves: &[Md5]) {
        leaves.iter().for_each(|leaf| self.push(*leaf));
    }

    /// Leaves added so far.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The digest of the file if it ended here; more leaves may follow.
    #[must_use]
    pub fn finish(&self) -> Md5 {
        match self.first {
            Some(only) if self.leaves == 1 => only,
            _ => Md5(self.over_leaves.clone().finalize().into()),
        }
    }
}

/// The plain MD5 of a stream of any length, for `berth md5`.
#[derive(Clone, Debug, Default)]
pub struct Md5Stream(md5::Md5);

impl Md5Stream {
    /// The digest of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the stream's next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The MD5 of all bytes added.
    #[must_use]
    pub fn finish(self) -> Md5 {
        Md5(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that differ from leaf to leaf, so that two lanes cannot be swapped unnoticed.
    fn bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8
            })
            .collect()
    }

    fn reference(block: &[u8]) -> Vec<Md5> {
        block.chunks(LEAF_SIZE).map(Md5::of).collect()
    }

    #[test]
    fn agrees_with_rfc_1321() {
        let vectors = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (&"1234567890".repeat(8), "57edf4a22be3c955ac49da2e2107b67a"),
        ];
        for (text, expected) in vectors {
            assert_eq!(Md5::of(text.as_bytes()).to_string(), expected);
            let leaves = leaves(text.as_bytes());
            assert_eq!(TreeDigest::resume(&leaves).finish().to_string(), expected);
            let mut stream = Md5Stream::new();
            text.as_bytes().chunks(7).for_each(|part| stream.update(part));
            assert_eq!(stream.finish().to_string(), expected);
        }
    }

    #[test]
    fn the_batch_agrees_with_the_reference_at_every_boundary() {
        let small = [0, 1, 31, 32, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129];
        for len in small {
            let block = bytes(len, len as u64);
            assert_eq!(leaves(&block), reference(&block), "{len}");
        }
        for count in 1..=9 {
            for tail in [0, 1, 55, 56, 63, 64, 65, LEAF_SIZE - 65, LEAF_SIZE - 64, LEAF_SIZE - 1] {
                let block = bytes((count - 1) * LEAF_SIZE + tail, (count * 1000 + tail) as u64);
                assert_eq!(leaves(&block), reference(&block), "{count} leaves, {tail} bytes");
            }
        }
        assert!(leaves(&[]).is_empty());
    }

    #[test]
    fn blocks_hashed_together_agree_with_each_by_itself() {
        let full = 8 * LEAF_SIZE;
        for lens in [
            vec![],
            vec![0],
            vec![full],
            vec![full, full],
            vec![full, 1],
            vec![0, full, 0],
            vec![full, full - 1],
            vec![LEAF_SIZE, full, 3 * LEAF_SIZE + 64],
        ] {
            let blocks: Vec<Vec<u8>> =
                (1u64..).zip(&lens).map(|(n, len)| bytes(*len, n * 7919)).collect();
            let parts: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            let expected: Vec<Vec<Md5>> = parts.iter().map(|part| reference(part)).collect();
            assert_eq!(leaves_of_blocks(&parts), expected, "{lens:?}");
        }
    }

    #[test]
    fn a_tree_of_no_or_one_leaf_is_the_plain_md5() {
        assert_eq!(TreeDigest::new().finish(), Md5::of(b""));
        let file = bytes(LEAF_SIZE, 5);
        let tree = TreeDigest::resume(&leaves(&file));
        assert_eq!((tree.finish(), tree.leaves()), (Md5::of(&file), 1));
    }

    #[test]
    fn a_tree_of_more_leaves_is_the_md5_of_their_md5s_and_resumes_anywhere() {
        let leaves = leaves(&bytes(5 * LEAF_SIZE + 3, 7));
        let expected = Md5::of(&Md5::concat(&leaves));
        for cut in 0..=leaves.len() {
            let mut tree = TreeDigest::resume(&leaves[..cut]);
            let half_way = tree.clone();
            tree.extend(&leaves[cut..]);
            assert_eq!((tree.finish(), tree.leaves()), (expected, 6));
            assert_eq!(half_way.leaves(), cut as u64);
        }
    }

    #[test]
    fn text_and_bytes_round_trip_and_refuse_others() {
        let digest = Md5::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("{digest:?}"), "9dd4e461268c8034f5c8564e155c67a6");
        for bad in
            ["", "9dd4", "9DD4E461268C8034F5C8564E155C67A6", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(bad.parse::<Md5>(), Err(Md5ParseError), "{bad}");
        }
        let encoded = rmp_serde::to_vec(&digest).unwrap();
        assert_eq!(encoded[..2], [0xc4, 16], "MessagePack bin 8 of 16 bytes");
        assert_eq!(rmp_serde::from_slice::<Md5>(&encoded).unwrap(), digest);
        assert!(rmp_serde::from_slice::<Md5>(&encoded[..17]).is_err());
        assert_eq!(Md5::split(&Md5::concat(&[digest; 3])), Some(vec![digest; 3]));
        assert_eq!(Md5::split(&[0; 17]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_batch_agrees_with_the_reference(len in 0..=8 * LEAF_SIZE, seed: u64) {
            let block = bytes(len, seed);
            prop_assert_eq!(leaves(&block), reference(&block));
        }
    }
}

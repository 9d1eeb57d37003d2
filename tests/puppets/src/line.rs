//! How orders and reports travel: a length of four bytes, then MessagePack. Only `read` and `write` are used,
//! which every demoted process has.

use std::io::{self, Read, Write};

use berth_common::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a test says first to a worker's puppet, so that a real worker refuses it.
pub const MAGIC: &[u8; 8] = b"puppet!\n";

/// More than any order or report has.
const MOST_BYTES: u32 = 4 << 20;

/// Sends one.
///
/// # Errors
/// When the line is broken.
pub fn send(line: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    codec::encode_into(message, &mut bytes).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    line.write_all(&bytes)
}

/// Receives one.
///
/// # Errors
/// When the line is broken, or what comes is none.
pub fn receive<M: DeserializeOwned>(line: &mut impl Read) -> io::Result<M> {
    let mut length = [0; 4];
    line.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    line.read_exact(&mut bytes)?;
    codec::decode(&bytes).map_err(io::Error::other)
}

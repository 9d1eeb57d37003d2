//! Frames between client and worker: their headers, their blocks, and the messages in them.
//!
//! An input is a byte for the worker's reader (`worker/session/src/fuzzing/frames.rs`) and then a stream of
//! frames, of which only the first is looked at here.

use super::messages::survives;
use crate::client_protocol::{ClientToWorker, WorkerToClient};
use crate::frame::{BlockHeader, FrameHeader, FrameKind, HEADER_BYTES};
use crate::limits::{BLOCK_SIZE, LEAF_SIZE, MAX_MESSAGE_BODY};

/// Reads the first frame of a stream, whatever length it states.
pub fn frames(data: &[u8]) {
    let Some((_, stream)) = data.split_first() else { return };
    let Some((header, body)) = stream.split_first_chunk::<HEADER_BYTES>() else { return };
    header_is_bounded(*header);
    survives::<ClientToWorker>(body);
    survives::<WorkerToClient>(body);
    block_round_trips(body);
}

fn header_is_bounded(bytes: [u8; HEADER_BYTES]) {
    let [a, b, c, d, kind] = bytes;
    let stated = u32::from_be_bytes([a, b, c, d]) as usize;
    let most = match kind {
        0 => MAX_MESSAGE_BODY,
        1 => 4 + 8 + 1 + 8 * 16 + BLOCK_SIZE,
        _ => 0,
    };
    let allowed = kind < 2 && stated >= 1 && stated - 1 <= most;
    match FrameHeader::decode(bytes) {
        Ok(FrameHeader { kind: read, body }) => {
            assert!(allowed, "{stated} bytes of kind {kind} are let in");
            assert_eq!((body, read == FrameKind::Block), (stated - 1, kind == 1));
        }
        Err(error) => assert!(!allowed, "{stated} bytes of kind {kind}: {error}"),
    }
}

fn block_round_trips(body: &[u8]) {
    let Ok((block, at)) = BlockHeader::decode(body) else { return };
    let len = body.len() - at;
    assert!(len == 0 || len.div_ceil(LEAF_SIZE) == block.leaves.len());
    assert!((1..=8).contains(&block.leaves.len()));
    assert_eq!(block.offset % LEAF_SIZE as u64, 0);
    assert!(i64::try_from(block.offset).is_ok_and(|at| at.checked_add(len as i64).is_some()));
    match block.encode(len) {
        Ok(encoded) => assert_eq!(encoded[HEADER_BYTES..], body[..at], "{block:?}"),
        Err(error) => panic!("{block:?} came and cannot be sent: {error}"),
    }
}

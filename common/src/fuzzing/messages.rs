//! The messages of all channels, in both directions, as bytes.
//!
//! An input is a letter that says which direction, and a packet.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use crate::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use crate::channel::Message;
use crate::client_protocol::{ClientToWorker, WorkerToClient};
use crate::codec::{self, CodecError};
use crate::filer_protocol::{FilerToWorker, WorkerToFiler};
use crate::jail_protocol::{DaemonToJail, JailToDaemon};
use crate::ledger_protocol::{DaemonToFiler, FilerToDaemon};
use crate::limits::MAX_PACKET_DESCRIPTORS;

/// Decodes a packet of one direction.
pub fn messages(data: &[u8]) {
    let Some((direction, packet)) = data.split_first() else { return };
    match direction {
        b'a' => travels::<WorkerToDaemon>(packet),
        b'b' => travels::<DaemonToWorker>(packet),
        b'c' => travels::<WorkerToFiler>(packet),
        b'd' => travels::<FilerToWorker>(packet),
        b'e' => travels::<FilerToDaemon>(packet),
        b'f' => travels::<DaemonToFiler>(packet),
        b'g' => survives::<AdminToDaemon>(packet),
        b'h' => survives::<DaemonToAdmin>(packet),
        b'i' => survives::<ClientToWorker>(packet),
        b'j' => survives::<WorkerToClient>(packet),
        b'k' => travels::<DaemonToJail>(packet),
        b'l' => travels::<JailToDaemon>(packet),
        _ => {}
    }
}

/// What is decoded encodes to what decodes to the same, and to nothing when a part is missing or follows.
pub(super) fn survives<M: Serialize + DeserializeOwned + PartialEq + Debug>(packet: &[u8]) {
    let Ok(message) = codec::decode::<M>(packet) else { return };
    let mut bytes = encoded(&message);
    match codec::decode::<M>(&bytes) {
        Ok(again) => assert_eq!(again, message),
        Err(error) => panic!("{message:?} does not survive: {error}"),
    }
    // One of the many places at which it could be cut.
    let cut = packet.len() % bytes.len();
    assert!(codec::decode::<M>(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
    bytes.push(0xc0);
    assert!(matches!(codec::decode::<M>(&bytes), Err(CodecError::Trailing(1))), "{message:?}");
}

fn travels<M: Message + PartialEq + Debug>(packet: &[u8]) {
    const { assert!(M::MAX_DESCRIPTORS <= MAX_PACKET_DESCRIPTORS) };
    if let Ok(message) = codec::decode::<M>(packet) {
        assert!(message.descriptors() <= M::MAX_DESCRIPTORS, "{message:?}");
    }
    survives::<M>(packet);
}

fn encoded<M: Serialize + Debug>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = codec::encode_into(message, &mut bytes) {
        panic!("{message:?} came and cannot be sent: {error}");
    }
    bytes
}

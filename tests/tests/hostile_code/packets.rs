//! Packets that are no messages, for every channel: what a decoder must survive.

use berth_common::channel::Message;
use berth_common::codec;
use berth_common::limits::MAX_PACKET;

/// Packets that no receiver may take, each with what it is. `right` is a message of the channel's.
pub(crate) fn broken(right: &impl Message) -> Vec<(&'static str, Vec<u8>)> {
    let mut whole = Vec::new();
    codec::encode_into(right, &mut whole).unwrap();
    let mut trailing = whole.clone();
    trailing.push(0xc0);
    let cut = whole[..whole.len() - 1].to_vec();
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    vec![
        ("nothing of MessagePack", vec![0xc1]),
        ("a number", vec![7]),
        ("a message that is cut off", cut),
        ("a message with something behind it", trailing),
        ("two messages in one packet", [whole.clone(), whole].concat()),
        ("a variant that there is not", encoded("Nonsense")),
        (
            "a map with a variant that there is not",
            [vec![0x81], encoded("Root"), vec![0xc0]].concat(),
        ),
        ("a number for a variant", vec![0x81, 0xcd, 0xff, 0xff, 0xc0]),
        ("a map of two variants", vec![0x82, 0x00, 0xc0, 0x01, 0xc0]),
        ("text that claims four GiB", vec![0xdb, 0xff, 0xff, 0xff, 0xff, b'a']),
        ("bytes that claim four GiB", vec![0xc6, 0xff, 0xff, 0xff, 0xff, 1]),
        ("a list that claims four billion", vec![0xdd, 0xff, 0xff, 0xff, 0xff, 1]),
        ("a map that claims four billion", vec![0xdf, 0xff, 0xff, 0xff, 0xff, 1]),
        ("an extension", vec![0xc7, 0xff, 0x01, 0x00]),
        ("text that is no UTF-8", vec![0xa4, 0xff, 0xfe, 0x80, 0x81]),
        ("nested a little", nested(30)),
        ("nested a hundred thousand deep", nested(100_000)),
        ("zeros", vec![0; 1000]),
        ("ones", vec![0xff; 1000]),
        ("a packet that is too large", vec![0xc0; MAX_PACKET + 1]),
        ("a much larger one", vec![0x91; 200 * 1024]),
    ]
}

/// A short text as MessagePack has it.
fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xa0 | u8::try_from(text.len()).unwrap()];
    bytes.extend(text.bytes());
    bytes
}

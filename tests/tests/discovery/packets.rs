//! Packets of mDNS made by hand, right and wrong ones, and how they reach the group. Shares no code with what reads
//! them.

use std::net::UdpSocket;

use berth_tests::Machine;

pub(crate) const SERVICE: [&[u8]; 3] = [b"_berth", b"_tcp", b"local"];

/// A socket of the second machine that sends to the group.
pub(crate) struct Sender(UdpSocket);

impl Sender {
    pub(crate) fn on(machine: &Machine, address: &str) -> Self {
        // Of the port of mDNS, as a responder has; shared sockets are made by `socket2`, which tests need not know.
        Self(machine.within(|| UdpSocket::bind((address, 0)).unwrap()))
    }

    pub(crate) fn send(&self, packet: &[u8]) {
        // What does not fit the system's buffer at the moment is lost, as on any network.
        let _ = self.0.send_to(packet, "224.0.0.251:5353");
    }

    /// To one machine, which does not listen there.
    pub(crate) fn send_to(&self, packet: &[u8], address: &str) {
        let _ = self.0.send_to(packet, (address, 5353));
    }
}

/// A name of these labels on the wire.
pub(crate) fn name<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

pub(crate) fn instance(label: &[u8]) -> Vec<u8> {
    name([label].into_iter().chain(SERVICE))
}

pub(crate) fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let numbers = [0, flags].into_iter().chain(counts);
    numbers.flat_map(u16::to_be_bytes).collect()
}

pub(crate) fn record(name: &[u8], kind: u16, seconds: u32, data: &[u8]) -> Vec<u8> {
    let numbers = [kind.to_be_bytes(), [0x80, 1]].concat();
    let length = (data.len() as u16).to_be_bytes();
    [name, &numbers, &seconds.to_be_bytes(), &length, data].concat()
}

/// What a server would say of itself: PTR, SRV, TXT and A.
pub(crate) fn announcement(label: &[u8], host: &[u8], text: &[u8], address: [u8; 4]) -> Vec<u8> {
    let (instance, host) = (instance(label), name([host, b"local".as_slice()]));
    let place = [&[0, 0, 0, 0, 0x0f, 0xb6], host.as_slice()].concat();
    let records = [
        record(&name(SERVICE), 12, 4500, &instance),
        record(&instance, 33, 120, &place),
        record(&instance, 16, 4500, text),
        record(&host, 1, 120, &address),
    ];
    [header(0x8400, [0, 4, 0, 0]), records.concat()].concat()
}

/// A question for all servers.
pub(crate) fn question() -> Vec<u8> {
    [header(0, [1, 0, 0, 0]), name(SERVICE), vec![0, 12, 0, 1]].concat()
}

/// Packets that are wrong, each in its own way.
pub(crate) fn malformed() -> Vec<Vec<u8>> {
    let right = announcement(b"malformed", b"malformed", b"\x07proto=1", [10, 0, 0, 66]);
    let looping = |pointer: &[u8]| {
        [
            header(0x8400, [0, 1, 0, 0]),
            pointer.to_vec(),
            vec![0, 12, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12],
        ]
        .concat()
    };
    let mut packets = vec![
        Vec::new(),
        vec![0],
        vec![0xff; 12],
        vec![0xff; 9000],
        vec![0; 9001],
        // Counts that nothing stands behind.
        header(0x8400, [0xffff; 4]),
        [header(0x8400, [0, 0xffff, 0xffff, 0xffff]), right[12..].to_vec()].concat(),
        // Names that point at themselves, at each other, ahead, and far beyond the end.
        looping(&[0xc0, 12]),
        looping(&[0xc0, 14, 0xc0, 12]),
        looping(&[1, b'a', 0xc0, 12]),
        looping(&[0xff, 0xff]),
        // Labels of kinds that there are none of, and a name that is too long.
        looping(&[0x41, b'a', 0]),
        looping(&[0x80, b'a', 0]),
        [header(0x8400, [0, 1, 0, 0]), vec![63; 64 * 6], vec![0]].concat(),
        // Other opcodes and an error, which mDNS ignores.
        [header(0xac00, [0, 4, 0, 0]), right[12..].to_vec()].concat(),
        [header(0x8403, [0, 4, 0, 0]), right[12..].to_vec()].concat(),
        // Data whose length is not that of its kind.
        [header(0x8400, [0, 1, 0, 0]), record(&instance(b"a"), 33, 9, &[0; 3])].concat(),
        [header(0x8400, [0, 1, 0, 0]), record(&name([b"a".as_slice()]), 1, 9, &[1; 5])].concat(),
        [header(0x8400, [0, 1, 0, 0]), record(&instance(b"a"), 16, 9, &[200, 1])].concat(),
    ];
    // The right one, cut off everywhere.
    packets.extend((1..right.len()).map(|end| right[..end].to_vec()));
    packets
}

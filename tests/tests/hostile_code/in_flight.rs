//! Descriptors in messages, as a puppet sends them, and as many of them in flight as the kernel lets a user have.

use berth_tests::puppets::{Fate, Puppet};

use crate::attacks::Made;

/// Most descriptors that the kernel takes in one message are a few more.
const IN_A_MESSAGE: usize = 250;

/// Messages by which a filer, which may have 4096 descriptors open, is over its limit.
const MESSAGES: usize = 20;

/// Puts a message for `sendmsg` into the process and gives its address.
pub(crate) fn with_descriptors(
    puppet: &mut Puppet,
    packet: &[u8],
    descriptors: &[i32],
) -> Result<u64, Fate> {
    let words =
        |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
    let bytes = puppet.put(packet)?;
    let part = puppet.put(&words(&[bytes, packet.len() as u64]))?;
    let length = 16 + 4 * descriptors.len() as u64;
    let mut control = words(&[length, (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64]);
    control.extend(descriptors.iter().flat_map(|descriptor| descriptor.to_ne_bytes()));
    let room = (control.len() as u64).next_multiple_of(8);
    let control = puppet.put(&control)?;
    puppet.put(&words(&[0, 0, part, 1, control, room, 0]))
}

/// Sends it.
pub(crate) fn send_message(puppet: &mut Puppet, to: i32, message: u64) -> Made {
    let flags = libc::MSG_NOSIGNAL as u64;
    puppet.call(libc::SYS_sendmsg, &[to as u64, message, flags]).map(drop)
}

/// Has so many descriptors in flight, in a channel that nobody reads, that no process of this user with the same
/// limit can send one.
pub(crate) fn crowd(puppet: &mut Puppet, to: i32) -> Made {
    let message = with_descriptors(puppet, b"x", &[1; IN_A_MESSAGE])?;
    for _ in 0..MESSAGES {
        match send_message(puppet, to, message) {
            Err(Fate::Refused(libc::ETOOMANYREFS)) => return Ok(()),
            sent => sent?,
        }
    }
    // The limit was to be reached.
    Err(Fate::Refused(0))
}

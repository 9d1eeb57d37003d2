//! Descriptors in messages, as a puppet sends them, and as many of them in flight as the kernel lets a user have.

use std::sync::{Mutex, PoisonError};

use berth_tests::puppets::{Fate, Puppet};
use berth_tests::wait::{DEADLINE, within};

use crate::attacks::Made;

/// Most descriptors that the kernel takes in one message are a few more.
const IN_A_MESSAGE: usize = 250;

/// Messages by which a filer, which may have 4096 descriptors open, is over its limit by its own alone.
const MESSAGES: usize = 17;

/// One crowd after the other: two that are half there would wait for each other.
static CROWDING: Mutex<()> = Mutex::new(());

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
/// limit can send one, whatever others have in flight. Waits while it is a crowd of another's that keeps it from it.
pub(crate) fn crowd(puppet: &mut Puppet, to: i32) -> Made {
    let _others_wait = CROWDING.lock().unwrap_or_else(PoisonError::into_inner);
    let message = with_descriptors(puppet, b"x", &[1; IN_A_MESSAGE])?;
    for _ in 0..MESSAGES {
        let sent = within(DEADLINE, || match send_message(puppet, to, message) {
            Err(Fate::Refused(libc::ETOOMANYREFS)) => None,
            sent => Some(sent),
        });
        sent.unwrap_or(Err(Fate::Refused(libc::ETOOMANYREFS)))?;
    }
    match send_message(puppet, to, message) {
        Err(Fate::Refused(libc::ETOOMANYREFS)) => Ok(()),
        // The limit was to be reached.
        sent => sent.and(Err(Fate::Refused(0))),
    }
}

//! The daemon's only unsafe code: registering a descriptor with the runtime.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use berth_common::channel::Channel;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What owns one descriptor, the same from its making to its end, and cannot have it exchanged.
pub(crate) trait OwnsDescriptor: AsRawFd {}

impl OwnsDescriptor for OwnedFd {}

impl<Tx, Rx> OwnsDescriptor for Channel<Tx, Rx> {}

/// Lets the runtime tell when something can be read, or has ended.
///
/// # Errors
/// When the descriptor cannot be waited for, or the system has no memory.
pub(crate) fn watch<T: OwnsDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the trait is implemented above alone, for types that own one open descriptor all their life.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_with_bytes_becomes_readable() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let read = watch(read).unwrap();
            rustix::io::write(&write, b"x").unwrap();
            read.readable().await.unwrap().clear_ready();
            drop(write);
            read.readable().await.unwrap().clear_ready();
        });
        let file = tempfile::tempfile().unwrap();
        let refused = runtime.block_on(async { watch(OwnedFd::from(file)).is_err() });
        assert!(
            refused,
            "a file is always readable, which epoll refuses to tell"
        );
    }
}

//! The one place for `unsafe`: what neither std nor rustix offers.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_common::channel::{Channel, Message};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a channel with the runtime, for [`crate::channel_io`].
///
/// # Errors
/// When the system refuses.
pub(crate) fn register<Tx: Message, Rx: Message>(
    channel: Arc<Channel<Tx, Rx>>,
) -> io::Result<AsyncFd<Arc<Channel<Tx, Rx>>>> {
    // SAFETY: a channel owns one open descriptor, always the same; to give it up takes the channel itself,
    // of which the `AsyncFd` holds a share as long as it is registered.
    Ok(unsafe { AsyncFd::register(channel) }?)
}

/// Registers one end of a pipe, which does not block.
///
/// # Errors
/// When the system refuses.
pub(crate) fn register_pipe(pipe: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, which stays the same as long as it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(pipe, interest) }?)
}

/// A write beyond the limit on file sizes, which the daemon sets to what was granted, fails then (EFBIG), and does
/// not end the process.
pub(crate) fn fail_writes_beyond_the_limit() {
    // SAFETY: ignoring a signal installs no handler, and no thread counts on another disposition.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Gives freed heap memory back to the system, so that an idle session keeps nothing of its transfers.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
    use berth_common::ids::OpId;

    use crate::channel_io;

    #[tokio::test]
    async fn a_registered_channel_wakes_who_waits_for_it() {
        let (near, far) = super::Channel::<WorkerToFiler, FilerToWorker>::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = super::register(super::Arc::new(near)).unwrap();
        let answer = FilerToWorker::Done { op: OpId(1) };
        let (received, ()) = tokio::join!(channel_io::receive(&near), async {
            tokio::task::yield_now().await;
            far.send(&answer, &[]).unwrap();
        });
        assert_eq!(received.unwrap().message, answer);
        channel_io::send(&near, &WorkerToFiler::Usage { op: OpId(2) }).await.unwrap();
        assert_eq!(far.recv().unwrap().message, WorkerToFiler::Usage { op: OpId(2) });
    }

    #[test]
    fn a_write_beyond_the_limit_is_an_error() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        use std::io::Write as _;
        super::fail_writes_beyond_the_limit();
        let mut file = tempfile::tempfile().unwrap();
        let before = getrlimit(Resource::Fsize);
        // Other tests of this process write less to any file.
        let current = Some(1 << 30);
        setrlimit(Resource::Fsize, Rlimit { current, ..before }).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(1 << 30)).unwrap();
        let error = file.write_all(b"x").unwrap_err();
        setrlimit(Resource::Fsize, before).unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn memory_in_use_survives_being_trimmed() {
        let kept = vec![7u8; 300_000];
        drop(vec![1u8; 100_000]);
        super::give_memory_back();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}

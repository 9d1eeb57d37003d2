//! Helper threads: blocking work on passed descriptors, off the runtime's thread.
//!
//! Both are made before any client is known, because the sandbox allows no thread afterwards: `io` reads,
//! hashes and writes; `sync` flushes, so that a flush does not stall the data path. They make no path call.
//! A job owns what it works on and gives it back in its result, so nothing stays behind on a helper.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

/// Jobs that may wait. Each transfer has at most one at a time on each helper, and so has each batch of small
/// files and each MD5 that is being computed, so honest use never fills it.
const WAITING_JOBS: usize = 64;

/// Bytes of a helper's stack. The block is on the heap, and the sandbox counts stacks as data.
const STACK_BYTES: usize = 256 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// A helper thread's queue. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    jobs: SyncSender<Job>,
}

/// The helper has panicked, or its queue is full: a fault of the worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a helper thread does not take work any more")]
pub(crate) struct HelperGone;

/// The two helpers of a worker.
#[derive(Debug)]
pub(crate) struct Helpers {
    /// Reads and hashes; hashes, writes and appends to journals.
    pub(crate) io: Helper,
    /// Flushes data and moves durable marks.
    pub(crate) sync: Helper,
}

impl Helpers {
    /// Starts both and waits until both are up.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self { io: Helper::start("io")?, sync: Helper::start("sync")? })
    }
}

impl Helper {
    /// Starts a thread and waits until it runs: what a thread does while it starts is no longer allowed
    /// once the sandbox is closed.
    fn start(name: &str) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(WAITING_JOBS);
        let (up, is_up) = sync_channel(1);
        thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // The other end waits; should it be gone, there is no one to work for either.
            let _ = up.send(());
            while let Ok(job) = queue.recv() {
                job();
            }
        })?;
        is_up.recv().map_err(io::Error::other)?;
        Ok(Self { jobs })
    }

    /// Queues `work` at once; the future gives its result. When the future is dropped the work is done
    /// all the same, and its result is dropped on the helper.
    pub(crate) fn run<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, HelperGone>> + use<T, W> {
        let (done, result) = oneshot::channel();
        // All that `work` captured is dropped before the result is sent: who has the result may rely
        // on no descriptor being left here.
        let job: Job = Box::new(move || {
            let _ = done.send(work());
        });
        let queued = match self.jobs.try_send(job) {
            Ok(()) => Ok(result),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(HelperGone),
        };
        async move { queued?.await.map_err(|_| HelperGone) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn work_is_done_in_order_and_leaves_nothing_behind() {
        let helpers = Helpers::start().unwrap();
        let shared = Arc::new(());
        let mut results = Vec::new();
        for n in 0..10 {
            let captured = Arc::clone(&shared);
            results.push(helpers.io.run(move || (n, Arc::strong_count(&captured) > 1)));
        }
        block_on(async {
            for (n, result) in results.into_iter().enumerate() {
                assert_eq!(result.await, Ok((n, true)));
            }
        });
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_helper_that_panicked_or_is_full_says_so() {
        let helpers = Helpers::start().unwrap();
        block_on(async {
            let dead = helpers.io.run(|| panic!("a job of this test panics"));
            assert_eq!(dead.await, Err::<(), _>(HelperGone));
            assert_eq!(helpers.io.run(|| ()).await, Err(HelperGone));

            let (release, wait) = std::sync::mpsc::channel::<()>();
            let blocked = helpers.sync.run(move || assert!(wait.recv().is_err()));
            let more: Vec<_> = (0..=WAITING_JOBS).map(|_| helpers.sync.run(|| ())).collect();
            drop(release);
            assert_eq!(blocked.await, Ok(()));
            let mut refused = 0;
            for result in more {
                refused += usize::from(result.await.is_err());
            }
            assert!((1..=2).contains(&refused), "{refused}");
        });
    }
}

//! The one helper thread: what may take long is done there, so that the loop never waits.
//!
//! Syncs, walks and removals are handed to it as jobs. A job works in slices and goes to the end of the
//! queue after each, so that an fsync does not wait for the removal of a large tree. The thread is started
//! before the seccomp filter is loaded and lives as long as the process; it makes no thread of its own and
//! never touches a channel.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;

use rustix::event::EventfdFlags;

use crate::tasks::{Filler, Slot, lock, slot};

/// More than any job here needs.
const STACK_BYTES: usize = 256 * 1024;

/// Does one slice of a job; `true` when the job is done.
type Slice = Box<dyn FnMut() -> bool + Send>;

/// The helper thread, as the loop sees it.
#[derive(Debug)]
pub(crate) struct Helper {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Readable when a job has ended, so that the loop's `poll` returns.
    ended: OwnedFd,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Slice>,
    closed: bool,
}

/// Ends the process when the helper thread panics: an operation that waits for it would wait for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Helper {
    /// Starts the thread and waits until it is up.
    ///
    /// # Errors
    /// When the system gives no thread or no event descriptor.
    pub(crate) fn start() -> io::Result<Self> {
        let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Mutex::new(Queue::default());
        let shared = Arc::new(Shared { queue, more: Condvar::new(), ended });
        let (up, is_up) = mpsc::channel();
        let own = Arc::clone(&shared);
        std::thread::Builder::new().name("helper".into()).stack_size(STACK_BYTES).spawn(
            move || {
                let _guard = AbortOnPanic;
                let _ = up.send(());
                own.work();
            },
        )?;
        is_up.recv().map_err(|_| io::Error::other("the helper thread did not start"))?;
        Ok(Self { shared })
    }

    /// Runs a job. `slice` is called until it is ready; what it then gives is what the slot gets.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        mut slice: impl FnMut() -> Poll<T> + Send + 'static,
    ) -> Slot<T> {
        let (filler, slot) = slot();
        let mut filler: Option<Filler<T>> = Some(filler);
        self.push(Box::new(move || match slice() {
            Poll::Pending => false,
            Poll::Ready(value) => {
                if let Some(filler) = filler.take() {
                    filler.fill(value);
                }
                true
            }
        }));
        slot
    }

    /// Runs a job of one slice.
    pub(crate) fn run_once<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Slot<T> {
        let mut job = Some(job);
        // A finished job is not called again.
        self.run(move || job.take().map_or(Poll::Pending, |job| Poll::Ready(job())))
    }

    /// Makes the descriptor of [`Helper::as_fd`] unreadable again.
    pub(crate) fn acknowledge(&self) {
        let _ = rustix::io::read(&self.shared.ended, &mut [0; 8]);
    }

    fn push(&self, slice: Slice) {
        lock(&self.shared.queue).jobs.push_back(slice);
        self.shared.more.notify_one();
    }
}

/// Readable when a job has ended.
impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ended.as_fd()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.more.notify_one();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let mut job = loop {
                if queue.closed {
                    return;
                }
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            if job() {
                // After the slot was filled: the loop finds its operation woken.
                let _ = rustix::io::write(&self.ended, &1u64.to_ne_bytes());
            } else {
                lock(&self.queue).jobs.push_back(job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use rustix::event::{PollFd, PollFlags};

    use super::*;
    use crate::tasks::Tasks;

    #[test]
    fn a_long_job_lets_a_short_one_pass() {
        let helper = Helper::start().unwrap();
        let tasks = Tasks::default();
        let order = Rc::new(RefCell::new(Vec::new()));
        // The long job goes on until the short one has run, which it must be let past for.
        let passed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (seen, set) = (Arc::clone(&passed), Arc::clone(&passed));
        let long = helper.run(move || match seen.load(std::sync::atomic::Ordering::SeqCst) {
            true => Poll::Ready("long"),
            false => Poll::Pending,
        });
        let short = helper.run_once(move || {
            set.store(true, std::sync::atomic::Ordering::SeqCst);
            "short"
        });
        for slot in [long, short] {
            let order = Rc::clone(&order);
            tasks.spawn(async move {
                let name = slot.await;
                order.borrow_mut().push(name);
            });
        }
        while order.borrow().len() < 2 {
            tasks.run_woken();
            if order.borrow().len() < 2 {
                rustix::event::poll(&mut [PollFd::new(&helper, PollFlags::IN)], None).unwrap();
                helper.acknowledge();
            }
        }
        assert!(order.borrow().contains(&"short") && order.borrow().contains(&"long"));
    }
}

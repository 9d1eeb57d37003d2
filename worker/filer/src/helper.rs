//! The three helper threads: what may take long is done there, so that the loop never waits.
//!
//! Two are for small files, so that the next are written while those before are synced: one makes them in staging and
//! places them, which locks that directory, and another fills what was made. Syncs, copies, walks and removals are
//! handed to the third as jobs. A long job works in slices, and short ones go
//! between these: an fsync waits for one slice of a large tree's removal at most. Of the walks one is begun
//! at a time, since each keeps directories open; what may be done in one slice of a walk takes its turn
//! without waiting for the others' ends. The threads are started
//! when Landlock is in force, which they inherit, and before the table of system calls is closed; they live as
//! long as the process, make no threads of their own and never touch a channel.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Poll;

use rustix::event::EventfdFlags;

use crate::tasks::{Filler, Slot, lock, slot};

/// More than any job here needs.
const STACK_BYTES: usize = 256 * 1024;

/// So much work waits for the thread that fills files, each with what was made for it open, and one more where it
/// was made, until no more is made.
const MADE_AHEAD: usize = 2;

/// Does one slice of a job; `true` when the job is done.
type Slice = Box<dyn FnMut() -> bool + Send>;

/// The helper threads, as the loop sees them.
#[derive(Debug)]
pub(crate) struct Helper {
    general: Arc<Thread>,
    names: Arc<Thread>,
    contents: SyncSender<Work>,
}

/// Fills files that were made.
type Work = Box<dyn FnOnce() + Send>;

/// One of them: what it shares with the loop.
struct Thread {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Readable when a job has ended, so that the loop's `poll` returns.
    ended: Arc<OwnedFd>,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    jobs: Jobs<Slice>,
    closed: bool,
}

/// Which job is worked on next, decided without a thread. `J` is a job.
#[derive(Debug)]
struct Jobs<J> {
    /// Jobs of one slice.
    short: VecDeque<J>,
    /// How many of them came before the last slice of a long one ended, and go before its next.
    first: usize,
    /// Long ones that take their slices in turn: copies, and a walk at most.
    begun: VecDeque<(Kind, J)>,
    /// Walks that are not begun.
    walks: VecDeque<J>,
}

/// Kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Done after one slice.
    Short,
    /// Keeps nothing open from one slice to the next that was not open before.
    Copy,
    /// Keeps directories open.
    Walk,
}

impl<J> Default for Jobs<J> {
    fn default() -> Self {
        Self { short: VecDeque::new(), first: 0, begun: VecDeque::new(), walks: VecDeque::new() }
    }
}

impl<J> Jobs<J> {
    /// Takes a new job in.
    fn push(&mut self, kind: Kind, job: J) {
        match kind {
            Kind::Short => self.short.push_back(job),
            Kind::Copy => self.begun.push_back((kind, job)),
            Kind::Walk => self.walks.push_back(job),
        }
    }

    /// Takes a new job of one slice in, before all others of that kind.
    fn push_first(&mut self, job: J) {
        self.short.push_front(job);
        if self.first > 0 {
            self.first += 1;
        }
    }

    /// The job whose turn it is.
    fn next(&mut self) -> Option<(Kind, J)> {
        if self.first > 0 {
            self.first -= 1;
            return self.short.pop_front().map(|job| (Kind::Short, job));
        }
        if !self.begun.iter().any(|(kind, _)| *kind == Kind::Walk)
            && let Some(walk) = self.walks.pop_front()
        {
            self.begun.push_back((Kind::Walk, walk));
        }
        let long = self.begun.pop_front();
        long.or_else(|| self.short.pop_front().map(|job| (Kind::Short, job)))
    }

    /// A slice was worked off; `job` is there as long as it is not done.
    fn worked(&mut self, kind: Kind, job: Option<J>) {
        if kind != Kind::Short {
            self.first = self.short.len();
        }
        if let Some(job) = job {
            self.begun.push_back((kind, job));
        }
    }
}

/// Ends the process when a helper thread panics: an operation that waits for it would wait for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Helper {
    /// Starts the threads and waits until they are up.
    ///
    /// # Errors
    /// When the system gives no threads or no event descriptor.
    pub(crate) fn start() -> io::Result<Self> {
        let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ended = Arc::new(ended);
        let general = Thread::start("helper", Arc::clone(&ended))?;
        let names = Thread::start("names", Arc::clone(&ended))?;
        let contents = start_contents(ended)?;
        Ok(Self { general, names, contents })
    }

    /// Runs a walk, when all before it are done. `slice` is called until it is ready; what it then gives is what
    /// the slot gets.
    pub(crate) fn walk<T: Send + 'static>(
        &self,
        slice: impl FnMut() -> Poll<T> + Send + 'static,
    ) -> Slot<T> {
        self.general.run(|jobs, slice| jobs.push(Kind::Walk, slice), slice)
    }

    /// Runs a long job that opens nothing, in turns with the others.
    pub(crate) fn copy<T: Send + 'static>(
        &self,
        slice: impl FnMut() -> Poll<T> + Send + 'static,
    ) -> Slot<T> {
        self.general.run(|jobs, slice| jobs.push(Kind::Copy, slice), slice)
    }

    /// Runs one slice of a job that may need more: in turns with the long ones, so that however many wait, short
    /// jobs wait for one of them at most. What `slice` has open is closed before the next job.
    pub(crate) fn try_slice<T: Send + 'static>(
        &self,
        mut slice: impl FnMut() -> Poll<T> + Send + 'static,
    ) -> Slot<Poll<T>> {
        let slice = move || Poll::Ready(slice());
        self.general.run(|jobs, slice| jobs.push(Kind::Copy, slice), slice)
    }

    /// Runs a job of one slice.
    pub(crate) fn run_once<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Slot<T> {
        self.general.run_once(push_short, job)
    }

    /// Makes small files, and then fills them, while the next are made: beside all other jobs, and in order.
    pub(crate) fn write<M: Send + 'static, T: Send + 'static>(
        &self,
        make: impl FnOnce() -> M + Send + 'static,
        fill: impl FnOnce(M) -> T + Send + 'static,
    ) -> Slot<T> {
        let (filler, slot) = slot();
        let contents = self.contents.clone();
        drop(self.names.run_once(push_short, move || {
            let made = make();
            // That thread is there as long as this one may send.
            let _ = contents.send(Box::new(move || filler.fill(fill(made))));
        }));
        slot
    }

    /// The thread that changes names in staging, for what goes before the next of these jobs.
    pub(crate) fn names(&self) -> Names {
        Names(Arc::clone(&self.names))
    }

    /// Makes the descriptor of [`Helper::as_fd`] unreadable again.
    pub(crate) fn acknowledge(&self) {
        let _ = rustix::io::read(&*self.general.ended, &mut [0; 8]);
    }
}

/// The thread that changes names in staging.
#[derive(Debug)]
pub(crate) struct Names(Arc<Thread>);

impl Names {
    /// Runs a job as the next.
    pub(crate) fn run_next<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Slot<T> {
        self.0.run_once(Jobs::push_first, job)
    }
}

/// Readable when a job has ended.
impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.general.ended.as_fd()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        for thread in [&self.general, &self.names] {
            lock(&thread.queue).closed = true;
            thread.more.notify_one();
        }
    }
}

/// Starts the thread that fills files, which ends when nobody has more for it.
fn start_contents(ended: Arc<OwnedFd>) -> io::Result<SyncSender<Work>> {
    let (sender, work) = mpsc::sync_channel::<Work>(MADE_AHEAD);
    spawn("contents", move || {
        for work in work {
            work();
            let _ = rustix::io::write(&*ended, &1u64.to_ne_bytes());
        }
    })?;
    Ok(sender)
}

/// Starts a thread and waits until it is up: what it calls until then is forbidden soon.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (up, is_up) = mpsc::channel();
    std::thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(move || {
        let _guard = AbortOnPanic;
        let _ = up.send(());
        work();
    })?;
    is_up.recv().map_err(|_| io::Error::other(format!("the {name} thread did not start")))
}

fn push_short(jobs: &mut Jobs<Slice>, job: Slice) {
    jobs.push(Kind::Short, job);
}

impl Thread {
    fn start(name: &str, ended: Arc<OwnedFd>) -> io::Result<Arc<Self>> {
        let queue = Mutex::new(Queue::default());
        let thread = Arc::new(Self { queue, more: Condvar::new(), ended });
        let own = Arc::clone(&thread);
        spawn(name, move || own.work())?;
        Ok(thread)
    }

    fn run<T: Send + 'static>(
        &self,
        push: impl FnOnce(&mut Jobs<Slice>, Slice),
        mut slice: impl FnMut() -> Poll<T> + Send + 'static,
    ) -> Slot<T> {
        let (filler, slot) = slot();
        let mut filler: Option<Filler<T>> = Some(filler);
        let slice: Slice = Box::new(move || match slice() {
            Poll::Pending => false,
            Poll::Ready(value) => {
                if let Some(filler) = filler.take() {
                    filler.fill(value);
                }
                true
            }
        });
        push(&mut lock(&self.queue).jobs, slice);
        self.more.notify_one();
        slot
    }

    fn run_once<T: Send + 'static>(
        &self,
        push: impl FnOnce(&mut Jobs<Slice>, Slice),
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Slot<T> {
        let mut job = Some(job);
        // A finished job is not called again.
        self.run(push, move || job.take().map_or(Poll::Pending, |job| Poll::Ready(job())))
    }

    fn work(&self) {
        loop {
            let mut queue = lock(&self.queue);
            let (kind, mut job) = loop {
                if queue.closed {
                    return;
                }
                match queue.jobs.next() {
                    Some(job) => break job,
                    None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            let job = if job() {
                // What it has open is closed before another walk begins.
                drop(job);
                // After the slot was filled: the loop finds its operation woken.
                let _ = rustix::io::write(&*self.ended, &1u64.to_ne_bytes());
                None
            } else {
                Some(job)
            };
            lock(&self.queue).jobs.worked(kind, job);
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

    /// Works on the next job, which needs more slices if `more`; which it was.
    fn work(jobs: &mut Jobs<&'static str>, more: &[&str]) -> Option<&'static str> {
        let (kind, job) = jobs.next()?;
        jobs.worked(kind, more.contains(&job).then_some(job));
        Some(job)
    }

    #[test]
    fn walks_are_begun_one_after_the_other() {
        let mut jobs = Jobs::default();
        ["one", "two", "three"].into_iter().for_each(|walk| jobs.push(Kind::Walk, walk));
        for _ in 0..5 {
            assert_eq!(work(&mut jobs, &["one"]), Some("one"), "the others are not begun");
        }
        assert_eq!(work(&mut jobs, &[]), Some("one"));
        assert_eq!(work(&mut jobs, &["two"]), Some("two"));
        assert_eq!(work(&mut jobs, &[]), Some("two"));
        assert_eq!(work(&mut jobs, &[]), Some("three"));
        assert_eq!(work(&mut jobs, &[]), None);
    }

    #[test]
    fn short_jobs_wait_for_one_slice_at_most_and_do_not_hold_up_long_ones() {
        let mut jobs = Jobs::default();
        jobs.push(Kind::Walk, "walk");
        jobs.push(Kind::Short, "before");
        assert_eq!(work(&mut jobs, &["walk"]), Some("walk"));
        assert_eq!(work(&mut jobs, &[]), Some("before"));
        let (kind, walk) = jobs.next().unwrap();
        assert_eq!(walk, "walk");
        // While its slice is worked on.
        jobs.push(Kind::Short, "one");
        jobs.push(Kind::Short, "two");
        jobs.worked(kind, Some(walk));
        assert_eq!(work(&mut jobs, &[]), Some("one"));
        jobs.push(Kind::Short, "later");
        assert_eq!(work(&mut jobs, &[]), Some("two"));
        assert_eq!(work(&mut jobs, &["walk"]), Some("walk"), "not starved");
        assert_eq!(work(&mut jobs, &["walk"]), Some("later"));
        assert_eq!(work(&mut jobs, &[]), Some("walk"));
        assert_eq!(work(&mut jobs, &[]), None);
    }

    #[test]
    fn copies_and_the_walk_take_turns() {
        let mut jobs = Jobs::default();
        jobs.push(Kind::Walk, "walk");
        jobs.push(Kind::Walk, "next walk");
        jobs.push(Kind::Copy, "copy");
        let long = ["walk", "copy"];
        let turns: Vec<_> = (0..4).filter_map(|_| work(&mut jobs, &long)).collect();
        assert_eq!(turns, ["copy", "walk", "copy", "walk"]);
    }

    #[test]
    fn of_single_slices_one_at_most_goes_before_a_short_job() {
        let mut jobs = Jobs::default();
        ["one", "two", "three"].into_iter().for_each(|slice| jobs.push(Kind::Copy, slice));
        jobs.push(Kind::Short, "sync");
        let order: Vec<_> = std::iter::from_fn(|| work(&mut jobs, &[])).collect();
        assert_eq!(order, ["one", "sync", "two", "three"]);
    }

    #[test]
    fn a_long_job_lets_a_short_one_pass() {
        let helper = Helper::start().unwrap();
        let tasks = Tasks::default();
        let order = Rc::new(RefCell::new(Vec::new()));
        // The long job goes on until the short one has run, which it must be let past for.
        let passed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (seen, set) = (Arc::clone(&passed), Arc::clone(&passed));
        let long = helper.walk(move || match seen.load(std::sync::atomic::Ordering::SeqCst) {
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

    #[test]
    fn what_is_written_waits_for_nothing_else_and_goes_in_order() {
        let helper = Helper::start().unwrap();
        let (go, held) = mpsc::channel::<()>();
        drop(helper.run_once(move || held.recv()));
        let (written, order) = mpsc::channel();
        for number in 0..3 {
            let written = written.clone();
            drop(helper.write(|| (), move |()| written.send(number)));
        }
        // Behind the held job it would not come.
        let deadline = std::time::Duration::from_secs(60);
        let next = || order.recv_timeout(deadline).unwrap();
        assert_eq!([next(), next(), next()], [0, 1, 2]);
        go.send(()).unwrap();
    }

    #[test]
    fn the_next_are_made_while_some_are_filled_but_not_without_end() {
        let helper = Helper::start().unwrap();
        let (go, held) = mpsc::channel::<()>();
        let (tell, made) = mpsc::channel();
        drop(helper.write(|| (), move |()| held.recv()));
        let ahead = MADE_AHEAD + 1;
        for number in 0..ahead + 2 {
            let tell = tell.clone();
            drop(helper.write(move || tell.send(number), drop));
        }
        let deadline = std::time::Duration::from_secs(60);
        let next = || made.recv_timeout(deadline).unwrap();
        assert!((0..ahead).all(|number| next() == number));
        // It waits with the last of them.
        assert_eq!(made.recv_timeout(std::time::Duration::from_millis(100)).ok(), None);
        go.send(()).unwrap();
        let next = || made.recv_timeout(deadline).unwrap();
        assert_eq!([next(), next()], [ahead, ahead + 1]);
    }
}

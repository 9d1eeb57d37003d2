//! The table of operations: each is a future that the loop goes on with when what it waits for has come.
//!
//! The compiler makes an operation's state machine from straight-line code, so that the order of the ticket
//! protocol can be read from top to bottom. There is no runtime: a [`Slot`] is filled by the loop (an answer
//! of the daemon's) or by a helper thread, which puts its task on the list of woken ones.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// An operation's number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskId(u64);

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The table.
#[derive(Default)]
pub(crate) struct Tasks {
    table: RefCell<HashMap<TaskId, (Task, Waker)>>,
    next: RefCell<u64>,
    woken: Arc<Mutex<VecDeque<TaskId>>>,
}

struct TaskWaker {
    id: TaskId,
    woken: Arc<Mutex<VecDeque<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken).push_back(self.id);
    }
}

impl Tasks {
    /// Puts an operation into the table; it begins with the next [`Tasks::run_woken`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> TaskId {
        let mut next = self.next.borrow_mut();
        let id = TaskId(*next);
        *next += 1;
        let waker = Waker::from(Arc::new(TaskWaker { id, woken: Arc::clone(&self.woken) }));
        waker.wake_by_ref();
        self.table.borrow_mut().insert(id, (Box::pin(task), waker));
        id
    }

    /// Ends an operation where it stands.
    pub(crate) fn cancel(&self, id: TaskId) {
        // Not dropped while the table is borrowed: what it owns may look at the table.
        let task = self.table.borrow_mut().remove(&id);
        drop(task);
    }

    /// Ends all operations where they stand.
    pub(crate) fn clear(&self) {
        let table = self.table.take();
        drop(table);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.borrow().is_empty()
    }

    /// Whether an operation was woken and has not gone on yet.
    pub(crate) fn has_woken(&self) -> bool {
        !lock(&self.woken).is_empty()
    }

    /// Goes on with every operation that was woken, until all wait.
    pub(crate) fn run_woken(&self) {
        loop {
            let Some(id) = lock(&self.woken).pop_front() else {
                return;
            };
            // Out of the table while it runs, so that it may spawn others.
            let Some((mut task, waker)) = self.table.borrow_mut().remove(&id) else {
                continue;
            };
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_pending() {
                self.table.borrow_mut().insert(id, (task, waker));
            }
        }
    }
}

/// What an operation waits for: a value that comes once.
#[derive(Debug)]
pub(crate) struct Slot<T>(Arc<Mutex<SlotState<T>>>);

/// The other end of a [`Slot`].
#[derive(Debug)]
pub(crate) struct Filler<T>(Arc<Mutex<SlotState<T>>>);

#[derive(Debug)]
struct SlotState<T> {
    value: Option<T>,
    waiting: Option<Waker>,
}

/// Makes a slot and its filler. A filler that is dropped leaves its operation waiting for good.
pub(crate) fn slot<T>() -> (Filler<T>, Slot<T>) {
    let state = Arc::new(Mutex::new(SlotState { value: None, waiting: None }));
    (Filler(Arc::clone(&state)), Slot(state))
}

impl<T> Filler<T> {
    /// Gives the value and wakes the operation that waits for it.
    pub(crate) fn fill(self, value: T) {
        let mut state = lock(&self.0);
        state.value = Some(value);
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Slot<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.0);
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Operations that have done a slice of their work and wait until the loop has looked at its channels.
#[derive(Debug, Default)]
pub(crate) struct Pacer(RefCell<Vec<Filler<()>>>);

impl Pacer {
    /// Waits for the loop's next turn.
    pub(crate) async fn next_turn(&self) {
        let (filler, slot) = slot();
        self.0.borrow_mut().push(filler);
        slot.await;
    }

    /// Whether an operation waits, so that the loop must not sleep.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// Lets all that wait go on.
    pub(crate) fn turn(&self) {
        for filler in self.0.take() {
            filler.fill(());
        }
    }
}

/// A mutex whose holder panicked ends the process anyway; until then its value is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn an_operation_goes_on_when_its_slot_is_filled_from_anywhere() {
        let tasks = Tasks::default();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (first, one) = slot();
        let (second, two) = slot();
        let log = Rc::clone(&seen);
        tasks.spawn(async move {
            for slot in [one, two] {
                let value = slot.await;
                log.borrow_mut().push(value);
            }
        });
        tasks.run_woken();
        assert!(seen.borrow().is_empty());
        second.fill(2);
        tasks.run_woken();
        assert!(seen.borrow().is_empty(), "it waits for the first");
        std::thread::spawn(move || first.fill(1)).join().unwrap();
        tasks.run_woken();
        assert_eq!(*seen.borrow(), [1, 2]);
        assert!(tasks.table.borrow().is_empty());
    }

    #[test]
    fn a_cancelled_operation_never_goes_on() {
        let tasks = Tasks::default();
        let (filler, slot) = slot();
        let done = Rc::new(RefCell::new(false));
        let flag = Rc::clone(&done);
        let id = tasks.spawn(async move {
            slot.await;
            *flag.borrow_mut() = true;
        });
        tasks.run_woken();
        tasks.cancel(id);
        filler.fill(());
        tasks.run_woken();
        assert!(!*done.borrow());
    }

    #[test]
    fn a_paced_operation_runs_once_a_turn() {
        let tasks = Tasks::default();
        let pacer = Rc::new(Pacer::default());
        let count = Rc::new(RefCell::new(0));
        let (own, counter) = (Rc::clone(&pacer), Rc::clone(&count));
        tasks.spawn(async move {
            for _ in 0..3 {
                own.next_turn().await;
                *counter.borrow_mut() += 1;
            }
        });
        for turns in 0..3 {
            tasks.run_woken();
            assert_eq!(*count.borrow(), turns);
            assert!(pacer.is_awaited());
            pacer.turn();
        }
        tasks.run_woken();
        assert_eq!(*count.borrow(), 3);
        assert!(!pacer.is_awaited());
    }
}

//! Small pieces of work that belong to one owner, who can wait until all of them are over.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// Counts what was begun and is not over.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    running: Cell<usize>,
    over: Notify,
}

/// One that runs; over when it is dropped.
struct Running(Rc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.over.notify_waiters();
    }
}

impl Tasks {
    /// Begins one on the local runtime. Tasks take their first step in the order in which they were begun.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.inner.running.set(self.inner.running.get() + 1);
        let running = Running(self.inner.clone());
        tokio::task::spawn_local(async move {
            work.await;
            drop(running);
        });
    }

    /// Waits until none runs.
    pub(crate) async fn over(&self) {
        while self.inner.running.get() > 0 {
            self.inner.over.notified().await;
        }
    }
}

/// A flag that is raised once and can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Flag {
    inner: Rc<(Cell<bool>, Notify)>,
}

impl Flag {
    /// Raises it.
    pub(crate) fn raise(&self) {
        self.inner.0.set(true);
        self.inner.1.notify_waiters();
    }

    /// Whether it is up.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.0.get()
    }

    /// Waits until it is up.
    pub(crate) async fn up(&self) {
        while !self.is_up() {
            self.inner.1.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_begun_is_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (tasks, flag, done) = (Tasks::default(), Flag::default(), Rc::new(Cell::new(0)));
            tasks.over().await;
            for _ in 0..3 {
                let (flag, done) = (flag.clone(), done.clone());
                tasks.spawn(async move {
                    flag.up().await;
                    done.set(done.get() + 1);
                });
            }
            flag.raise();
            tasks.over().await;
            assert_eq!(done.get(), 3);
        });
    }
}

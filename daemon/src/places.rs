//! Places for connections: as many as may be there at once, which a reload may change.
//!
//! With fewer places than are taken, those who have one keep it, and nobody gets another until enough have left.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// How many there are, and how many are taken.
#[derive(Debug)]
pub(crate) struct Places {
    most: Cell<u32>,
    taken: Cell<u32>,
    changed: Notify,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
        self.0.changed.notify_one();
    }
}

impl Places {
    /// So many.
    pub(crate) fn new(most: u32) -> Rc<Self> {
        Rc::new(Self { most: Cell::new(most), taken: Cell::new(0), changed: Notify::new() })
    }

    /// Takes one if it is free.
    pub(crate) fn try_take(self: &Rc<Self>) -> Option<Place> {
        if self.taken.get() >= self.most.get() {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Place(self.clone()))
    }

    /// Takes one, waiting until it is free.
    ///
    /// # Cancel safety
    /// None is lost.
    pub(crate) async fn take(self: &Rc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_take() {
                return place;
            }
            self.changed.notified().await;
        }
    }

    /// From now on there are so many.
    pub(crate) fn set_most(&self, most: u32) {
        self.most.set(most);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn more_places_let_those_in_who_wait_and_fewer_end_nobody() {
        let places = Places::new(1);
        let first = places.take().now_or_never().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let second = runtime.block_on(async {
            let (second, ()) = tokio::join!(places.take(), async { places.set_most(2) });
            second
        });
        places.set_most(1);
        drop(first);
        assert!(places.take().now_or_never().is_none(), "one is left, and one may be");
        drop(second);
        assert!(places.take().now_or_never().is_some());
    }
}

//! Places for programs: so many in all, and for each user half of them, so that nobody takes all with many sessions.
//!
//! A session asks for one before it begins a program, which keeps it until nothing of it is left.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use berth_common::ids::UserName;

/// How many there are, and who has them.
#[derive(Debug)]
pub(crate) struct Places {
    most: Cell<u32>,
    taken: RefCell<HashMap<UserName, u32>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    user: UserName,
    places: Rc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.borrow_mut();
        if let Some(count) = taken.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

impl Places {
    /// So many.
    pub(crate) fn new(most: u32) -> Rc<Self> {
        Rc::new(Self { most: Cell::new(most), taken: RefCell::default() })
    }

    /// Takes one if it is free.
    ///
    /// # Errors
    /// When it is not: the bound that is reached.
    pub(crate) fn try_take(self: &Rc<Self>, user: &UserName) -> Result<Place, u32> {
        let most = self.most.get();
        let mut taken = self.taken.borrow_mut();
        if taken.values().sum::<u32>() >= most {
            return Err(most);
        }
        let of_one = (most / 2).max(1);
        let count = taken.entry(user.clone()).or_default();
        if *count >= of_one {
            return Err(of_one);
        }
        *count += 1;
        Ok(Place { user: user.clone(), places: self.clone() })
    }

    /// From now on there are so many; who has one keeps it.
    pub(crate) fn set_most(&self, most: u32) {
        self.most.set(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_half_of_the_places_and_all_come_back() {
        let places = Places::new(5);
        let [alice, bob, carol] =
            ["alice", "bob", "carol"].map(|name| UserName::new(name).unwrap());
        let take = |user| places.try_take(user);
        let held = [take(&alice).unwrap(), take(&alice).unwrap()];
        assert_eq!(take(&alice).unwrap_err(), 2);
        let others = [take(&bob).unwrap(), take(&bob).unwrap(), take(&carol).unwrap()];
        assert_eq!(take(&carol).unwrap_err(), 5);
        drop(held);
        places.set_most(3);
        assert_eq!(take(&alice).unwrap_err(), 3, "those who are there stay");
        drop(others);
        let one = take(&alice).unwrap();
        assert_eq!(take(&alice).unwrap_err(), 1);
        places.set_most(0);
        assert_eq!(take(&bob).unwrap_err(), 0);
        drop(one);
        assert!(places.taken.borrow().is_empty());
        places.set_most(1);
        take(&bob).unwrap();
    }
}

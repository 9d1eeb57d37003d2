//! Names for directories that are lifted to the top of a tree.

use std::collections::HashSet;
use std::ffi::CStr;

/// What the name of a lifted directory begins with; a number follows.
const LIFTED: &str = "lifted-";

/// Numbers of the directories that were lifted.
#[derive(Default)]
pub(super) struct Lifted {
    /// The first number that is not used.
    next: u64,
    /// The first one that is not walked.
    unwalked: u64,
    /// Numbers that were somebody else's names.
    foreign: HashSet<u64>,
}

impl Lifted {
    /// The name that goes with a number.
    pub(super) fn name(number: u64) -> String {
        format!("{LIFTED}{number}")
    }

    /// A number for the next one.
    pub(super) fn mint(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Something stood at this number's name already.
    pub(super) fn is_foreign(&mut self, number: u64) {
        self.foreign.insert(number);
    }

    /// Whether an entry of the top is there because it was lifted.
    pub(super) fn has(&self, name: &CStr) -> bool {
        let number = name.to_str().ok().and_then(|name| name.strip_prefix(LIFTED)?.parse().ok());
        number.is_some_and(|number: u64| {
            number < self.next
                && !self.foreign.contains(&number)
                && name.to_bytes() == Self::name(number).as_bytes()
        })
    }

    /// The next one to walk.
    pub(super) fn pop(&mut self) -> Option<u64> {
        while self.unwalked < self.next {
            let number = self.unwalked;
            self.unwalked += 1;
            if !self.foreign.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}

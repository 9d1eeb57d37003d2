//! The tables of system calls: what each kind of process may still ask of the kernel once it is sealed.
//!
//! A row is a call and, where the call alone would be too much, what its arguments have to be. What is not in
//! a table is forbidden. [`crate::filter`] makes them into filters; nothing here calls the kernel.

mod filer;
mod jail;
mod shared;
mod worker;

use std::collections::BTreeSet;

/// Whose table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Worker,
    FilerServe,
    FilerRecover,
    FilerWalk,
    /// The two processes of a jail that wait for the program.
    JailKeeper,
    /// The program in it.
    JailProgram,
}

impl Table {
    /// Those of Berth's own processes, whose code is known.
    #[cfg(test)]
    pub(crate) const OWN: [Self; 5] =
        [Self::Worker, Self::FilerServe, Self::FilerRecover, Self::FilerWalk, Self::JailKeeper];

    /// The rows, those of several lists together. No call stands twice: of two rows for one call the
    /// filter would know the last alone.
    pub(crate) fn rows(self) -> Vec<&'static Row> {
        let lists: &[&'static [Row]] = match self {
            Self::Worker => &[shared::ROWS, worker::ROWS],
            Self::FilerServe => &[shared::ROWS, filer::ROWS, filer::CHANGES, filer::SERVES],
            Self::FilerRecover => &[shared::ROWS, filer::ROWS, filer::CHANGES, filer::DUPLICATES],
            Self::FilerWalk => &[shared::ROWS, filer::ROWS, filer::DUPLICATES],
            Self::JailKeeper => &[shared::ROWS, jail::KEEPER],
            Self::JailProgram => &[jail::PROGRAM],
        };
        lists.iter().flat_map(|list| list.iter()).collect()
    }

    /// The first call that has two rows, if there is one.
    pub(crate) fn duplicate(self) -> Option<&'static str> {
        let mut seen = BTreeSet::new();
        self.rows().into_iter().find(|row| !seen.insert(row.number)).map(|row| row.name)
    }
}

/// A call that is allowed.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    /// Any of these has to hold; none at all means whatever the arguments are.
    pub(crate) when: &'static [&'static [Condition]],
}

/// What an argument has to be. All conditions of a list have to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) width: Width,
    pub(crate) check: Check,
}

/// How much of an argument the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// An `int`: the kernel ignores the upper half, and so must the filter.
    Int,
    /// A pointer or an `unsigned long`.
    Long,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// This value.
    Is(u64),
    /// No other bits than these.
    Within(u64),
    /// This process's number.
    OwnProcess,
}

/// An `int` argument has this value.
const fn is(argument: u8, value: i32) -> Condition {
    Condition { argument, width: Width::Int, check: Check::Is(value as u32 as u64) }
}

/// An `int` argument has no other bits than these.
const fn within(argument: u8, bits: i32) -> Condition {
    Condition { argument, width: Width::Int, check: Check::Within(bits as u32 as u64) }
}

/// An `unsigned long` argument has no other bits than these.
const fn within_long(argument: u8, bits: i32) -> Condition {
    Condition { argument, width: Width::Long, check: Check::Within(bits as u32 as u64) }
}

/// A pointer is null.
const fn null(argument: u8) -> Condition {
    Condition { argument, width: Width::Long, check: Check::Is(0) }
}

/// An argument is this process's number.
const fn own_process(argument: u8) -> Condition {
    Condition { argument, width: Width::Int, check: Check::OwnProcess }
}

/// Writes a table: a call alone, or a call and lists of conditions, of which one list has to hold. A call may
/// have an attribute, and so may a list.
macro_rules! table {
    ($($(#[$attribute:meta])* $call:ident $($(#[$of_list:meta])* [$($condition:expr),+])*;)*) => {
        &[$($(#[$attribute])* crate::tables::Row {
            number: libc::$call,
            name: crate::names::without_prefix(stringify!($call)),
            when: &[$($(#[$of_list])* &[$($condition),+]),*],
        }),*]
    };
}
use table;

#[cfg(test)]
mod tests;

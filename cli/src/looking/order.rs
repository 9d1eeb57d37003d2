//! In which order entries are shown, and how many of them are sorted.

use std::cmp::Ordering;

use berth_common::entry::Entry;

/// A directory of up to so many entries is sorted; a larger one is shown as it comes, so that it needs no memory and
/// its beginning is there at once.
pub(crate) const MOST_SORTED: usize = 10_000;

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Key {
    /// The name with the smallest bytes.
    #[default]
    Name,
    /// What was changed last.
    Time,
    /// What has the most bytes.
    Size,
}

/// How entries are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) reverse: bool,
}

impl Order {
    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let by_key = match self.key {
            Key::Name => Ordering::Equal,
            Key::Time => other.mtime_ns.cmp(&one.mtime_ns),
            Key::Size => other.size.cmp(&one.size),
        };
        let order = by_key.then_with(|| one.name.cmp(&other.name));
        if self.reverse { order.reverse() } else { order }
    }
}

/// The entries of a directory as they come, kept while they are few enough to be sorted.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    waiting: Vec<Entry>,
    too_many: bool,
}

impl Gathered {
    /// Adds some, and gives those that are to be shown now, since there are too many to be sorted.
    pub(crate) fn add(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        self.waiting.extend(entries);
        self.too_many |= self.waiting.len() > MOST_SORTED;
        if self.too_many { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }

    /// All of them in order, unless they were too many.
    pub(crate) fn sorted(mut self, order: Order) -> Vec<Entry> {
        self.waiting.sort_by(|one, other| order.compare(one, other));
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use berth_common::entry::EntryKind;

    use super::*;

    fn entry(name: &str, size: u64, mtime_ns: i64) -> Entry {
        let kind = EntryKind::File;
        Entry { name: name.into(), kind, size, mtime_ns, mode: 0o644, digest: None, note: None }
    }

    fn sorted(key: Key, reverse: bool) -> Vec<String> {
        let mut gathered = Gathered::default();
        let entries = vec![entry("b", 5, 2), entry("a", 5, 1), entry("ä", 9, 2), entry(".c", 1, 9)];
        assert!(gathered.add(entries).is_empty());
        gathered.sorted(Order { key, reverse }).into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn newest_and_largest_come_first_and_names_decide_among_equals() {
        assert_eq!(sorted(Key::Name, false), [".c", "a", "b", "ä"]);
        assert_eq!(sorted(Key::Name, true), ["ä", "b", "a", ".c"]);
        assert_eq!(sorted(Key::Time, false), [".c", "b", "ä", "a"]);
        assert_eq!(sorted(Key::Size, false), ["ä", "a", "b", ".c"]);
        assert_eq!(sorted(Key::Size, true), [".c", "b", "a", "ä"]);
    }

    #[test]
    fn a_large_directory_is_not_kept() {
        let mut gathered = Gathered::default();
        let part = || vec![entry("x", 0, 0); MOST_SORTED / 2];
        assert!(gathered.add(part()).is_empty() && gathered.add(part()).is_empty());
        assert_eq!(gathered.add(vec![entry("y", 0, 0)]).len(), MOST_SORTED + 1);
        assert_eq!(gathered.add(part()).len(), MOST_SORTED / 2);
        assert!(gathered.sorted(Order::default()).is_empty());
    }
}

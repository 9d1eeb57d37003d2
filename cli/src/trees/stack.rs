//! The directories that a walk of the home has entered, with the entries of each that wait for their turn.
//!
//! A record of each directory is the walk's own, `T`. The entries lie in a [`Spool`], so that directories of any size
//! take constant memory.

use std::io;

use berth_common::entry::Entry;

use super::spool::Spool;

/// The directories that are entered, the deepest one last.
#[derive(Debug)]
pub(crate) struct Stack<T> {
    spool: Spool,
    levels: Vec<Level<T>>,
}

#[derive(Debug)]
struct Level<T> {
    directory: T,
    start: u64,
    /// Of the next entry.
    at: u64,
    end: u64,
}

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self { spool: Spool::default(), levels: Vec::new() }
    }
}

impl<T> Stack<T> {
    /// Enters a directory, whose entries have to be added before any other is entered.
    pub(crate) fn enter(&mut self, directory: T) {
        let start = self.spool.end();
        self.levels.push(Level { directory, start, at: start, end: start });
    }

    /// Adds some entries of the directory that was entered last.
    ///
    /// # Errors
    /// When they are many and the directory for temporary files has no room.
    pub(crate) fn add(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.spool.push(entries)?;
        if let Some(level) = self.levels.last_mut() {
            level.end = self.spool.end();
        }
        Ok(())
    }

    /// The directory that was entered last.
    pub(crate) fn top(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.directory)
    }

    /// How many directories are entered.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The next entry of the directory that was entered last; `None` after the last one.
    ///
    /// # Errors
    /// When what was added cannot be read again.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let Some(level) = self.levels.last_mut().filter(|level| level.at < level.end) else {
            return Ok(None);
        };
        let (entry, behind) = self.spool.entry(level.at)?;
        level.at = behind;
        Ok(Some(entry))
    }

    /// Whether no entry is left in the directory that was entered last.
    pub(crate) fn is_at_end(&self) -> bool {
        self.levels.last().is_none_or(|level| level.at >= level.end)
    }

    /// Begins again with the first entry of the directory that was entered last.
    pub(crate) fn rewind(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.at = level.start;
        }
    }

    /// Leaves the directory that was entered last, whatever it has left.
    pub(crate) fn leave(&mut self) -> Option<T> {
        let level = self.levels.pop()?;
        self.spool.cut(level.start);
        Some(level.directory)
    }
}

#[cfg(test)]
mod tests {
    use berth_common::entry::EntryKind;

    use super::*;

    fn entry(name: &str) -> Entry {
        let kind = EntryKind::File;
        Entry {
            name: name.into(),
            kind,
            size: 0,
            mtime_ns: 0,
            mode: 0o644,
            digest: None,
            note: None,
        }
    }

    fn next(stack: &mut Stack<&str>) -> Option<String> {
        stack.next_entry().unwrap().map(|entry| entry.name)
    }

    #[test]
    fn a_directory_goes_on_where_it_was_when_one_in_it_is_left() {
        let mut stack = Stack::default();
        assert!(next(&mut stack).is_none() && stack.is_at_end() && stack.leave().is_none());
        stack.enter("top");
        stack.add(&[entry("a"), entry("b")]).unwrap();
        assert_eq!(next(&mut stack).as_deref(), Some("a"));
        assert!(!stack.is_at_end());
        stack.enter("a");
        stack.add(&[entry("1")]).unwrap();
        stack.add(&[entry("2")]).unwrap();
        assert_eq!((stack.depth(), stack.top()), (2, Some(&mut "a")));
        assert_eq!(next(&mut stack).as_deref(), Some("1"));
        stack.rewind();
        for name in ["1", "2"] {
            assert_eq!(next(&mut stack).as_deref(), Some(name));
        }
        assert!(next(&mut stack).is_none() && stack.is_at_end());
        assert_eq!(stack.leave(), Some("a"));
        assert_eq!(next(&mut stack).as_deref(), Some("b"));
        assert!(stack.is_at_end());
        assert_eq!(stack.leave(), Some("top"));
        assert_eq!(stack.spool.end(), 0);
    }
}

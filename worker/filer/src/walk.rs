//! Walks a tree that stands in staging, to count it or to remove it, in slices and to any depth.
//!
//! The tree is out of every user's reach, so it stands still. At most [`MAX_LEVELS`] directories are open
//! at once: one that lies deeper is first lifted to the tree's top, under a name that is free there, and
//! walked in its turn. That changes no sum, and a walk that was cut off can simply begin again.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use rustix::fs::{AtFlags, FileType, Mode, RawDir, RenameFlags, SeekFrom};
use rustix::io::Errno;

use crate::home::{JUST_LOOK, READ_DIRECTORY, Seen, What, open_beneath};
use crate::staging::Staging;

/// Directories that a walk has open at most.
const MAX_LEVELS: usize = 64;

/// Entries in a slice.
const SLICE: usize = 256;

/// Bytes for one `getdents64`: some hundred names.
const NAMES_BYTES: usize = 8 * 1024;

/// What the name of a lifted directory begins with; a number follows.
const LIFTED: &str = "lifted-";

/// What a walk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// `st_size` of regular files, once for each name.
    pub(crate) bytes: u64,
    /// Objects, the top itself included.
    pub(crate) entries: u64,
}

/// Where a walk failed. What cannot be read is named, never counted as nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name:?} in the tree {tree}: {errno}")]
pub(crate) struct WalkError {
    /// The staging name of the tree.
    pub(crate) tree: String,
    /// The entry, as its directory has it.
    pub(crate) name: CString,
    /// Why.
    pub(crate) errno: Errno,
}

/// Reads the next names of a directory, about as many as fit `NAMES_BYTES`; none at its end.
pub(crate) fn next_names(directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); NAMES_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
        // One call: what it gave is used up, and holds some name besides the two.
        if entries.is_buffer_empty() && !names.is_empty() {
            break;
        }
    }
    Ok(names)
}

/// A walk under way.
pub(crate) struct Walk {
    staging: Arc<Staging>,
    name: String,
    removes: bool,
    begun: bool,
    levels: Vec<Level>,
    lifted: Lifted,
    totals: Totals,
}

/// An open directory of the tree.
struct Level {
    directory: OwnedFd,
    name: CString,
    names: Vec<(CString, FileType)>,
}

/// Numbers of the directories that were lifted.
#[derive(Default)]
struct Lifted {
    /// The first number that is not used.
    next: u64,
    /// The first one that is not walked.
    unwalked: u64,
    /// Numbers that were somebody else's names.
    foreign: HashSet<u64>,
}

impl Lifted {
    fn name(number: u64) -> String {
        format!("{LIFTED}{number}")
    }

    /// Whether an entry of the top is there because it was lifted.
    fn has(&self, name: &CStr) -> bool {
        let number = name
            .to_str()
            .ok()
            .and_then(|name| name.strip_prefix(LIFTED)?.parse().ok());
        number.is_some_and(|number: u64| {
            number < self.next
                && !self.foreign.contains(&number)
                && name.to_bytes() == Self::name(number).as_bytes()
        })
    }

    /// The next one to walk.
    fn pop(&mut self) -> Option<u64> {
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

impl Walk {
    /// A walk that counts.
    pub(crate) fn counting(staging: Arc<Staging>, name: &str) -> Self {
        Self::new(staging, name, false)
    }

    /// A walk that removes, from the leaves up; what it removed is not counted.
    pub(crate) fn removing(staging: Arc<Staging>, name: &str) -> Self {
        Self::new(staging, name, true)
    }

    fn new(staging: Arc<Staging>, name: &str, removes: bool) -> Self {
        Self {
            staging,
            name: name.to_owned(),
            removes,
            begun: false,
            levels: Vec::new(),
            lifted: Lifted::default(),
            totals: Totals::default(),
        }
    }

    /// Walks some entries further. Nothing at the name is nothing to walk.
    pub(crate) fn slice(&mut self) -> Poll<Result<Totals, WalkError>> {
        for _ in 0..SLICE {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(self.totals)),
                Err((name, errno)) => {
                    return Poll::Ready(Err(WalkError {
                        tree: self.name.clone(),
                        name,
                        errno,
                    }));
                }
            }
        }
        Poll::Pending
    }

    /// Walks to the end.
    pub(crate) fn finish(mut self) -> Result<Totals, WalkError> {
        loop {
            if let Poll::Ready(result) = self.slice() {
                return result;
            }
        }
    }

    /// One entry, or one directory opened or left; `false` when nothing is left to do.
    fn step(&mut self) -> Result<bool, (CString, Errno)> {
        if !self.begun {
            self.begun = true;
            return self.begin().map_err(|errno| (c"".to_owned(), errno));
        }
        let depth = self.levels.len();
        let Some(level) = self.levels.last_mut() else {
            return Ok(false);
        };
        let Some((name, kind)) = level.names.pop() else {
            let own_name = level.name.clone();
            level.names =
                next_names(&level.directory).map_err(|errno| (own_name.clone(), errno))?;
            if level.names.is_empty() {
                return self.leave().map_err(|errno| (own_name, errno));
            }
            return Ok(true);
        };
        if depth == 1 && self.lifted.has(&name) {
            return Ok(true);
        }
        self.visit(&name, kind).map_err(|errno| (name, errno))?;
        Ok(true)
    }

    fn begin(&mut self) -> Result<bool, Errno> {
        let Some(seen) = self.staging.look(&self.name)? else {
            return Ok(false);
        };
        self.totals = Totals {
            bytes: seen.size,
            entries: 1,
        };
        if seen.what == What::Directory {
            let top = open_beneath(
                self.staging.directory(),
                self.name.as_str(),
                READ_DIRECTORY,
                Mode::empty(),
            )?;
            self.enter(top, c"".to_owned());
            return Ok(true);
        }
        if self.removes {
            self.staging.unlink(&self.name)?;
        }
        Ok(false)
    }

    fn enter(&mut self, directory: OwnedFd, name: CString) {
        self.levels.push(Level {
            directory,
            name,
            names: Vec::new(),
        });
    }

    fn visit(&mut self, name: &CStr, kind: FileType) -> Result<(), Errno> {
        let depth = self.levels.len();
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let mut is_directory = kind == FileType::Directory;
        if kind == FileType::Unknown || (!is_directory && !self.removes) {
            let seen = Seen::of(open_beneath(
                &level.directory,
                name,
                JUST_LOOK,
                Mode::empty(),
            )?)?;
            is_directory = seen.what == What::Directory;
            self.totals.bytes += seen.size;
        }
        self.totals.entries += 1;
        if !is_directory {
            return match self.removes {
                true => rustix::fs::unlinkat(&level.directory, name, AtFlags::empty()),
                false => Ok(()),
            };
        }
        if depth >= MAX_LEVELS {
            return self.lift(name);
        }
        let directory = open_beneath(&level.directory, name, READ_DIRECTORY, Mode::empty())?;
        self.enter(directory, name.to_owned());
        Ok(())
    }

    /// Moves a directory of the deepest level to the top of the tree.
    fn lift(&mut self, name: &CStr) -> Result<(), Errno> {
        let (Some(top), Some(level)) = (self.levels.first(), self.levels.last()) else {
            return Ok(());
        };
        loop {
            let number = self.lifted.next;
            self.lifted.next += 1;
            let lifted = Lifted::name(number);
            let (from, to) = (&level.directory, &top.directory);
            match rustix::fs::renameat_with(from, name, to, lifted, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {
                    self.lifted.foreign.insert(number);
                }
                result => return result,
            }
        }
    }

    /// Leaves the deepest directory, all of whose names were visited.
    fn leave(&mut self) -> Result<bool, Errno> {
        if let [top] = self.levels.as_slice()
            && let Some(number) = self.lifted.pop()
        {
            let name = Lifted::name(number);
            let directory =
                open_beneath(&top.directory, name.as_str(), READ_DIRECTORY, Mode::empty())?;
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            self.enter(directory, name);
            return Ok(true);
        }
        let Some(level) = self.levels.pop() else {
            return Ok(false);
        };
        if self.removes {
            let removed = match self.levels.last() {
                Some(parent) => rustix::fs::unlinkat(
                    &parent.directory,
                    level.name.as_c_str(),
                    AtFlags::REMOVEDIR,
                ),
                None => rustix::fs::unlinkat(
                    self.staging.directory(),
                    self.name.as_str(),
                    AtFlags::REMOVEDIR,
                ),
            };
            match removed {
                // Names were missed because others were removed while they were read: once more.
                Err(Errno::NOTEMPTY) => {
                    rustix::fs::seek(&level.directory, SeekFrom::Start(0))?;
                    self.levels.push(level);
                }
                result => result?,
            }
        }
        Ok(!self.levels.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn staging(directory: &Path) -> Arc<Staging> {
        Arc::new(Staging::new(fs::File::open(directory).unwrap()).unwrap())
    }

    /// A chain of `depth` directories below `top`, each with a file of one byte, made from the bottom up so
    /// that no path gets too long.
    fn chain(directory: &Path, top: &str, depth: usize) {
        let (one, other) = (directory.join("one"), directory.join("other"));
        fs::create_dir(&one).unwrap();
        fs::write(one.join("file"), b"x").unwrap();
        for _ in 1..depth {
            fs::create_dir(&other).unwrap();
            fs::write(other.join("file"), b"x").unwrap();
            fs::rename(&one, other.join("below")).unwrap();
            fs::rename(&other, &one).unwrap();
        }
        fs::rename(&one, directory.join(top)).unwrap();
    }

    #[test]
    fn a_tree_deeper_than_a_walk_has_directories_open_is_counted_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        for depth in [
            1,
            2,
            MAX_LEVELS - 1,
            MAX_LEVELS,
            MAX_LEVELS + 1,
            3 * MAX_LEVELS,
            300,
        ] {
            chain(directory.path(), "tree", depth);
            // Names that a lifted directory could take, one of them a file.
            fs::create_dir(directory.path().join("tree/lifted-0")).unwrap();
            fs::write(directory.path().join("tree/lifted-2"), b"123").unwrap();
            let staging = staging(directory.path());
            let expected = Totals {
                bytes: depth as u64 + 3,
                entries: 2 * depth as u64 + 2,
            };
            for _ in 0..2 {
                // A second count finds some lifted already.
                let counted = Walk::counting(Arc::clone(&staging), "tree")
                    .finish()
                    .unwrap();
                assert_eq!(counted, expected, "depth {depth}");
            }
            Walk::removing(Arc::clone(&staging), "tree")
                .finish()
                .unwrap();
            assert_eq!(
                fs::read_dir(directory.path()).unwrap().count(),
                0,
                "depth {depth}"
            );
        }
    }

    #[test]
    fn a_deep_tree_can_be_removed_without_having_been_counted() {
        let directory = tempfile::tempdir().unwrap();
        chain(directory.path(), "tree", 150);
        Walk::removing(staging(directory.path()), "tree")
            .finish()
            .unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_wide_directory_is_walked_in_slices() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        for n in 0..2000 {
            fs::write(directory.path().join(format!("tree/{n}")), b"ab").unwrap();
        }
        let staging = staging(directory.path());
        let mut walk = Walk::counting(Arc::clone(&staging), "tree");
        let mut slices = 1;
        let counted = loop {
            match walk.slice() {
                Poll::Pending => slices += 1,
                Poll::Ready(result) => break result.unwrap(),
            }
        };
        assert_eq!(
            counted,
            Totals {
                bytes: 4000,
                entries: 2001
            }
        );
        assert!(slices >= 2000 / SLICE, "{slices}");
        Walk::removing(staging, "tree").finish().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn other_objects_are_one_entry_and_no_bytes_and_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), b"outside").unwrap();
        fs::create_dir(directory.path().join("tree")).unwrap();
        symlink(outside.path(), directory.path().join("tree/link")).unwrap();
        symlink(outside.path(), directory.path().join("alone")).unwrap();
        let staging = staging(directory.path());
        let count = |name| Walk::counting(Arc::clone(&staging), name).finish().unwrap();
        assert_eq!(
            count("tree"),
            Totals {
                bytes: 0,
                entries: 2
            }
        );
        assert_eq!(
            count("alone"),
            Totals {
                bytes: 0,
                entries: 1
            }
        );
        assert_eq!(count("nothing"), Totals::default());
        for name in ["tree", "alone", "nothing"] {
            Walk::removing(Arc::clone(&staging), name).finish().unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(outside.path().join("file").exists());
    }
}

//! Walks a tree that stands in staging, to count it or to remove it, in slices and to any depth.
//!
//! The tree is out of every user's reach, so it stands still. At most [`MAX_LEVELS`] directories are open
//! at once: one that lies deeper is first lifted to the tree's top, under a name that is free there, and
//! walked in its turn. That changes no sum, and a walk that was cut off can simply begin again.

mod lifted;

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use berth_common::ledger_protocol::HomeReport;
use rustix::fs::{AtFlags, FileType, Mode, RawDir, RenameFlags, SeekFrom};
use rustix::io::Errno;

use crate::home::{JUST_LOOK, READ_DIRECTORY, Seen, What, open_beneath};
use crate::staging::Staging;
use lifted::Lifted;

/// Directories that a walk has open at most.
const MAX_LEVELS: usize = 64;

/// Entries in a slice.
const SLICE: usize = 256;

/// Bytes for one `getdents64`: some hundred names.
const NAMES_BYTES: usize = 8 * 1024;

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
    /// What was found since it was last taken, if a verification wants to know.
    reports: Option<Vec<HomeReport>>,
}

/// An open directory of the tree.
struct Level {
    directory: OwnedFd,
    name: CString,
    names: Vec<(CString, FileType)>,
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
            reports: None,
        }
    }

    /// From now on each object that is found is reported as one that has left the home.
    pub(crate) fn reporting(mut self) -> Self {
        self.reports = Some(Vec::new());
        self
    }

    /// The reports of what was found since they were last taken.
    pub(crate) fn take_reports(&mut self) -> Vec<HomeReport> {
        self.reports.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Walks some entries further. Nothing at the name is nothing to walk.
    pub(crate) fn slice(&mut self) -> Poll<Result<Totals, WalkError>> {
        for _ in 0..SLICE {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(self.totals)),
                Err((name, errno)) => {
                    return Poll::Ready(Err(WalkError { tree: self.name.clone(), name, errno }));
                }
            }
        }
        Poll::Pending
    }

    /// Walks to the end. `goes_on` is called after each slice.
    pub(crate) fn finish(mut self, goes_on: impl Fn()) -> Result<Totals, WalkError> {
        loop {
            let slice = self.slice();
            goes_on();
            if let Poll::Ready(result) = slice {
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
        #[cfg(test)]
        self.staging.faults.before_walk()?;
        let Some(seen) = self.staging.look(&self.name)? else {
            return Ok(false);
        };
        self.totals = Totals { bytes: seen.size, entries: 1 };
        if seen.what == What::Directory {
            let top = open_beneath(
                self.staging.directory(),
                self.name.as_str(),
                READ_DIRECTORY,
                Mode::empty(),
            )?;
            self.enter(top, c"".to_owned())?;
            return Ok(true);
        }
        report(&mut self.reports, &seen);
        if self.removes {
            self.staging.unlink(&self.name)?;
        }
        Ok(false)
    }

    fn enter(&mut self, directory: OwnedFd, name: CString) -> Result<(), Errno> {
        if self.reports.is_some() {
            report(&mut self.reports, &Seen::of(&directory)?);
        }
        self.levels.push(Level { directory, name, names: Vec::new() });
        Ok(())
    }

    fn visit(&mut self, name: &CStr, kind: FileType) -> Result<(), Errno> {
        let depth = self.levels.len();
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let mut is_directory = kind == FileType::Directory;
        if kind == FileType::Unknown || (!is_directory && !self.removes) {
            let seen = Seen::of(open_beneath(&level.directory, name, JUST_LOOK, Mode::empty())?)?;
            is_directory = seen.what == What::Directory;
            self.totals.bytes += seen.size;
            if !is_directory {
                report(&mut self.reports, &seen);
            }
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
        self.enter(directory, name.to_owned())
    }

    /// Moves a directory of the deepest level to the top of the tree.
    fn lift(&mut self, name: &CStr) -> Result<(), Errno> {
        let (Some(top), Some(level)) = (self.levels.first(), self.levels.last()) else {
            return Ok(());
        };
        loop {
            let number = self.lifted.mint();
            let lifted = Lifted::name(number);
            let (from, to) = (&level.directory, &top.directory);
            match rustix::fs::renameat_with(from, name, to, lifted, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => self.lifted.is_foreign(number),
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
            self.enter(directory, name)?;
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

/// Notes what was found in what has left the home.
fn report(reports: &mut Option<Vec<HomeReport>>, seen: &Seen) {
    if let Some(reports) = reports {
        reports.push(match seen.what {
            What::File | What::Symlink | What::Special if seen.links > 1 => HomeReport::Unclear,
            What::Directory | What::File | What::Symlink | What::Special => {
                HomeReport::Left { inode: seen.inode }
            }
        });
    }
}

#[cfg(test)]
mod tests;

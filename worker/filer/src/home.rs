//! The home: every path of a user's is resolved here, beneath the home's descriptor and never otherwise.
//!
//! A path is resolved in two moves: the parent by `openat2`, which follows no link, leaves no tree and
//! crosses no mount, then one component in it. What is learnt about a file is learnt from an open
//! descriptor. A [`Place`] is only as good as the moment: under a ticket a new one is made, in a directory
//! that was opened under the same ticket, never one kept from before (rule R1).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::errors;

/// `openat2` gives EAGAIN when a rename anywhere on the machine disturbed it; without `..` in the path
/// that was never seen, so these tries are ample.
const TRIES: usize = 16;

/// Opens `path` beneath `directory`: no `..` out of it, no link, no magic link, no other file system.
pub(crate) fn open_beneath(
    directory: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC;
    let directory = directory.as_fd();
    for _ in 1..TRIES {
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    rustix::fs::openat2(directory, path, flags, mode, resolve)
}

/// How a descriptor that only stands for an object is opened; a symbolic link stands for itself.
pub(crate) const JUST_LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW);

/// How a regular file is opened for reading. Should something else stand there, nothing waits.
pub(crate) const READ_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// How a directory is opened that is to be listed or synced.
pub(crate) const READ_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Special,
}

/// What `fstat` said of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) what: What,
    pub(crate) inode: u64,
    /// `st_size` of a regular file, else 0.
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    /// Permission bits, without setuid, setgid and sticky.
    pub(crate) permissions: u16,
}

impl Seen {
    /// By `fstat`, never by name.
    pub(crate) fn of(object: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::from_stat(&rustix::fs::fstat(object)?))
    }

    // The fields' types differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)]
    fn from_stat(stat: &Stat) -> Self {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => What::File,
            FileType::Directory => What::Directory,
            FileType::Symlink => What::Symlink,
            _ => What::Special,
        };
        let size = if what == What::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            what,
            inode: stat.st_ino,
            size,
            links: stat.st_nlink as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            permissions: (stat.st_mode & 0o777) as u16,
        }
    }

    /// A regular file with one name: the only kind of file that Berth makes, and serves.
    pub(crate) fn is_served_file(&self) -> bool {
        self.what == What::File && self.links == 1
    }
}

/// A user's home.
#[derive(Debug)]
pub(crate) struct Home {
    root: OwnedFd,
}

impl Home {
    /// Takes the home that `directory` is. Its own description of it, so that no offset is shared.
    pub(crate) fn new(directory: impl AsFd) -> std::io::Result<Self> {
        let root = open_beneath(directory, ".", READ_DIRECTORY, Mode::empty())?;
        Ok(Self { root })
    }

    /// Opens the directory at `path`; the home itself included.
    pub(crate) fn directory(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        let path = if path.is_root() { "." } else { path.as_str() };
        // Without O_NOFOLLOW a link at the end is refused as one (ELOOP), not as no directory.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_beneath(&self.root, path, flags, Mode::empty())
    }

    /// The place that `path` names now; its parent must be there.
    ///
    /// # Errors
    /// `NotPossible` for the home itself, which has no place.
    pub(crate) fn place(&self, path: &RelPath) -> Result<Place, ErrorCode> {
        self.place_beside(path, &mut Parent::default())
    }

    /// The same where the parent may be the one of the place before, which is not looked for again. Whoever keeps it
    /// answers for that no directory was moved meanwhile, or does not mind.
    ///
    /// # Errors
    /// As [`Home::place`].
    pub(crate) fn place_beside(
        &self,
        path: &RelPath,
        before: &mut Parent,
    ) -> Result<Place, ErrorCode> {
        let (path, name) = path.split_last().ok_or(ErrorCode::NotPossible)?;
        let name = name.to_owned();
        if let Some((_, parent)) = before.0.as_ref().filter(|(before, _)| *before == path) {
            return Ok(Place { parent: Arc::clone(parent), name });
        }
        // Readable rather than O_PATH, so that a rename's parents can be synced.
        let parent = self
            .directory(&path)
            .map_err(|errno| errors::report("open a parent directory", errno))?;
        let parent = Arc::new(parent);
        before.0 = Some((path, Arc::clone(&parent)));
        Ok(Place { parent, name })
    }

    /// What stands at `path`, the home itself included, and a descriptor that stands for it.
    pub(crate) fn look(&self, path: &RelPath) -> Result<Seen, ErrorCode> {
        if path.is_root() {
            return Seen::of(&self.root).map_err(|errno| errors::report("look at the home", errno));
        }
        self.place(path)?.look()?.ok_or(ErrorCode::NotFound)
    }
}

/// The directory of the last place, if one is kept.
#[derive(Debug, Default)]
pub(crate) struct Parent(Option<(RelPath, Arc<OwnedFd>)>);

/// One component in an open directory of the home.
#[derive(Debug)]
pub(crate) struct Place {
    parent: Arc<OwnedFd>,
    name: String,
}

impl Place {
    /// What stands there; `None` for nothing.
    pub(crate) fn look(&self) -> Result<Option<Seen>, ErrorCode> {
        match open_beneath(&self.parent, self.name.as_str(), JUST_LOOK, Mode::empty()) {
            Ok(object) => {
                Seen::of(object).map(Some).map_err(|errno| errors::report("look at a path", errno))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errors::report("look at a path", errno)),
        }
    }

    /// Opens what stands there.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_beneath(&self.parent, self.name.as_str(), flags, Mode::empty())
    }

    /// The directory.
    pub(crate) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// The component.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives up the component and keeps the directory, to sync it.
    pub(crate) fn into_parent(self) -> Arc<OwnedFd> {
        self.parent
    }
}

//! What can be tried, is tried: in a directory of the probe's own, which is removed.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;

use crate::sys;

/// What is promised; its text says what it is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    NoReplace,
    Exchange,
    InodeNumbers,
    Link,
    Attributes,
    DirectorySync,
    Lease,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReplace => {
                "renameat2 with RENAME_NOREPLACE, by which a new file enters a home and never takes \
                 the place of another"
            }
            Self::Exchange => {
                "renameat2 with RENAME_EXCHANGE, by which a file replaces another in one step"
            }
            Self::InodeNumbers => {
                "inode numbers that stay the same over a rename, by which recovery tells what a crash \
                 has left"
            }
            Self::Link => "hard links, by which a file that a rename replaces is kept until it is counted",
            Self::Attributes => {
                "extended attributes of users (user.*), in which a file's digest and permissions are kept"
            }
            Self::DirectorySync => "fsync of a directory, without which no acknowledgement could be given",
            Self::Lease => {
                "read leases (fcntl F_SETLEASE), by which it is made sure that nobody still writes to a \
                 file that is counted"
            }
        })
    }
}

/// How a probe fails.
#[derive(Debug)]
pub(super) enum Failure {
    Broken(Promise, Option<io::Error>),
    /// Nothing could be made there at all.
    Io(io::Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Tries everything in a directory that is made in `parent`.
pub(super) fn probe(parent: BorrowedFd<'_>) -> Result<(), Failure> {
    // No user's name begins with a dot. A check may run beside a start.
    let name = make_own(parent)?;
    let probed = open_directory(parent, &name).map_err(Failure::from).and_then(|own| {
        let probed = probe_in(own.as_fd());
        empty(own.as_fd());
        probed
    });
    let removed = rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR);
    probed.and(removed.map_err(Failure::from))
}

/// A directory that nobody else has: one of the same process number may have been killed here.
fn make_own(parent: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut number = 0;
    loop {
        let name = format!(".probe-{}-{number}", std::process::id());
        match rustix::fs::mkdirat(parent, &name, Mode::RWXU) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => number += 1,
            Err(errno) => return Err(errno),
        }
    }
}

fn probe_in(own: BorrowedFd<'_>) -> Result<(), Failure> {
    for name in DIRECTORIES {
        rustix::fs::mkdirat(own, name, Mode::RWXU)?;
    }
    let [home, staging] = [open_directory(own, HOME)?, open_directory(own, STAGING)?];
    let (home, staging) = (home.as_fd(), staging.as_fd());
    let (old, new) = (make(home, OLD)?, make(staging, NEW)?);
    let (old_inode, new_inode) = (inode(&old)?, inode(&new)?);

    let rename = |to, flags| rustix::fs::renameat_with(staging, NEW, home, to, flags);
    let broken = |promise, errno: Errno| Failure::Broken(promise, Some(errno.into()));
    let unless = |promise, kept: bool| match kept {
        true => Ok(()),
        false => Err(Failure::Broken(promise, None)),
    };
    match rename(OLD, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(broken(Promise::NoReplace, errno)),
        Ok(()) => return Err(Failure::Broken(Promise::NoReplace, None)),
    }
    rename(OLD, RenameFlags::EXCHANGE).map_err(|errno| broken(Promise::Exchange, errno))?;
    let swapped = (look(home, OLD)?, look(staging, NEW)?);
    unless(Promise::Exchange, swapped != (old_inode, new_inode))?;
    unless(Promise::InodeNumbers, swapped == (new_inode, old_inode))?;
    rename(FREE, RenameFlags::NOREPLACE).map_err(|errno| broken(Promise::NoReplace, errno))?;
    unless(Promise::InodeNumbers, look(home, FREE)? == old_inode && inode(&old)? == old_inode)?;

    rustix::fs::linkat(home, FREE, staging, PIN, AtFlags::empty())
        .map_err(|errno| broken(Promise::Link, errno))?;
    let pinned = rustix::fs::statat(staging, PIN, AtFlags::SYMLINK_NOFOLLOW)?;
    unless(Promise::Link, pinned.st_nlink == 2 && pinned.st_ino == old_inode)?;

    let (key, value) = ("user.berth.probe", b"kept");
    let mut read = [0; 8];
    rustix::fs::fsetxattr(&old, key, value, XattrFlags::empty())
        .map_err(|errno| broken(Promise::Attributes, errno))?;
    let count = rustix::fs::fgetxattr(&old, key, &mut read[..])
        .map_err(|errno| broken(Promise::Attributes, errno))?;
    unless(Promise::Attributes, &read[..count] == value)?;

    for directory in [staging, home] {
        rustix::fs::fsync(directory).map_err(|errno| broken(Promise::DirectorySync, errno))?;
    }
    lease(home, old)
}

/// A lease is refused while a writer is there, and granted when it is gone.
fn lease(home: BorrowedFd<'_>, writer: OwnedFd) -> Result<(), Failure> {
    let reader = open_file(home, FREE)?;
    let alone = || {
        sys::has_no_writer(reader.as_fd())
            .map_err(|error| Failure::Broken(Promise::Lease, Some(error)))
    };
    if alone()? {
        return Err(Failure::Broken(Promise::Lease, None));
    }
    drop(writer);
    match alone()? {
        true => Ok(()),
        false => Err(Failure::Broken(Promise::Lease, None)),
    }
}

const HOME: &str = "home";
const STAGING: &str = "staging";
const DIRECTORIES: [&str; 2] = [HOME, STAGING];
const OLD: &str = "old";
const NEW: &str = "new";
const FREE: &str = "free";
const PIN: &str = "pin";

/// Removes all that a probe may have made; what cannot be removed keeps the directory, which is told.
fn empty(own: BorrowedFd<'_>) {
    for directory in DIRECTORIES {
        if let Ok(inner) = open_directory(own, directory) {
            for name in [OLD, NEW, FREE, PIN] {
                let _ = rustix::fs::unlinkat(&inner, name, AtFlags::empty());
            }
        }
        let _ = rustix::fs::unlinkat(own, directory, AtFlags::REMOVEDIR);
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn open_file(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn make(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
}

fn inode(file: &OwnedFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(file)?.st_ino)
}

/// The number of what a name leads to, opened anew.
fn look(parent: BorrowedFd<'_>, name: &str) -> Result<u64, Errno> {
    inode(&open_file(parent, name)?)
}

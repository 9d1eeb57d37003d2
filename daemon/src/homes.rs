//! The users' directories below `users/`: made, opened for a filer, and taken away.
//!
//! Below a user's own directory the daemon makes, opens, moves and removes `home` and `staging`, and looks at nothing in them.

use std::io;

use berth_common::ids::{StagingName, UserName};
use berth_common::ledger_protocol::StagingSync;
use rustix::fd::{AsFd, OwnedFd};

use crate::data_dir::{make_directory, open_directory, remove_directory};

const HOME: &str = "home";
const STAGING: &str = "staging";

/// The directory `users/`, open.
pub(crate) struct Homes {
    users: OwnedFd,
    sync: StagingSync,
}

impl Homes {
    /// Takes over the descriptor of `users/`, and what its file system needs.
    pub(crate) fn new(users: OwnedFd, sync: StagingSync) -> Self {
        Self { users, sync }
    }

    /// How filers make staging durable.
    pub(crate) fn sync(&self) -> StagingSync {
        self.sync
    }

    /// The users' names that have a directory, in any order.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn names(&self) -> io::Result<Vec<UserName>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.users)? {
            let name = entry?.file_name().to_str().ok().and_then(|name| UserName::new(name).ok());
            names.extend(name);
        }
        Ok(names)
    }

    /// Makes a user's directories, durably. Those that are there stay.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn make(&self, user: &UserName) -> io::Result<()> {
        make_directory(self.users.as_fd(), user.as_str())?;
        let own = open_directory(self.users.as_fd(), user.as_str())?;
        for name in [HOME, STAGING] {
            make_directory(own.as_fd(), name)?;
            rustix::fs::fsync(open_directory(own.as_fd(), name)?)?;
        }
        rustix::fs::fsync(&own)?;
        Ok(rustix::fs::fsync(&self.users)?)
    }

    /// Opens home and staging anew: descriptors of one opening would share their offset.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn open(&self, user: &UserName) -> io::Result<(OwnedFd, OwnedFd)> {
        let own = open_directory(self.users.as_fd(), user.as_str())?;
        let home = open_directory(own.as_fd(), HOME)?;
        Ok((home, open_directory(own.as_fd(), STAGING)?))
    }

    /// Opens staging alone; `None` when it is not there, of a user whose making or removal was cut off.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn open_staging(&self, user: &UserName) -> io::Result<Option<OwnedFd>> {
        let staging = open_directory(self.users.as_fd(), user.as_str())
            .and_then(|own| open_directory(own.as_fd(), STAGING));
        match staging {
            Ok(staging) => Ok(Some(staging)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the home alone.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn open_home(&self, user: &UserName) -> io::Result<OwnedFd> {
        open_directory(open_directory(self.users.as_fd(), user.as_str())?.as_fd(), HOME)
    }

    /// Moves the whole home into staging under a minted name, where a recovering filer can remove it.
    /// A home that is not there has been moved already.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn retire(&self, user: &UserName, name: StagingName) -> io::Result<()> {
        let own = match open_directory(self.users.as_fd(), user.as_str()) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        make_directory(own.as_fd(), STAGING)?;
        let staging = open_directory(own.as_fd(), STAGING)?;
        match rustix::fs::renameat(&own, HOME, &staging, name.file_name()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::fsync(&staging)?;
        Ok(rustix::fs::fsync(&own)?)
    }

    /// Removes what is left after [`Homes::retire`] and a sweep: empty directories.
    ///
    /// # Errors
    /// The system calls'; `DirectoryNotEmpty` when the sweep left something.
    pub(crate) fn remove(&self, user: &UserName) -> io::Result<()> {
        match open_directory(self.users.as_fd(), user.as_str()) {
            Ok(own) => remove_directory(own.as_fd(), STAGING)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        remove_directory(self.users.as_fd(), user.as_str())?;
        Ok(rustix::fs::fsync(&self.users)?)
    }

    /// Bytes that may still be written on the file system of the homes.
    ///
    /// # Errors
    /// The system call's.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.users)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes() -> (tempfile::TempDir, Homes) {
        let dir = tempfile::tempdir().unwrap();
        let users = std::fs::File::open(dir.path()).unwrap().into();
        (dir, Homes::new(users, StagingSync::FileSystem))
    }

    fn alice() -> UserName {
        UserName::new("alice").unwrap()
    }

    #[test]
    fn a_user_comes_and_goes_and_every_step_can_be_repeated() {
        let (dir, homes) = homes();
        assert!(homes.open_staging(&alice()).unwrap().is_none());
        for _ in 0..2 {
            homes.make(&alice()).unwrap();
        }
        homes.open(&alice()).unwrap();
        assert!(homes.open_staging(&alice()).unwrap().is_some());
        std::fs::write(dir.path().join("alice/home/file"), b"x").unwrap();
        for name in [StagingName(1), StagingName(2)] {
            homes.retire(&alice(), name).unwrap();
        }
        let retired = dir.path().join("alice/staging").join(StagingName(1).file_name());
        assert!(homes.remove(&alice()).is_err(), "the sweep has not been");
        std::fs::remove_dir_all(retired).unwrap();
        for _ in 0..2 {
            homes.remove(&alice()).unwrap();
        }
        homes.retire(&alice(), StagingName(3)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(homes.free_bytes().unwrap() > 0);
    }

    #[test]
    fn links_are_not_followed() {
        let (dir, homes) = homes();
        std::os::unix::fs::symlink("/", dir.path().join("alice")).unwrap();
        assert!(homes.open(&alice()).is_err());
        assert!(homes.make(&alice()).is_err());
        std::fs::remove_file(dir.path().join("alice")).unwrap();
        homes.make(&alice()).unwrap();
        std::fs::remove_dir(dir.path().join("alice/home")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("alice/home")).unwrap();
        assert!(homes.open(&alice()).is_err());
    }
}

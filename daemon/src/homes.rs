//! The users' directories below `users/`: made, opened for a filer, and taken away.
//!
//! Below a user's own directory the daemon makes, opens, moves and removes `home` and `staging`, and looks
//! at nothing in them.
//!
//! Nothing below `users/` may be a mount of its own. What was found out about the file system is true of that of
//! `users/` alone: how staging is made durable, and how much is free. And no rename leads from one mount to another.

use std::io;
use std::sync::Arc;

use berth_common::ids::{StagingName, UserName};
use berth_common::ledger_protocol::StagingSync;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::data_dir::{make_directory, remove_directory};

const HOME: &str = "home";
const STAGING: &str = "staging";

/// The directory `users/`, open.
pub(crate) struct Homes {
    users: OwnedFd,
    sync: StagingSync,
    #[cfg(test)]
    pub(crate) sync_fails: std::sync::atomic::AtomicBool,
}

impl Homes {
    /// Takes over the descriptor of `users/`, and what its file system needs.
    pub(crate) fn new(users: OwnedFd, sync: StagingSync) -> Self {
        Self {
            users,
            sync,
            #[cfg(test)]
            sync_fails: Default::default(),
        }
    }

    /// Does this on a thread of its own: a disk may not answer, and the daemon's one thread waits for none.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn off_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Syncs the file system; takes as long as the disk needs. `users/` was opened before any filer, so this is
    /// told, once, of any error that one of them was told of.
    ///
    /// # Errors
    /// When something could not be written since the start, or since the last call.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.sync_fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Errno::IO.into());
        }
        Ok(rustix::fs::syncfs(&self.users)?)
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
        let own = self.open_own(user)?;
        for name in [HOME, STAGING] {
            make_directory(own.as_fd(), name)?;
            rustix::fs::fsync(open_below(user, own.as_fd(), name)?)?;
        }
        rustix::fs::fsync(&own)?;
        Ok(rustix::fs::fsync(&self.users)?)
    }

    /// Opens home and staging anew: descriptors of one opening would share their offset.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn open(&self, user: &UserName) -> io::Result<(OwnedFd, OwnedFd)> {
        let own = self.open_own(user)?;
        let home = open_below(user, own.as_fd(), HOME)?;
        Ok((home, open_below(user, own.as_fd(), STAGING)?))
    }

    /// Opens staging alone; `None` when it is not there, of a user whose making or removal was cut off.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn open_staging(&self, user: &UserName) -> io::Result<Option<OwnedFd>> {
        let staging = self.open_own(user).and_then(|own| open_below(user, own.as_fd(), STAGING));
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
        open_below(user, self.open_own(user)?.as_fd(), HOME)
    }

    /// Moves the whole home into staging under a minted name, where a recovering filer can remove it.
    /// A home that is not there has been moved already.
    ///
    /// # Errors
    /// The system calls'.
    pub(crate) fn retire(&self, user: &UserName, name: StagingName) -> io::Result<()> {
        let own = match self.open_own(user) {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        make_directory(own.as_fd(), STAGING)?;
        let staging = open_below(user, own.as_fd(), STAGING)?;
        match rustix::fs::renameat(&own, HOME, &staging, name.file_name()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::fsync(&staging)?;
        Ok(rustix::fs::fsync(&own)?)
    }

    /// Removes what [`Homes::make`] has made, or a part of it.
    ///
    /// # Errors
    /// The system calls'; `DirectoryNotEmpty` when somebody was there.
    pub(crate) fn unmake(&self, user: &UserName) -> io::Result<()> {
        match self.open_own(user) {
            Ok(own) => remove_directory(own.as_fd(), HOME)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        self.remove(user)
    }

    /// Removes what is left after [`Homes::retire`] and a sweep: empty directories.
    ///
    /// # Errors
    /// The system calls'; `DirectoryNotEmpty` when the sweep left something.
    pub(crate) fn remove(&self, user: &UserName) -> io::Result<()> {
        match self.open_own(user) {
            Ok(own) => remove_directory(own.as_fd(), STAGING)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        remove_directory(self.users.as_fd(), user.as_str())?;
        Ok(rustix::fs::fsync(&self.users)?)
    }

    fn open_own(&self, user: &UserName) -> io::Result<OwnedFd> {
        open_here(self.users.as_fd(), user.as_str())
            .map_err(|errno| explained(errno, format_args!("users/{user}")))
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

fn open_below(user: &UserName, own: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    open_here(own, name).map_err(|errno| explained(errno, format_args!("users/{user}/{name}")))
}

/// Opens a directory, never through a link nor on another mount than its parent's.
fn open_here(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve))
}

/// The error that an administrator can do something about.
fn explained(errno: Errno, path: std::fmt::Arguments<'_>) -> io::Error {
    match errno {
        Errno::XDEV => io::Error::new(
            io::ErrorKind::CrossesDevices,
            format!("{path} is a mount of its own, and must be a directory on the mount of users/"),
        ),
        errno => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::mount::{MntFlags, MsFlags};
    use nix::sched::CloneFlags;

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
    fn what_was_made_or_a_part_of_it_is_unmade_and_nobodys_files_are() {
        let (dir, homes) = homes();
        homes.make(&alice()).unwrap();
        homes.unmake(&alice()).unwrap();
        homes.unmake(&alice()).unwrap();
        std::fs::create_dir_all(dir.path().join("alice/home")).unwrap();
        homes.unmake(&alice()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        homes.make(&alice()).unwrap();
        std::fs::write(dir.path().join("alice/home/file"), b"x").unwrap();
        assert!(homes.unmake(&alice()).is_err());
        assert!(homes.open_staging(&alice()).unwrap().is_some());
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

    #[test]
    fn only_a_mount_is_explained_as_one() {
        let text = explained(Errno::XDEV, format_args!("users/alice")).to_string();
        assert!(text.contains("users/alice is a mount of its own"), "{text}");
        let missing = explained(Errno::NOENT, format_args!("users/alice"));
        assert_eq!(Errno::from_io_error(&missing), Some(Errno::NOENT));
    }

    /// Mounts another file system on a directory, or the directory on itself.
    fn mount_on(path: &Path, bind: bool) {
        let (source, system, flags) = match bind {
            true => (path, None, MsFlags::MS_BIND),
            false => (Path::new("none"), Some("tmpfs"), MsFlags::empty()),
        };
        nix::mount::mount(Some(source), path, system, flags, None::<&str>).unwrap();
        for name in ["home", "staging"] {
            // As in a mount that somebody has prepared.
            let _ = std::fs::create_dir(path.join(name));
        }
    }

    #[test]
    fn a_mount_is_not_opened_as_a_users_directory() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        // In a thread of its own with a view of its own of what is mounted where, which ends with it.
        let tried = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            let none = None::<&str>;
            nix::mount::mount(none, "/", none, private, none).unwrap();
            for place in ["alice", "alice/home", "alice/staging"] {
                refuses_a_mount_on(place);
            }
        });
        tried.join().unwrap();
    }

    fn refuses_a_mount_on(place: &str) {
        let (dir, homes) = homes();
        homes.make(&alice()).unwrap();
        let path = dir.path().join(place);
        for bind in [false, true] {
            mount_on(&path, bind);
            let name = format!("users/{place} is a mount of its own");
            let is_named = |error: io::Error| error.to_string().contains(&name);
            assert!(is_named(homes.open(&alice()).unwrap_err()), "{place}");
            assert!(is_named(homes.make(&alice()).unwrap_err()), "{place}");
            let home = homes.open_home(&alice()).map_err(is_named);
            let staging = homes.open_staging(&alice()).map_err(is_named);
            assert_eq!(home.err(), (place != "alice/staging").then_some(true));
            assert_eq!(staging.err(), (place != "alice/home").then_some(true));
            nix::mount::umount2(&path, MntFlags::MNT_DETACH).unwrap();
            homes.open(&alice()).unwrap();
        }
    }
}

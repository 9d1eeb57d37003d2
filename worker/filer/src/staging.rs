//! Staging: the directory beside the home, invisible to clients, whose names the daemon alone mints.
//!
//! Into it only `O_EXCL` and NOREPLACE: a name that is taken already is an internal error. Shared with the
//! helper threads, which write, sync, walk and remove here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_common::ids::{OwedName, StagingName};
use berth_common::ledger_protocol::StagingSync;
use berth_common::points::{Rule, is_off};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::home::{JUST_LOOK, READ_DIRECTORY, READ_FILE, Seen, open_beneath};

/// What a sync has made durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Synced {
    /// The name changes that touched staging.
    pub(crate) names: Result<(), Errno>,
    /// The bytes of staged files, where they were asked for.
    pub(crate) files: Result<(), Errno>,
}

/// A user's staging directory.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: OwnedFd,
    sync: StagingSync,
    failed_file_syncs: AtomicU64,
    #[cfg(test)]
    pub(crate) faults: crate::tests::Faults,
}

impl Staging {
    /// Takes the staging directory that `directory` is; the daemon knows how it is made durable.
    pub(crate) fn new(directory: impl AsFd, sync: StagingSync) -> std::io::Result<Self> {
        let directory = open_beneath(directory, ".", READ_DIRECTORY, Mode::empty())?;
        Ok(Self {
            directory,
            sync,
            failed_file_syncs: AtomicU64::new(0),
            #[cfg(test)]
            faults: Default::default(),
        })
    }

    /// Makes the file `name`, readable and writable by this user alone, which must not be there.
    pub(crate) fn create(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        open_beneath(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
    }

    /// Opens the file `name` for reading and writing.
    pub(crate) fn open_writable(&self, name: &str) -> Result<OwnedFd, Errno> {
        open_beneath(&self.directory, name, OFlags::RDWR | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens the file `name` for reading.
    pub(crate) fn open_readable(&self, name: &str) -> Result<OwnedFd, Errno> {
        #[cfg(test)]
        self.faults.before_opening()?;
        open_beneath(&self.directory, name, READ_FILE, Mode::empty())
    }

    /// Makes the directory `name`, which must not be there.
    pub(crate) fn make_directory(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.directory, name, Mode::RWXU)
    }

    /// What stands at `name`; `None` for nothing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<Seen>, Errno> {
        match open_beneath(&self.directory, name, JUST_LOOK, Mode::empty()) {
            Ok(object) => Seen::of(object).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Gives what stands at `from` the name `to`.
    pub(crate) fn rename(&self, from: StagingName, to: StagingName) -> Result<(), Errno> {
        let (from, to) = (from.file_name(), to.file_name());
        rustix::fs::renameat_with(
            &self.directory,
            from,
            &self.directory,
            to,
            RenameFlags::NOREPLACE,
        )
    }

    /// Swaps what stands at two names.
    pub(crate) fn exchange(&self, one: StagingName, other: StagingName) -> Result<(), Errno> {
        let (one, other) = (one.file_name(), other.file_name());
        rustix::fs::renameat_with(
            &self.directory,
            one,
            &self.directory,
            other,
            RenameFlags::EXCHANGE,
        )
    }

    /// Gives what is owed the name of its intent.
    pub(crate) fn take_owed(&self, from: OwedName, to: StagingName) -> Result<(), Errno> {
        let (from, to) = (from.file_name(), to.file_name());
        let staging = &self.directory;
        rustix::fs::renameat_with(staging, from, staging, to, RenameFlags::NOREPLACE)
    }

    /// Unlinks `name`; that it is not there is as good.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// The directory itself, for calls with one name here and one elsewhere.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// A description of its own of the directory, to list it.
    pub(crate) fn reopen(&self) -> Result<OwnedFd, Errno> {
        open_beneath(&self.directory, ".", READ_DIRECTORY, Mode::empty())
    }

    /// Makes all name changes so far durable that touched staging.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        #[cfg(test)]
        self.faults.before_staging_sync()?;
        match self.sync {
            // Each rename touches staging, so that its journal entry comes before this one's end.
            StagingSync::Directory => rustix::fs::fsync(&self.directory),
            StagingSync::FileSystem => rustix::fs::syncfs(&self.directory),
        }
    }

    /// The same, and for all bytes, times and attributes of staged files, too. What fails says nothing of which file;
    /// where names are made durable by themselves they still are.
    pub(crate) fn sync_with_files(&self) -> Synced {
        if is_off(Rule::R4) {
            return Synced { names: self.sync(), files: Ok(()) };
        }
        match (self.sync_files(), self.sync) {
            (Ok(()), _) => Synced { names: Ok(()), files: Ok(()) },
            (Err(errno), sync) => {
                self.failed_file_syncs.fetch_add(1, Ordering::SeqCst);
                let names = match sync {
                    StagingSync::Directory => self.sync(),
                    StagingSync::FileSystem => Err(errno),
                };
                Synced { names, files: Err(errno) }
            }
        }
    }

    /// How many times the bytes of staged files could not be made durable. The system tells a failure once
    /// (syncfs(2)), so that where this has changed since a file was begun, a later sync proves nothing of that file.
    pub(crate) fn failed_file_syncs(&self) -> u64 {
        self.failed_file_syncs.load(Ordering::SeqCst)
    }

    fn sync_files(&self) -> Result<(), Errno> {
        #[cfg(test)]
        self.faults.before_data_sync()?;
        self.sync_file_system()
    }

    /// Makes all of the file system durable, pinned files of a recovery included.
    pub(crate) fn sync_file_system(&self) -> Result<(), Errno> {
        #[cfg(test)]
        self.faults.before_staging_sync()?;
        rustix::fs::syncfs(&self.directory)
    }

    /// Whether [`Staging::sync`] makes all of the file system durable.
    pub(crate) fn syncs_file_system(&self) -> bool {
        self.sync == StagingSync::FileSystem
    }

    /// Makes changes of these directories and files of the home durable, where each is synced by itself.
    pub(crate) fn sync_objects(&self, changed: &[Arc<OwnedFd>]) -> Result<(), Errno> {
        #[cfg(test)]
        self.faults.before_staging_sync()?;
        changed.iter().try_for_each(rustix::fs::fsync)
    }

    /// Makes a staged file's bytes, times and attributes durable.
    pub(crate) fn sync_file(&self, file: &OwnedFd) -> Result<(), Errno> {
        #[cfg(test)]
        self.faults.before_data_sync()?;
        if is_off(Rule::R4) {
            return Ok(());
        }
        rustix::fs::fsync(file)
    }
}

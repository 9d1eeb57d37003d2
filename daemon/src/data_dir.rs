//! The data directory: made closed to others, its secret and its files opened from one descriptor.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Names in the data directory.
pub(crate) const USERS: &str = "users";
pub(crate) const ADMIN: &str = "admin";
const SECRET: &str = "server.secret";
const LEDGER: &str = "ledger.sqlite";

/// The data directory, open.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    fd: OwnedFd,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It cannot be made, opened or written.
    #[error("cannot use {path:?}: {source}")]
    Io {
        /// What.
        path: PathBuf,
        source: io::Error,
    },
    /// It is somebody else's, or others may write there.
    #[error("the data directory {0:?} must belong to the user that berthd runs as, uid {1}")]
    NotOurs(PathBuf, u32),
    /// The secret is not the 32 bytes that were written.
    #[error(
        "{0:?} is damaged: it must have 32 bytes; restore it, or remove it to have a new one made"
    )]
    Secret(PathBuf),
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl DataDir {
    /// As root, before becoming `owner` for good: makes the directory if it is not there and gives it
    /// to `owner`, uid and gid. One that is there is left as it is.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(crate) fn make_for(path: &Path, owner: (u32, u32)) -> Result<(), DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1)).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Opens the directory, makes it and what is missing in it, and closes it to others.
    ///
    /// # Errors
    /// [`DataDirError::Io`] and [`DataDirError::NotOurs`].
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        match DirBuilder::new().mode(0o700).recursive(true).create(path) {
            Ok(()) => {}
            Err(error) if path.is_dir() => drop(error),
            Err(error) => return Err(failed(error)),
        }
        let path = std::path::absolute(path).map_err(failed)?;
        let file = File::open(&path).map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        if file.metadata().map_err(failed)?.uid() != own {
            return Err(DataDirError::NotOurs(path, own));
        }
        let this = Self { fd: file.into(), path: path.clone() };
        let closed = Mode::RWXU;
        rustix::fs::fchmod(&this.fd, closed).map_err(|error| failed(error.into()))?;
        for name in [USERS, ADMIN] {
            make_directory(this.fd(), name).map_err(|source| this.failed(name, source))?;
        }
        Ok(this)
    }

    /// The directory.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of an entry, for what can only be opened by path.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory's own path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger's path.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.join(LEDGER)
    }

    /// Opens one of its directories.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(crate) fn open_directory(&self, name: &str) -> Result<OwnedFd, DataDirError> {
        open_directory(self.fd(), name).map_err(|source| self.failed(name, source))
    }

    /// The server's secret, made at the first start: decoy salts depend on it.
    ///
    /// # Errors
    /// [`DataDirError::Secret`] when it is damaged.
    pub(crate) fn secret(&self) -> Result<[u8; 32], DataDirError> {
        if let Some(bytes) = self.read(SECRET)? {
            return bytes.try_into().map_err(|_| DataDirError::Secret(self.join(SECRET)));
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        self.write_new(SECRET, &secret)?;
        Ok(secret)
    }

    /// Reads one of its files; `None` when it is not there.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(self.fd(), name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed(name, error.into())),
        };
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes).map_err(|source| self.failed(name, source))?;
        Ok(Some(bytes))
    }

    /// Writes a new file whole, durably and for the daemon's user alone: a crash leaves all or nothing.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub(crate) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        self.try_write_new(name, bytes).map_err(|source| self.failed(name, source))
    }

    fn try_write_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = rustix::fs::openat(self.fd(), &temporary, flags | OFlags::CLOEXEC, mode)?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        file.sync_all()?;
        rustix::fs::renameat(self.fd(), &temporary, self.fd(), name)?;
        Ok(rustix::fs::fsync(self.fd())?)
    }

    fn failed(&self, name: &str, source: io::Error) -> DataDirError {
        DataDirError::Io { path: self.join(name), source }
    }
}

/// Makes a directory for the daemon's user alone; one that is there is fine.
///
/// # Errors
/// The system call's.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory, never through a link.
///
/// # Errors
/// The system call's.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Removes an empty directory; one that is not there is fine.
///
/// # Errors
/// The system call's.
pub(crate) fn remove_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_first_start_makes_everything_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let data = DataDir::open(&path).unwrap();
        let secret = data.secret().unwrap();
        assert_ne!(secret, [0; 32]);
        assert_eq!(mode(&path), 0o700);
        assert_eq!((mode(&path.join(USERS)), mode(&path.join(ADMIN))), (0o700, 0o700));
        assert_eq!(mode(&path.join(SECRET)), 0o600);
        assert_eq!(DataDir::open(&path).unwrap().secret().unwrap(), secret, "it is kept");
    }

    #[test]
    fn one_that_was_open_to_others_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::open(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn a_damaged_secret_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        std::fs::write(dir.path().join(SECRET), b"short").unwrap();
        assert!(matches!(data.secret(), Err(DataDirError::Secret(_))));
        assert_eq!(std::fs::read(dir.path().join(SECRET)).unwrap(), b"short");
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(&file.path().join("below")).unwrap_err().to_string();
        assert!(error.contains("below"), "{error}");
    }
}

//! Two locks in the data directory: one daemon at a time, and none while an earlier one's helpers live.
//!
//! `lock.daemon` is the daemon's alone, closed in its children, so that a second daemon is told soon: a
//! child that a killed daemon has forked holds it until it executes its program.
//! `lock` is held on one open file description that all workers and filers inherit: a new daemon gets it
//! only when none of them lives, not even inside a last system call (rule R10).

use std::io;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// How long the helpers of an earlier daemon may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a child of an earlier daemon may take from fork to exec, on a machine that is very busy.
const FORKED: Duration = Duration::from_secs(3);

/// How often a lock is tried meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// Why a data directory is not this daemon's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another daemon runs.
    #[error("another berthd is running on this data directory")]
    Running,
    /// An earlier daemon's helpers do not end.
    #[error("workers of an earlier berthd still live after {} s", PATIENCE.as_secs())]
    OldWorkers,
    /// The lock file cannot be used.
    #[error("cannot lock {0:?} in the data directory: {1}")]
    Io(&'static str, #[source] io::Error),
}

/// The daemon's own lock, released at its end.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    _file: OwnedFd,
}

const DAEMON_LOCK: &str = "lock.daemon";
const HELPER_LOCK: &str = "lock";

impl DaemonLock {
    /// Takes the lock that is not inherited.
    ///
    /// # Errors
    /// [`LockError::Running`] when another daemon has it, after 3 s.
    pub(crate) fn take(data_dir: BorrowedFd<'_>) -> Result<Self, LockError> {
        Self::take_within(data_dir, FORKED)
    }

    fn take_within(data_dir: BorrowedFd<'_>, patience: Duration) -> Result<Self, LockError> {
        let file = open(data_dir, DAEMON_LOCK)?;
        let deadline = Instant::now() + patience;
        loop {
            match try_lock(file.as_fd()) {
                Ok(true) => return Ok(Self { _file: file }),
                Ok(false) if Instant::now() >= deadline => return Err(LockError::Running),
                Ok(false) => std::thread::sleep(RETRY),
                Err(error) => return Err(LockError::Io(DAEMON_LOCK, error)),
            }
        }
    }
}

/// Takes the lock that helpers inherit, waiting for those of an earlier daemon. Blocks: call it before
/// the runtime has anything else to do.
///
/// # Errors
/// [`LockError::OldWorkers`] after 30 s.
pub(crate) fn wait_for_old_helpers(data_dir: BorrowedFd<'_>) -> Result<OwnedFd, LockError> {
    wait(data_dir, PATIENCE)
}

fn wait(data_dir: BorrowedFd<'_>, patience: Duration) -> Result<OwnedFd, LockError> {
    let file = open(data_dir, HELPER_LOCK)?;
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        match try_lock(file.as_fd()) {
            Ok(true) => return Ok(file),
            Ok(false) if Instant::now() >= deadline => return Err(LockError::OldWorkers),
            Ok(false) => {
                if !told {
                    tracing::info!("waiting for workers of an earlier berthd to end");
                    told = true;
                }
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(LockError::Io(HELPER_LOCK, error)),
        }
    }
}

fn open(data_dir: BorrowedFd<'_>, name: &'static str) -> Result<OwnedFd, LockError> {
    // For reading: whoever inherits it could otherwise fill the disk through it, a worker before login too.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let opened = match rustix::fs::openat(data_dir, name, flags, mode) {
        // A filer that was taken over can take the owner's rights away, by an access list on what it inherited.
        Err(Errno::ACCESS) => rustix::fs::chmodat(data_dir, name, mode, AtFlags::empty())
            .and_then(|()| rustix::fs::openat(data_dir, name, flags, mode)),
        opened => opened,
    };
    opened.map_err(|error| LockError::Io(name, error.into()))
}

fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn data_dir() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap().into();
        (dir, fd)
    }

    #[test]
    fn a_second_daemon_is_told() {
        let (_dir, fd) = data_dir();
        let first = DaemonLock::take(fd.as_fd()).unwrap();
        let second = DaemonLock::take_within(fd.as_fd(), Duration::ZERO);
        assert!(matches!(second, Err(LockError::Running)));
        drop(first);
        DaemonLock::take(fd.as_fd()).unwrap();
    }

    #[test]
    fn a_lock_file_without_rights_is_a_lock_file_all_the_same() {
        let (dir, fd) = data_dir();
        drop(wait(fd.as_fd(), Duration::ZERO).unwrap());
        let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(dir.path().join(HELPER_LOCK), nobody).unwrap();
        let lock = wait(fd.as_fd(), Duration::ZERO).unwrap();
        // Not even for its owner to write.
        rustix::io::write(&lock, b"x").unwrap_err();
    }

    #[test]
    fn a_killed_daemons_child_that_has_not_executed_yet_is_waited_for() {
        let (_dir, fd) = data_dir();
        let DaemonLock { _file: lock } = DaemonLock::take(fd.as_fd()).unwrap();
        // Like the copy that a forked child has: the lock is held until its last holder is gone.
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::from(lock)).spawn().unwrap();
        let held = DaemonLock::take_within(fd.as_fd(), Duration::ZERO);
        assert!(matches!(held, Err(LockError::Running)));
        std::thread::scope(|scope| {
            let next = scope.spawn(|| DaemonLock::take_within(fd.as_fd(), PATIENCE));
            drop(child.stdin.take());
            next.join().unwrap().unwrap();
        });
        child.wait().unwrap();
    }

    #[test]
    fn the_helpers_lock_is_held_until_the_last_heir_is_gone() {
        let (_dir, fd) = data_dir();
        let lock = wait(fd.as_fd(), Duration::ZERO).unwrap();
        let mut heir =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::from(lock)).spawn().unwrap();
        assert!(matches!(wait(fd.as_fd(), Duration::ZERO), Err(LockError::OldWorkers)));
        drop(heir.stdin.take());
        heir.wait().unwrap();
        wait(fd.as_fd(), Duration::ZERO).unwrap();
    }
}

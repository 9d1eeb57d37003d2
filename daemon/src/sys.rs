//! The daemon's only unsafe code: registering a descriptor with the runtime, marking those that
//! children must not inherit, taking those that a service manager has passed and forgetting its variables,
//! trying a lease, and asking SQLite for the system's error number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};

use berth_common::channel::Channel;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What owns one descriptor, the same from its making to its end, and cannot have it exchanged.
pub(crate) trait OwnsDescriptor: AsRawFd {}

impl OwnsDescriptor for OwnedFd {}

impl<Tx, Rx> OwnsDescriptor for Channel<Tx, Rx> {}

/// Lets the runtime tell when something can be read, or has ended.
///
/// # Errors
/// When the descriptor cannot be waited for, or the system has no memory.
pub(crate) fn watch<T: OwnsDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the trait is implemented above alone, for types that own one open descriptor all their life.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}

/// Marks all descriptors from `first` on to be closed in the programs that are executed.
///
/// # Errors
/// On a kernel before 5.11.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: with this flag nothing is closed; whoever owns a descriptor keeps it.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes the descriptors that a service manager has opened for this process (`LISTEN_FDS`), and removes the
/// variables that say so. A second call finds none.
///
/// # Errors
/// When the variables are no numbers or speak of what is not open, and while other threads run.
pub(crate) fn take_passed_descriptors() -> io::Result<Vec<OwnedFd>> {
    refuse_other_threads()?;
    // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
    let passed = unsafe { sd_notify::listen_fds_and_unset_env() }?;
    // SAFETY: they are open, were opened for this process, and nobody can be told of them a second time.
    Ok(passed.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
}

/// Removes variables from the environment.
///
/// # Errors
/// While other threads run.
pub(crate) fn forget_variables(names: &[&str]) -> io::Result<()> {
    refuse_other_threads()?;
    for name in names {
        // SAFETY: this is the only thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Ok(())
}

fn refuse_other_threads() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        count => Err(io::Error::other(format!("{count} threads run already"))),
    }
}

/// Whether nothing in any process can write to the file that `file` has open for reading: whether a
/// read lease is granted. It is given up at once.
///
/// # Errors
/// Where there are no leases.
pub(crate) fn has_no_writer(file: BorrowedFd<'_>) -> io::Result<bool> {
    let set = |kind: libc::c_int| {
        // SAFETY: F_SETLEASE takes an integer, and the borrow keeps the descriptor open.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    match set(libc::F_RDLCK) {
        Ok(()) => set(libc::F_UNLCK).map(|()| true),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The system's error number behind the last input or output error of this connection; 0 for none.
pub(crate) fn errno_of(db: &rusqlite::Connection) -> i32 {
    // SAFETY: the handle is open for as long as the connection is borrowed, and is only read here.
    unsafe { rusqlite::ffi::sqlite3_system_errno(db.handle()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_and_a_file_without_leases_is_an_error() {
        use std::os::fd::AsFd as _;
        let dir = tempfile::tempdir().unwrap();
        let writer = std::fs::File::create(dir.path().join("file")).unwrap();
        let reader = std::fs::File::open(dir.path().join("file")).unwrap();
        assert!(!has_no_writer(reader.as_fd()).unwrap());
        drop(writer);
        assert!(has_no_writer(reader.as_fd()).unwrap());
        assert!(has_no_writer(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn a_connection_tells_the_systems_error_number() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        assert_eq!(errno_of(&db), 0);
        db.execute_batch("ATTACH '/absent/directory/file' AS other").unwrap_err();
        assert_eq!(errno_of(&db), libc::ENOENT);
    }

    #[test]
    fn what_was_inherited_is_not_handed_on() {
        let file = tempfile::tempfile().unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        close_on_exec_from(3).unwrap();
        let flags = rustix::io::fcntl_getfd(&file).unwrap();
        assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
    }

    #[test]
    fn the_environment_is_left_alone_beside_other_threads() {
        // The test's own thread is not the first.
        let before = std::env::var_os("PATH");
        assert!(take_passed_descriptors().is_err());
        assert!(forget_variables(&["PATH"]).is_err());
        assert_eq!(std::env::var_os("PATH"), before);
    }

    #[test]
    fn a_pipe_with_bytes_becomes_readable() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let read = watch(read).unwrap();
            rustix::io::write(&write, b"x").unwrap();
            read.readable().await.unwrap().clear_ready();
            drop(write);
            read.readable().await.unwrap().clear_ready();
        });
        let file = tempfile::tempfile().unwrap();
        let refused = runtime.block_on(async { watch(OwnedFd::from(file)).is_err() });
        assert!(refused, "a file is always readable, which epoll refuses to tell");
    }
}

//! The daemon's only unsafe code: registering a descriptor with the runtime, marking those that
//! children must not inherit, refusing those that peers send, taking those that a service manager has passed
//! and forgetting its variables, trying a lease, asking SQLite for the system's error number, and asking the
//! kernel what it has for the sandbox.

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

/// The option's number, which libc does not know yet: that of `asm-generic/socket.h`, as x86-64 and aarch64 have.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Has whoever sends a descriptor to this Unix socket refused (EPERM), so that none is even in flight. A kernel
/// before 6.16 cannot; there a receiver that offers no room for descriptors loses them.
///
/// # Errors
/// When it is no Unix socket.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    let no: libc::c_int = 0;
    let size = size_of_val(&no) as libc::socklen_t;
    // SAFETY: the option's value is an integer that lives during the call, and the borrow keeps the socket open.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size,
        )
    };
    match io::Error::last_os_error() {
        _ if done == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        error => Err(error),
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

/// The version of Landlock. Restricts nothing.
///
/// # Errors
/// When there is none, or it is switched off.
pub(crate) fn landlock_version() -> io::Result<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`.
    const VERSION: libc::c_uint = 1;
    let no_rules = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag there is no structure to read, and no ruleset is made.
    match unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_rules, 0usize, VERSION) } {
        -1 => Err(io::Error::last_os_error()),
        version => Ok(version.try_into().unwrap_or(0)),
    }
}

/// Whether filters of system calls can be loaded for all threads at once. Restricts nothing.
pub(crate) fn has_seccomp_filters() -> bool {
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    let no_filter = std::ptr::null::<libc::c_void>();
    // SAFETY: the null pointer is refused when the kernel comes to read the filter.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, no_filter)
    };
    // Only a kernel that knows operation and flag comes that far.
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Whether a socket can refuse descriptors.
pub(crate) fn has_passrights() -> bool {
    let Ok((socket, _other)) = std::os::unix::net::UnixStream::pair() else {
        return false;
    };
    let (mut value, mut length) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
    let (value, length) = (&raw mut value, &raw mut length);
    // SAFETY: the socket is open, and the kernel writes at most `length` bytes to `value`.
    unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, value.cast(), length)
            == 0
    }
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
    fn a_descriptor_for_a_socket_that_takes_none_is_refused_or_lost() {
        use rustix::net::{
            AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
            SocketType, socketpair,
        };
        use std::os::fd::AsFd as _;
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(kind.0, kind.1, kind.2, None).unwrap();
        refuse_descriptors(ours.as_fd()).unwrap();
        let file = tempfile::tempfile().unwrap();
        let rights = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&rights));
        let packet = [io::IoSlice::new(b"x")];
        let sent = rustix::net::sendmsg(&theirs, &packet, &mut control, SendFlags::empty());
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        let expected = if version >= (6, 16) { Err(rustix::io::Errno::PERM) } else { Ok(1) };
        assert_eq!(sent, expected, "on Linux {release}");
        assert!(refuse_descriptors(file.as_fd()).is_err(), "a file is no socket");
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

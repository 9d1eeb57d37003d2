//! The only unsafe code here: what neither std nor rustix offers safely. Each is thin.

use std::ffi::{CStr, CString};
use std::io;
use std::time::Duration;

use berth_common::jail_protocol::End;
use libc::c_char;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// What a mount may be kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes(u64);

impl Attributes {
    pub(crate) const RDONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    pub(crate) const NOSUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    pub(crate) const NODEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    pub(crate) const NOEXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Moves this process, or its children to come, into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no flag of these has descriptors unshared, which alone could surprise who owns one.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Sets what a mount is kept from, besides what it is kept from already; with `all` also those beneath it.
pub(crate) fn set_mount_attributes(
    path: &CStr,
    attributes: Attributes,
    all: bool,
) -> io::Result<()> {
    let change =
        libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if all { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends with a NUL, and the structure lives during the call, which reads as much as its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Which of two processes this is.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// Makes a second process. To be called while there is one thread.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: there is one thread, so the child has everything that it had in the parent, locks included.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid).map(Forked::Parent).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

/// Waits for a child's end, and tells how it ended and what it has used of the processor.
pub(crate) fn wait_for(child: Pid) -> io::Result<(End, Duration)> {
    wait(child.as_raw_nonzero().get())
}

/// Waits for the end of any child, and tells what it has used of the processor; `None` when there is none.
pub(crate) fn wait_for_any() -> io::Result<Option<Duration>> {
    match wait(-1) {
        Ok((_, used)) => Ok(Some(used)),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

fn wait(who: libc::pid_t) -> io::Result<(End, Duration)> {
    let mut status = 0;
    // SAFETY: a rusage of zeros is valid.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places live during the call.
    while unsafe { libc::wait4(who, &raw mut status, 0, &raw mut used) } == -1 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let end = match libc::WIFEXITED(status) {
        true => End::Exited(libc::WEXITSTATUS(status) as u8),
        false => End::Signalled(libc::WTERMSIG(status) as u8),
    };
    Ok((end, time(used.ru_utime) + time(used.ru_stime)))
}

/// Gives the signals their defaults back that std has changed, and blocks none: what is executed inherits both.
pub(crate) fn reset_signals() -> io::Result<()> {
    // SAFETY: to restore a default installs no handler.
    if unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a set of zeros is valid, and lives during the call; the old one is not asked for.
    let result = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks all descriptors from `first` on to be closed in what is executed.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: with this flag nothing is closed here; whoever owns a descriptor keeps it.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Becomes a program. Returns only when that failed.
pub(crate) fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let list = |strings: &[CString]| -> Vec<*const c_char> {
        let strings = strings.iter().map(|string| string.as_ptr());
        strings.chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (list(arguments), list(environment));
    // SAFETY: path and strings end with NULs, both lists with a null pointer, and all live during the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    #[allow(clippy::zombie_processes, reason = "it is what is tried that waits")]
    fn a_child_is_waited_for_and_tells_how_it_ended() {
        let child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let (end, _) = wait_for(Pid::from_raw(child.id().cast_signed()).unwrap()).unwrap();
        assert_eq!(end, End::Exited(7));
        let child =
            std::process::Command::new("/bin/sh").args(["-c", "kill -9 $$"]).spawn().unwrap();
        let (end, _) = wait_for(Pid::from_raw(child.id().cast_signed()).unwrap()).unwrap();
        assert_eq!(end, End::Signalled(9));
        assert!(wait_for(Pid::from_raw(child.id().cast_signed()).unwrap()).is_err());
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        let words = [c"x".to_owned()];
        let error = execute(c"/no/such/program", &words, &[]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn attributes_of_what_is_no_mount_are_refused() {
        let error = set_mount_attributes(c"/no/such/mount", Attributes::RDONLY, true).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPERM)), "{error}");
    }

    #[test]
    fn descriptors_are_marked_and_stay_open_here() {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty()).unwrap();
        close_on_exec_from(3).unwrap();
        let flags = rustix::io::fcntl_getfd(reader.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(writer);
    }

    #[test]
    fn a_fork_and_new_namespaces_are_had_by_a_process_of_one_thread() {
        // The harness has several threads: the child makes no call that another one's lock could hold up.
        match fork().unwrap() {
            Forked::Child => {
                let new = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
                let reset = reset_signals();
                let code = i32::from(new.is_ok()) + 2 * i32::from(reset.is_ok());
                // SAFETY: it ends the process at once, without running anything of the harness's.
                unsafe { libc::_exit(code) }
            }
            Forked::Parent(child) => {
                let (end, _) = wait_for(child).unwrap();
                assert!(matches!(end, End::Exited(2 | 3)), "{end:?}");
            }
        }
    }
}

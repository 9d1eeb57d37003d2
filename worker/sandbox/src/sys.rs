//! The calls that have no safe wrapper. Each is thin; `tests/demotion.rs` makes every one of them.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes ownership of descriptor 0, once.
pub(crate) fn take_descriptor_0() -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it was taken before"));
    }
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    if unsafe { libc::fcntl(0, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: descriptor 0 is open and, since TAKEN is set once, gets this one owner; std's standard
    // input only ever borrows it, and neither helper reads it.
    Ok(unsafe { OwnedFd::from_raw_fd(0) })
}

/// Tells the allocator to make one arena only; `false` when it refuses.
pub(crate) fn set_one_malloc_arena() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt takes two integers; no other thread exists that could be allocating.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) == 1 }
    }
    // Other allocators have no arenas that open files.
    #[cfg(not(target_env = "gnu"))]
    true
}

/// Closes all descriptors from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: at this point of the demotion nothing in the process owns a descriptor above 2; those that
    // are open were inherited by mistake.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this thread is the only one; an error when it is not.
pub(crate) fn check_for_one_thread() -> io::Result<()> {
    // SAFETY: not to share with other threads what can only be shared with them changes nothing where there
    // are none, and is refused where there are.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

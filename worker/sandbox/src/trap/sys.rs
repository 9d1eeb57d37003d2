//! The handler of SIGSYS. `tests/sealed.rs` runs into it.

use std::io;
use std::ptr;

use libc::{c_int, c_void};

use super::Line;

/// A number that is no system call, and stands in no table.
const NO_CALL: libc::c_long = 0xffff;

/// What the kernel says with a SIGSYS of seccomp's: `siginfo_t` with the member `_sigsys`.
#[repr(C)]
struct Refused {
    signal: c_int,
    errno: c_int,
    code: c_int,
    address: *mut c_void,
    call: c_int,
    architecture: u32,
}

/// Installs the handler for all threads. To be called before the filters are loaded, which allow no change
/// of it.
///
/// On the stack of the thread in question, with every signal blocked: a forbidden call inside the handler
/// finds SIGSYS blocked, and then the kernel ends the process.
pub(crate) fn install() -> io::Result<()> {
    let handler: extern "C" fn(c_int, *const libc::siginfo_t, *mut c_void) = handle;
    // SAFETY: a sigaction of zeros is valid: no handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the mask is this function's own, and the handler does what a handler may.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        match libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Async-signal-safe: it allocates nothing, takes no lock and does not return.
extern "C" fn handle(_: c_int, info: *const libc::siginfo_t, _: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel hands over a siginfo_t, which is larger than Refused and laid out
    // like it for a refused call; for another sender the number is only wrong.
    let number = unsafe { (*info.cast::<Refused>()).call };
    let line = Line::of_call(number.into());
    let bytes = line.as_bytes();
    // SAFETY: the bytes are readable. Then a call that is forbidden while SIGSYS is blocked, which the
    // kernel answers by ending the process with SIGSYS; abort is for a process that has no filter.
    unsafe {
        libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len());
        libc::syscall(NO_CALL);
        libc::abort()
    }
}

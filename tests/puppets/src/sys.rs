//! Whatever the test orders. Nothing here is sound, by intention: it stands for code that an attacker runs in a
//! process that has been taken over, and the process is there to be attacked from.

use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd as _, RawFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};

/// Makes a system call, and gives what the kernel returns: an errno is negative.
pub(crate) fn call(number: u64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the orders' author answers for what the call does.
    let result = unsafe { libc::syscall(number.cast_signed(), a, b, c, d, e, f) };
    if result == 0 && makes_a_copy(number.cast_signed()) {
        // The copy would answer the next order too.
        // SAFETY: it ends the copy.
        unsafe { libc::_exit(0) }
    }
    if result == -1 {
        return -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    result
}

fn makes_a_copy(number: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    let forks = number == libc::SYS_fork;
    #[cfg(not(target_arch = "x86_64"))]
    let forks = false;
    forks || number == libc::SYS_clone || number == libc::SYS_clone3
}

/// Makes a 32-bit system call without arguments.
pub(crate) fn call32(number: u32) -> i64 {
    #[cfg(target_arch = "x86_64")]
    {
        let result: i64;
        // SAFETY: `getpid` and its like take no arguments; the kernel may clear r8 to r11.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inlateout("rax") i64::from(number) => result,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        result
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = number;
        -i64::from(libc::ENOSYS)
    }
}

/// Copies bytes to an address of memory that was leaked for it.
pub(crate) fn poke(address: u64, bytes: &[u8]) {
    // SAFETY: `Machine` has checked that it lies in its own leaked memory, to which nothing refers.
    unsafe { std::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len()) }
}

/// Copies bytes from there.
pub(crate) fn peek(address: u64, count: usize) -> Vec<u8> {
    // SAFETY: as above; the memory was written when it was made.
    unsafe { std::slice::from_raw_parts(address as *const u8, count) }.to_vec()
}

/// Sends this process a signal whose disposition is the default.
pub(crate) fn raise(signal: libc::c_int) {
    // SAFETY: to restore a default installs no handler, and the signal is for this process alone.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Ignores a signal.
pub(crate) fn ignore(signal: libc::c_int) {
    // SAFETY: to ignore a signal installs no handler.
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Writes to an address that is none.
pub(crate) fn fault() {
    // SAFETY: there is none: the process is to be ended for it.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
}

/// Sends on a descriptor that the test names.
pub(crate) fn send(descriptor: RawFd, packet: &[u8]) -> io::Result<usize> {
    // SAFETY: the test says that it is open; if it is not, the kernel says so.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(rustix::net::send(socket, packet, SendFlags::NOSIGNAL)?)
}

/// Waits until a descriptor is readable; `false` when it is not in time.
pub(crate) fn is_readable(descriptor: RawFd, wait_ms: u32) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    // SAFETY: as above.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let wait =
        Timespec { tv_sec: (wait_ms / 1000).into(), tv_nsec: (wait_ms % 1000 * 1_000_000).into() };
    Ok(poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&wait))? > 0)
}

/// Receives a packet with its descriptors, which stay open.
pub(crate) fn receive(descriptor: RawFd, room: &mut [u8]) -> io::Result<(usize, Vec<RawFd>)> {
    // SAFETY: as above.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(room)];
    let got = rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights.map(|right| right.into_raw_fd()));
        }
    }
    Ok((got.bytes, descriptors))
}

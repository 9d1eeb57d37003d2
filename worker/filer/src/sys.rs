//! The calls that have no safe wrapper.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Whether nothing in any process can write to the file that `file` has open for reading.
///
/// A read lease is refused with EAGAIN while a writable description or mapping of the inode exists
/// anywhere. It is given up at once: all that is wanted is the answer.
pub(crate) fn has_no_writer(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: F_SETLEASE takes an integer, and the borrow keeps the descriptor open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } == -1 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(false),
            _ => Err(error),
        };
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(true)
}

/// Has all threads share one heap: what one thread allocates here another
/// frees, and each further heap would keep pages of its own.
pub(crate) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes no pointer.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives freed heap memory back to the system, so that an idle filer keeps nothing of its operations.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn memory_in_use_survives_being_trimmed() {
        let kept = vec![7u8; 300_000];
        drop(vec![1u8; 100_000]);
        give_memory_back();
        assert!(kept.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_writer_is_seen_and_a_reader_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!has_no_writer(reader.as_fd()).unwrap());
        let copy = writer.try_clone().unwrap();
        drop(writer);
        assert!(!has_no_writer(reader.as_fd()).unwrap(), "a duplicate is a writer too");
        drop(copy);
        let _other = File::open(&path).unwrap();
        assert!(has_no_writer(reader.as_fd()).unwrap());
        // The lease is gone: a writer can come at once, and nobody is signalled.
        let again = File::options().write(true).open(&path).unwrap();
        assert!(!has_no_writer(reader.as_fd()).unwrap());
        drop(again);
        assert!(has_no_writer(File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}

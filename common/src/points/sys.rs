//! Maps the control file. The unit tests of `control` make the call.

use std::fs::File;
use std::io;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::Control;

/// Maps the file for the rest of the process' life, shared with whoever maps it too.
pub(super) fn map(file: &File) -> io::Result<&'static Control> {
    let bytes = size_of::<Control>();
    if file.metadata()?.len() < bytes as u64 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the control file is too short"));
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the place, so that no other memory is replaced.
    let start = unsafe { mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0) }?;
    // SAFETY: the mapping is page-aligned, as long as a Control, never unmapped, and a Control is made of
    // atomic integers alone, for which any bytes are valid and others may write at any time.
    Ok(unsafe { &*start.cast::<Control>() })
}

//! A root of the jail's own: libraries, one program and one home, all for reading, and nothing else by any name.
//!
//! It is made of a small file system in memory with mounts of what the program needs, and then takes the place of the
//! machine's root for this process and its children. What is not mounted has no name any more.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use berth_common::jail_protocol::Task;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::places::{HOME, LIBRARIES, LOADER_CACHE};
use crate::sys::{self, Attributes};

/// A directory that is on every machine on which the daemon runs, and of which the program needs nothing: there the
/// new root is made.
const SCAFFOLD: &str = "/proc";

/// Enough for names; no file of it has content.
const SIZE: &std::ffi::CStr = c"size=256k,nr_inodes=256,mode=0755";

const READ_ONLY: Attributes = Attributes::RDONLY.and(Attributes::NOSUID).and(Attributes::NODEV);

/// Makes it and moves into it. Returns the paths of home and program in it.
///
/// # Errors
/// Which step failed, and why. The process then is in between and must end.
pub(crate) fn enter(task: &Task) -> Result<(Vec<u8>, Vec<u8>), String> {
    // What is mounted here stays here, and what the machine mounts later does not come in.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("keep mounts apart", rustix::mount::mount_change("/", private))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step("make a root", rustix::mount::mount("berth", SCAFFOLD, "tmpfs", flags, SIZE))?;
    for path in LIBRARIES {
        library(path)?;
    }
    if is_there(LOADER_CACHE) {
        bind(LOADER_CACHE.as_bytes(), LOADER_CACHE, READ_ONLY)?;
    }
    let program = format!("/bin/{}", task.name);
    bind(&task.program, &program, READ_ONLY)?;
    bind(&task.home, HOME, READ_ONLY.and(Attributes::NOEXEC))?;
    step("enter the root", rustix::process::chdir(SCAFFOLD))?;
    // Both in the same place: the old root then lies over the new one, and is taken away.
    step("enter the root", rustix::process::pivot_root(".", "."))?;
    step("leave the old root", rustix::mount::unmount(".", UnmountFlags::DETACH))?;
    step("enter the root", rustix::process::chdir("/"))?;
    step("close the root", sys::set_mount_attributes(c"/", READ_ONLY, false).map_err(errno))?;
    Ok((HOME.as_bytes().to_vec(), program.into_bytes()))
}

/// A directory of libraries, or the link in its place, as most distributions have for two of them.
fn library(path: &str) -> Result<(), String> {
    match rustix::fs::statat(CWD, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            let target = step(path, rustix::fs::readlinkat(CWD, path, Vec::new()))?;
            let link = within(path);
            step(path, rustix::fs::symlinkat(target, CWD, &link))
        }
        Ok(_) => bind(path.as_bytes(), path, READ_ONLY),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => step(path, Err(error)),
    }
}

fn is_there(path: &str) -> bool {
    rustix::fs::statat(CWD, path, rustix::fs::AtFlags::empty()).is_ok()
}

/// A path as it will be, below the scaffold.
fn within(path: &str) -> PathBuf {
    Path::new(SCAFFOLD).join(path.trim_start_matches('/'))
}

/// Mounts what stands at `source` at `target` of the new root, where its place is made.
fn bind(source: &[u8], target: &str, attributes: Attributes) -> Result<(), String> {
    let place = within(target);
    let stat = step(target, rustix::fs::statat(CWD, source, rustix::fs::AtFlags::empty()))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let parent = if is_directory { place.as_path() } else { place.parent().unwrap_or(&place) };
    step(target, make_directories(parent))?;
    if !is_directory {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        step(target, rustix::fs::open(&place, flags, Mode::RUSR).map(drop))?;
    }
    // What is mounted below it comes along: the kernel lets nobody look beneath mounts of the machine's.
    step(target, rustix::mount::mount_bind_recursive(source, &place))?;
    let path = CString::new(place.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    step(target, sys::set_mount_attributes(&path, attributes, true).map_err(errno))
}

fn make_directories(path: &Path) -> Result<(), Errno> {
    let mut made = PathBuf::from(SCAFFOLD);
    for part in path.strip_prefix(SCAFFOLD).unwrap_or(path).components() {
        made.push(part);
        match rustix::fs::mkdir(&made, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

fn step<T>(what: &str, result: Result<T, Errno>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

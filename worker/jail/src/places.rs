//! Where the program, its libraries and the home lie, as the program will see them, and what is opened of that for
//! Landlock's rules.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use berth_common::jail_protocol::{Refusal, Task};
use berth_common::rel_path::RelPath;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The directories of the system's libraries, as the loaders of all distributions know them.
pub(crate) const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];

/// Where loaders look up which library lies in which of these.
pub(crate) const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// What the kernel loads a program by, which has to be executable. Those that are not there are left out.
#[cfg(target_arch = "x86_64")]
const LOADERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"];
#[cfg(target_arch = "aarch64")]
const LOADERS: [&str; 2] = ["/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"];

/// Where the home lies in a root of the jail's own.
pub(crate) const HOME: &str = "/home";

/// What was found, opened.
pub(crate) struct Places {
    /// The home.
    pub(crate) home: OwnedFd,
    /// The program's path.
    pub(crate) program: CString,
    /// The home's path, for the environment.
    pub(crate) home_path: CString,
    pub(crate) libraries: Vec<OwnedFd>,
    pub(crate) files: Vec<OwnedFd>,
    pub(crate) executables: Vec<OwnedFd>,
}

impl Places {
    /// Opens them all, by paths that hold now and when the program runs.
    ///
    /// # Errors
    /// When home or program cannot be opened, or are not those that the daemon has passed.
    pub(crate) fn open(
        (home_path, program_path): (&[u8], &[u8]),
        (home, program): (&OwnedFd, &OwnedFd),
    ) -> io::Result<Self> {
        let opened_home = open_path(home_path, OFlags::DIRECTORY)?;
        let opened_program = open_path(program_path, OFlags::NOFOLLOW)?;
        same(&opened_home, home, "home")?;
        same(&opened_program, program, "program")?;
        let mut executables = vec![opened_program];
        executables.extend(opened(&LOADERS)?);
        Ok(Self {
            home: opened_home,
            program: CString::new(program_path)?,
            home_path: CString::new(home_path)?,
            libraries: opened(&LIBRARIES)?,
            files: opened(&[LOADER_CACHE])?,
            executables,
        })
    }

    /// Opens the directory in which the program starts: below the home, through no link.
    pub(crate) fn open_directory(&self, directory: &RelPath) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if directory.is_root() { "." } else { directory.as_str() };
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.home, path, flags, Mode::empty(), beneath).map_err(|errno| {
            match errno {
                Errno::NOENT => Refusal::NoDirectory,
                Errno::NOTDIR => Refusal::NotADirectory,
                Errno::LOOP | Errno::XDEV | Errno::ACCESS => Refusal::NotServed,
                other => Refusal::Jail { step: format!("open the directory: {other}") },
            }
        })
    }
}

/// The home and the program of a task, as the machine has them.
pub(crate) fn of_the_machine(task: &Task) -> (&[u8], &[u8]) {
    (&task.home, &task.program)
}

fn open_path(path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Those that are there.
fn opened(paths: &[&str]) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for path in paths {
        match open_path(path.as_bytes(), OFlags::empty()) {
            Ok(file) => all.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What stands at a path has to be what was passed: between the two somebody may have put another in its place.
fn same(found: impl AsFd, passed: impl AsFd, what: &str) -> io::Result<()> {
    let (found, passed) = (rustix::fs::fstat(found)?, rustix::fs::fstat(passed)?);
    match (found.st_dev, found.st_ino) == (passed.st_dev, passed.st_ino) {
        true => Ok(()),
        false => Err(io::Error::other(format!("the {what} is not the one that was passed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_the_place_of_the_one_that_was_passed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (home, program) = (dir.path().join("home"), dir.path().join("program"));
        std::fs::create_dir(&home).unwrap();
        std::fs::write(&program, "x").unwrap();
        let path = |path: &std::path::Path| path.to_str().unwrap().as_bytes().to_vec();
        let (home_path, program_path) = (path(&home), path(&program));
        let open = |flags| {
            let home = open_path(&home_path, OFlags::DIRECTORY).unwrap();
            (home, open_path(&program_path, flags).unwrap())
        };
        let (passed_home, passed_program) = open(OFlags::empty());
        let find = || {
            let passed = (&passed_home, &passed_program);
            Places::open((&home_path, &program_path), passed).map(drop)
        };
        find().unwrap();
        std::fs::rename(&program, dir.path().join("old")).unwrap();
        std::fs::write(&program, "x").unwrap();
        assert!(find().unwrap_err().to_string().contains("program"));
        std::fs::remove_file(&program).unwrap();
        std::os::unix::fs::symlink("old", &program).unwrap();
        assert!(find().is_err(), "a link is not the file that it names");
    }

    #[test]
    fn a_program_starts_below_the_home_and_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir_all(home.join("a/b")).unwrap();
        std::fs::write(home.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/", home.join("link")).unwrap();
        let home = home.to_str().unwrap().as_bytes();
        let fd = open_path(home, OFlags::DIRECTORY).unwrap();
        let places = Places {
            home: fd,
            program: CString::default(),
            home_path: CString::default(),
            libraries: Vec::new(),
            files: Vec::new(),
            executables: Vec::new(),
        };
        let open = |path: &str| places.open_directory(&RelPath::new(path).unwrap()).map(drop);
        assert_eq!(open("a/b"), Ok(()));
        assert!(places.open_directory(&RelPath::root()).is_ok());
        assert_eq!(open("none"), Err(Refusal::NoDirectory));
        assert_eq!(open("file"), Err(Refusal::NotADirectory));
        assert_eq!(open("link"), Err(Refusal::NotServed));
        assert_eq!(open("link/etc"), Err(Refusal::NotServed));
    }
}

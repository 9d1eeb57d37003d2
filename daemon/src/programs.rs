//! The programs that the daemon executes, opened once, at its start.
//!
//! The spawner executes them by these descriptors and not by their names. So all helpers of a daemon's life are
//! of the version that it started with, also after a package has put others in their places: what daemon and
//! helpers say to each other need not be understood by another version.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};

use crate::program::Program;

/// Worker, filer and jail.
pub(crate) struct Programs {
    worker: Opened,
    filer: Opened,
    jail: Opened,
}

struct Opened {
    /// A name for `_file`, by which it is executed.
    path: PathBuf,
    _file: OwnedFd,
}

/// Why the helpers cannot be executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It cannot be opened.
    #[error("{path:?} is not there: name its directory by --libexec-dir ({source})")]
    Missing { path: PathBuf, source: io::Error },
    /// A descriptor has no name.
    #[error("programs cannot be executed without /proc ({0})")]
    NoProc(io::Error),
}

impl Programs {
    /// Opens those in `directory`, or beside the daemon's own program.
    ///
    /// # Errors
    /// When one of them is not there, or there is no `/proc`.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, ProgramError> {
        let directory = match directory {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()
                .map_err(ProgramError::NoProc)?
                .parent()
                .unwrap_or(Path::new("/"))
                .to_owned(),
        };
        let open = |program: Program| Opened::open(&directory.join(program.as_str()));
        Ok(Self {
            worker: open(Program::Worker)?,
            filer: open(Program::Filer)?,
            jail: open(Program::Jail)?,
        })
    }

    /// What to execute for one of them.
    pub(crate) fn path(&self, program: Program) -> &Path {
        match program {
            Program::Worker => &self.worker.path,
            Program::Filer => &self.filer.path,
            Program::Jail => &self.jail.path,
        }
    }

    /// Those in `directory` by their names. A script's interpreter opens it anew, when its descriptor is closed.
    #[cfg(test)]
    pub(crate) fn scripts(directory: &Path) -> Result<Self, ProgramError> {
        let mut programs = Self::open(Some(directory))?;
        programs.worker.path = directory.join(Program::Worker.as_str());
        programs.filer.path = directory.join(Program::Filer.as_str());
        programs.jail.path = directory.join(Program::Jail.as_str());
        Ok(programs)
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self, ProgramError> {
        // O_PATH: a program that may be executed need not be readable.
        let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(
            |errno| ProgramError::Missing { path: path.to_owned(), source: errno.into() },
        )?;
        // Looked up by the child itself, before the exec closes the descriptor.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        std::fs::metadata(&path).map_err(ProgramError::NoProc)?;
        Ok(Self { path, _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_opened_is_executed_after_another_program_has_taken_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let [worker, new] = [Program::Worker.as_str(), "new"].map(|name| dir.path().join(name));
        for program in Program::ALL {
            std::os::unix::fs::symlink("/bin/sh", dir.path().join(program.as_str())).unwrap();
        }
        let programs = Programs::open(Some(dir.path())).unwrap();
        std::fs::write(&new, "not a program").unwrap();
        std::fs::rename(&new, &worker).unwrap();

        let run = |path: &Path| Command::new(path).arg0("sh").args(["-c", "exit 3"]).status();
        assert_eq!(run(programs.path(Program::Worker)).unwrap().code(), Some(3));
        run(&worker).unwrap_err();
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(Program::Worker.as_str()), "").unwrap();
        let error = Programs::open(Some(dir.path())).err().unwrap().to_string();
        assert!(error.contains("berth-filer") && error.contains("--libexec-dir"), "{error}");
    }
}

//! Where a program lies: the first of its name in the directories that the administrator has set.

use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use berth_common::exec::ProgramName;

/// What programs begin with that the kernel executes without another one.
const ELF: [u8; 4] = *b"\x7fELF";

/// A program, opened.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its file.
    pub(crate) file: OwnedFd,
    /// Its path without any link.
    pub(crate) path: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFound {
    /// No directory has the name.
    #[error("it is in none of the directories of exec_path")]
    Nowhere,
    /// What has the name is no file that may be executed.
    #[error("{0:?} cannot be executed")]
    NotExecutable(PathBuf),
    /// A script, which would need another program.
    #[error(
        "{0:?} is a script or no program of this machine's, and a jail executes nothing besides it"
    )]
    NoProgram(PathBuf),
    /// It cannot be looked at.
    #[error("{0:?} cannot be read: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Looks in each directory, in order. What has the name first counts, also when it cannot be executed.
///
/// # Errors
/// See [`NotFound`].
pub(crate) fn find(name: &ProgramName, directories: &[PathBuf]) -> Result<Found, NotFound> {
    for directory in directories {
        let path = directory.join(name.as_str());
        match std::fs::File::open(&path) {
            Ok(file) => return check(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(NotFound::Io(path, error)),
        }
    }
    Err(NotFound::Nowhere)
}

fn check(mut file: std::fs::File, path: PathBuf) -> Result<Found, NotFound> {
    let because = |error| NotFound::Io(path.clone(), error);
    let metadata = file.metadata().map_err(because)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(NotFound::NotExecutable(path));
    }
    let mut first = [0; ELF.len()];
    match file.read_exact(&mut first) {
        Ok(()) if first == ELF => {}
        Ok(()) => return Err(NotFound::NoProgram(path)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(NotFound::NoProgram(path));
        }
        Err(error) => return Err(because(error)),
    }
    let file = OwnedFd::from(file);
    // Many a program's name is a link to one of several. The jail mounts the file itself.
    let path = path_of(&file).map_err(because)?;
    Ok(Found { file, path })
}

/// By which path an open file is found now.
///
/// # Errors
/// Without `/proc`.
pub(super) fn path_of(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let link = std::fs::read_link(Path::new("/proc/self/fd").join(file.as_raw_fd().to_string()))?;
    Ok(link.into_os_string().into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_its_name_counts_and_links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        for directory in [&one, &two] {
            std::fs::create_dir(directory).unwrap();
        }
        let program = |path: &Path, content: &[u8], mode| {
            std::fs::write(path, content).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let name = |name: &str| ProgramName::new(name).unwrap();
        let directories = [dir.path().join("none"), one.clone(), two.clone()];
        let look = |text: &str| find(&name(text), &directories);
        program(&two.join("du"), b"\x7fELF two", 0o755);
        std::os::unix::fs::symlink(two.join("du"), two.join("link")).unwrap();
        for text in ["du", "link"] {
            let real = two.canonicalize().unwrap().join("du");
            assert_eq!(look(text).unwrap().path, real.into_os_string().into_vec());
        }
        program(&one.join("du"), b"\x7fELF one", 0o644);
        assert!(matches!(look("du"), Err(NotFound::NotExecutable(_))));
        program(&one.join("script"), b"#!/bin/sh\n", 0o755);
        assert!(matches!(look("script"), Err(NotFound::NoProgram(_))));
        program(&one.join("short"), b"x", 0o755);
        assert!(matches!(look("short"), Err(NotFound::NoProgram(_))));
        std::fs::create_dir(one.join("directory")).unwrap();
        assert!(matches!(look("directory"), Err(NotFound::NotExecutable(_))));
        assert!(matches!(look("absent"), Err(NotFound::Nowhere)));
    }
}

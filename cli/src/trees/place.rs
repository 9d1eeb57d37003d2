//! Local directories for what is got: made once each, and never through a symbolic link.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rust_i18n::t;

use crate::exit::Exit;
use crate::human;
use crate::language::message;
use crate::transfer_failures;

/// Why a directory is not there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A link is there, whatever it leads to.
    #[error("{}", t!("%{path} is a symbolic link, which is not followed; move it elsewhere", path = _0.display()))]
    Link(PathBuf),
    /// Something else is there.
    #[error("{}", t!("%{path} is in the way and is no directory", path = _0.display()))]
    NotADirectory(PathBuf),
    /// The operating system refuses it.
    #[error("{}", t!({ *message }, path = path.display(), reason = human::reason(source)))]
    Local {
        /// What was tried: a message with `%{path}` and `%{reason}`.
        message: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl PlaceError {
    /// How the command ends for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Link(_) | Self::NotADirectory(_) => Exit::Failure,
            Self::Local { source, .. } => transfer_failures::local_exit(source),
        }
    }
}

/// Makes a directory, or finds that it is there. Its name is on disk afterwards. Blocks for that.
///
/// # Errors
/// When there is something else, or nothing can be made.
pub fn make_directory(path: &Path) -> Result<(), PlaceError> {
    let local =
        |message| move |source| PlaceError::Local { message, path: path.to_owned(), source };
    match fs::create_dir(path) {
        Ok(()) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = File::open(parent.unwrap_or(Path::new(".")));
            parent
                .and_then(|parent| parent.sync_all())
                .map_err(local(message!("cannot store %{path}: %{reason}")))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path)
                .map_err(local(message!("cannot look at %{path}: %{reason}")))?;
            match () {
                () if found.is_dir() => Ok(()),
                () if found.is_symlink() => Err(PlaceError::Link(path.to_owned())),
                () => Err(PlaceError::NotADirectory(path.to_owned())),
            }
        }
        Err(error) => Err(local(message!("cannot make %{path}: %{reason}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_made_or_found_and_a_link_to_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        make_directory(&path("d")).unwrap();
        make_directory(&path("d")).unwrap();
        fs::write(path("file"), b"").unwrap();
        symlink("d", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        for link in ["link", "dangling"] {
            assert!(matches!(make_directory(&path(link)), Err(PlaceError::Link(_))), "{link}");
        }
        assert!(matches!(make_directory(&path("file")), Err(PlaceError::NotADirectory(_))));
        let missing = make_directory(&path("none/d")).unwrap_err();
        assert_eq!(missing.exit(), Exit::NotFound);
        assert!(!path("nowhere").exists());
    }
}

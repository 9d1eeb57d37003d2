//! The file system that homes and staging lie on: which it is, and whether it keeps what the ledger's
//! protocol rests on.
//!
//! Called at the start and by `berthd check`. What can be tried is tried ([`probe`]); what cannot, how
//! renames become durable and whether inode numbers outlive a mount, is decided by name ([`table`]).
//! The daemon alone decides; filers are told in their role.

mod mounts;
mod probe;
mod table;

use std::io;
use std::path::{Path, PathBuf};

use berth_common::ledger_protocol::StagingSync;
use berth_common::points::{self, Rule};
use rustix::fd::{AsFd, BorrowedFd};

pub(crate) use probe::Promise;

/// A file system that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Its name, as the kernel has it: `ext4`.
    pub(crate) name: String,
    /// How staging is made durable on it.
    pub(crate) sync: StagingSync,
    /// Why so.
    pub(crate) why: &'static str,
    /// Something that an administrator should know of it.
    pub(crate) warning: Option<&'static str>,
}

/// Why a file system cannot be used: a sentence for the administrator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileSystemError {
    /// By its name.
    #[error("{directory:?} is on {name}, which cannot be used: {why}")]
    Refused {
        /// What lies on it.
        directory: PathBuf,
        name: String,
        why: &'static str,
    },
    /// It does not keep a promise.
    #[error("{directory:?} is on {name}, which lacks {promise}{}", explain(.source.as_ref()))]
    Broken {
        /// What lies on it.
        directory: PathBuf,
        name: String,
        promise: Promise,
        /// What the system says; `None` when it said yes and did something else.
        source: Option<io::Error>,
    },
    /// It could not be tried.
    #[error("{directory:?} is on {name}, which cannot be examined: {source}")]
    Io {
        /// What lies on it.
        directory: PathBuf,
        name: String,
        source: io::Error,
    },
}

fn explain(source: Option<&io::Error>) -> String {
    source.map_or_else(String::new, |source| format!(" ({source})"))
}

/// Tells the file system of a directory by its name alone; nothing is tried.
///
/// # Errors
/// [`FileSystemError::Refused`] for one that is known not to do.
pub(crate) fn by_name(
    directory: BorrowedFd<'_>,
    path: &Path,
) -> Result<FileSystem, FileSystemError> {
    let mount = mounts::of(directory).unwrap_or_default();
    let verdict = table::verdict(&mount.file_system, &mount.options, || mounts::ext4(&mount));
    let name = if mount.file_system.is_empty() {
        "an unknown file system".to_owned()
    } else {
        mount.file_system
    };
    match verdict {
        Ok(_) if points::is_off(Rule::SyncByName) => Ok(FileSystem {
            name,
            sync: StagingSync::Directory,
            why: "a test said so",
            warning: None,
        }),
        Ok(table::Verdict { sync, why, warning }) => Ok(FileSystem { name, sync, why, warning }),
        Err(why) => Err(FileSystemError::Refused { directory: path.to_owned(), name, why }),
    }
}

/// Tells it, and tries all that can be tried in a directory that is made in this one and removed.
///
/// # Errors
/// All of [`FileSystemError`].
pub(crate) fn examine(
    directory: BorrowedFd<'_>,
    path: &Path,
) -> Result<FileSystem, FileSystemError> {
    let before = by_name(directory, path)?;
    let (directory_path, name) = (path.to_owned(), before.name.clone());
    probe::probe(directory.as_fd()).map_err(|failure| match failure {
        probe::Failure::Broken(promise, source) => {
            FileSystemError::Broken { directory: directory_path, name, promise, source }
        }
        probe::Failure::Io(source) => {
            FileSystemError::Io { directory: directory_path, name, source }
        }
    })?;
    // Asked again: the probe's fsyncs tell whether a journal has fast commits.
    by_name(directory, path)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_real_directory_is_examined_and_left_as_it_was() {
        for base in ["/dev/shm", env!("CARGO_MANIFEST_DIR")] {
            let Ok(dir) = tempfile::tempdir_in(base) else { continue };
            let fd = File::open(dir.path()).unwrap();
            match examine(fd.as_fd(), dir.path()) {
                Ok(found) => assert!(!found.name.is_empty() && !found.why.is_empty()),
                Err(FileSystemError::Refused { name, .. }) => assert_ne!(name, "ext4"),
                Err(error) => panic!("{base}: {error}"),
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{base}");
        }
    }

    #[test]
    fn a_file_system_without_attributes_or_renames_is_refused_with_a_sentence() {
        // A file system of the kernel's own, in which nothing can be made.
        let proc = File::open("/proc").unwrap();
        let error = examine(proc.as_fd(), Path::new("/proc")).unwrap_err().to_string();
        assert!(error.contains("/proc") && error.contains("on proc"), "{error}");
    }

    #[test]
    fn each_refusal_names_the_directory_the_file_system_and_the_use() {
        let broken = |source| FileSystemError::Broken {
            directory: "/srv".into(),
            name: "odd".into(),
            promise: Promise::Attributes,
            source,
        };
        let text = broken(Some(io::ErrorKind::Unsupported.into())).to_string();
        for part in ["/srv", "odd", "extended attributes", "digest", "unsupported"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!broken(None).to_string().contains("unsupported"));
    }
}

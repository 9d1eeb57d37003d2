//! A system call that changes a file system or makes it durable, in the terms of paths.

use std::path::PathBuf;

/// What a program did below the directory that is watched. Paths are relative to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A file was made, unless it was there; `truncate` empties one that was.
    Create {
        /// The file.
        path: PathBuf,
        /// Whether it was opened with `O_TRUNC`.
        truncate: bool,
    },
    /// A directory was made.
    MakeDirectory {
        /// It.
        path: PathBuf,
    },
    /// Bytes were written: at an offset, or else at the file's end.
    Write {
        /// The file.
        path: PathBuf,
        /// Where; `None` for a plain `write`, which these programs use on new files alone.
        offset: Option<usize>,
        /// What.
        bytes: Vec<u8>,
    },
    /// Bytes were copied from one file to another.
    Copy {
        /// From.
        from: PathBuf,
        /// Where in it.
        from_offset: usize,
        /// To.
        to: PathBuf,
        /// Where in it.
        to_offset: usize,
        /// How many.
        length: usize,
    },
    /// A file got this length.
    Truncate {
        /// The file.
        path: PathBuf,
        /// In bytes.
        length: usize,
    },
    /// Something got another name.
    Rename {
        /// From.
        from: PathBuf,
        /// To.
        to: PathBuf,
        /// Whether what stood there took the old name (`RENAME_EXCHANGE`).
        exchange: bool,
    },
    /// A file got one more name.
    Link {
        /// The one that it had.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// A name was removed, of a file or of an empty directory.
    Unlink {
        /// It.
        path: PathBuf,
    },
    /// An extended attribute was set.
    SetAttribute {
        /// Of what.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// An extended attribute goes.
    RemoveAttribute {
        /// Of which file.
        path: PathBuf,
        /// Its name.
        name: String,
    },
    /// The times of a file were set.
    SetTimes {
        /// Of what.
        path: PathBuf,
        /// The modification time, in nanoseconds since the epoch.
        mtime_ns: i128,
    },
    /// A file or directory was made durable.
    Sync {
        /// Which.
        path: PathBuf,
    },
    /// All of the file system was.
    SyncAll,
}

//! What the programs of a run are made of: the operations that change a home, as a user sees them.

use std::fmt;

use crate::disk::{NONE, Name, name};

/// A path of one or two components; the second may be [`NONE`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Path(pub(crate) [Name; 2]);

impl Path {
    /// The last component.
    pub(crate) fn leaf(self) -> Name {
        if self.0[1] == NONE { self.0[0] } else { self.0[1] }
    }

    /// The components that it has.
    pub(crate) fn components(self) -> Vec<Name> {
        self.0.into_iter().filter(|part| *part != NONE).collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.components().into_iter().map(name).collect::<Vec<_>>().join("/"))
    }
}

/// A put, with what may differ between two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Put {
    pub(crate) path: Path,
    pub(crate) size: u8,
    pub(crate) overwrite: bool,
    /// Reserves by leases while data comes.
    pub(crate) unknown_size: bool,
    /// Has a durable row from the start and outlives its session.
    pub(crate) resumable: bool,
    /// The client gives up after the data.
    pub(crate) aborted: bool,
}

/// One operation of a program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Op {
    Put(Put),
    Append {
        path: Path,
        more: u8,
    },
    Mkdir(Path),
    Rmdir(Path),
    Delete(Path),
    DeleteRecursively(Path),
    /// To a free name.
    Rename {
        from: Path,
        to: Path,
    },
    RenameOver {
        from: Path,
        to: Path,
    },
    /// Two puts and a delete that share one intent transaction, one ticket and one settle transaction;
    /// the only operation of its session.
    Batch {
        puts: [(Path, u8); 2],
        delete: Path,
    },
    /// The administrator sets the limit of bytes.
    Limit(u8),
    /// `berthctl quota verify`.
    Verify,
}

impl Op {
    /// The operations that a batch is made of; else the operation itself.
    pub(crate) fn parts(self) -> Vec<Self> {
        match self {
            Self::Batch { puts, delete } => {
                let puts = puts.map(|(path, size)| Self::put(path, size));
                vec![puts[0], puts[1], Self::Delete(delete)]
            }
            other => vec![other],
        }
    }

    /// A plain put.
    pub(crate) fn put(path: Path, size: u8) -> Self {
        Self::Put(Put {
            path,
            size,
            overwrite: true,
            unknown_size: false,
            resumable: false,
            aborted: false,
        })
    }

    /// The path that it begins at, and for a rename the other one. None for what has no path.
    pub(crate) fn paths(self) -> Option<(Path, Option<Path>)> {
        match self {
            Self::Put(Put { path, .. })
            | Self::Append { path, .. }
            | Self::Mkdir(path)
            | Self::Rmdir(path)
            | Self::Delete(path)
            | Self::DeleteRecursively(path) => Some((path, None)),
            Self::Rename { from, to } | Self::RenameOver { from, to } => Some((from, Some(to))),
            Self::Batch { .. } | Self::Limit(_) | Self::Verify => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Put(put) => {
                write!(f, "put {} {}b", put.path, put.size)?;
                for (is, word) in [
                    (!put.overwrite, " no-overwrite"),
                    (put.unknown_size, " unknown-size"),
                    (put.resumable, " resumable"),
                    (put.aborted, " then-abort"),
                ] {
                    f.write_str(if is { word } else { "" })?;
                }
                Ok(())
            }
            Self::Append { path, more } => write!(f, "append {path} +{more}b"),
            Self::Mkdir(path) => write!(f, "mkdir {path}"),
            Self::Rmdir(path) => write!(f, "rmdir {path}"),
            Self::Delete(path) => write!(f, "delete {path}"),
            Self::DeleteRecursively(path) => write!(f, "delete -r {path}"),
            Self::Rename { from, to } => write!(f, "rename {from} {to}"),
            Self::RenameOver { from, to } => write!(f, "rename-over {from} {to}"),
            Self::Batch { puts: [(p, a), (q, b)], delete } => {
                write!(f, "batch(put {p} {a}b, put {q} {b}b, delete {delete})")
            }
            Self::Limit(limit) => write!(f, "limit {limit}"),
            Self::Verify => f.write_str("quota verify"),
        }
    }
}

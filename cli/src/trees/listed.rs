//! Trees of the home as they are listed: what each entry becomes here, and in which order.
//!
//! Plain: whoever has the session gives it the entries of the directory that was entered last, and takes the pieces.
//! An entry's name is the server's word. It is checked before a local path is made of it, so no piece is ever outside
//! its directory.

use std::io;
use std::path::{Path, PathBuf};

use berth_common::entry::{Entry, EntryKind};
use berth_common::rel_path::{RelPath, RelPathError};

use super::Sieve;
use super::stack::Stack;

/// A piece of a tree.
#[derive(Debug)]
pub enum Piece {
    /// A directory: to be made, and entered.
    Directory {
        /// Its path in the home.
        remote: RelPath,
        /// What it becomes.
        local: PathBuf,
    },
    /// A file.
    File {
        /// Its path in the home.
        remote: RelPath,
        /// What it becomes.
        local: PathBuf,
        /// Its size in bytes, as it was listed.
        size: u64,
        /// Time of its last change, in nanoseconds since the epoch, as it was listed.
        mtime_ns: i64,
    },
    /// What the server lists and does not serve.
    Skipped {
        /// Its path in the home.
        remote: RelPath,
        /// What it would become.
        local: PathBuf,
        /// What it is.
        kind: EntryKind,
    },
    /// A name that is none.
    Refused {
        /// The directory in the home.
        within: RelPath,
        /// The name that the server gave.
        name: String,
        /// What is wrong with it.
        error: RelPathError,
    },
    /// All that came before has to be in place before what follows begins, see [`rank`].
    Settle,
}

/// The directories that are entered, the deepest one last.
#[derive(Debug)]
pub struct Listed {
    stack: Stack<Level>,
    sieve: Sieve,
    top: RelPath,
}

impl Default for Listed {
    fn default() -> Self {
        Self { stack: Stack::default(), sieve: Sieve::default(), top: RelPath::root() }
    }
}

#[derive(Debug)]
struct Level {
    remote: RelPath,
    local: PathBuf,
    rank: usize,
    /// The next rank that a name has.
    next_rank: Option<usize>,
}

impl Listed {
    /// One that leaves names out.
    #[must_use]
    pub fn without(sieve: Sieve) -> Self {
        Self { sieve, ..Self::default() }
    }

    /// Begins a tree, from whose top on paths are held against what is left out.
    pub fn begin(&mut self, top: RelPath) {
        self.top = top;
    }

    /// Enters a directory. Its entries have to be added before the next piece is taken.
    pub fn enter(&mut self, remote: RelPath, local: PathBuf) {
        self.stack.enter(Level { remote, local, rank: 0, next_rank: None });
    }

    /// Adds some entries of the directory that was entered last.
    ///
    /// # Errors
    /// When they are many and the directory for temporary files has no room.
    pub fn add(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.stack.add(entries)
    }

    /// Leaves the directory that was entered last, whatever it has left.
    pub fn leave(&mut self) {
        self.stack.leave();
    }

    /// The next piece of what was entered; `None` when nothing is left.
    ///
    /// # Errors
    /// When what was added cannot be read again.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let entry = self.stack.next_entry()?;
            let Some(level) = self.stack.top() else {
                return Ok(None);
            };
            if let Some(entry) = entry {
                if let Some(piece) = level.piece(entry, &self.sieve, &self.top) {
                    return Ok(Some(piece));
                }
            } else if let Some(rank) = level.next_rank.take() {
                level.rank = rank;
                self.stack.rewind();
                return Ok(Some(Piece::Settle));
            } else {
                self.leave();
            }
        }
    }
}

impl Level {
    /// What an entry becomes, if it is its turn.
    fn piece(&mut self, entry: Entry, sieve: &Sieve, top: &RelPath) -> Option<Piece> {
        let rank = rank(&entry.name);
        if rank != self.rank {
            if rank > self.rank {
                self.next_rank = Some(self.next_rank.map_or(rank, |next| next.min(rank)));
            }
            return None;
        }
        let remote = match self.remote.join(&entry.name) {
            Ok(remote) => remote,
            Err(error) => {
                let within = self.remote.clone();
                return Some(Piece::Refused { within, name: entry.name, error });
            }
        };
        if sieve.leaves_out(beneath(&remote, top), entry.kind == EntryKind::Directory) {
            return None;
        }
        let local = joined(&self.local, &entry.name);
        Some(match entry.kind {
            EntryKind::Directory => Piece::Directory { remote, local },
            EntryKind::File => {
                Piece::File { remote, local, size: entry.size, mtime_ns: entry.mtime_ns }
            }
            kind @ (EntryKind::Symlink | EntryKind::Other) => {
                Piece::Skipped { remote, local, kind }
            }
        })
    }
}

/// A path from the top of its tree on.
pub(crate) fn beneath<'a>(path: &'a RelPath, top: &RelPath) -> &'a Path {
    let within = path.as_str().strip_prefix(top.as_str()).unwrap_or(path.as_str());
    Path::new(within.trim_start_matches('/'))
}

/// How many endings of [`berth::transfer::get()`]'s own files a name has. While `a` comes, its data is in `a.part`; a
/// file of the home that is called so has to wait until `a` is in place.
fn rank(name: &str) -> usize {
    let mut rank = 0;
    let mut rest = name;
    while let Some(shorter) =
        [".part", ".part.journal", ".part.meta"].iter().find_map(|ending| rest.strip_suffix(ending))
    {
        rest = shorter;
        rank += 1;
    }
    rank
}

/// Without the `./` that a default directory would put before every name.
#[must_use]
pub fn joined(directory: &Path, name: &str) -> PathBuf {
    if directory == Path::new(".") { PathBuf::from(name) } else { directory.join(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: EntryKind) -> Entry {
        Entry {
            name: name.into(),
            kind,
            size: 3,
            mtime_ns: 0,
            mode: 0o644,
            digest: None,
            note: None,
        }
    }

    fn files(names: &[&str]) -> Vec<Entry> {
        names.iter().map(|name| entry(name, EntryKind::File)).collect()
    }

    fn entered(entries: &[Entry]) -> Listed {
        let mut listed = Listed::default();
        listed.enter(RelPath::new("top").unwrap(), PathBuf::from("here"));
        listed.add(entries).unwrap();
        listed
    }

    /// The pieces in words; directories are not entered.
    fn pieces(listed: &mut Listed) -> Vec<String> {
        let words = |piece| match piece {
            Piece::Directory { remote, local } => format!("{remote} makes {}", local.display()),
            Piece::File { remote, local, size, .. } => {
                format!("{remote} of {size} becomes {}", local.display())
            }
            Piece::Skipped { remote, kind, .. } => format!("{remote} is {kind:?}"),
            Piece::Refused { name, error, .. } => format!("{name:?}: {error}"),
            Piece::Settle => "settle".to_owned(),
        };
        std::iter::from_fn(|| listed.next_piece().unwrap()).map(words).collect()
    }

    #[test]
    fn entries_become_paths_in_the_directory() {
        let entries = [
            entry("a", EntryKind::File),
            entry("übung\n", EntryKind::Directory),
            entry("l", EntryKind::Symlink),
            entry("o", EntryKind::Other),
        ];
        let expected = [
            "/top/a of 3 becomes here/a",
            "/top/übung\n makes here/übung\n",
            "/top/l is Symlink",
            "/top/o is Other",
        ];
        assert_eq!(pieces(&mut entered(&entries)), expected);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let long = "x".repeat(256);
        let bad = ["..", ".", "", "/etc/passwd", "../x", "a/b", "a/../../b", "a\0b", &long, "/"];
        for kind in [EntryKind::File, EntryKind::Directory, EntryKind::Symlink] {
            for name in bad {
                let mut listed = entered(&[entry(name, kind)]);
                let piece = listed.next_piece().unwrap();
                assert!(matches!(piece, Some(Piece::Refused { .. })), "{name:?}: {piece:?}");
                assert!(listed.next_piece().unwrap().is_none());
            }
        }
        let mut listed = entered(&files(&["..", "good", "a/b"]));
        assert_eq!(pieces(&mut listed).len(), 3, "the rest goes on");
    }

    #[test]
    fn what_is_left_out_is_no_piece() {
        let sieve = Sieve::new(&[], &["*.o".to_owned(), "/d/x".to_owned()]).unwrap();
        let mut listed = Listed::without(sieve);
        listed.begin(RelPath::new("top").unwrap());
        listed.enter(RelPath::new("top/d").unwrap(), PathBuf::from("d"));
        listed.add(&files(&["x", "y.o", "y", "top"])).unwrap();
        let expected = ["/top/d/y of 3 becomes d/y", "/top/d/top of 3 becomes d/top"];
        assert_eq!(pieces(&mut listed), expected);
        assert_eq!(beneath(&RelPath::new("a").unwrap(), &RelPath::root()), Path::new("a"));
    }

    #[test]
    fn what_is_in_a_directory_comes_after_it_and_before_its_neighbours() {
        let mut listed = entered(&[entry("d", EntryKind::Directory), entry("z", EntryKind::File)]);
        let Some(Piece::Directory { remote, local }) = listed.next_piece().unwrap() else {
            panic!("no directory")
        };
        listed.enter(remote, local);
        listed.add(&files(&["1"])).unwrap();
        listed.add(&[]).unwrap();
        listed.add(&files(&["2"])).unwrap();
        let expected = [
            "/top/d/1 of 3 becomes here/d/1",
            "/top/d/2 of 3 becomes here/d/2",
            "/top/z of 3 becomes here/z",
        ];
        assert_eq!(pieces(&mut listed), expected);
        assert_eq!(listed.stack.depth(), 0);
    }

    #[test]
    fn names_of_parts_wait_until_the_files_are_in_place_whose_parts_could_be_called_so() {
        let names = ["a.part.part", "a.part", "b.part.meta", "a", "b"];
        let found = pieces(&mut entered(&files(&names)));
        let order: Vec<_> = found.iter().map(|words| words.rsplit('/').next().unwrap()).collect();
        assert_eq!(order, ["a", "b", "settle", "a.part", "b.part.meta", "settle", "a.part.part"]);
        assert_eq!([".part", "a.partial", "a.part.x"].map(rank), [1, 0, 0]);
    }
}

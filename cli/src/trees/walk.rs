//! Local trees, found piece by piece: directories before what is in them, files opened and small ones read.
//!
//! Whoever runs it does so on a thread of its own, ahead of the transfers, and takes the pieces one by one; what is
//! kept is one open directory a level. No symbolic link below the paths that were named is followed, also not one that
//! replaces a directory or a file meanwhile: every name is opened from its open directory.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth::transfer::{Opened, Place, SmallFile, TransferError, Tried, fingerprint, nanoseconds};
use berth_common::entry::SourceFingerprint;
use berth_common::rel_path::{RelPath, RelPathError};
use rust_i18n::t;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Gate, Paths, Sieve};
use crate::exit::Exit;
use crate::transfer_failures;
use crate::wording::{InWords, about};

/// Where to begin: a tree, or a file beside it.
#[derive(Clone, Debug)]
pub struct Root {
    /// The local path that was named. A link is followed here.
    pub local: PathBuf,
    /// What it becomes in the home.
    pub remote: RelPath,
    /// What is known of that place, and so of all places below it.
    pub place: Place,
}

/// A piece of a tree.
#[derive(Debug)]
pub enum Step {
    /// A directory; what is in it follows.
    Directory(FoundDirectory),
    /// A file.
    File(FoundFile),
    /// A small file, which was read.
    Small(FoundSmall),
    /// A file that was only looked at.
    LookedAt(LookedAt),
    /// Something that is left out.
    Skipped {
        /// Its path.
        local: PathBuf,
        /// What it is.
        kind: NotFollowed,
    },
    /// Something that should be put and cannot be.
    Failed {
        /// Its path.
        local: PathBuf,
        /// Why not.
        error: WalkError,
    },
}

/// A directory of a tree.
#[derive(Debug)]
pub struct FoundDirectory {
    /// Its path.
    pub local: PathBuf,
    /// What it becomes in the home.
    pub remote: RelPath,
    /// To be opened when it is made, or shut.
    pub gate: Arc<Gate>,
    /// Of the directory that it is in, unless the home has that already.
    pub within: Option<Arc<Gate>>,
}

/// A file of a tree.
#[derive(Debug)]
pub struct FoundFile {
    /// Its path.
    pub local: PathBuf,
    /// What it becomes in the home.
    pub remote: RelPath,
    /// The open file.
    pub opened: Opened,
    /// Of the directory that it is in, unless the home has that already.
    pub within: Option<Arc<Gate>>,
}

/// A small file of a tree.
#[derive(Debug)]
pub struct FoundSmall {
    /// Its path.
    pub local: PathBuf,
    /// What it becomes in the home.
    pub remote: RelPath,
    /// What it has.
    pub file: SmallFile,
    /// What is known of its place in the home.
    pub place: Place,
    /// Of the directory that it is in, unless the home has that already.
    pub within: Option<Arc<Gate>>,
}

/// A file of a tree that was not opened.
#[derive(Debug)]
pub struct LookedAt {
    /// Its path.
    pub local: PathBuf,
    /// What it becomes in the home.
    pub remote: RelPath,
    /// What it is.
    pub file: SourceFingerprint,
}

/// What is neither a file nor a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFollowed {
    /// Its target is what has the content.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device, or what the operating system calls unknown.
    Device,
}

/// Why a piece of a tree cannot be put.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// Names in a home are UTF-8.
    #[error("{}", t!("its name is not UTF-8"))]
    NotUtf8,
    /// It has no path in a home.
    #[error("{}", _0.in_words())]
    Name(#[from] RelPathError),
    /// The operating system refuses it.
    #[error("{}", _0.in_words())]
    Local(TransferError),
}

impl WalkError {
    /// How the command ends for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotUtf8 | Self::Name(_) => Exit::Failure,
            Self::Local(error) => transfer_failures::exit(error),
        }
    }

    /// The sentence about `path`, which whoever shows it has named already.
    #[must_use]
    pub fn about(&self, named: &Path) -> String {
        match self {
            Self::Local(error) => about(error, named),
            Self::NotUtf8 | Self::Name(_) => self.to_string(),
        }
    }
}

/// The trees' pieces, one after the other.
#[derive(Debug)]
pub struct Walk {
    roots: VecDeque<Root>,
    takes: Takes,
    sieve: Sieve,
    settled: Arc<Paths>,
    /// The local path of the tree that is walked.
    top: PathBuf,
    /// What is known of its place.
    place: Place,
    levels: Vec<Level>,
}

/// What is done with files that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// They are looked at.
    Looks,
    /// They are opened.
    Opens,
    /// The same, and small ones are read, since they may be put together with others.
    ReadsSmall,
}

/// A directory that is being read.
#[derive(Debug)]
struct Level {
    entries: Dir,
    local: PathBuf,
    remote: RelPath,
    gate: Option<Arc<Gate>>,
}

impl Walk {
    /// Of these trees and files.
    #[must_use]
    pub fn new(roots: Vec<Root>, takes: Takes) -> Self {
        Self {
            roots: roots.into(),
            takes,
            sieve: Sieve::default(),
            settled: Arc::default(),
            top: PathBuf::new(),
            place: Place::Unknown,
            levels: Vec::new(),
        }
    }

    /// The same without what is left out; the paths that were named are not.
    #[must_use]
    pub fn without(self, sieve: Sieve) -> Self {
        Self { sieve, ..self }
    }

    /// The same without these local paths and what is in them.
    #[must_use]
    pub fn without_paths(self, settled: Arc<Paths>) -> Self {
        Self { settled, ..self }
    }

    fn begin(&mut self, Root { local, remote, place }: Root) -> Option<Step> {
        if self.settled.contains(&local) {
            return None;
        }
        self.top.clone_from(&local);
        self.place = place;
        let opened = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&local)
            .map_err(TransferError::local(Tried::Open, &local));
        let opened = opened.and_then(|file| {
            let found = file.metadata().map_err(TransferError::local(Tried::Read, &local))?;
            Ok((file, found.is_dir()))
        });
        match opened {
            Ok((file, true)) => self.enter(file.into(), local, remote, None),
            Ok((file, false)) => Some(self.found(file, local, remote, None)),
            Err(error) => Some(Step::Failed { local, error: WalkError::Local(error) }),
        }
    }

    /// Goes into a directory, which is the next piece unless it is the home.
    fn enter(
        &mut self,
        directory: rustix::fd::OwnedFd,
        local: PathBuf,
        remote: RelPath,
        within: Option<Arc<Gate>>,
    ) -> Option<Step> {
        let entries = match Dir::new(directory) {
            Ok(entries) => entries,
            Err(error) => return Some(failed(Tried::Read, local, error)),
        };
        let gate = (!remote.is_root()).then(Arc::<Gate>::default);
        let level =
            Level { entries, local: local.clone(), remote: remote.clone(), gate: gate.clone() };
        self.levels.push(level);
        Some(Step::Directory(FoundDirectory { local, remote, gate: gate?, within }))
    }

    fn found(
        &self,
        file: File,
        local: PathBuf,
        remote: RelPath,
        within: Option<Arc<Gate>>,
    ) -> Step {
        if self.takes == Takes::Looks {
            return match file.metadata() {
                Ok(found) if found.is_file() => {
                    Step::LookedAt(LookedAt { local, remote, file: fingerprint(&found) })
                }
                // Opening it says what it is.
                Ok(_) => match Opened::of(file, &local) {
                    Ok(opened) => Step::File(FoundFile { local, remote, opened, within }),
                    Err(error) => Step::Failed { local, error: WalkError::Local(error) },
                },
                Err(error) => {
                    let error = TransferError::local(Tried::Read, &local)(error);
                    Step::Failed { local, error: WalkError::Local(error) }
                }
            };
        }
        if self.takes == Takes::ReadsSmall
            && let Some(file) = SmallFile::read(&file)
        {
            return Step::Small(FoundSmall { local, remote, file, place: self.place, within });
        }
        match Opened::of(file, &local) {
            Ok(opened) => Step::File(FoundFile { local, remote, opened, within }),
            Err(error) => Step::Failed { local, error: WalkError::Local(error) },
        }
    }

    /// What an entry of the deepest directory is; nothing for the names of the directory itself and its parent.
    fn visit(&mut self, entry: &DirEntry) -> Option<Step> {
        let level = self.levels.last()?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") {
            return None;
        }
        let local = level.local.join(OsStr::from_bytes(bytes));
        let directory = match level.entries.fd() {
            Ok(directory) => directory,
            Err(error) => return Some(failed(Tried::Read, local, error)),
        };
        if self.settled.contains(&local) {
            return None;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let found = rustix::fs::statat(directory, bytes, AtFlags::SYMLINK_NOFOLLOW);
                match found {
                    Ok(found) => FileType::from_raw_mode(found.st_mode),
                    Err(error) => return Some(failed(Tried::LookAt, local, error)),
                }
            }
            known => known,
        };
        let path = local.strip_prefix(&self.top).unwrap_or(&local);
        if self.sieve.leaves_out(path, kind == FileType::Directory) {
            return None;
        }
        let skipped = match kind {
            FileType::RegularFile | FileType::Directory => None,
            FileType::Symlink => Some(NotFollowed::Link),
            FileType::Fifo => Some(NotFollowed::Fifo),
            FileType::Socket => Some(NotFollowed::Socket),
            _ => Some(NotFollowed::Device),
        };
        if let Some(kind) = skipped {
            return Some(Step::Skipped { local, kind });
        }
        let name = str::from_utf8(bytes).map_err(|_| WalkError::NotUtf8);
        let remote = match name.and_then(|name| Ok(level.remote.join(name)?)) {
            Ok(remote) => remote,
            Err(error) => return Some(Step::Failed { local, error }),
        };
        let is_directory = kind == FileType::Directory;
        if !is_directory && self.takes == Takes::Looks {
            return match rustix::fs::statat(directory, bytes, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => {
                    let file = of_stat(&found);
                    Some(Step::LookedAt(LookedAt { local, remote, file }))
                }
                Err(error) => Some(failed(Tried::LookAt, local, error)),
            };
        }
        let only = if is_directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | only;
        let opened = match rustix::fs::openat(directory, bytes, flags, Mode::empty()) {
            Ok(opened) => opened,
            // It has become a link since the directory was read.
            Err(Errno::LOOP) => return Some(Step::Skipped { local, kind: NotFollowed::Link }),
            Err(error) => return Some(failed(Tried::Open, local, error)),
        };
        let within = level.gate.clone();
        if is_directory {
            self.enter(opened, local, remote, within)
        } else {
            Some(self.found(opened.into(), local, remote, within))
        }
    }
}

impl Walk {
    /// Looks at the next entry: nothing is inside for one that is passed over, and nothing comes after the last.
    pub fn advance(&mut self) -> Option<Option<Step>> {
        let Some(level) = self.levels.last_mut() else {
            let root = self.roots.pop_front()?;
            return Some(self.begin(root));
        };
        let is_shut = level.gate.as_ref().is_some_and(|gate| gate.is_shut());
        Some(match level.entries.read() {
            Some(Ok(entry)) if !is_shut => self.visit(&entry),
            Some(Err(error)) if !is_shut => {
                let local = level.local.clone();
                self.levels.pop();
                Some(failed(Tried::Read, local, error))
            }
            _ => {
                self.levels.pop();
                None
            }
        })
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        std::iter::from_fn(|| self.advance()).flatten().next()
    }
}

/// As [`fingerprint`] of what `std` found.
fn of_stat(found: &rustix::fs::Stat) -> SourceFingerprint {
    // Their types are the architecture's.
    #[allow(clippy::unnecessary_cast, reason = "not on all of them")]
    SourceFingerprint {
        size: found.st_size as u64,
        mtime_ns: nanoseconds(found.st_mtime as i64, found.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(found.st_ctime as i64, found.st_ctime_nsec as i64),
        inode: found.st_ino as u64,
    }
}

fn failed(tried: Tried, local: PathBuf, error: Errno) -> Step {
    let error = TransferError::local(tried, &local)(io::Error::from(error));
    Step::Failed { local, error: WalkError::Local(error) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn root(local: &Path, remote: &str) -> Root {
        let remote = RelPath::new(remote).unwrap();
        Root { local: local.to_owned(), remote, place: Place::Unknown }
    }

    fn walk(local: &Path, remote: &str) -> Walk {
        Walk::new(vec![root(local, remote)], Takes::Opens)
    }

    /// What is found, in words, sorted: the order within a directory is the file system's.
    fn found_in(walk: Walk) -> Vec<String> {
        let words = |step| match step {
            Step::Directory(found) => format!("directory {}", found.remote),
            Step::File(found) => format!("file {} of {}", found.remote, found.opened.size()),
            Step::Small(found) => format!("small {} of {}", found.remote, found.file.size()),
            Step::LookedAt(found) => format!("saw {} of {}", found.remote, found.file.size),
            Step::Skipped { local, kind } => {
                format!("{} is {kind:?}", local.file_name().unwrap().display())
            }
            Step::Failed { local, error } => {
                format!("{}: {}", local.file_name().unwrap().display(), error.about(&local))
            }
        };
        let mut all: Vec<_> = walk.map(words).collect();
        all.sort();
        all
    }

    #[test]
    fn a_tree_is_found_with_its_empty_directories_and_nothing_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/empty")).unwrap();
        fs::write(top.join("a/file"), b"12345").unwrap();
        fs::write(top.join("übung"), b"").unwrap();
        symlink("/etc", top.join("link")).unwrap();
        symlink("nowhere", top.join("a/dangling")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, top.join("pipe"), Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(top.join("socket")).unwrap();
        let expected = [
            "dangling is Link",
            "directory /x",
            "directory /x/a",
            "directory /x/a/empty",
            "file /x/a/file of 5",
            "file /x/übung of 0",
            "link is Link",
            "pipe is Fifo",
            "socket is Socket",
        ];
        assert_eq!(found_in(walk(&top, "x")), expected);
        // The home itself is no piece: nobody has to make it.
        assert_eq!(found_in(walk(&top.join("a"), "")).len(), 3);
    }

    #[test]
    fn what_is_left_out_or_settled_is_not_found_and_files_may_only_be_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("out/of")).unwrap();
        fs::create_dir_all(top.join("in")).unwrap();
        for name in ["a", "b.o", "out/of/c", "in/d", "in/e"] {
            fs::write(top.join(name), name).unwrap();
        }
        let sieve = Sieve::new(&[], &["*.o".to_owned(), "/out".to_owned()]).unwrap();
        let mut settled = Paths::default();
        settled.insert(&top.join("in/e"));
        let sifted = || walk(&top, "x").without(sieve.clone());
        let all = found_in(sifted());
        let expected = ["directory /x", "directory /x/in", "file /x/a of 1"];
        assert_eq!((&all[..3], all.len()), (&expected.map(str::to_owned)[..], 5));
        assert_eq!(found_in(sifted().without_paths(Arc::new(settled))).len(), 4);
        let looking = Walk::new(vec![root(&top, "x")], Takes::Looks).without(sieve);
        let looked: Vec<_> = looking
            .filter_map(|step| match step {
                Step::LookedAt(found) => Some((found.local, found.file)),
                _ => None,
            })
            .collect();
        assert_eq!(looked.len(), 3);
        for (local, file) in looked {
            assert_eq!(file, fingerprint(&local.metadata().unwrap()), "as std sees it");
        }
        let named = Walk::new(vec![root(&top.join("a"), "f")], Takes::Looks);
        assert_eq!(found_in(named), ["saw /f of 1"]);
    }

    #[test]
    fn a_path_that_was_named_may_be_a_link_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"1").unwrap();
        symlink("file", dir.path().join("to-file")).unwrap();
        symlink(".", dir.path().join("to-dir")).unwrap();
        assert_eq!(found_in(walk(&dir.path().join("to-file"), "f")), ["file /f of 1"]);
        assert_eq!(found_in(walk(&dir.path().join("to-dir"), "d"))[0], "directory /d");
        let missing = found_in(walk(&dir.path().join("none"), "n"));
        assert_eq!(missing, ["none: cannot open it: no such file or directory"]);
        let device = found_in(walk(Path::new("/dev/null"), "n"));
        assert_eq!(device, ["null: is not a regular file; only files can be put"]);
    }

    #[test]
    fn names_that_a_home_cannot_have_are_told_and_the_rest_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), b"").unwrap();
        fs::write(dir.path().join("good"), b"").unwrap();
        let long = format!("{}/x", "a".repeat(200)).repeat(21);
        let found = found_in(walk(dir.path(), &long[..4090]));
        assert!(found.iter().any(|line| line.ends_with("its name is not UTF-8")), "{found:?}");
        assert!(found.iter().any(|line| line.contains("good of 0")), "{found:?}");
        let found = found_in(walk(dir.path(), &long[..4092]));
        assert!(found.iter().any(|line| line.contains("longer than 4096")), "{found:?}");
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_one_that_cannot_be_made_is_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), b"").unwrap();
        let mut walk = walk(dir.path(), "x");
        let mut gates = Vec::new();
        for remote in ["/x", "/x/a"] {
            let Some(Step::Directory(found)) = walk.next() else { panic!("no directory") };
            assert_eq!(found.remote.to_string(), remote);
            assert_eq!(found.within.is_some(), !gates.is_empty());
            gates.push(found.gate);
        }
        gates[1].shut();
        assert!(walk.next().is_none());
    }

    #[test]
    fn what_changes_while_it_is_walked_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::create_dir_all(dir.path().join("top/a")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), b"").unwrap();
        fs::write(dir.path().join("top/a/key"), b"").unwrap();
        let mut walk = walk(&dir.path().join("top"), "x");
        assert!(matches!(walk.next(), Some(Step::Directory(_))));
        // Read, and replaced before it is opened: the directory that is open already stays what it was.
        fs::rename(dir.path().join("top"), dir.path().join("moved")).unwrap();
        symlink(&secret, dir.path().join("top")).unwrap();
        let Some(Step::Directory(found)) = walk.next() else { panic!("no directory") };
        assert_eq!(found.remote.to_string(), "/x/a");
        fs::remove_file(dir.path().join("moved/a/key")).unwrap();
        symlink(secret.join("key"), dir.path().join("moved/a/key")).unwrap();
        let step = walk.next();
        assert!(matches!(step, Some(Step::Skipped { kind: NotFollowed::Link, .. })), "{step:?}");
    }
}

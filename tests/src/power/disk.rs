//! The simulated disk: a tree as programs see it, and beside it what of it is durable.
//!
//! Nothing is durable but what a sync that *began* after a change has made so; and a sync counts
//! from the moment at which it ended.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::bytes::Bytes;
use super::call::Call;
use super::trace::{Event, Step};
use crate::account;

/// What a disk has after the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only what was synced: bytes of a file, names of a directory, each by itself.
    Forgetful,
    /// All names and attributes, in order (one journal, as ext4 and xfs have it), up to the last
    /// call; bytes only when they were synced.
    Ordered,
    /// The same, but only as far as a sync has committed the journal: one of a directory, or of a
    /// file that has grown or other attributes. A sync of a file whose length is as it was need not
    /// commit it.
    Lagging,
}

/// A file or directory of the simulated disk; never given twice.
pub type Id = usize;

/// What a file or directory holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    File(Bytes),
    Directory(BTreeMap<String, Id>),
}

/// Attributes, which are the inode's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Attributes {
    extended: BTreeMap<String, Vec<u8>>,
    mtime_ns: Option<i128>,
}

#[derive(Clone, Debug)]
struct Inode {
    node: Node,
    attributes: Attributes,
    durable: (Node, Attributes),
}

/// Names and attributes, without bytes.
type Metadata = Vec<(Node, Attributes)>;

/// What a sync that has begun will have made durable when it ends.
#[derive(Clone, Debug)]
pub struct Begun {
    inodes: Vec<(Id, (Node, Attributes))>,
    /// Whether it commits the journal, and with what in it.
    journal: Option<Metadata>,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    inodes: Vec<Inode>,
    committed: Metadata,
}

const ROOT: Id = 0;

impl Inode {
    fn new(node: Node) -> Self {
        let empty = match node {
            Node::File(_) => Node::File(Bytes::default()),
            Node::Directory(_) => Node::Directory(BTreeMap::new()),
        };
        let durable = (empty, Attributes::default());
        Self { node, attributes: Attributes::default(), durable }
    }

    fn begin_sync(&self) -> (Node, Attributes) {
        (self.node.clone(), self.attributes.clone())
    }
}

impl Disk {
    /// A disk that durably has what stands in a directory now. Extended attributes are not read:
    /// what was there before the trace is only to be found again.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        let root = Inode::new(Node::Directory(BTreeMap::new()));
        let mut disk = Self { inodes: vec![root], committed: Vec::new() };
        disk.copy_in(directory, ROOT);
        let all = disk.begin_sync_all();
        disk.finish_sync(all);
        disk
    }

    fn copy_in(&mut self, directory: &Path, into: Id) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let name = entry.file_name().into_string().unwrap();
            let node = if name.ends_with("-shm") {
                // SQLite's index of its log: written through a mapping, and made anew at each start.
                continue;
            } else if kind.is_dir() {
                Node::Directory(BTreeMap::new())
            } else if kind.is_file() {
                Node::File(Bytes::from(fs::read(entry.path()).unwrap()))
            } else {
                // The admin socket.
                continue;
            };
            let id = self.add(node);
            self.names(into).insert(name, id);
            if kind.is_dir() {
                self.copy_in(&entry.path(), id);
            }
        }
    }

    /// Plays one step of a trace. `begun` has the syncs that have begun and not ended.
    ///
    /// # Panics
    /// When it does not fit the tree: the trace has a hole.
    pub fn step(&mut self, event: &Event, begun: &mut BTreeMap<usize, Begun>) {
        match &event.step {
            Step::Done(call) => self.play(call),
            Step::SyncBegins(number, call) => drop(begun.insert(*number, self.begin(call))),
            Step::SyncEnds(number) => {
                self.finish_sync(begun.remove(number).expect("it has begun"));
            }
        }
    }

    fn play(&mut self, call: &Call) {
        match call {
            Call::Create { path, truncate } => match (self.find(path), truncate) {
                (None, _) => self.enter(path, Node::File(Bytes::default())),
                (Some(id), true) => self.inodes[id].node = Node::File(Bytes::default()),
                (Some(_), false) => {}
            },
            Call::MakeDirectory { path } => self.enter(path, Node::Directory(BTreeMap::new())),
            Call::Write { path, offset, bytes } => write(self.bytes(path), *offset, bytes),
            Call::Copy { from, from_offset, to, to_offset, length } => {
                let bytes = self.bytes(from)[*from_offset..*from_offset + *length].to_vec();
                write(self.bytes(to), Some(*to_offset), &bytes);
            }
            Call::Truncate { path, length } => self.bytes(path).resize(*length, 0),
            Call::Rename { from, to, exchange } => {
                let moved = self.remove(from);
                let (parent, name) = self.place(to);
                let displaced = self.names(parent).insert(name, moved);
                if *exchange {
                    let displaced = displaced.expect("something to exchange with");
                    let (parent, name) = self.place(from);
                    self.names(parent).insert(name, displaced);
                }
            }
            Call::Link { from, to } => {
                let id = self.get(from);
                let (parent, name) = self.place(to);
                self.names(parent).insert(name, id);
            }
            Call::Unlink { path } => drop(self.remove(path)),
            Call::SetAttribute { path, name, value } => {
                let id = self.get(path);
                self.inodes[id].attributes.extended.insert(name.clone(), value.clone());
            }
            Call::RemoveAttribute { path, name } => {
                let id = self.get(path);
                self.inodes[id].attributes.extended.remove(name);
            }
            Call::SetTimes { path, mtime_ns } => {
                let id = self.get(path);
                self.inodes[id].attributes.mtime_ns = Some(*mtime_ns);
            }
            Call::Sync { .. } | Call::SyncAll => panic!("a sync begins and ends"),
        }
    }

    /// What a sync that begins now will have made durable.
    fn begin(&self, call: &Call) -> Begun {
        match call {
            Call::Sync { path } => self.begin_sync(path),
            Call::SyncAll => self.begin_sync_all(),
            other => panic!("{other:?} is no sync"),
        }
    }

    fn begin_sync(&self, path: &Path) -> Begun {
        let Some(id) = self.find(path) else {
            return Begun { inodes: Vec::new(), journal: None };
        };
        let inode = &self.inodes[id];
        let grown = match (&inode.node, &inode.durable.0) {
            (Node::File(now), Node::File(before)) => now.len() != before.len(),
            _ => true,
        };
        let committed = self.committed.get(id);
        let described_anew = committed.is_some_and(|(_, known)| *known != inode.attributes);
        let journal = (grown || described_anew).then(|| self.metadata());
        Begun { inodes: vec![(id, inode.begin_sync())], journal }
    }

    fn begin_sync_all(&self) -> Begun {
        let inodes = self.inodes.iter().map(Inode::begin_sync).enumerate().collect();
        Begun { inodes, journal: Some(self.metadata()) }
    }

    fn metadata(&self) -> Metadata {
        let of = |inode: &Inode| match &inode.node {
            Node::File(_) => (Node::File(Bytes::default()), inode.attributes.clone()),
            Node::Directory(_) => (inode.node.clone(), inode.attributes.clone()),
        };
        self.inodes.iter().map(of).collect()
    }

    fn finish_sync(&mut self, begun: Begun) {
        for (id, durable) in begun.inodes {
            self.inodes[id].durable = durable;
        }
        if let Some(journal) = begun.journal {
            self.committed = journal;
        }
    }

    fn after(&self, kind: Kind, id: Id) -> (&Node, &Attributes) {
        let inode = &self.inodes[id];
        let (durable, attributes) = (&inode.durable.0, &inode.durable.1);
        let (names, journaled) = match (kind, self.committed.get(id)) {
            (Kind::Forgetful, _) => return (durable, attributes),
            (Kind::Lagging, Some((names, attributes))) => (names, attributes),
            // Nothing that is found has been made since.
            (Kind::Lagging, None) | (Kind::Ordered, _) => (&inode.node, &inode.attributes),
        };
        match inode.node {
            Node::Directory(_) => (names, journaled),
            Node::File(_) => (durable, journaled),
        }
    }

    /// A number that is the same for the same content after a power cut now.
    #[must_use]
    pub fn state(&self, kind: Kind) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(kind, ROOT, &mut hasher);
        hasher.finish()
    }

    fn hash(&self, kind: Kind, id: Id, hasher: &mut DefaultHasher) {
        let (node, attributes) = self.after(kind, id);
        attributes.hash(hasher);
        match node {
            Node::File(bytes) => bytes.hash(hasher),
            Node::Directory(names) => {
                names.len().hash(hasher);
                for (name, id) in names {
                    (name, id).hash(hasher);
                    self.hash(kind, *id, hasher);
                }
            }
        }
    }

    /// Writes into an empty directory what is left after a power cut now, and says which inode each
    /// file or directory got. Names of one file become links of one file again.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_out(&self, kind: Kind, directory: &Path) -> BTreeMap<Id, u64> {
        let mut written = BTreeMap::new();
        self.write_node(kind, ROOT, directory, &mut written);
        let inode = |path: PathBuf| fs::symlink_metadata(path).unwrap().ino();
        written.into_iter().map(|(id, path)| (id, inode(path))).collect()
    }

    /// What stands at a path, as programs see it.
    #[must_use]
    pub fn id(&self, path: &Path) -> Option<Id> {
        self.find(path)
    }

    fn write_node(&self, kind: Kind, id: Id, path: &Path, written: &mut BTreeMap<Id, PathBuf>) {
        let (node, attributes) = self.after(kind, id);
        if let Some(first) = written.insert(id, path.to_owned()) {
            // Of a directory: it was moved, and only one of the two parents was synced. Its other
            // name is left out, since a real file system would drop one of them too.
            if matches!(node, Node::File(_)) {
                fs::hard_link(first, path).unwrap();
            }
            return;
        }
        match node {
            Node::File(bytes) => {
                fs::write(path, &**bytes).unwrap();
            }
            Node::Directory(names) => {
                if !path.is_dir() {
                    fs::create_dir(path).unwrap();
                }
                for (name, id) in names {
                    self.write_node(kind, *id, &path.join(name), written);
                }
            }
        }
        private(path, matches!(node, Node::Directory(_)));
        account::give(path);
        for (name, value) in &attributes.extended {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, name.as_str(), value, flags).unwrap();
        }
        if let Some(mtime_ns) = attributes.mtime_ns {
            let since = Duration::from_nanos(u64::try_from(mtime_ns).unwrap());
            let times = FileTimes::new().set_modified(UNIX_EPOCH + since);
            File::open(path).unwrap().set_times(times).unwrap();
        }
    }

    // The tree.

    fn add(&mut self, node: Node) -> Id {
        self.inodes.push(Inode::new(node));
        self.inodes.len() - 1
    }

    fn enter(&mut self, path: &Path, node: Node) {
        let id = self.add(node);
        let (parent, name) = self.place(path);
        assert!(self.names(parent).insert(name, id).is_none(), "{} was there", path.display());
    }

    fn remove(&mut self, path: &Path) -> Id {
        let (parent, name) = self.place(path);
        let removed = self.names(parent).remove(&name);
        removed.unwrap_or_else(|| panic!("{} is not there", path.display()))
    }

    fn place(&self, path: &Path) -> (Id, String) {
        let parent = self.get(path.parent().expect("a parent"));
        (parent, path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn names(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.inodes[id].node {
            Node::Directory(names) => names,
            Node::File(_) => panic!("a file has no names"),
        }
    }

    fn bytes(&mut self, path: &Path) -> &mut Vec<u8> {
        let id = self.get(path);
        match &mut self.inodes[id].node {
            Node::File(bytes) => bytes.make_mut(),
            Node::Directory(_) => panic!("{} is a directory", path.display()),
        }
    }

    fn get(&self, path: &Path) -> Id {
        self.find(path).unwrap_or_else(|| panic!("{} is not there", path.display()))
    }

    fn find(&self, path: &Path) -> Option<Id> {
        path.components().try_fold(ROOT, |id, component| match (&self.inodes[id].node, component) {
            (Node::Directory(names), Component::Normal(name)) => names.get(name.to_str()?).copied(),
            _ => None,
        })
    }
}

fn write(file: &mut Vec<u8>, offset: Option<usize>, bytes: &[u8]) {
    let at = offset.unwrap_or(file.len());
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// As Berth leaves what it makes.
fn private(path: &Path, directory: bool) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if directory { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &str) -> Call {
        Call::Create { path: path.into(), truncate: false }
    }

    fn write(path: &str, bytes: &[u8]) -> Call {
        Call::Write { path: path.into(), offset: Some(0), bytes: bytes.to_vec() }
    }

    fn sync(disk: &mut Disk, path: &str) {
        let begun = disk.begin_sync(Path::new(path));
        disk.finish_sync(begun);
    }

    fn after(disk: &Disk, kind: Kind) -> BTreeMap<String, Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        disk.write_out(kind, directory.path());
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(path).unwrap());
        }
        files
    }

    fn files<const N: usize>(files: [(&str, &[u8]); N]) -> BTreeMap<String, Vec<u8>> {
        files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).into()
    }

    fn empty() -> Disk {
        Disk::of(tempfile::tempdir().unwrap().path())
    }

    #[test]
    fn a_name_and_its_bytes_are_durable_each_by_its_own_sync() {
        let mut disk = empty();
        disk.play(&create("a"));
        disk.play(&write("a", b"one"));
        assert_eq!(after(&disk, Kind::Forgetful), files([]));
        assert_eq!(after(&disk, Kind::Ordered), files([("a", b"")]));
        sync(&mut disk, "a");
        assert_eq!(after(&disk, Kind::Forgetful), files([]));
        assert_eq!(after(&disk, Kind::Ordered), files([("a", b"one")]));
        sync(&mut disk, "");
        assert_eq!(after(&disk, Kind::Forgetful), files([("a", b"one")]));
    }

    #[test]
    fn a_journal_that_lags_has_what_a_sync_of_anything_has_committed() {
        let mut disk = empty();
        for name in ["a", "log"] {
            disk.play(&create(name));
            disk.play(&write(name, b"one"));
            sync(&mut disk, name);
        }
        disk.play(&Call::Rename { from: "a".into(), to: "b".into(), exchange: false });
        disk.play(&write("log", b"two"));
        let overwritten = disk.begin_sync(Path::new("log"));
        disk.finish_sync(overwritten);
        let expected = files([("a", b"one"), ("log", b"two")]);
        assert_eq!(after(&disk, Kind::Lagging), expected, "no size has changed");
        disk.play(&Call::Write { path: "log".into(), offset: None, bytes: vec![0] });
        let grown = disk.begin_sync(Path::new("log"));
        disk.finish_sync(grown);
        assert_eq!(after(&disk, Kind::Lagging), files([("b", b"one"), ("log", b"two\0")]));
    }

    #[test]
    fn what_is_written_while_a_sync_runs_is_not_in_it() {
        let mut disk = empty();
        disk.play(&create("a"));
        disk.play(&write("a", b"one"));
        let begun = disk.begin_sync_all();
        disk.play(&write("a", b"two"));
        assert_eq!(after(&disk, Kind::Forgetful), files([]), "it has not ended");
        disk.finish_sync(begun);
        assert_eq!(after(&disk, Kind::Forgetful), files([("a", b"one")]));
    }

    #[test]
    fn an_exchange_and_an_unlink_come_back_where_their_directory_was_not_synced() {
        let mut disk = empty();
        for (name, bytes) in [("a", b"new"), ("b", b"old")] {
            disk.play(&create(name));
            disk.play(&write(name, bytes));
        }
        let all = disk.begin_sync_all();
        disk.finish_sync(all);
        let before = disk.state(Kind::Forgetful);
        disk.play(&Call::Rename { from: "a".into(), to: "b".into(), exchange: true });
        disk.play(&Call::Unlink { path: "a".into() });
        assert_eq!(disk.state(Kind::Forgetful), before);
        assert_eq!(after(&disk, Kind::Forgetful), files([("a", b"new"), ("b", b"old")]));
        assert_eq!(after(&disk, Kind::Ordered), files([("b", b"new")]));
        sync(&mut disk, "");
        assert_ne!(disk.state(Kind::Forgetful), before);
        assert_eq!(after(&disk, Kind::Forgetful), files([("b", b"new")]));
    }
}

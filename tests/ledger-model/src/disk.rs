//! A tiny file system: inodes, directory entries, and the list of directory operations that no fsync has
//! made durable yet. What a power cut leaves of it is in `power.rs`.
//!
//! Numbers are bytes, so that a state is small: an object is an inode's place in the table, a name is one
//! number with ranges for the home's names and for what the daemon mints.

use crate::power::Power;

/// A place in the table of inodes. Objects below [`FIRST_MADE`] exist at the start.
pub(crate) type Object = u8;
/// A directory entry's name.
pub(crate) type Name = u8;

pub(crate) const HOME: Object = 0;
pub(crate) const STAGING: Object = 1;
/// No object, no name, no session, no owner.
pub(crate) const NONE: u8 = 255;
/// Session `s` makes with its operation `i` the object `FIRST_MADE + 4 s + i`.
pub(crate) const FIRST_MADE: Object = 8;
/// Operations of three sessions, of which each has four numbers.
pub(crate) const OPERATIONS: u8 = 12;
/// The staging name of an operation's row is `MINTED` and the operation's number.
pub(crate) const MINTED: Name = 16;
/// The same for what is deleted while the ledger cannot be written.
pub(crate) const OWED: Name = MINTED + OPERATIONS;
/// The same for the name under which an owed one is taken later.
pub(crate) const RETAKEN: Name = OWED + OPERATIONS;
/// All minted names lie below it.
pub(crate) const END_OF_NAMES: Name = RETAKEN + OPERATIONS;

const INODES: usize = (FIRST_MADE + OPERATIONS) as usize;

/// A name as a trace shows it.
pub(crate) fn name(name: Name) -> String {
    match name {
        0..MINTED => char::from(b'a' + name).to_string(),
        MINTED..OWED => format!("s{}", name - MINTED),
        OWED..RETAKEN => format!("owed-{}", name - OWED),
        RETAKEN..END_OF_NAMES => format!("t{}", name - RETAKEN),
        _ => "-".into(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Kind {
    #[default]
    Unused,
    File,
    Directory,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    pub(crate) size: u8,
    /// Identity of the content, for the check of linearizability.
    pub(crate) content: u8,
    /// All bytes are there (I4).
    pub(crate) whole: bool,
    /// The data is durable.
    pub(crate) synced: bool,
    /// What `stat` shows; the lowest free number is taken again at once.
    pub(crate) number: u8,
}

/// (directory, name, object)
pub(crate) type Entry = (Object, Name, Object);

/// A change of directories that is not durable yet.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Change {
    removed: Vec<Entry>,
    added: Vec<Entry>,
    /// Bits of the directories and of the objects that it touches.
    pub(crate) directories: u32,
    pub(crate) objects: u32,
}

impl Change {
    pub(crate) fn apply_to(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| !self.removed.contains(entry));
        entries.extend(self.added.iter().copied());
        entries.sort();
    }
}

/// Bytes and entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Amount {
    pub(crate) bytes: i16,
    pub(crate) entries: i16,
}

impl Amount {
    pub(crate) fn of(bytes: i16, entries: i16) -> Self {
        Self { bytes, entries }
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::of(self.bytes + other.bytes, self.entries + other.entries)
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::of(self.bytes - other.bytes, self.entries - other.entries)
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |sum, amount| sum + amount)
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) inodes: [Inode; INODES],
    pub(crate) entries: Vec<Entry>,
    /// What a power cut leaves for certain.
    pub(crate) durable: Vec<Entry>,
    /// What is in the cache alone, oldest first; empty in runs without power cuts.
    pub(crate) pending: Vec<Change>,
    pub(crate) power: Power,
}

impl Disk {
    pub(crate) fn new(power: Power) -> Self {
        let mut inodes = [Inode::default(); INODES];
        for (inode, number) in inodes.iter_mut().zip([200, 201]) {
            *inode = Inode { kind: Kind::Directory, whole: true, synced: true, number, ..*inode };
        }
        Self { inodes, entries: vec![], durable: vec![], pending: vec![], power }
    }

    /// Something that is there from the start.
    pub(crate) fn place(&mut self, entry: Entry, kind: Kind, size: u8) {
        let object = entry.2;
        self.inodes[usize::from(object)] =
            Inode { kind, size, content: object, whole: true, synced: true, number: object };
        self.entries.push(entry);
        self.entries.sort();
        self.durable = self.entries.clone();
    }

    pub(crate) fn inode(&self, object: Object) -> &Inode {
        &self.inodes[usize::from(object)]
    }

    pub(crate) fn inode_mut(&mut self, object: Object) -> &mut Inode {
        &mut self.inodes[usize::from(object)]
    }

    pub(crate) fn get(&self, directory: Object, name: Name) -> Option<Object> {
        self.entries.iter().find(|entry| (entry.0, entry.1) == (directory, name)).map(|it| it.2)
    }

    pub(crate) fn staged(&self, name: Name) -> Option<Object> {
        self.get(STAGING, name)
    }

    pub(crate) fn is_directory(&self, object: Object) -> bool {
        self.inode(object).kind == Kind::Directory
    }

    /// A removed directory accepts no new names (ENOENT), even through a descriptor.
    pub(crate) fn is_alive(&self, object: Object) -> bool {
        object == HOME || object == STAGING || self.entries.iter().any(|entry| entry.2 == object)
    }

    pub(crate) fn list(&self, directory: Object) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().copied().filter(move |entry| entry.0 == directory)
    }

    pub(crate) fn is_empty(&self, directory: Object) -> bool {
        self.list(directory).next().is_none()
    }

    pub(crate) fn links(&self, object: Object) -> usize {
        self.entries.iter().filter(|entry| entry.2 == object).count()
    }

    /// Everything below a directory.
    pub(crate) fn below(&self, directory: Object) -> Vec<Entry> {
        let mut found: Vec<Entry> = self.list(directory).collect();
        let mut next = 0;
        while next < found.len() {
            let object = found[next].2;
            if self.is_directory(object) {
                found.extend(self.list(object));
            }
            next += 1;
        }
        found
    }

    /// What a tree has, the object itself included unless it is a root.
    pub(crate) fn walk(&self, object: Object) -> Amount {
        let itself = i16::from(object != HOME && object != STAGING);
        let size = |object| i16::from(self.inode(object).size);
        let below = self.below(object).into_iter().map(|entry| Amount::of(size(entry.2), 1));
        Amount::of(size(object), itself) + below.sum()
    }

    fn change(&mut self, removed: Vec<Entry>, added: Vec<Entry>) {
        let mut change = Change { removed, added, directories: 0, objects: 0 };
        for entry in change.removed.iter().chain(&change.added) {
            change.directories |= 1 << entry.0;
            change.objects |= 1 << entry.2;
        }
        change.apply_to(&mut self.entries);
        if self.power != Power::Off {
            self.pending.push(change);
        }
    }

    pub(crate) fn create(&mut self, name: Name, object: Object, kind: Kind) {
        let taken = |number| self.entries.iter().any(|it| self.inode(it.2).number == number);
        let number = (2..NONE).find(|number| !taken(*number)).unwrap_or(NONE);
        let whole = kind == Kind::Directory;
        *self.inode_mut(object) =
            Inode { kind, size: 0, content: object, whole, synced: whole, number };
        self.change(vec![], vec![(STAGING, name, object)]);
    }

    pub(crate) fn rename(&mut self, from: (Object, Name), to: (Object, Name)) {
        let Some(object) = self.get(from.0, from.1) else { return };
        let mut removed = vec![(from.0, from.1, object)];
        removed.extend(self.get(to.0, to.1).map(|replaced| (to.0, to.1, replaced)));
        self.change(removed, vec![(to.0, to.1, object)]);
    }

    pub(crate) fn exchange(&mut self, a: (Object, Name), b: (Object, Name)) {
        let (Some(x), Some(y)) = (self.get(a.0, a.1), self.get(b.0, b.1)) else { return };
        let removed = vec![(a.0, a.1, x), (b.0, b.1, y)];
        self.change(removed, vec![(b.0, b.1, x), (a.0, a.1, y)]);
    }

    /// A second name, in staging.
    pub(crate) fn link(&mut self, from: (Object, Name), name: Name) {
        if let Some(object) = self.get(from.0, from.1) {
            self.change(vec![], vec![(STAGING, name, object)]);
        }
    }

    /// Removes what stands at a staging name, if anything does, with all that is below it.
    pub(crate) fn remove(&mut self, name: Name) {
        if let Some(object) = self.staged(name) {
            let mut removed = vec![(STAGING, name, object)];
            removed.extend(self.below(object));
            self.change(removed, vec![]);
        }
    }
}

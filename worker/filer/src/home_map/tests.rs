//! The map against a home that changes under its walk, in every order that chance comes up with.

use std::collections::BTreeMap;

use berth_common::rel_path::RelPath;
use proptest::prelude::*;

use super::*;

#[test]
fn what_is_seen_twice_counts_once_and_a_report_outweighs_every_sight() {
    let mut map = HomeMap::new();
    map.saw(1, 10).unwrap();
    map.saw(1, 10).unwrap();
    assert_eq!(map.sum(), Ok(Sum { bytes: 10, entries: 1 }));
    map.report(&HomeReport::Left { inode: 1 }).unwrap();
    map.saw(1, 10).unwrap();
    assert_eq!(map.sum(), Ok(Sum::default()));
    // The number is another file's by now.
    map.report(&HomeReport::Stands { inode: 1, bytes: 7 }).unwrap();
    map.saw(1, 10).unwrap();
    assert_eq!(map.sum(), Ok(Sum { bytes: 7, entries: 1 }));
}

#[test]
fn a_moved_directory_is_listed_again_at_its_new_place() {
    let mut map = HomeMap::new();
    assert!(map.next_directory().unwrap().names().is_empty());
    assert!(map.next_directory().is_none());
    let place = RelPath::new("a/b").unwrap();
    map.report(&HomeReport::Moved { inode: 3, place }).unwrap();
    assert!(map.has_unlisted());
    assert_eq!(map.next_directory().unwrap().names(), [b"a", b"b"]);
    assert_eq!(map.sum(), Ok(Sum { bytes: 0, entries: 1 }));
}

#[test]
fn each_name_of_a_thing_with_several_counts_once() {
    let mut map = HomeMap::new();
    let place = |name: &str| Directory::root().below(name.as_bytes());
    for (parent, name) in [(7, "x"), (7, "y"), (8, "x"), (7, "x")] {
        map.saw_link(1, 100, true, (parent, place(name))).unwrap();
    }
    map.saw_link(2, 0, false, (7, place("socket"))).unwrap();
    assert_eq!(map.sum(), Ok(Sum { bytes: 300, entries: 4 }));
    assert_eq!(map.linked_files().count(), 1);
    // A rename over it had linked it for a moment.
    map.saw(1, 100).unwrap();
    assert_eq!(map.sum(), Ok(Sum { bytes: 100, entries: 2 }));
    map.saw_link(1, 100, true, (7, place("x"))).unwrap();
    map.report(&HomeReport::Left { inode: 1 }).unwrap();
    map.saw_link(1, 100, true, (7, place("x"))).unwrap();
    assert_eq!(map.sum(), Ok(Sum { bytes: 0, entries: 1 }));
}

#[test]
fn sizes_that_no_ledger_holds_are_refused_and_never_wrapped() {
    let mut map = HomeMap::new();
    assert_eq!(map.saw(1, i64::MAX as u64), Err(MapError::TooLarge));
    map.saw(1, i64::MAX as u64 - 1).unwrap();
    map.saw(2, 2).unwrap();
    assert_eq!(map.sum(), Err(MapError::TooLarge));
}

const ROOT: u64 = 0;

/// A home as it truly is: for each inode where it stands, and its bytes if it is a file.
#[derive(Clone, Debug, Default)]
struct Home {
    things: BTreeMap<u64, Thing>,
}

#[derive(Clone, Copy, Debug)]
struct Thing {
    parent: u64,
    bytes: Option<u64>,
}

impl Home {
    fn sum(&self) -> Sum {
        let bytes = self.things.values().filter_map(|thing| thing.bytes).sum();
        Sum { bytes, entries: self.things.len() as u64 }
    }

    /// The lowest free number, as a file system may give it at once.
    fn free(&self) -> u64 {
        (1..).find(|inode| !self.things.contains_key(inode)).unwrap()
    }

    fn directories(&self) -> Vec<u64> {
        let is_directory = |(_, thing): &(&u64, &Thing)| thing.bytes.is_none();
        let inner = self.things.iter().filter(is_directory).map(|(inode, _)| *inode);
        std::iter::once(ROOT).chain(inner).collect()
    }

    fn place(&self, inode: u64) -> RelPath {
        let mut names = Vec::new();
        let mut at = inode;
        while at != ROOT {
            names.push(at.to_string());
            at = self.things[&at].parent;
        }
        names.reverse();
        RelPath::new(&names.join("/")).unwrap_or_else(|_| RelPath::root())
    }

    fn is_below(&self, inode: u64, above: u64) -> bool {
        let mut at = inode;
        while at != ROOT {
            if at == above {
                return true;
            }
            at = self.things[&at].parent;
        }
        above == ROOT
    }

    /// The directory that stands at a place, if one does. A thing's name is its number.
    fn find(&self, place: &Directory) -> Option<u64> {
        let mut at = ROOT;
        for name in place.names() {
            let inode: u64 = std::str::from_utf8(name).unwrap().parse().unwrap();
            let thing = self.things.get(&inode)?;
            if thing.parent != at || thing.bytes.is_some() {
                return None;
            }
            at = inode;
        }
        Some(at)
    }
}

/// A step of a session or of the walk; the numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Put {
        directory: usize,
        bytes: u64,
    },
    MakeDirectory {
        directory: usize,
    },
    Remove {
        thing: usize,
    },
    Overwrite {
        thing: usize,
        bytes: u64,
    },
    Rename {
        thing: usize,
        directory: usize,
    },
    /// The walk goes on by one entry, or by one directory.
    Walk,
    /// The walk is told of some of what has happened.
    Hear {
        count: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..9usize, 0..50u64).prop_map(|(directory, bytes)| Step::Put { directory, bytes }),
        (0..9usize).prop_map(|directory| Step::MakeDirectory { directory }),
        (0..20usize).prop_map(|thing| Step::Remove { thing }),
        (0..20usize, 0..50u64).prop_map(|(thing, bytes)| Step::Overwrite { thing, bytes }),
        (0..20usize, 0..9usize).prop_map(|(thing, directory)| Step::Rename { thing, directory }),
        Just(Step::Walk),
        Just(Step::Walk),
        Just(Step::Walk),
        (1..5usize).prop_map(|count| Step::Hear { count }),
    ]
}

/// The home, the reports on their way, and a walk as [`crate::walking`] makes it.
struct World {
    home: Home,
    reports: std::collections::VecDeque<HomeReport>,
    map: HomeMap,
    /// The directory that is open, and the names that were read in it.
    listing: Option<(u64, Directory, Vec<u64>)>,
}

impl World {
    fn session(&mut self, step: &Step) {
        let pick = |home: &Home, number: usize| {
            let keys: Vec<u64> = home.things.keys().copied().collect();
            (!keys.is_empty()).then(|| keys[number % keys.len()])
        };
        let directory = |home: &Home, number: usize| {
            let all = home.directories();
            all[number % all.len()]
        };
        match *step {
            Step::Put { directory: number, bytes } => {
                let (parent, inode) = (directory(&self.home, number), self.home.free());
                self.home.things.insert(inode, Thing { parent, bytes: Some(bytes) });
                self.reports.push_back(HomeReport::Stands { inode, bytes });
            }
            Step::MakeDirectory { directory: number } => {
                let (parent, inode) = (directory(&self.home, number), self.home.free());
                self.home.things.insert(inode, Thing { parent, bytes: None });
                self.reports.push_back(HomeReport::Stands { inode, bytes: 0 });
            }
            Step::Remove { thing } => {
                let Some(top) = pick(&self.home, thing) else { return };
                let gone: Vec<u64> = self
                    .home
                    .things
                    .keys()
                    .copied()
                    .filter(|inode| self.home.is_below(*inode, top))
                    .collect();
                for inode in gone {
                    self.home.things.remove(&inode);
                    self.reports.push_back(HomeReport::Left { inode });
                }
            }
            Step::Overwrite { thing, bytes } => {
                let Some(old) = pick(&self.home, thing) else { return };
                let Thing { parent, bytes: Some(_) } = self.home.things[&old] else { return };
                // Both are alive when they are exchanged.
                let inode = self.home.free();
                self.home.things.insert(inode, Thing { parent, bytes: Some(bytes) });
                self.home.things.remove(&old);
                self.reports.push_back(HomeReport::Stands { inode, bytes });
                self.reports.push_back(HomeReport::Left { inode: old });
            }
            Step::Rename { thing, directory: number } => {
                let Some(inode) = pick(&self.home, thing) else { return };
                let parent = directory(&self.home, number);
                if self.home.is_below(parent, inode) {
                    return;
                }
                let bytes = self.home.things[&inode].bytes;
                self.home.things.insert(inode, Thing { parent, bytes });
                self.reports.push_back(match bytes {
                    Some(bytes) => HomeReport::Stands { inode, bytes },
                    None => HomeReport::Moved { inode, place: self.home.place(inode) },
                });
            }
            Step::Walk | Step::Hear { .. } => {}
        }
    }

    /// `false` when nothing is left to list.
    fn walk(&mut self) -> bool {
        let Some((directory, place, names)) = &mut self.listing else {
            let Some(place) = self.map.next_directory() else { return false };
            self.listing = self.home.find(&place).map(|inode| {
                let below = self.home.things.iter().filter(|(_, thing)| thing.parent == inode);
                (inode, place, below.map(|(inode, _)| *inode).collect())
            });
            return true;
        };
        let Some(name) = names.pop() else {
            self.listing = None;
            return true;
        };
        // The open directory may stand elsewhere by now, or be gone; the name may be.
        if let Some(thing) = self.home.things.get(&name).filter(|thing| thing.parent == *directory)
        {
            self.map.saw(name, thing.bytes.unwrap_or(0)).unwrap();
            if thing.bytes.is_none() {
                let below = place.below(name.to_string().as_bytes());
                self.map.add_unlisted(below).unwrap();
            }
        }
        true
    }

    fn hear(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(report) = self.reports.pop_front() {
                self.map.report(&report).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_is_that_of_the_instant_whatever_happens_meanwhile(
        before in prop::collection::vec(step(), 0..25),
        during in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World {
            home: Home::default(),
            reports: Default::default(),
            map: HomeMap::new(),
            listing: None,
        };
        before.iter().for_each(|step| world.session(step));
        // The window opens.
        world.reports.clear();
        for step in &during {
            match step {
                Step::Walk => drop(world.walk()),
                Step::Hear { count } => world.hear(*count),
                _ => world.session(step),
            }
        }
        // Under the ticket.
        world.hear(world.reports.len());
        while world.walk() {}
        prop_assert_eq!(world.map.sum().unwrap(), world.home.sum());
    }
}

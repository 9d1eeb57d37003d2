//! Where a thing stands in a home: a chain of names that shares what lies above with its neighbours.
//!
//! A path may be longer than any system call takes, since directories can be renamed into each other, and
//! a list of whole paths would be larger than the map itself.

use std::rc::Rc;

use berth_common::rel_path::RelPath;

/// A place: the home's root, or a name below another place. Names are as the directory has them.
#[derive(Clone, Debug)]
pub(crate) struct Directory(Option<Rc<Link>>);

#[derive(Debug)]
struct Link {
    above: Directory,
    name: Box<[u8]>,
}

impl Directory {
    /// The home itself.
    pub(crate) fn root() -> Self {
        Self(None)
    }

    /// What a client calls so.
    pub(crate) fn at(path: &RelPath) -> Self {
        path.components().fold(Self::root(), |above, name| above.below(name.as_bytes()))
    }

    /// A name in this directory.
    pub(crate) fn below(&self, name: &[u8]) -> Self {
        Self(Some(Rc::new(Link { above: self.clone(), name: name.into() })))
    }

    /// The last name; empty for the home itself.
    pub(crate) fn name(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], |link| &link.name)
    }

    /// The names from the root down.
    pub(crate) fn names(&self) -> Vec<&[u8]> {
        let mut names = Vec::new();
        let mut place = self;
        while let Some(link) = place.0.as_deref() {
            names.push(&*link.name);
            place = &link.above;
        }
        names.reverse();
        names
    }

    /// For people: its last part, if it is very long.
    pub(crate) fn text(&self) -> String {
        const MOST: usize = 512;
        let path = self.names().join(&b'/');
        let text = String::from_utf8_lossy(&path);
        let cut = text.char_indices().rev().nth(MOST).map(|(at, _)| at);
        match cut {
            None => text.into_owned(),
            Some(at) => format!("…{}", &text[at..]),
        }
    }
}

/// One link after the other: a chain may be deeper than a stack.
impl Drop for Directory {
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next.and_then(Rc::into_inner) {
            next = link.above.0.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_the_names_above_it() {
        let place = Directory::at(&RelPath::new("a/b").unwrap()).below(b"c\xff");
        assert_eq!(place.names(), [b"a".as_slice(), b"b", b"c\xff"]);
        assert_eq!(place.name(), b"c\xff");
        assert_eq!(place.text(), "a/b/c\u{fffd}");
        assert_eq!(Directory::root().names(), [] as [&[u8]; 0]);
        assert_eq!(Directory::at(&RelPath::root()).text(), "");
    }

    #[test]
    fn a_chain_deeper_than_a_stack_is_dropped() {
        let mut place = Directory::root();
        for _ in 0..1_000_000 {
            place = place.below(b"d");
        }
        let sibling = place.below(b"x");
        drop(place);
        assert!(sibling.text().starts_with('…'));
    }
}

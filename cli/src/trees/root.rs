//! What the trees of a command become on the other side: which name a tree gets there, and that no two fill the same
//! place. Plain decisions, the same for both directions.

use std::collections::HashSet;
use std::hash::Hash;

use rust_i18n::t;

/// Whether a path that was typed means what is in a directory rather than the directory: it ends in `.` or `..`, or
/// is a root. So `put -r .` fills a directory, as `cp -r .` does, while `put -r photos/` is `put -r photos`.
#[must_use]
pub fn contents_of(typed: &[u8]) -> bool {
    let end = typed.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let last = typed[..end].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    matches!(last, b"" | b"." | b"..")
}

/// Two of a command's arguments would fill the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", t!("two of the arguments would fill the same place"))]
pub struct FillsError;

/// The places that the arguments fill so far.
#[derive(Debug)]
pub struct Fills<P> {
    names: HashSet<P>,
    /// A directory is filled by somebody's contents, whose names are not known.
    contents: bool,
}

impl<P> Default for Fills<P> {
    fn default() -> Self {
        Self { names: HashSet::new(), contents: false }
    }
}

impl<P: Eq + Hash> Fills<P> {
    /// One more argument becomes this.
    ///
    /// # Errors
    /// When another does already.
    pub fn name(&mut self, place: P) -> Result<(), FillsError> {
        if self.contents || !self.names.insert(place) { Err(FillsError) } else { Ok(()) }
    }

    /// The contents of one more argument go where all the others go too.
    ///
    /// # Errors
    /// When there are others, whose names may be among them.
    pub fn contents(&mut self) -> Result<(), FillsError> {
        let alone = self.names.is_empty() && !std::mem::replace(&mut self.contents, true);
        if alone { Ok(()) } else { Err(FillsError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_name_means_what_is_in_the_directory() {
        for typed in [".", "./", "..", "a/.", "a/./", "a/..", "/", "//", "", "../.."] {
            assert!(contents_of(typed.as_bytes()), "{typed}");
        }
        for typed in ["a", "a/", "a//", "./a", "../a/", "/a", ".a", "a.", "...", "a/...", "a.."] {
            assert!(!contents_of(typed.as_bytes()), "{typed}");
        }
    }

    #[test]
    fn no_two_arguments_fill_the_same_place() {
        let mut fills = Fills::default();
        assert_eq!((fills.name("a"), fills.name("b")), (Ok(()), Ok(())));
        assert_eq!(fills.name("a"), Err(FillsError));
        assert_eq!(fills.contents(), Err(FillsError));
        let mut fills = Fills::default();
        assert_eq!(fills.contents(), Ok(()));
        assert_eq!((fills.name("a"), fills.contents()), (Err(FillsError), Err(FillsError)));
    }
}

//! The names in staging that a serving filer has: pure.
//!
//! A filer tells of a name once that it needs it no more, and only of one that it was given. Names of others, and
//! those that nobody has, are found here, so that the ledger's thread is not asked for them; whether a name of its own
//! may be told of yet is the ledger's to say.

use std::collections::BTreeSet;

use berth_common::ids::StagingName;

use super::AskedTooMuch;

/// More than a session may have in the ledger. Of what is beyond, the oldest are forgotten: an honest filer tells of
/// each name.
const MOST: usize = 32_768;

/// What it was given and has not given back.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<StagingName>);

impl Names {
    /// The ledger has given it these, perhaps again.
    pub(crate) fn give(&mut self, names: impl IntoIterator<Item = StagingName>) {
        self.0.extend(names);
        while self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// It needs these no more.
    ///
    /// # Errors
    /// When one of them is not its own, or it has told so before.
    pub(crate) fn take_back(&mut self, names: &[StagingName]) -> Result<(), AskedTooMuch> {
        let mut had = names.iter().map(|name| self.0.remove(name));
        if had.all(|had| had) { Ok(()) } else { Err(AskedTooMuch::Name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StagingName = StagingName(1);
    const B: StagingName = StagingName(2);
    const ANOTHERS: StagingName = StagingName(3);

    #[test]
    fn tells_once_of_a_name_that_it_was_given() {
        let mut names = Names::default();
        names.give([A, B]);
        names.give([A]);
        assert_eq!(names.take_back(&[A, B]), Ok(()));
        assert_eq!(names.take_back(&[A]), Err(AskedTooMuch::Name));
        names.give([A]);
        assert_eq!(names.take_back(&[A]), Ok(()), "it was claimed again");
    }

    #[test]
    fn a_name_of_anothers_or_twice_in_a_message_is_refused() {
        for told in [[A, ANOTHERS], [ANOTHERS, A], [A, A]] {
            let mut names = Names::default();
            names.give([A]);
            assert_eq!(names.take_back(&told), Err(AskedTooMuch::Name));
        }
    }

    #[test]
    fn names_that_are_never_told_of_take_a_bounded_memory() {
        let mut names = Names::default();
        for name in 0..100_000 {
            names.give([StagingName(name)]);
        }
        assert_eq!(names.0.len(), MOST);
        assert_eq!(names.take_back(&[StagingName(99_999)]), Ok(()));
    }
}

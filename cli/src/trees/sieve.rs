//! Which names of a tree are left out, by patterns in the syntax of `.gitignore`.
//!
//! The patterns of one side are held against paths from the tree's top on, so that the same ones mean the same on
//! both sides. A directory that is left out is left out with all that is in it. Nothing is read from files.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rust_i18n::t;

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", t!("the pattern %{pattern} is none: %{reason}", pattern = format_args!("{pattern:?}"), reason = reason))]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// Holds back what is left out.
#[derive(Clone, Debug)]
pub struct Sieve(Gitignore);

impl Default for Sieve {
    /// One that nothing is left out by.
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

impl Sieve {
    /// Leaves out what one of `exclude` matches and none of `include`.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        let mut patterns = GitignoreBuilder::new("");
        let refused = |pattern: &str, error: ignore::Error| PatternError {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        };
        for pattern in exclude {
            patterns.add_line(None, pattern).map_err(|error| refused(pattern, error))?;
        }
        // The last one that matches decides.
        for pattern in include {
            let line = format!("!{pattern}");
            patterns.add_line(None, &line).map_err(|error| refused(pattern, error))?;
        }
        patterns.build().map(Self).map_err(|error| refused("", error))
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path, from the top on, is left out. Of what is in a directory that is, nobody asks.
    #[must_use]
    pub fn leaves_out(&self, path: &Path, is_directory: bool) -> bool {
        !self.is_empty() && self.0.matched(path, is_directory).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sieve(include: &[&str], exclude: &[&str]) -> Sieve {
        let owned =
            |patterns: &[&str]| patterns.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        Sieve::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let sieve = sieve(&["keep.o"], &["*.o", "/top", "build/", "a/**/z", "日本*"]);
        let out = |path: &str| sieve.leaves_out(Path::new(path), false);
        for path in ["x.o", "d/e/x.o", "top", "a/z", "a/b/c/z", "d/日本語"] {
            assert!(out(path), "{path}");
        }
        for path in ["keep.o", "d/keep.o", "d/top", "build", "x.oo", "z", "語日本"] {
            assert!(!out(path), "{path}");
        }
        assert!(sieve.leaves_out(Path::new("d/build"), true));
    }

    #[test]
    fn without_patterns_nothing_is_left_out_and_a_wrong_one_is_told() {
        assert!(Sieve::default().is_empty() && sieve(&[], &[]).is_empty());
        assert!(!Sieve::default().leaves_out(Path::new("x"), true));
        let wrong = Sieve::new(&[], &["a{b".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("\"a{b\""), "{wrong}");
    }
}

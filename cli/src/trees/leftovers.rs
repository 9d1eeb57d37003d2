//! What a local directory has and the one that it is synced from has not.
//!
//! Removes it, without following any link. What is left out by patterns stays, and the directories that it is in.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Paths, Sieve};

/// What stays.
#[derive(Debug)]
pub struct Leftovers<'a> {
    /// Local paths of all that the other side has.
    pub names: &'a Paths,
    /// Of those, what was passed over there: what is in its place here stays, with all that is in it.
    pub skipped: &'a Paths,
    /// What it leaves out.
    pub sieve: &'a Sieve,
    /// Nothing is removed, and only told.
    pub dry_run: bool,
}

/// Hears of each path that was removed, or why it was not, and whether it is to go on.
type Tell<'a> = &'a mut dyn FnMut(&Path, io::Result<()>) -> ControlFlow<()>;

impl Leftovers<'_> {
    /// Removes what does not stay below this directory. Blocks for as long as that takes.
    pub fn remove(&self, top: &Path, tell: Tell<'_>) {
        let _ = self.sweep(top, top, tell);
    }

    /// Whether anything stays.
    fn sweep(&self, top: &Path, directory: &Path, tell: Tell<'_>) -> ControlFlow<(), bool> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // A dry run makes none.
            Err(error) if self.dry_run && error.kind() == io::ErrorKind::NotFound => {
                return ControlFlow::Continue(false);
            }
            Err(error) => {
                tell(directory, Err(error))?;
                return ControlFlow::Continue(true);
            }
        };
        let mut stays = false;
        for entry in entries {
            let found = entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?)));
            let (name, is_directory) = match found {
                Ok((name, kind)) => (name, kind.is_dir()),
                Err(error) => {
                    tell(directory, Err(error))?;
                    stays = true;
                    continue;
                }
            };
            // As what is got is called.
            let path = match directory == Path::new(".") {
                true => name.into(),
                false => directory.join(name),
            };
            let within = path.strip_prefix(top).unwrap_or(&path);
            let is_there = self.names.contains(&path);
            if self.sieve.leaves_out(within, is_directory) || self.skipped.contains(&path) {
                stays = true;
            } else if is_there {
                stays = true;
                if is_directory {
                    self.sweep(top, &path, tell)?;
                }
            } else if is_directory && !self.sieve.is_empty() && self.sweep(top, &path, tell)? {
                stays = true;
            } else {
                let removed = self.remove_one(&path, is_directory);
                stays |= removed.is_err();
                tell(&path, removed)?;
            }
        }
        ControlFlow::Continue(stays)
    }

    fn remove_one(&self, path: &Path, is_directory: bool) -> io::Result<()> {
        match (self.dry_run, is_directory) {
            (true, _) => Ok(()),
            (false, true) if self.sieve.is_empty() => fs::remove_dir_all(path),
            (false, true) => fs::remove_dir(path),
            (false, false) => fs::remove_file(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn removed(top: &Path, names: &[&str], exclude: &[&str], dry_run: bool) -> Vec<PathBuf> {
        let (mut paths, mut skipped) = (Paths::default(), Paths::default());
        for name in names {
            paths.insert(&top.join(name.trim_end_matches('@')));
            if let Some(link) = name.strip_suffix('@') {
                skipped.insert(&top.join(link));
            }
        }
        let exclude: Vec<String> = exclude.iter().map(|&it| it.to_owned()).collect();
        let sieve = Sieve::new(&[], &exclude).unwrap();
        let mut removed = Vec::new();
        let leftovers = Leftovers { names: &paths, skipped: &skipped, sieve: &sieve, dry_run };
        leftovers.remove(top, &mut |path, result| {
            result.unwrap();
            removed.push(path.strip_prefix(top).unwrap().to_owned());
            ControlFlow::Continue(())
        });
        removed.sort();
        removed
    }

    #[test]
    fn what_the_other_side_has_not_goes_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        fs::create_dir_all(top.join("in/of")).unwrap();
        fs::create_dir_all(top.join("out/of")).unwrap();
        fs::create_dir(&other).unwrap();
        for path in [top.join("a"), top.join("b"), top.join("in/c"), other.join("precious")] {
            fs::write(path, "").unwrap();
        }
        symlink(&other, top.join("link")).unwrap();
        symlink(&other, top.join("out/of/link")).unwrap();
        let names = ["a", "in", "in/of"];
        let expected = ["b", "in/c", "link", "out"].map(PathBuf::from);
        assert_eq!(removed(&top, &names, &[], true), expected);
        assert!(top.join("b").exists() && top.join("out/of/link").exists());
        assert_eq!(removed(&top, &names, &[], false), expected);
        assert!(top.join("a").exists() && top.join("in/of").exists());
        assert!(!top.join("out").exists() && !top.join("link").is_symlink());
        assert!(other.join("precious").exists());
    }

    #[test]
    fn what_was_passed_over_on_the_other_side_is_not_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir_all(top.join("moved/away")).unwrap();
        fs::write(top.join("moved/away/precious"), "").unwrap();
        fs::write(top.join("gone"), "").unwrap();
        assert_eq!(removed(top, &["moved@"], &[], false), [PathBuf::from("gone")]);
        assert!(top.join("moved/away/precious").exists());
    }

    #[test]
    fn what_is_left_out_stays_with_the_directories_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir_all(top.join("d/e")).unwrap();
        fs::create_dir_all(top.join("f/g")).unwrap();
        for name in ["d/e/keep.o", "d/x", "f/g/y"] {
            fs::write(top.join(name), "").unwrap();
        }
        let expected = ["d/x", "f", "f/g", "f/g/y"].map(PathBuf::from);
        assert_eq!(removed(top, &[], &["*.o"], false), expected);
        assert!(top.join("d/e/keep.o").exists() && !top.join("f").exists());
    }
}

//! An ideal home: what each step of an operation does to it, and which refusals would fit it. Pure.
//!
//! It knows nothing of quotas, staging or crashes: those decide whether an operation happens; this
//! says what a home looks like when it has.

use std::collections::BTreeMap;

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;

use super::content::Content;
use super::file::File;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file that holds this.
    File(File),
}

/// A home: every path below its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree(pub BTreeMap<RelPath, Node>);

/// What happens to a home in one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file appears, whole, or has more behind its end.
    Put {
        /// Where.
        path: RelPath,
        /// What it holds, or has at its end.
        content: Content,
        /// What becomes of a file that stands there.
        existing: Existing,
    },
    /// A directory is made.
    MakeDirectory {
        /// Where.
        path: RelPath,
        /// Whether one that is there already will do.
        or_there: bool,
    },
    /// A file or directory goes.
    Remove {
        /// Which.
        path: RelPath,
        /// Whether a directory may have content.
        recursive: bool,
    },
    /// A file or directory gets another path.
    Rename {
        /// From where.
        from: RelPath,
        /// To where.
        to: RelPath,
        /// Whether a file may replace a file.
        overwrite: bool,
    },
    /// A file is read.
    Read {
        /// Which.
        path: RelPath,
        /// What was read; `None` before that is known.
        content: Option<File>,
    },
    /// A directory is listed.
    List {
        /// Which.
        path: RelPath,
    },
}

impl Tree {
    /// The home after this step, or `None` where it cannot happen.
    #[must_use]
    pub fn after(&self, step: &Step) -> Option<Self> {
        match step {
            Step::Put { path, content, existing } => {
                let file = match (self.at(path), existing) {
                    (None, _) => self.has_parent_of(path).then(|| File::of(*content)),
                    (Some(Node::Directory), _) | (Some(Node::File(_)), Existing::Keep) => None,
                    (Some(Node::File(_)), Existing::Replace) => Some(File::of(*content)),
                    (Some(Node::File(file)), Existing::Append) => Some(file.with(*content)),
                };
                file.map(|file| self.with(path, Node::File(file)))
            }
            Step::MakeDirectory { path, or_there } => match self.at(path) {
                None if self.has_parent_of(path) => Some(self.with(path, Node::Directory)),
                Some(Node::Directory) if *or_there => Some(self.clone()),
                _ => None,
            },
            Step::Remove { path, recursive } => {
                self.at(path)?;
                (*recursive || !self.has_content(path)).then(|| self.without(path))
            }
            Step::Rename { from, to, overwrite } => self.after_rename(from, to, *overwrite),
            Step::Read { path, content } => match (self.at(path)?, content) {
                (Node::File(_), None) => Some(self.clone()),
                (Node::File(found), Some(read)) if found == *read => Some(self.clone()),
                _ => None,
            },
            Step::List { path } => self.is_directory(path).then(|| self.clone()),
        }
    }

    fn after_rename(&self, from: &RelPath, to: &RelPath, overwrite: bool) -> Option<Self> {
        let moved = self.at(from)?;
        if from == to {
            return Some(self.clone());
        }
        if from.contains(to) {
            return None;
        }
        match (moved, self.at(to)) {
            (_, None) if self.has_parent_of(to) => {}
            (Node::File(_), Some(Node::File(_))) if overwrite => {}
            _ => return None,
        }
        let mut after = self.without(from);
        after.0.remove(to);
        for (path, node) in self.0.iter().filter(|(path, _)| from.contains(path)) {
            let rest = &path.as_str()[from.as_str().len()..];
            let path = RelPath::new(&format!("{}{rest}", to.as_str())).ok()?;
            after.0.insert(path, node.clone());
        }
        Some(after)
    }

    /// Whether this refusal of a step fits a home that looks like this. Looser than [`Tree::after`]:
    /// a refusal may come from looks at two moments (whether the source is there, whether the target
    /// is), so each of them alone has to fit.
    #[must_use]
    pub fn fits_refusal(&self, step: &Step, error: &ErrorCode) -> bool {
        let paths = step.paths();
        let any = |fits: &dyn Fn(&RelPath) -> bool| paths.iter().any(|path| fits(path));
        match error {
            ErrorCode::NotFound => match step {
                Step::Put { path, .. } | Step::MakeDirectory { path, .. } => {
                    !self.has_parent_of(path)
                }
                Step::Remove { path, .. } | Step::Read { path, .. } | Step::List { path } => {
                    !path.is_root() && self.at(path).is_none()
                }
                Step::Rename { from, to, .. } => self.at(from).is_none() || !self.has_parent_of(to),
            },
            ErrorCode::NotADirectory => match step {
                // A parent that is to be there already, or made.
                Step::List { path } | Step::MakeDirectory { path, or_there: true } => {
                    self.is_file(path) || self.has_file_above(path)
                }
                _ => any(&|path| self.has_file_above(path)),
            },
            ErrorCode::AlreadyExists => match step {
                Step::Put { path, existing: Existing::Keep, .. }
                | Step::MakeDirectory { path, or_there: false } => self.at(path).is_some(),
                Step::MakeDirectory { path, or_there: true } => self.is_file(path),
                Step::Rename { to, .. } => self.at(to).is_some(),
                Step::Put { .. } | Step::Remove { .. } | Step::Read { .. } | Step::List { .. } => {
                    false
                }
            },
            ErrorCode::IsADirectory => {
                matches!(step, Step::Put { path, .. } | Step::Read { path, .. }
                    if self.is_directory(path))
            }
            ErrorCode::DirectoryNotEmpty => {
                matches!(step, Step::Remove { path, recursive: false } if self.has_content(path))
            }
            ErrorCode::NotPossible => {
                matches!(step, Step::Rename { from, to, .. } if from.contains(to))
            }
            // What these depend on is no part of the tree.
            ErrorCode::QuotaExceeded { .. } | ErrorCode::Busy => step.changes(),
            ErrorCode::UploadBusy
            | ErrorCode::NoSuchUpload
            | ErrorCode::TooManyTransfers { .. } => matches!(step, Step::Put { .. }),
            _ => false,
        }
    }

    fn at(&self, path: &RelPath) -> Option<Node> {
        if path.is_root() { Some(Node::Directory) } else { self.0.get(path).cloned() }
    }

    fn is_directory(&self, path: &RelPath) -> bool {
        self.at(path) == Some(Node::Directory)
    }

    fn is_file(&self, path: &RelPath) -> bool {
        matches!(self.at(path), Some(Node::File(_)))
    }

    fn has_parent_of(&self, path: &RelPath) -> bool {
        path.split_last().is_some_and(|(parent, _)| self.is_directory(&parent))
    }

    fn has_file_above(&self, path: &RelPath) -> bool {
        let mut above = path.clone();
        while let Some((parent, _)) = above.split_last() {
            if self.is_file(&parent) {
                return true;
            }
            above = parent;
        }
        false
    }

    fn has_content(&self, path: &RelPath) -> bool {
        self.0.keys().any(|other| other != path && path.contains(other))
    }

    fn with(&self, path: &RelPath, node: Node) -> Self {
        let mut after = self.clone();
        after.0.insert(path.clone(), node);
        after
    }

    fn without(&self, path: &RelPath) -> Self {
        let kept = self.0.iter().filter(|(other, _)| !path.contains(other));
        Self(kept.map(|(path, node)| (path.clone(), node.clone())).collect())
    }
}

impl Step {
    /// The paths that it names.
    pub(super) fn paths(&self) -> Vec<&RelPath> {
        match self {
            Self::Put { path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::Remove { path, .. }
            | Self::Read { path, .. }
            | Self::List { path } => vec![path],
            Self::Rename { from, to, .. } => vec![from, to],
        }
    }

    /// Whether it can change a home.
    #[must_use]
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Read { .. } | Self::List { .. })
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (path, node) in &self.0 {
            match node {
                Node::Directory => writeln!(f, "  {path}/")?,
                Node::File(file) => writeln!(f, "  {path}  {file}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn file(number: u64) -> Node {
        Node::File(File::of(Content::new(number, 100)))
    }

    fn read(at: &str, number: u64) -> Step {
        let content = Some(File::of(Content::new(number, 100)));
        Step::Read { path: path(at), content }
    }

    /// `d/`, `d/b` and `a`.
    fn start() -> Tree {
        let nodes = [("a", file(1)), ("d", Node::Directory), ("d/b", file(2))];
        Tree(nodes.into_iter().map(|(at, node)| (path(at), node)).collect())
    }

    fn rename(from: &str, to: &str, overwrite: bool) -> Step {
        Step::Rename { from: path(from), to: path(to), overwrite }
    }

    fn put(at: &str, overwrite: bool) -> Step {
        let existing = if overwrite { Existing::Replace } else { Existing::Keep };
        Step::Put { path: path(at), content: Content::new(9, 100), existing }
    }

    fn append(at: &str) -> Step {
        let content = Content::new(9, 100);
        Step::Put { path: path(at), content, existing: Existing::Append }
    }

    fn remove(at: &str, recursive: bool) -> Step {
        Step::Remove { path: path(at), recursive }
    }

    #[test]
    fn steps_do_to_a_home_what_their_names_say() {
        let table = [
            (put("c", false), "a c d d/b"),
            (put("a", true), "a d d/b"),
            (put("d/c", false), "a d d/b d/c"),
            (append("d/c"), "a d d/b d/c"),
            (append("a"), "a d d/b"),
            (remove("d/b", false), "a d"),
            (remove("d", true), "a"),
            (rename("d", "e", false), "a e e/b"),
            (rename("d/b", "a", true), "a d"),
            (rename("a", "a", false), "a d d/b"),
            (Step::MakeDirectory { path: path("d/e"), or_there: false }, "a d d/b d/e"),
            (Step::MakeDirectory { path: path("d"), or_there: true }, "a d d/b"),
            (read("a", 1), "a d d/b"),
            (Step::List { path: RelPath::root() }, "a d d/b"),
        ];
        for (step, expected) in table {
            let after = start().after(&step).unwrap_or_else(|| panic!("{step:?}"));
            let names: Vec<&str> = after.0.keys().map(RelPath::as_str).collect();
            assert_eq!(names.join(" "), expected, "{step:?}");
        }
        let renamed = start().after(&rename("d/b", "a", true)).unwrap();
        assert_eq!(renamed.at(&path("a")), Some(file(2)));
        let appended = start().after(&append("a")).unwrap();
        let both = File::of(Content::new(1, 100)).with(Content::new(9, 100));
        assert_eq!(appended.at(&path("a")), Some(Node::File(both)));
        let first = start().after(&append("d/c")).unwrap();
        assert_eq!(first.at(&path("d/c")), Some(file(9)));
    }

    #[test]
    fn steps_that_cannot_happen_are_refused_with_a_fitting_reason() {
        let mkdir = |at: &str, or_there| Step::MakeDirectory { path: path(at), or_there };
        let table = [
            (put("a", false), ErrorCode::AlreadyExists),
            (put("d", true), ErrorCode::IsADirectory),
            (append("d"), ErrorCode::IsADirectory),
            (append("x/c"), ErrorCode::NotFound),
            (append("a/c"), ErrorCode::NotADirectory),
            (put("x/c", true), ErrorCode::NotFound),
            (put("a/c", true), ErrorCode::NotADirectory),
            (remove("x", true), ErrorCode::NotFound),
            (remove("d", false), ErrorCode::DirectoryNotEmpty),
            (rename("x", "y", true), ErrorCode::NotFound),
            (rename("a", "x/y", true), ErrorCode::NotFound),
            (rename("a", "d/b", false), ErrorCode::AlreadyExists),
            (rename("d", "a", true), ErrorCode::AlreadyExists),
            (rename("d", "d/e", true), ErrorCode::NotPossible),
            (mkdir("d", false), ErrorCode::AlreadyExists),
            (mkdir("a", true), ErrorCode::AlreadyExists),
            (mkdir("a", true), ErrorCode::NotADirectory),
            (mkdir("x/y", false), ErrorCode::NotFound),
            (Step::Read { path: path("d"), content: None }, ErrorCode::IsADirectory),
            (Step::List { path: path("a") }, ErrorCode::NotADirectory),
        ];
        for (step, error) in table {
            assert_eq!(start().after(&step), None, "{step:?}");
            assert!(start().fits_refusal(&step, &error), "{step:?} {error:?}");
            assert!(!start().fits_refusal(&step, &ErrorCode::Internal), "{step:?}");
        }
        assert_eq!(start().after(&read("a", 3)), None, "another file was read");
        let appended = start().after(&append("a")).unwrap();
        assert_eq!(appended.after(&read("a", 1)), None, "what was appended is missing");
    }

    #[test]
    fn refusals_without_a_reason_do_not_fit() {
        let table = [
            (put("a", true), ErrorCode::AlreadyExists),
            (append("a"), ErrorCode::AlreadyExists),
            (append("c"), ErrorCode::NotFound),
            (put("c", false), ErrorCode::NotFound),
            (remove("d/b", false), ErrorCode::DirectoryNotEmpty),
            (rename("a", "c", false), ErrorCode::AlreadyExists),
            (rename("a", "c", false), ErrorCode::NotPossible),
            (Step::List { path: path("d") }, ErrorCode::NotFound),
            (Step::Read { path: path("a"), content: None }, ErrorCode::Busy),
        ];
        for (step, error) in table {
            assert!(!start().fits_refusal(&step, &error), "{step:?} {error:?}");
        }
    }
}

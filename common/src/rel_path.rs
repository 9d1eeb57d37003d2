//! Paths within a home: relative, without `.` and `..`, checked once where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME_BYTES, MAX_PATH_BYTES};

/// A path from a home's root; the root itself is the empty path.
///
/// Components are UTF-8 of 1 to 255 bytes without NUL and `/`, never `.` or `..`;
/// the whole has at most 4096 bytes. A name may hold newlines, quotes and wildcards: they mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// Why a text is not a path within a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelPathError {
    /// It has a component `..` (or, when resolving, one that leads above the home).
    #[error("the path leads outside the home")]
    OutsideHome,
    /// It starts or ends with `/`, or has an empty component or `.`.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// It has a NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
    /// A component is longer than 255 bytes.
    #[error("a name in the path is longer than 255 bytes")]
    NameTooLong,
    /// The whole is longer than 4096 bytes.
    #[error("the path is longer than 4096 bytes")]
    TooLong,
}

impl RelPath {
    /// The home itself.
    #[must_use]
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Checks a path as it stands on the wire: nothing is resolved, so `..` is refused.
    ///
    /// # Errors
    /// One for each way in which a text is not such a path.
    pub fn new(text: &str) -> Result<Self, RelPathError> {
        if text.len() > MAX_PATH_BYTES {
            return Err(RelPathError::TooLong);
        }
        if !text.is_empty() {
            text.split('/').try_for_each(check_component)?;
        }
        Ok(Self(text.to_owned()))
    }

    /// Resolves what a person typed against a working directory, `.` and `..` included.
    /// A leading `/` means the home's root.
    ///
    /// # Errors
    /// [`RelPathError::OutsideHome`] when `..` leads above the root; else as [`RelPath::new`].
    pub fn resolve(cwd: &Self, typed: &str) -> Result<Self, RelPathError> {
        let mut parts: Vec<&str> =
            if typed.starts_with('/') { Vec::new() } else { cwd.components().collect() };
        for part in typed.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(RelPathError::OutsideHome)?;
                }
                name => parts.push(name),
            }
        }
        Self::new(&parts.join("/"))
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Whether this is the home itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent directory and the last component; `None` for the home itself.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &str)> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.rsplit_once('/') {
            Some((parent, name)) => (Self(parent.to_owned()), name),
            None => (Self::root(), &self.0),
        })
    }

    /// The last component; `None` for the home itself.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.components().last()
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// When `name` is no component, or the whole gets too long.
    pub fn join(&self, name: &str) -> Result<Self, RelPathError> {
        check_component(name)?;
        if self.is_root() { Self::new(name) } else { Self::new(&format!("{}/{name}", self.0)) }
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.is_root()
            || other
                .0
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path as it stands on the wire: no leading slash, the root empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_component(name: &str) -> Result<(), RelPathError> {
    match name {
        "" | "." => Err(RelPathError::EmptyComponent),
        ".." => Err(RelPathError::OutsideHome),
        _ if name.contains('/') => Err(RelPathError::EmptyComponent),
        _ if name.contains('\0') => Err(RelPathError::Nul),
        _ if name.len() > MAX_NAME_BYTES => Err(RelPathError::NameTooLong),
        _ => Ok(()),
    }
}

impl TryFrom<String> for RelPath {
    type Error = RelPathError;

    fn try_from(text: String) -> Result<Self, RelPathError> {
        Self::new(&text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

/// As a user sees it: from the home's root, with a leading slash.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_not_a_path_within_a_home() {
        let long = "a".repeat(256);
        let deep = "a/".repeat(2048) + "a";
        let table = [
            ("..", RelPathError::OutsideHome),
            ("a/..", RelPathError::OutsideHome),
            ("a/../b", RelPathError::OutsideHome),
            (".", RelPathError::EmptyComponent),
            ("a/./b", RelPathError::EmptyComponent),
            ("/", RelPathError::EmptyComponent),
            ("/etc/passwd", RelPathError::EmptyComponent),
            ("a//b", RelPathError::EmptyComponent),
            ("a/", RelPathError::EmptyComponent),
            ("a\0b", RelPathError::Nul),
            (long.as_str(), RelPathError::NameTooLong),
            (deep.as_str(), RelPathError::TooLong),
        ];
        for (text, error) in table {
            assert_eq!(RelPath::new(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn accepts_any_name_a_file_system_takes() {
        for text in
            ["", "a", "a b/'\"\n*[]?", "...", "..a", "ä/日本", "\\", "-rf", &"x".repeat(255)]
        {
            assert_eq!(RelPath::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn resolves_what_was_typed() {
        let cwd = RelPath::new("d/e").unwrap();
        let table = [
            ("f", "d/e/f"),
            ("../f", "d/f"),
            ("/f", "f"),
            ("./f/", "d/e/f"),
            ("../..", ""),
            ("/", ""),
        ];
        for (typed, path) in table {
            assert_eq!(RelPath::resolve(&cwd, typed).unwrap().as_str(), path, "{typed}");
        }
        assert_eq!(RelPath::resolve(&cwd, "../../.."), Err(RelPathError::OutsideHome));
        assert_eq!(RelPath::resolve(&cwd, "/../etc"), Err(RelPathError::OutsideHome));
    }

    #[test]
    fn knows_what_lies_below() {
        let d = RelPath::new("d").unwrap();
        assert!(d.contains(&RelPath::new("d/e").unwrap()));
        assert!(d.contains(&d));
        assert!(!d.contains(&RelPath::new("de").unwrap()));
        assert!(RelPath::root().contains(&d));
    }

    proptest! {
        #[test]
        fn no_accepted_path_has_a_special_component(text in "[a./\\x00]{0,12}") {
            if let Ok(path) = RelPath::new(&text) {
                prop_assert!(path.components().all(|c| !c.is_empty() && c != "." && c != ".." && !c.contains('\0')));
                prop_assert_eq!(path.components().collect::<Vec<_>>().join("/"), text);
            }
        }

        #[test]
        fn resolving_never_leaves_the_home(text in "[a./]{0,16}") {
            if let Ok(path) = RelPath::resolve(&RelPath::root(), &text) {
                prop_assert!(RelPath::new(path.as_str()).is_ok());
            }
        }
    }
}

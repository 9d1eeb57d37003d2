//! Wildcards `*`, `?` and `[a-z]`, and which names they stand for, on either side.
//!
//! A pattern is a path of which some components have wildcards. Whoever asks gives a function that looks
//! into a directory: `local` reads it, `remote` lists it. Names that begin with a dot have to be asked
//! for with one, as in a shell, and the number of matches is bounded.

use std::borrow::Cow;

use glob::{MatchOptions, Pattern};
use rust_i18n::t;

use super::words::{Letter, Word};
use crate::exit::Exit;
use crate::failure::Failure;

/// Most names that a pattern may stand for.
pub(super) const MOST_MATCHES: usize = 10_000;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A name that stands in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) is_directory: bool,
}

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Name(String),
    Pattern(Pattern),
}

impl Part {
    /// Whether it stands for this name.
    pub(super) fn takes(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Pattern(pattern) => pattern.matches_with(name, OPTIONS),
        }
    }
}

/// A path with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    typed: String,
    absolute: bool,
    parts: Vec<Part>,
    directories_only: bool,
}

impl Glob {
    /// The pattern that a word is; `None` when it is a name.
    pub(super) fn of(word: &Word) -> Option<Self> {
        if !word.is_pattern() {
            return None;
        }
        let is_slash = |letter: &Letter| letter.letter == '/';
        let parts = word.0.split(is_slash).filter(|part| !part.is_empty()).map(part).collect();
        Some(Self {
            typed: word.text(),
            absolute: word.0.first().is_some_and(is_slash),
            parts,
            directories_only: word.0.last().is_some_and(is_slash),
        })
    }

    /// The paths that it stands for, sorted within each directory.
    ///
    /// `look` finds the names of a directory (given as a path that ends with a slash, or empty for the
    /// working directory) which a part stands for.
    ///
    /// # Errors
    /// No match, too many, and what `look` says.
    pub(super) async fn expand<F>(&self, mut look: F) -> Result<Vec<String>, Failure>
    where
        F: AsyncFnMut(&str, &Part) -> Result<Vec<Named>, Failure>,
    {
        let mut paths = vec![if self.absolute { "/".to_owned() } else { String::new() }];
        let mut matched = false;
        for (at, part) in self.parts.iter().enumerate() {
            let last = at + 1 == self.parts.len();
            let inner = !last || self.directories_only;
            matched |= matches!(part, Part::Pattern(_));
            if let (Part::Name(name), false) = (part, matched) {
                paths.iter_mut().for_each(|path| path.push_str(&format!("{name}/")));
                continue;
            }
            let mut found = Vec::new();
            for directory in &paths {
                let mut names = look(directory, part).await?;
                names.retain(|named| named.is_directory || !inner);
                names.sort();
                if found.len() + names.len() > MOST_MATCHES {
                    return Err(self.failure(Exit::Usage, t!("stands for more than 10,000 names")));
                }
                let slash = if inner { "/" } else { "" };
                found.extend(names.iter().map(|named| format!("{directory}{}{slash}", named.name)));
            }
            paths = found;
        }
        if paths.is_empty() {
            return Err(self.failure(Exit::NotFound, t!("nothing has such a name")));
        }
        // Else a name could be taken for an option.
        let plain = |path: String| if path.starts_with('-') { format!("./{path}") } else { path };
        Ok(paths.into_iter().map(plain).collect())
    }

    fn failure(&self, exit: Exit, sentence: Cow<'static, str>) -> Failure {
        Failure::new(exit, sentence).of(&self.typed)
    }
}

fn part(letters: &[Letter]) -> Part {
    let word = Word(letters.to_vec());
    if !word.is_pattern() {
        return Part::Name(word.text());
    }
    let pattern = Pattern::new(&source(letters));
    // A bracket that nothing closes is a letter, as in a shell.
    Part::Pattern(
        pattern.unwrap_or_else(|_| Pattern::new(&without_sets(letters)).unwrap_or_default()),
    )
}

/// What `glob` reads: quoted letters mean themselves, and several stars are one.
fn source(letters: &[Letter]) -> String {
    let mut source = String::new();
    let mut in_set = false;
    for Letter { letter, quoted } in letters {
        match (letter, quoted) {
            ('*', false) if !in_set && source.ends_with('*') => {}
            ('[', false) if !in_set => {
                in_set = true;
                source.push('[');
            }
            (']', false) if in_set => {
                in_set = source.ends_with('[') || source.ends_with("[!");
                source.push(']');
            }
            (letter, true) if !in_set => source.push_str(&Pattern::escape(&letter.to_string())),
            (letter, _) => source.push(*letter),
        }
    }
    source
}

/// The same, when no bracket means anything.
fn without_sets(letters: &[Letter]) -> String {
    let as_letter = |letter: &Letter| Letter {
        quoted: letter.quoted || matches!(letter.letter, '[' | ']'),
        ..*letter
    };
    source(&letters.iter().map(as_letter).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::words::split;
    use super::*;

    fn glob(line: &str) -> Glob {
        Glob::of(&split(line).unwrap()[0]).unwrap_or_else(|| panic!("{line} is no pattern"))
    }

    fn takes(line: &str, name: &str) -> bool {
        match &glob(line).parts[..] {
            [part] => part.takes(name),
            parts => panic!("{parts:?}"),
        }
    }

    #[test]
    fn wildcards_mean_what_they_mean_in_a_shell() {
        let table = [
            ("*", "a", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("*.jpg", "a b.jpg", true),
            ("*.jpg", "a.JPG", false),
            ("?", "日", true),
            ("?", "ab", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("a**b", "a--b", true),
            ("'*'?", "*x", true),
            ("'*'?", "xx", false),
            ("\\[*", "[x", true),
            ("[*", "[x", true),
            ("[*", "x", false),
            ("**", "a", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(takes(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Glob::of(&split("'*'").unwrap()[0]).is_none());
    }

    /// A tree of paths, where directories end with a slash.
    async fn expand(line: &str, tree: &[&str]) -> Result<Vec<String>, String> {
        let look = async |directory: &str, part: &Part| {
            let below = tree.iter().filter_map(|path| path.strip_prefix(directory));
            let names = below.filter_map(|rest| match rest.split_once('/') {
                None if !rest.is_empty() => Some((rest, false)),
                Some((name, "")) => Some((name, true)),
                _ => None,
            });
            let names = names.filter(|(name, _)| part.takes(name));
            Ok(names
                .map(|(name, is_directory)| Named { name: name.into(), is_directory })
                .collect())
        };
        glob(line).expand(look).await.map_err(|failure| failure.sentence)
    }

    #[tokio::test]
    async fn a_pattern_stands_for_the_paths_that_are_there() {
        let tree = ["b.jpg", "a.jpg", "d/", "d/x.txt", "e/", "e/x.txt", "e/.h", "-rf", "/r1"];
        let table: [(&str, &[&str]); 8] = [
            ("*.jpg", &["a.jpg", "b.jpg"]),
            ("*", &["./-rf", "a.jpg", "b.jpg", "d", "e"]),
            ("*/", &["d/", "e/"]),
            ("d/*", &["d/x.txt"]),
            ("*/x.txt", &["d/x.txt", "e/x.txt"]),
            ("[e-z]/*", &["e/x.txt"]),
            ("*/.*", &["e/.h"]),
            ("/r?", &["/r1"]),
        ];
        for (line, expected) in table {
            assert_eq!(expand(line, &tree).await.unwrap(), expected, "{line}");
        }
        for line in ["*.png", "a.jpg/*", "*.jpg/", "x/*", "*/nothing"] {
            let sentence = expand(line, &tree).await.unwrap_err();
            assert_eq!(sentence, format!("{line}: nothing has such a name"));
        }
    }

    #[tokio::test]
    async fn the_number_of_matches_is_bounded() {
        let many: Vec<String> = (0..=MOST_MATCHES).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(expand("*", &many).await.unwrap_err().contains("more than 10,000"));
        assert_eq!(expand("*", &many[1..]).await.map(|paths| paths.len()), Ok(MOST_MATCHES));
    }
}

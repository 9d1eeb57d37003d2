//! A line of the shell as words: quotes and backslashes as in a POSIX shell, and nothing else of one.
//!
//! Used by `line` (what a command gets), `globs` (a quoted wildcard is a letter like any other) and
//! `complete` (a line that is still typed, and how a name is to be quoted in it). It is our own because
//! of the latter two: crates that split words forget which letters were quoted and refuse words that
//! are not closed. It knows no variables, pipes or redirections.

use rust_i18n::t;

/// Which quotes are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

/// Why a line is not a list of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SplitError {
    #[error("{}", t!("the quote %{quote} is not closed", quote = _0))]
    Unclosed(char),
    #[error("{}", t!("there is nothing behind the last backslash"))]
    Backslash,
}

/// A letter of a word, and whether it was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) letter: char,
    pub(super) quoted: bool,
}

/// A word without its quotes, which letters remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word(pub(super) Vec<Letter>);

impl Word {
    /// What a command gets.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|letter| letter.letter).collect()
    }

    /// Whether wildcards in it mean something.
    pub(super) fn is_pattern(&self) -> bool {
        self.0.iter().any(|letter| !letter.quoted && matches!(letter.letter, '*' | '?' | '['))
    }

    /// Whether it begins with `~` alone or `~/`, unquoted: the local home.
    pub(super) fn starts_at_home(&self) -> bool {
        let plain = |at: usize, wanted| {
            self.0.get(at).is_none_or(|letter| letter.letter == wanted && !letter.quoted)
        };
        !self.0.is_empty() && plain(0, '~') && plain(1, '/')
    }

    /// The same word with its first letter replaced by this text, quoted.
    pub(super) fn with_first_replaced(&self, text: &str) -> Self {
        let quoted = text.chars().map(|letter| Letter { letter, quoted: true });
        Self(quoted.chain(self.0.iter().skip(1).copied()).collect())
    }
}

/// A line whose last word may still be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// The words before it.
    pub(super) before: Vec<Word>,
    /// The word at the end, which may be empty.
    pub(super) last: Word,
    /// Where it begins in the line, its quotes included.
    pub(super) start: usize,
    /// The quotes that are open in it.
    pub(super) quote: Quote,
    dangling: bool,
}

/// The words of a whole line.
///
/// # Errors
/// `Unclosed` and `Backslash`.
pub(super) fn split(line: &str) -> Result<Vec<Word>, SplitError> {
    let Unfinished { mut before, last, start, quote, dangling } = split_unfinished(line);
    match quote {
        Quote::Single => return Err(SplitError::Unclosed('\'')),
        Quote::Double => return Err(SplitError::Unclosed('"')),
        Quote::None if dangling => return Err(SplitError::Backslash),
        Quote::None => {}
    }
    // '' is a word without letters; behind the last blank there is no word.
    if start < line.len() {
        before.push(last);
    }
    Ok(before)
}

/// The words of a line up to the cursor.
pub(super) fn split_unfinished(line: &str) -> Unfinished {
    let mut before = Vec::new();
    let mut word = Word::default();
    let mut start = None;
    let mut quote = Quote::None;
    let mut letters = line.char_indices().peekable();
    let mut dangling = false;
    while let Some((at, letter)) = letters.next() {
        if quote == Quote::None && letter.is_whitespace() {
            if start.take().is_some() {
                before.push(std::mem::take(&mut word));
            }
            continue;
        }
        start.get_or_insert(at);
        let mut push = |letter, quoted| word.0.push(Letter { letter, quoted });
        match (quote, letter) {
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::None, '"') => quote = Quote::Double,
            (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
            (Quote::None, '\\') => match letters.next() {
                Some((_, next)) => push(next, true),
                None => dangling = true,
            },
            (Quote::Double, '\\') => match letters.next_if(|(_, next)| escapes(*next)) {
                Some((_, next)) => push(next, true),
                None => push('\\', true),
            },
            (Quote::None, letter) => push(letter, false),
            (Quote::Single | Quote::Double, letter) => push(letter, true),
        }
    }
    Unfinished { before, last: word, start: start.unwrap_or(line.len()), quote, dangling }
}

/// Whether a backslash within double quotes quotes this letter.
fn escapes(letter: char) -> bool {
    matches!(letter, '"' | '\\' | '$' | '`')
}

/// A text as one word, or the beginning of one that goes on: in quotes of this kind, or with backslashes.
pub(super) fn quoted(text: &str, quote: Quote, closed: bool) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    match quote {
        Quote::None => {
            for (at, letter) in text.chars().enumerate() {
                let special = matches!(letter, '\'' | '"' | '\\' | '*' | '?' | '[' | ']');
                // At the beginning of a line or word these mean something too.
                let first = at == 0 && matches!(letter, '~' | '#' | '!');
                if special || first || letter.is_whitespace() {
                    word.push('\\');
                }
                word.push(letter);
            }
        }
        Quote::Single => {
            word.push('\'');
            word.push_str(&text.replace('\'', r"'\''"));
        }
        Quote::Double => {
            word.push('"');
            for letter in text.chars() {
                if escapes(letter) {
                    word.push('\\');
                }
                word.push(letter);
            }
        }
    }
    match quote {
        Quote::Single if closed => word.push('\''),
        Quote::Double if closed => word.push('"'),
        _ => {}
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).unwrap().iter().map(Word::text).collect()
    }

    #[test]
    fn words_are_split_as_in_a_posix_shell() {
        let table: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("  \t ", &[]),
            ("ls  -l\tphotos ", &["ls", "-l", "photos"]),
            (r"put a\ b", &["put", "a b"]),
            ("put 'a b' \"c d\"", &["put", "a b", "c d"]),
            (r#"'it'\''s' "x'y" 'x"y'"#, &["it's", "x'y", "x\"y"]),
            (r#""a\"b\\c\d\$\`""#, &[r#"a"b\c\d$`"#]),
            (r"'a\b'", &[r"a\b"]),
            ("'' x \"\"", &["", "x", ""]),
            ("日本 語\\ 名", &["日本", "語 名"]),
            ("a#b # c", &["a#b", "#", "c"]),
            ("a|b;c$d>e", &["a|b;c$d>e"]),
        ];
        for (line, expected) in table {
            assert_eq!(texts(line), expected, "{line}");
        }
    }

    #[test]
    fn refuses_what_is_not_closed() {
        assert_eq!(split("put 'a b"), Err(SplitError::Unclosed('\'')));
        assert_eq!(split("put \"a'"), Err(SplitError::Unclosed('"')));
        assert_eq!(split("put a\\"), Err(SplitError::Backslash));
        assert_eq!(split("put 'a\\'").map(|words| words.len()), Ok(2));
    }

    #[test]
    fn wildcards_mean_something_unless_they_are_quoted() {
        let is_pattern = |line: &str| split(line).unwrap()[0].is_pattern();
        for line in ["*", "a?", "[ab]", "'a b'*", "\\**"] {
            assert!(is_pattern(line), "{line}");
        }
        for line in ["a", "\\*", "'*'", "\"[a]?\"", "]"] {
            assert!(!is_pattern(line), "{line}");
        }
    }

    #[test]
    fn a_tilde_is_the_local_home_where_a_shell_takes_it_for_it() {
        let at_home = |line: &str| split(line).unwrap()[0].starts_at_home();
        assert!(at_home("~") && at_home("~/x") && at_home("~/'a b'"));
        assert!(!at_home("\\~") && !at_home("'~/x'") && !at_home("~x") && !at_home("a~"));
        let word = split("~/*").unwrap()[0].with_first_replaced("/h*");
        assert_eq!(
            (word.text().as_str(), word.0[2].quoted, word.0[4].quoted),
            ("/h*/*", true, false)
        );
    }

    #[test]
    fn a_line_that_is_typed_tells_its_last_word() {
        let table = [
            ("", "", 0, Quote::None),
            ("put ", "", 4, Quote::None),
            ("put a\\ b", "a b", 4, Quote::None),
            ("put x 'a b", "a b", 6, Quote::Single),
            ("put \"a", "a", 4, Quote::Double),
            ("put 日本\\", "日本", 4, Quote::None),
        ];
        for (line, last, start, quote) in table {
            let found = split_unfinished(line);
            assert_eq!(
                (found.last.text().as_str(), found.start, found.quote),
                (last, start, quote)
            );
        }
        assert_eq!(split_unfinished("put x 'a b").before.len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_one_word_again_and_no_pattern(text in "\\PC{1,12}|[ '\"\\\\*?~#a-c]{1,8}") {
            for quote in [Quote::None, Quote::Single, Quote::Double] {
                let words = split(&quoted(&text, quote, true)).unwrap();
                prop_assert_eq!(words.len(), 1);
                prop_assert_eq!(words[0].text(), text.clone());
                prop_assert!(!words[0].is_pattern() && !words[0].starts_at_home());
                let open = quoted(&text, quote, false);
                let typed = split_unfinished(&open);
                prop_assert_eq!(typed.last.text(), text.clone());
                prop_assert_eq!((typed.start, typed.quote), (0, quote));
            }
        }

        #[test]
        fn no_line_is_too_odd(line in "\\PC*") {
            let typed = split_unfinished(&line);
            prop_assert!(line.is_char_boundary(typed.start));
            let _ = split(&line);
        }
    }
}

//! What the Tab key completes: which kind of word stands at the cursor, and how a name is written into it.
//!
//! Decisions alone: the names come from `names`, and `editor` draws them.

use clap::Command;

use super::globs::Named;
use super::roles::{Role, Side, roles};
use super::words::{Quote, Unfinished, Word, quoted, split_unfinished};
use crate::output::escaped;

/// What is to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Where the word begins in the line.
    pub(super) start: usize,
    quote: Quote,
    pub(super) kind: Kind,
    /// The directory as it was typed, with its slash, or empty.
    pub(super) directory: String,
    /// The beginning of the name.
    stem: String,
}

/// What kind of word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Command,
    Option,
    Names { side: Side, directories: bool },
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// For the list of all.
    pub(super) shown: String,
    /// What replaces the word.
    pub(super) replacement: String,
}

/// What the line up to the cursor asks for; `None` where there is nothing to complete.
pub(super) fn wanted(parser: &Command, line: &str) -> Option<Wanted> {
    if line.trim_start().starts_with(['!', '#']) {
        return None;
    }
    let Unfinished { before, last, start, quote, .. } = split_unfinished(line);
    let words: Vec<String> = before.iter().map(Word::text).collect();
    let text = last.text();
    let mut kind = match roles(parser, &words).pop()? {
        Role::Command => Kind::Command,
        Role::Name { side, directory, .. } => Kind::Names { side, directories: directory },
        Role::Option | Role::Other => return None,
    };
    let ends_options = words.iter().any(|word| word == "--");
    if kind != Kind::Command && text.starts_with('-') && !ends_options {
        kind = Kind::Option;
    }
    let (directory, stem) = match (kind, text.rfind('/')) {
        (Kind::Names { .. }, Some(slash)) => text.split_at(slash + 1),
        _ => ("", text.as_str()),
    };
    let (directory, stem) = (directory.to_owned(), stem.to_owned());
    Some(Wanted { start, quote, kind, directory, stem })
}

/// The commands that begin as wanted.
pub(super) fn commands(parser: &Command, wanted: &Wanted) -> Vec<Candidate> {
    let shown = parser.get_subcommands().filter(|command| !command.is_hide_set());
    let names = shown.flat_map(|command| {
        let aliases = command.get_visible_aliases();
        std::iter::once(command.get_name()).chain(aliases)
    });
    plain(wanted, names.map(str::to_owned))
}

/// The options of the line's command that begin as wanted.
pub(super) fn options(parser: &Command, line: &str, wanted: &Wanted) -> Vec<Candidate> {
    let Some(name) = split_unfinished(line).before.first().map(Word::text) else {
        return Vec::new();
    };
    let arguments = parser.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
    let shown = arguments.filter(|argument| !argument.is_hide_set());
    plain(wanted, shown.filter_map(|argument| Some(format!("--{}", argument.get_long()?))))
}

fn plain(wanted: &Wanted, names: impl Iterator<Item = String>) -> Vec<Candidate> {
    let mut names: Vec<_> = names.filter(|name| name.starts_with(&wanted.stem)).collect();
    names.sort();
    let candidate = |name: String| Candidate { replacement: format!("{name} "), shown: name };
    names.into_iter().map(candidate).collect()
}

/// Of the names in the wanted directory those that begin as wanted. A name with control characters is left
/// out: it could not be shown in the line.
pub(super) fn names(wanted: &Wanted, found: &[Named]) -> Vec<Candidate> {
    let Kind::Names { directories, .. } = wanted.kind else {
        return Vec::new();
    };
    let fits = |named: &&Named| {
        let hidden = named.name.starts_with('.') && !wanted.stem.starts_with('.');
        named.name.starts_with(&wanted.stem)
            && !hidden
            && (named.is_directory || !directories)
            && escaped(&named.name) == named.name
    };
    let mut found: Vec<&Named> = found.iter().filter(fits).collect();
    found.sort();
    found.into_iter().map(|named| candidate(wanted, named)).collect()
}

fn candidate(wanted: &Wanted, named: &Named) -> Candidate {
    let slash = if named.is_directory { "/" } else { "" };
    let mut path = format!("{}{}{slash}", wanted.directory, named.name);
    if path.starts_with('-') {
        // Else it would be an option.
        path.insert_str(0, "./");
    }
    // The local home stays one: quoted, its letter would be a name.
    let (home, rest) = match path.strip_prefix("~/") {
        Some(rest) if wanted.quote == Quote::None => ("~/", rest),
        _ => ("", path.as_str()),
    };
    let mut replacement = format!("{home}{}", quoted(rest, wanted.quote, !named.is_directory));
    if !named.is_directory {
        replacement.push(' ');
    }
    Candidate { shown: format!("{}{slash}", named.name), replacement }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    fn parser() -> Command {
        let mut parser = line::parser(true);
        parser.build();
        parser
    }

    fn kind(line: &str) -> Option<Kind> {
        wanted(&parser(), line).map(|wanted| wanted.kind)
    }

    #[test]
    fn what_is_completed_depends_on_the_command_and_the_place() {
        let names = |side| Some(Kind::Names { side, directories: false });
        assert_eq!(kind(""), Some(Kind::Command));
        assert_eq!(kind("pu"), Some(Kind::Command));
        assert_eq!(kind("put "), names(Side::Local));
        assert_eq!(kind("put a --to x"), names(Side::Remote));
        assert_eq!(kind("get -r "), names(Side::Remote));
        assert_eq!(kind("get x --to "), names(Side::Local));
        assert_eq!(kind("mv a b"), names(Side::Remote));
        assert_eq!(kind("lcd "), Some(Kind::Names { side: Side::Local, directories: true }));
        assert_eq!(kind("ls -"), Some(Kind::Option));
        assert_eq!(kind("ls -- -"), names(Side::Remote));
        assert_eq!(kind("help m"), Some(Kind::Command));
        for line in ["nothing x", "!ls ", "# x", "uploads --abort "] {
            assert_eq!(kind(line), None, "{line}");
        }
    }

    fn completed(line: &str, found: &[&str]) -> Vec<String> {
        let named = |name: &&str| Named {
            name: name.trim_end_matches('/').to_owned(),
            is_directory: name.ends_with('/'),
        };
        let found: Vec<Named> = found.iter().map(named).collect();
        let wanted = wanted(&parser(), line).unwrap();
        let whole =
            |candidate: Candidate| format!("{}{}", &line[..wanted.start], candidate.replacement);
        names(&wanted, &found).into_iter().map(whole).collect()
    }

    #[test]
    fn names_are_quoted_as_the_word_was_begun() {
        let found = ["a b.txt", "a dir/", "日 本", "it's", "-rf", ".hidden", "plain", "x*"];
        let table: [(&str, &[&str]); 14] = [
            ("get a", &[r"get a\ b.txt ", r"get a\ dir/"]),
            (r"get a\ ", &[r"get a\ b.txt ", r"get a\ dir/"]),
            ("get 'a b", &["get 'a b.txt' "]),
            ("get \"a d", &["get \"a dir/"]),
            ("get 日", &[r"get 日\ 本 "]),
            ("get i", &[r"get it\'s "]),
            ("get 'i", &[r"get 'it'\''s' "]),
            ("get -- -", &["get -- ./-rf "]),
            ("get .", &["get .hidden "]),
            ("get x", &[r"get x\* "]),
            ("get d\\ e/p", &[r"get d\ e/plain "]),
            ("put ~/p", &["put ~/plain "]),
            ("cd ", &[r"cd a\ dir/"]),
            ("get q", &[]),
        ];
        for (line, expected) in table {
            assert_eq!(completed(line, &found), expected, "{line}");
        }
        assert_eq!(completed("get ", &found).len(), 7, "a hidden name has to be asked for");
    }

    #[test]
    fn a_name_that_would_drive_the_terminal_is_no_proposal() {
        assert_eq!(completed("get ", &["\u{1b}[2J", "a\nb", "exe\u{202e}gpj", "ok"]), ["get ok "]);
    }

    #[test]
    fn commands_and_options_are_those_of_the_parser() {
        let parser = parser();
        let shown = |candidates: Vec<Candidate>| -> Vec<String> {
            candidates.into_iter().map(|candidate| candidate.replacement).collect()
        };
        let of = |line: &str| wanted(&parser, line).unwrap();
        assert_eq!(shown(commands(&parser, &of("lp"))), ["lpwd "]);
        assert_eq!(shown(commands(&parser, &of("q"))), ["quit "]);
        assert_eq!(shown(commands(&parser, &of("pass"))), [""; 0]);
        assert_eq!(shown(options(&parser, "put --rec", &of("put --rec"))), ["--recursive "]);
        let all = shown(options(&parser, "ls --", &of("ls --")));
        assert!(all.contains(&"--help ".to_owned()), "{all:?}");
    }
}

//! What each word of a line is to its command: a name here, a name in the home, an option, or neither.
//!
//! Read off the parser's own definitions, so that a new command is completed and globbed by the names of
//! its values alone: LOCAL is a local path; REMOTE, PATH, FROM and TO are paths in the home; SRC and DST are local
//! directories, unless they begin with a colon. It is
//! used for lines that are still typed, so it is content with words that make no sense.

use clap::{Arg, Command};

/// On which side a name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Local,
    Remote,
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The command itself, or one that help is asked for.
    Command,
    /// An option, with or without its value.
    Option,
    /// A name.
    Name {
        side: Side,
        /// Only directories make sense.
        directory: bool,
        /// Several words may stand in its place.
        many: bool,
    },
    /// A value that is no name.
    Other,
}

/// The roles of the words, and of one more that would follow. The parser has to be built.
pub(super) fn roles(parser: &Command, words: &[String]) -> Vec<Role> {
    let mut roles = vec![Role::Command];
    let Some((name, rest)) = words.split_first() else {
        return roles;
    };
    let Some(command) = parser.find_subcommand(name) else {
        roles.extend(rest.iter().map(|_| Role::Other));
        roles.push(Role::Other);
        return roles;
    };
    if name == "help" {
        roles.extend(words.iter().map(|_| Role::Command));
        return roles;
    }
    let mut waiting: Option<&Arg> = None;
    let (mut places, mut options) = (0, true);
    // The word that would follow is not known to be an option.
    for word in rest.iter().map(String::as_str).chain([""]) {
        let role = if let Some(option) = waiting.take() {
            of_value(option)
        } else if options && word == "--" {
            options = false;
            Role::Option
        } else if options && word.len() > 1 && word.starts_with('-') {
            waiting = value_of(command, word);
            Role::Option
        } else {
            places += 1;
            match positional(command, places).map_or(Role::Other, of_value) {
                // A path in the home, whose colon stands in the way.
                Role::Name { .. } if name == "sync" && word.starts_with(':') => Role::Other,
                role => role,
            }
        };
        roles.push(role);
    }
    roles
}

/// The argument in this place, counted from 1; the last one that takes several takes all that follow.
fn positional(command: &Command, place: usize) -> Option<&Arg> {
    let many = |arg: &&Arg| takes_several(arg);
    command
        .get_positionals()
        .find(|arg| arg.get_index() == Some(place))
        .or_else(|| command.get_positionals().filter(many).last())
}

/// The option whose value the next word is, after this one.
fn value_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let takes = |arg: &&Arg| !arg.is_positional() && arg.get_action().takes_values();
    let option = match word.strip_prefix("--") {
        Some(long) => command.get_arguments().find(|arg| arg.get_long() == Some(long)),
        None => {
            // -rt VALUE: of letters together only the last one can have it.
            let letter = word.chars().last();
            command.get_arguments().find(|arg| letter.is_some() && arg.get_short() == letter)
        }
    };
    option.filter(takes)
}

fn takes_several(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

fn of_value(arg: &Arg) -> Role {
    let name = arg.get_value_names().and_then(|names| names.first());
    let (side, directory) = match name.map(|name| name.as_str()) {
        Some("LOCAL") => (Side::Local, false),
        Some("LOCAL_DIR" | "SRC" | "DST") => (Side::Local, true),
        Some("REMOTE" | "PATH" | "FROM" | "TO") => (Side::Remote, false),
        Some("REMOTE_DIR") => (Side::Remote, true),
        _ => return Role::Other,
    };
    Role::Name { side, directory, many: takes_several(arg) }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    fn of(line: &str) -> Vec<String> {
        let mut parser = line::parser(true);
        parser.build();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let shown = |role: &Role| match role {
            Role::Command => "command".to_owned(),
            Role::Option => "option".to_owned(),
            Role::Other => "other".to_owned(),
            Role::Name { side, directory, many } => {
                let side = if *side == Side::Local { "local" } else { "remote" };
                let kind = if *directory { " directory" } else { "" };
                format!("{side}{kind}{}", if *many { "s" } else { "" })
            }
        };
        roles(&parser, &words).iter().map(shown).collect()
    }

    #[test]
    fn each_word_has_its_side() {
        let table: [(&str, &[&str]); 15] = [
            ("", &["command"]),
            ("put", &["command", "locals"]),
            (
                "put -n a --to b c",
                &["command", "option", "locals", "option", "remote", "locals", "locals"],
            ),
            ("put -- -a", &["command", "option", "locals", "locals"]),
            ("get a --to b", &["command", "remotes", "option", "local", "remotes"]),
            ("get -r --to=x", &["command", "option", "option", "remotes"]),
            ("ls -l", &["command", "option", "remotes"]),
            ("stat x", &["command", "remotes", "remotes"]),
            ("mv a", &["command", "remotes", "remote"]),
            ("sync -n a :b", &["command", "option", "local directory", "other", "other"]),
            ("cd", &["command", "remote directory"]),
            ("lcd", &["command", "local directory"]),
            ("lls -l", &["command", "option", "locals"]),
            ("uploads --abort", &["command", "option", "other"]),
            ("nothing x", &["command", "other", "other"]),
        ];
        for (line, expected) in table {
            assert_eq!(of(line), expected, "{line}");
        }
        assert_eq!(of("help mv"), ["command", "command", "command"]);
    }
}

//! What can be typed in the shell: the commands of `berth`, read by the same parser, and those about the shell itself.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use rust_i18n::t;

use crate::args::{Command, with_picking};
use crate::language::message;

/// Commands of `berth` that the shell has no use for.
const NOT_HERE: [&str; 6] = ["passwd", "shell", "login", "logout", "join", "profiles"];

/// A line that was understood.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) quiet: bool,
    pub(super) json: bool,
    pub(super) what: What,
}

#[derive(Clone, Debug, Parser)]
#[command(
    multicall = true,
    disable_version_flag = true,
    subcommand_required = true,
    help_template = "Commands:\n{subcommands}{after-help}",
    after_help = AFTER_HELP
)]
struct Definition {
    #[command(subcommand)]
    what: What,
}

/// Below the list of commands.
const AFTER_HELP: &str = "
'help COMMAND' explains a command. !COMMAND runs one of your own shell, and ! alone starts it.
Names are quoted as in a shell; unquoted * ? [a-z] stand for names that are there.
'put' and 'get' without files let you pick them by numbers.";

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum What {
    #[command(flatten)]
    Berth(Command),
    #[command(flatten)]
    Shell(Builtin),
}

/// Commands that the shell alone has.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Builtin {
    /// Change the directory in the home that relative names start from
    Cd {
        /// The directory; - is the one before [default: the home]
        #[arg(value_name = "REMOTE_DIR")]
        directory: Option<String>,
    },
    /// Print the directory in the home
    Pwd,
    /// Change the local directory
    Lcd {
        /// The directory [default: your local home]
        #[arg(value_name = "LOCAL_DIR")]
        directory: Option<String>,
    },
    /// Print the local directory
    Lpwd,
    /// List local files, by the system's ls and with its options
    #[command(disable_help_flag = true)]
    Lls {
        /// What to list, and options of ls
        #[arg(value_name = "LOCAL", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Leave the shell
    #[command(visible_alias = "quit")]
    Exit,
}

/// The parser of lines; where `picks` is set, `put` and `get` need no files.
pub(super) fn parser(picks: bool) -> clap::Command {
    // They cannot stand before a command, as outside the shell.
    let with_general = |command: clap::Command| match command.get_name() {
        // All that follows is for the system's ls.
        "lls" => command,
        _ => command.args(general()),
    };
    let parser = Definition::command().mut_subcommands(with_general);
    let parser = if picks { with_picking(parser) } else { parser };
    NOT_HERE.iter().fold(parser, |parser, name| parser.mut_subcommand(name, |it| it.hide(true)))
}

/// The general options that make sense for one command.
fn general() -> [Arg; 2] {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    [
        flag("quiet").short('q').help(message!("Print nothing but what was asked for, and errors")),
        flag("json")
            .help(message!("Print listings, reports and errors as JSON, one object a line")),
    ]
}

/// Understands the words of a line.
///
/// # Errors
/// Help that was asked for, and what is wrong with it.
pub(super) fn parse(parser: clap::Command, words: &[String]) -> Result<Line, clap::Error> {
    if let Some(name) = words.first().filter(|word| NOT_HERE.contains(&word.as_str())) {
        let sentence = t!(
            "%{name} cannot be given in the shell: leave it, and type berth %{name}",
            name = name
        );
        return Err(clap::Error::raw(ErrorKind::InvalidSubcommand, format!("{sentence}\n")));
    }
    let matches = parser.try_get_matches_from(words)?;
    let flag = |name: &str| {
        let command = matches.subcommand().map(|(_, command)| command.try_get_one::<bool>(name));
        matches!(command, Some(Ok(Some(true))))
    };
    let (quiet, json) = (flag("quiet"), flag("json"));
    Ok(Line { quiet, json, what: Definition::from_arg_matches(&matches)?.what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    fn understood(line: &str) -> Result<Line, clap::Error> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(parser(true), &words)
    }

    #[test]
    fn the_parser_is_consistent() {
        parser(true).debug_assert();
        parser(false).debug_assert();
    }

    #[test]
    fn every_command_of_berth_is_there_and_those_without_use_are_hidden() {
        let shell = parser(true);
        for command in Args::command().get_subcommands() {
            let name = command.get_name();
            let here = shell.find_subcommand(name).unwrap();
            assert_eq!(
                here.is_hide_set(),
                command.is_hide_set() || NOT_HERE.contains(&name),
                "{name}"
            );
        }
        for name in NOT_HERE {
            assert!(understood(name).unwrap_err().to_string().contains("type berth"), "{name}");
        }
    }

    #[test]
    fn lines_are_read_as_arguments_of_berth() {
        let line = understood("put -n a b --to d/ --json").unwrap();
        assert!(line.json && !line.quiet);
        match line.what {
            What::Berth(Command::Put(args)) => assert!(args.no_overwrite && args.files.len() == 2),
            other => panic!("{other:?}"),
        }
        let builtin = |line| match understood(line).unwrap().what {
            What::Shell(builtin) => builtin,
            other => panic!("{other:?}"),
        };
        assert_eq!(builtin("cd -"), Builtin::Cd { directory: Some("-".into()) });
        assert_eq!(builtin("quit"), Builtin::Exit);
        let arguments = ["-h", "a", "--full-time"].map(str::to_owned).to_vec();
        assert_eq!(builtin("lls -h a --full-time"), Builtin::Lls { arguments });
        assert!(matches!(understood("get").unwrap().what, What::Berth(Command::Get(_))));
    }

    #[test]
    fn help_and_mistakes_name_the_command_without_the_program() {
        let told = |line| understood(line).unwrap_err().render().to_string();
        assert!(told("mv -n -f a b").contains("Usage: mv"), "{}", told("mv -n -f a b"));
        assert!(told("nothing").contains("nothing"));
        assert_eq!(understood("ls --help").unwrap_err().kind(), ErrorKind::DisplayHelp);
        let help = told("help");
        for command in ["\n  put", "\n  cd", "\n  lls", "!COMMAND"] {
            assert!(help.contains(command), "{command} in {help}");
        }
        assert!(!help.contains("passwd"), "{help}");
        assert!(told("help mv").contains("Move or rename"));
    }
}

//! The help of a command line in the language that is spoken: clap knows English alone, so the tree of commands is
//! walked and each of its texts replaced.
//!
//! The English texts are the doc comments of `args`, `admin::args` and `shell::line`; each paragraph is a message.
//! Manual pages and completions are made of the tree as it is.

use std::borrow::Cow;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, Error};
use rust_i18n::t;

use super::fill::filled;
use super::{Language, message, spoken, translated};
use crate::looking::screen;

/// As wide as help gets, also on a wider screen; as `max_term_width` of the command lines.
const WIDEST: usize = 100;
/// What stands before the help of an option beside its name: two columns, and four for a short name.
const BESIDE: usize = 8;
/// How far the help is indented where it begins on a line of its own.
const BELOW: usize = 10;

/// Reads this process' arguments. The help is translated only where it is asked for, as that takes some milliseconds.
///
/// # Errors
/// What is wrong with them, and also help and the version.
pub(crate) fn matches(command: &Command) -> Result<ArgMatches, Error> {
    let found = command.clone().try_get_matches();
    let is_help = |error: &Error| {
        use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
        matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand)
    };
    match found {
        Err(error) if is_help(&error) => in_language(command.clone()).try_get_matches(),
        found => found,
    }
}

/// The same command line with all that it says to people in the language that is spoken.
#[must_use]
pub(crate) fn in_language(mut command: Command) -> Command {
    if spoken() == Language::English {
        return command;
    }
    // Only then it has the options and the command that clap adds, and its own in every command.
    command.build();
    let width = screen::width().min(WIDEST);
    walked(command, width)
}

fn walked(command: Command, width: usize) -> Command {
    let command = with_own_texts(command, width);
    let options = column(&command);
    command
        .mut_args(|argument| with_help(argument, width, options))
        .mut_subcommands(|inner| walked(inner, width))
}

/// The texts of a command itself, and the headings that clap would write in English.
fn with_own_texts(command: Command, width: usize) -> Command {
    let told =
        |text: Option<&StyledStr>| text.map(|text| filled(&paragraphs(&text.to_string()), width));
    let about = command.get_about().map(|text| paragraphs(&text.to_string()));
    let long_about = told(command.get_long_about());
    let after = told(command.get_after_help());
    let long_after = told(command.get_after_long_help());
    let template = if command.is_multicall_set() {
        // The shell's own help is its list of commands.
        t!("Commands:\n{subcommands}{after-help}")
    } else {
        t!("{before-help}{about-with-newline}\nUsage: {usage}\n\n{all-args}{after-help}")
    };
    let template = template.into_owned();
    let mut command =
        command.help_template(template).subcommand_help_heading(t!("Commands").into_owned());
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(about) = long_about {
        command = command.long_about(about);
    }
    if let Some(after) = after {
        command = command.after_help(after);
    }
    if let Some(after) = long_after {
        command = command.after_long_help(after);
    }
    command
}

/// The column in which the help of a command's arguments begins.
fn column(command: &Command) -> usize {
    let widest = command.get_arguments().map(|argument| argument.to_string().len()).max();
    widest.unwrap_or(0) + BESIDE
}

fn with_help(argument: Arg, width: usize, column: usize) -> Arg {
    let room = match width.saturating_sub(column) {
        // clap begins a line of its own for it then.
        narrow if narrow < width / 2 => width.saturating_sub(BELOW),
        room => room,
    };
    let told = |text: Option<&StyledStr>| text.map(|text| paragraphs(&text.to_string()));
    let values = values(&argument);
    let with_values = |text: String, room| filled(&format!("{text}{values}"), room);
    let help = told(argument.get_help()).map(|text| with_values(text, room));
    let long =
        told(argument.get_long_help()).map(|text| with_values(text, width.saturating_sub(BELOW)));
    let heading = heading(&argument);
    let mut argument = argument.hide_default_value(true).hide_env(true).help_heading(heading);
    if let Some(help) = help {
        argument = argument.help(help);
    }
    if let Some(long) = long {
        argument = argument.long_help(long);
    }
    argument
}

/// Under which heading an argument is told.
fn heading(argument: &Arg) -> String {
    let heading = match argument.get_help_heading() {
        Some(own) => own,
        None if argument.is_positional() => message!("Arguments"),
        None => message!("Options"),
    };
    translated(heading).unwrap_or_else(|| heading.to_owned())
}

/// What clap would add of the variable and of the default.
fn values(argument: &Arg) -> String {
    let mut text = String::new();
    if let Some(variable) = argument.get_env().filter(|_| !argument.is_hide_env_set()) {
        let value = std::env::var_os(variable).unwrap_or_default();
        let (variable, value) = (variable.to_string_lossy(), value.to_string_lossy());
        text += &t!(" [env: %{variable}=%{value}]", variable = variable, value = value);
    }
    let defaults: Vec<Cow<'_, str>> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let takes_value = argument.get_action().takes_values();
    if takes_value && !defaults.is_empty() && !argument.is_hide_default_value_set() {
        text += &t!(" [default: %{value}]", value = defaults.join(" "));
    }
    text
}

/// A text whose paragraphs are translated one by one.
fn paragraphs(text: &str) -> String {
    let told = |paragraph: &str| translated(paragraph).unwrap_or_else(|| paragraph.to_owned());
    text.split("\n\n").map(told).collect::<Vec<_>>().join("\n\n")
}

/// The messages that the help of a command line is made of, without those of its commands.
#[must_use]
pub fn paragraphs_of(command: &Command) -> Vec<String> {
    let own = [
        command.get_about(),
        command.get_long_about(),
        command.get_after_help(),
        command.get_after_long_help(),
    ];
    let arguments: Vec<&Arg> =
        command.get_arguments().filter(|argument| !argument.is_hide_set()).collect();
    let of_arguments = arguments.iter().flat_map(|it| [it.get_help(), it.get_long_help()]);
    let texts = own.into_iter().chain(of_arguments).flatten().map(ToString::to_string);
    let mut all: Vec<String> =
        texts.flat_map(|text| text.split("\n\n").map(str::to_owned).collect::<Vec<_>>()).collect();
    all.extend(arguments.into_iter().filter_map(Arg::get_help_heading).map(str::to_owned));
    all
}

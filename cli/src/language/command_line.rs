//! What is wrong with a command line, in the language that is spoken: clap tells it in English alone.
//!
//! Called by `run`, `admin` and the shell with what clap has refused. Help and the version pass through: they are
//! made of the tree that `help` has translated.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::num::ParseIntError;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use rust_i18n::t;

use super::{Language, spoken};
use crate::output::escaped;
use crate::wording;

/// What clap begins with.
const CLAPS: &str = "error: ";

/// Prints what clap has to say, on the stream that it chooses.
pub(crate) fn complaint(error: &Error) {
    let says_what_was_asked =
        !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if spoken() == Language::English || says_what_was_asked {
        // That it cannot be written is nobody's concern.
        let _ = error.print();
    } else {
        // A name that wildcards stood for may be what other people chose.
        let told = told(error);
        let lines: Vec<_> = told.split('\n').map(escaped).collect();
        let _ = write!(io::stderr(), "{}", lines.join("\n"));
    }
}

/// The whole text: what is wrong, what may have been meant, how the command is used.
fn told(error: &Error) -> String {
    let Some(mut text) = sentence(error) else {
        return framed(&error.render().to_string());
    };
    for kind in
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
    {
        if let Some(names) = names(error, kind) {
            text += &t!("\n\n  tip: there is %{names}", names = quoted(&names));
        }
    }
    if let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested)
        && let Some(name) = text_of(error, ContextKind::InvalidArg)
        && tips.iter().any(|tip| tip.to_string().contains("as a value"))
    {
        text += &t!("\n\n  tip: to pass '%{name}' as a value, write '-- %{name}'", name = name);
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        text += &format!("\n\n{usage}");
    }
    let end = t!("For more information, try '--help'.");
    framed(&format!("{CLAPS}{text}\n\n{end}\n"))
}

/// The words that clap itself puts around a sentence of ours.
fn framed(text: &str) -> String {
    let text = match text.strip_prefix(CLAPS) {
        Some(sentence) => t!("error: %{sentence}", sentence = sentence).into_owned(),
        None => text.to_owned(),
    };
    text.replace("\nUsage: ", &format!("\n{}", t!("Usage: ")))
        .replace("For more information, try '--help'.", &t!("For more information, try '--help'."))
}

/// What is wrong; `None` of what was a sentence of ours before clap had it.
fn sentence(error: &Error) -> Option<String> {
    let argument = || text_of(error, ContextKind::InvalidArg);
    let value = || text_of(error, ContextKind::InvalidValue);
    let number = |kind| match error.get(kind) {
        Some(ContextValue::Number(number)) => Some(*number),
        _ => None,
    };
    let text = match error.kind() {
        ErrorKind::UnknownArgument => {
            t!("unexpected argument '%{argument}'", argument = argument()?)
        }
        ErrorKind::InvalidSubcommand => {
            t!(
                "there is no command '%{name}'",
                name = text_of(error, ContextKind::InvalidSubcommand)?
            )
        }
        ErrorKind::InvalidValue if value()?.is_empty() => {
            t!("'%{argument}' needs a value", argument = argument()?)
        }
        ErrorKind::InvalidValue => t!(
            "'%{value}' is no value for '%{argument}'; there are %{values}",
            value = value()?,
            argument = argument()?,
            values = names(error, ContextKind::ValidValue).unwrap_or_default().join(", ")
        ),
        ErrorKind::ValueValidation => t!(
            "'%{value}' is no value for '%{argument}': %{reason}",
            value = value()?,
            argument = argument()?,
            reason = reason(error, &value()?)
        ),
        ErrorKind::ArgumentConflict => conflict(error)?.into(),
        ErrorKind::MissingRequiredArgument => t!(
            "what is needed was not given:%{arguments}",
            arguments = names(error, ContextKind::InvalidArg)?
                .iter()
                .map(|name| format!("\n  {name}"))
                .collect::<String>()
        ),
        ErrorKind::MissingSubcommand => {
            t!("'%{name}' needs a command", name = text_of(error, ContextKind::InvalidSubcommand)?)
        }
        ErrorKind::TooManyValues => t!(
            "'%{value}' is one value too many for '%{argument}'",
            value = value()?,
            argument = argument()?
        ),
        ErrorKind::TooFewValues => t!(
            "'%{argument}' needs at least %{least} values, and %{given} were given",
            argument = argument()?,
            least = number(ContextKind::MinValues)?,
            given = number(ContextKind::ActualNumValues)?
        ),
        ErrorKind::WrongNumberOfValues => t!(
            "'%{argument}' needs %{needed} values, and %{given} were given",
            argument = argument()?,
            needed = number(ContextKind::ExpectedNumValues)?,
            given = number(ContextKind::ActualNumValues)?
        ),
        ErrorKind::NoEquals => {
            t!("a value of '%{argument}' comes behind an equals sign", argument = argument()?)
        }
        ErrorKind::InvalidUtf8 => t!("an argument is not UTF-8"),
        // Help, the version, and what no parser of ours can say.
        _ => return None,
    };
    Some(text.into_owned())
}

fn conflict(error: &Error) -> Option<String> {
    let name = text_of(error, ContextKind::InvalidArg)
        .or_else(|| text_of(error, ContextKind::InvalidSubcommand))?;
    let others = names(error, ContextKind::PriorArg).unwrap_or_default();
    Some(match others.as_slice() {
        [] => t!("'%{name}' cannot be used with the others", name = name).into_owned(),
        [other] if *other == name => {
            t!("'%{name}' can be given only once", name = name).into_owned()
        }
        others => {
            t!("'%{name}' cannot be used with %{others}", name = name, others = quoted(others))
                .into_owned()
        }
    })
}

/// Why a value is none: a sentence of ours, or one of the standard library's and clap's about numbers.
fn reason(error: &Error, value: &str) -> String {
    let Some(source) = error.source() else {
        return String::new();
    };
    if source.is::<ParseIntError>() {
        return t!("it is not a whole number").into_owned();
    }
    let text = wording::of_source(source);
    match text.strip_prefix(value).and_then(|rest| rest.strip_prefix(" is not in ")) {
        Some(range) => t!("it is not in %{range}", range = range).into_owned(),
        None => text,
    }
}

fn text_of(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn names(error: &Error, kind: ContextKind) -> Option<Vec<String>> {
    match error.get(kind)? {
        ContextValue::String(name) => Some(vec![name.clone()]),
        ContextValue::Strings(names) => Some(names.clone()),
        _ => None,
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| t!("'%{name}'", name = name)).collect::<Vec<_>>().join(", ")
}

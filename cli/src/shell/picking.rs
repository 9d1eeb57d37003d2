//! Numbered picking: `put` and `get` without files show what there is with numbers, and take numbers and ranges.
//!
//! The same in the shell and on a terminal outside it; who asks the question is the caller's affair.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use berth_common::entry::EntryKind;
use rust_i18n::t;

use super::names::is_name;
use crate::args::Command;
use crate::commands::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::language::message;
use crate::looking::columns::right;
use crate::output::complain;

/// Most files that are shown with numbers.
const MOST_SHOWN: usize = 1000;

const QUESTION: &str =
    message!("Which? (numbers and ranges such as 1 3-5, * for all, nothing to cancel) ");

/// Why an answer picks nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PickError {
    #[error("{}", t!("%{text} is neither a number nor a range such as 3-5", text = format_args!("{_0:?}")))]
    NoNumber(String),
    #[error("{}", t!("%{text} goes backwards", text = format_args!("{_0:?}")))]
    Backwards(String),
    #[error("{}", t!("there is no %{number}; the numbers go from 1 to %{last}", number = _0, last = _1))]
    Outside(String, usize),
}

/// The places, counted from 0, that an answer picks among `count`; none when it is empty.
///
/// # Errors
/// What is wrong with the first wrong word.
pub(crate) fn picked(answer: &str, count: usize) -> Result<Vec<usize>, PickError> {
    let mut places = Vec::new();
    let mut taken = HashSet::new();
    for word in answer.split([' ', '\t', ',']).map(str::trim).filter(|word| !word.is_empty()) {
        let (first, last) = match word {
            "*" | "all" => (1, count),
            range => parse(range, count)?,
        };
        places.extend((first..=last).map(|number| number - 1).filter(|place| taken.insert(*place)));
    }
    Ok(places)
}

fn parse(range: &str, count: usize) -> Result<(usize, usize), PickError> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| -> Result<usize, PickError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PickError::NoNumber(range.to_owned()));
        }
        // One that is too large for a number is outside too.
        let number = text.parse().ok().filter(|number| (1..=count).contains(number));
        number.ok_or_else(|| PickError::Outside(text.to_owned(), count))
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err(PickError::Backwards(range.to_owned())) } else { Ok((first, last)) }
}

/// What can be picked.
#[derive(Debug)]
struct Offer {
    name: String,
    size: Option<u64>,
}

/// Whether files have to be picked before a command can be carried out.
pub(crate) fn is_needed(command: &Command) -> bool {
    match command {
        Command::Put(args) => args.files.is_empty(),
        Command::Get(args) => args.files.is_empty(),
        _ => false,
    }
}

/// Lets a person pick the files of a `put` or `get`. `false` when nothing was picked.
///
/// # Errors
/// When the directory cannot be read, has no files or too many, or the question fails.
pub(crate) async fn pick<F>(
    context: &Context,
    command: &mut Command,
    mut ask: F,
) -> Result<bool, Failure>
where
    F: AsyncFnMut(&str) -> Result<String, Failure>,
{
    let mut offers = match command {
        Command::Put(args) => local(args.recursive)?,
        Command::Get(args) => remote(context, args.recursive).await?,
        _ => return Ok(true),
    };
    offers.sort_by(|one, other| one.name.cmp(&other.name));
    for line in table(&offers) {
        complain(&line);
    }
    let places = loop {
        match picked(&ask(&t!(QUESTION)).await?, offers.len()) {
            Ok(places) => break places,
            Err(error) => complain(&format!("berth: {error}")),
        }
    };
    // A file of this name is no standard input here either.
    let named = |name: &String| if name == "-" { "./-".to_owned() } else { name.clone() };
    let names = places.iter().map(|place| named(&offers[*place].name));
    match command {
        Command::Put(args) => args.files = names.map(PathBuf::from).collect(),
        Command::Get(args) => args.files = names.collect(),
        _ => {}
    }
    if places.is_empty() {
        context.output.note(&t!("nothing picked"));
    }
    Ok(!places.is_empty())
}

fn table(offers: &[Offer]) -> Vec<String> {
    let width = offers.len().to_string().len();
    let line = |(at, offer): (usize, &Offer)| {
        let size = offer.size.map_or_else(|| t!("directory").into_owned(), human::size);
        format!("{:>width$}  {}  {}", at + 1, right(&size, 10), offer.name)
    };
    offers.iter().enumerate().map(line).collect()
}

fn local(directories: bool) -> Result<Vec<Offer>, Failure> {
    let unreadable = |error| {
        Failure::new(Exit::Failure, t!("cannot read it: %{reason}", reason = human::reason(&error)))
            .of(t!("the local directory"))
    };
    let mut offers = Vec::new();
    for entry in std::fs::read_dir(Path::new(".")).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A link counts as what it leads to, as it does when it is named.
        let (Ok(found), Ok(name)) = (entry.path().metadata(), entry.file_name().into_string())
        else {
            continue;
        };
        if found.is_file() || (directories && found.is_dir()) {
            let size = found.is_file().then_some(found.len());
            offer(&mut offers, name, size, &t!("the local directory"))?;
        }
    }
    some(offers, &t!("the local directory"))
}

async fn remote(context: &Context, directories: bool) -> Result<Vec<Offer>, Failure> {
    let place = context.cwd.to_string();
    let refused =
        |error| crate::commands::failed(&error).of(t!("get from %{place}", place = place));
    let mut listing = context.session.list(&context.cwd).await.map_err(refused)?;
    let mut offers = Vec::new();
    while let Some(entries) = listing.next_part().await.map_err(refused)? {
        for entry in entries {
            let file = entry.kind == EntryKind::File;
            let offered = file || (directories && entry.kind == EntryKind::Directory);
            if offered && is_name(&entry.name) {
                offer(&mut offers, entry.name, file.then_some(entry.size), &place)?;
            }
        }
    }
    some(offers, &place)
}

fn offer(
    offers: &mut Vec<Offer>,
    name: String,
    size: Option<u64>,
    place: &str,
) -> Result<(), Failure> {
    if offers.len() == MOST_SHOWN {
        let sentence = t!(
            "has more than %{most_shown} files to pick from; name some",
            most_shown = MOST_SHOWN
        );
        return Err(Failure::usage(sentence).of(place));
    }
    offers.push(Offer { name, size });
    Ok(())
}

fn some(offers: Vec<Offer>, place: &str) -> Result<Vec<Offer>, Failure> {
    if offers.is_empty() {
        return Err(Failure::new(Exit::NotFound, t!("has no files to pick from")).of(place));
    }
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_numbers_ranges_and_all() {
        let table: [(&str, &[usize]); 8] = [
            ("", &[]),
            (" ,  ", &[]),
            ("2", &[1]),
            ("1 3-5", &[0, 2, 3, 4]),
            ("3-5,1", &[2, 3, 4, 0]),
            ("1-2 2-3 1", &[0, 1, 2]),
            ("*", &[0, 1, 2, 3, 4]),
            ("5 all", &[4, 0, 1, 2, 3]),
        ];
        for (answer, places) in table {
            assert_eq!(picked(answer, 5).unwrap(), places, "{answer}");
        }
    }

    #[test]
    fn tells_what_is_wrong() {
        let huge = "99999999999999999999999";
        let table = [
            ("x", "\"x\" is neither a number nor a range such as 3-5"),
            ("-3", "\"-3\" is neither a number nor a range such as 3-5"),
            ("3-", "\"3-\" is neither a number nor a range such as 3-5"),
            ("1-2-3", "\"1-2-3\" is neither a number nor a range such as 3-5"),
            ("+1", "\"+1\" is neither a number nor a range such as 3-5"),
            ("4-2", "\"4-2\" goes backwards"),
            ("0", "there is no 0; the numbers go from 1 to 5"),
            ("1 3-6", "there is no 6; the numbers go from 1 to 5"),
        ];
        for (answer, sentence) in table {
            assert_eq!(picked(answer, 5).unwrap_err().to_string(), sentence);
        }
        assert_eq!(picked(huge, 5), Err(PickError::Outside(huge.into(), 5)));
    }

    #[test]
    fn the_table_has_numbers_from_one() {
        let offer = |name: &str, size| Offer { name: name.into(), size };
        let lines = table(&[offer("a b", Some(2048)), offer("d", None)]);
        assert_eq!(lines, ["1     2.0 KiB  a b", "2   directory  d"]);
    }
}

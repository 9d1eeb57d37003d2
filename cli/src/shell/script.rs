//! Lines before they are split into words: comments, `!`, and the `-` of a command that may fail; and reading
//! them from standard input when that is no terminal.

use std::io::{self, BufRead as _};

use rust_i18n::t;

use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;

/// Longest line, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// A comment, or blanks.
    Nothing,
    /// A line for the user's own shell.
    Local(&'a str),
    /// A command and its arguments.
    Command(&'a str),
}

/// What a line asks for, and whether it may fail.
pub(super) fn asked(line: &str) -> (Asked<'_>, bool) {
    let line = line.trim();
    let (line, may_fail) = match line.strip_prefix('-') {
        Some(rest) => (rest.trim_start(), true),
        None => (line, false),
    };
    let asked = if line.is_empty() || line.starts_with('#') {
        Asked::Nothing
    } else if let Some(command) = line.strip_prefix('!') {
        Asked::Local(command.trim_start())
    } else {
        Asked::Command(line)
    };
    (asked, may_fail)
}

/// The next line of standard input; `None` at its end.
///
/// # Errors
/// A line that is too long or no text, and what the operating system says.
pub(super) async fn next_line() -> Result<Option<String>, Failure> {
    let unreadable = |error: &io::Error| {
        Failure::new(Exit::Failure, human::reason(error)).of(t!("cannot read the commands"))
    };
    let read = ask::beside(|| read_line(io::stdin().lock())).await;
    let line = read.unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
    let line = line.map_err(|error| unreadable(&error))?;
    if line.len() as u64 > LONGEST {
        return Err(Failure::usage(t!("a line of the commands is longer than 64 KiB")));
    }
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(line);
    line.map(Some).map_err(|_| Failure::usage(t!("a line of the commands is not UTF-8")))
}

fn read_line(input: impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(LONGEST + 1).read_until(b'\n', &mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_it_is() {
        let table = [
            ("", Asked::Nothing, false),
            (" \t\n", Asked::Nothing, false),
            ("# rm everything", Asked::Nothing, false),
            ("  ls -l \n", Asked::Command("ls -l"), false),
            ("-rm old\n", Asked::Command("rm old"), true),
            ("- rm old", Asked::Command("rm old"), true),
            ("!echo a", Asked::Local("echo a"), false),
            ("!", Asked::Local(""), false),
            ("-!false", Asked::Local("false"), true),
        ];
        for (line, expected, may_fail) in table {
            assert_eq!(asked(line), (expected, may_fail), "{line:?}");
        }
    }

    #[test]
    fn lines_are_bounded_and_the_last_one_needs_no_end() {
        let mut input = &b"ls\nput a"[..];
        assert_eq!(read_line(&mut input).unwrap(), b"ls\n");
        assert_eq!(read_line(&mut input).unwrap(), b"put a");
        assert_eq!(read_line(&mut input).unwrap(), b"");
        let long = vec![b'x'; 1 << 20];
        assert_eq!(read_line(&long[..]).unwrap().len() as u64, LONGEST + 1);
    }
}

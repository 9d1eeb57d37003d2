//! Where a password comes from: a file, the environment, or a person; used by `berth` and
//! `berthctl`.
//!
//! Never from the command line, which every process on the machine can read.

use std::env::VarError;
use std::io;
use std::path::{Path, PathBuf};

pub use berth::password::Password;
use rust_i18n::t;

use crate::{ask, human};

/// The variable that holds the password of the user who logs in.
pub const PASSWORD_VARIABLE: &str = "BERTH_PASSWORD";

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read as text.
    #[error("{}", t!("cannot read the password file %{path}: %{reason}", path = path.display(), reason = human::reason(source)))]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The first line of the file, or what was typed, is empty.
    #[error("{}", t!("the password is empty"))]
    Empty,
    /// The variable has bytes that are no text.
    #[error("{}", t!("%{password_variable} is not UTF-8", password_variable = PASSWORD_VARIABLE))]
    Variable,
    /// There is nobody to ask.
    #[error("{}", t!("no password: give --password-file or %{password_variable}, or run it on a terminal", password_variable = PASSWORD_VARIABLE))]
    NoTerminal,
    /// The person left the question by Ctrl-C, before the program heard of it as a signal.
    #[error("{}", t!("interrupted"))]
    Interrupted,
    /// The two answers differ.
    #[error("{}", t!("the two passwords differ; nothing was changed"))]
    Differ,
    /// The terminal failed.
    #[error("{}", t!("cannot ask for the password: %{reason}", reason = human::reason(_0)))]
    Prompt(#[source] io::Error),
}

/// The password in `file`, if one was given.
///
/// # Errors
/// `File` and `Empty`.
pub fn from_file(path: &Path) -> Result<Password, PasswordError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PasswordError::File { path: path.to_owned(), source })?;
    first_line(&text)
}

/// The password from the file if one was given, else from [`PASSWORD_VARIABLE`] if that is set;
/// `None` means that a person has to be asked.
///
/// # Errors
/// `File`, `Variable` and `Empty`.
pub fn without_asking(file: Option<&Path>) -> Result<Option<Password>, PasswordError> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(text) if text.is_empty() => Err(PasswordError::Empty),
        Ok(text) => Ok(Some(Password::new(text))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(PasswordError::Variable),
    }
}

/// Asks on the terminal, without showing what is typed.
///
/// # Errors
/// `NoTerminal`, `Interrupted`, `Empty` and `Prompt`.
pub fn ask(question: &str) -> Result<Password, PasswordError> {
    if !ask::somebody() {
        return Err(PasswordError::NoTerminal);
    }
    let answer = ask::secret(question).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => PasswordError::Interrupted,
        _ => PasswordError::Prompt(error),
    })?;
    first_line(&answer)
}

/// Asks twice for a password that is to be set.
///
/// # Errors
/// As [`ask`], and `Differ`.
pub fn ask_new(question: &str) -> Result<Password, PasswordError> {
    let password = ask(question)?;
    if ask(&t!("Again: "))? == password { Ok(password) } else { Err(PasswordError::Differ) }
}

/// A file's first line without its end, so that `echo secret > file` means `secret`.
fn first_line(text: &str) -> Result<Password, PasswordError> {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    if line.is_empty() { Err(PasswordError::Empty) } else { Ok(Password::new(line.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for (text, expected) in [("secret\n", "secret"), (" a b \r\nrest", " a b "), ("x", "x")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(without_asking(Some(&path)).unwrap().unwrap().as_str(), expected);
        }
        std::fs::write(&path, "\nsecret\n").unwrap();
        assert!(matches!(from_file(&path), Err(PasswordError::Empty)));
        let missing = from_file(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read the password file"), "{missing}");
    }
}

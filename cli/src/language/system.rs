//! What the operating system says went wrong, in the language that is spoken: programs of Rust get its texts in
//! English, whatever the locale is.

use std::io;

use super::translated;

/// The system's reason without the number that only a program needs.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.rsplit_once(" (os error ") {
        Some((reason, _)) => reason,
        None => &text,
    };
    in_words(text)
}

/// A text of the system's that came without its error.
pub(crate) fn in_words(text: &str) -> String {
    translated(text).unwrap_or_else(|| text.to_owned())
}

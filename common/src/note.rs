//! Notes: a short description that somebody keeps with a file, checked once where it enters.
//!
//! A note is one line, so that a listing has room for it in one, and bounded, so that it fits beside the
//! attributes that Berth keeps itself: ext4 has one block for all that a file has of them. Whoever shows one on a
//! terminal escapes it, as a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most bytes of a note. Together with digests and permission bits it fits the 4 KiB that ext4 has for them.
pub const MAX_NOTE_BYTES: usize = 1024;

/// One line of text with something to read in it: 1 to 1024 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

/// Why a text is no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// There is nothing to read in it.
    #[error("the note is empty")]
    Empty,
    /// It is longer than 1024 bytes.
    #[error("the note is longer than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// It has a control character, a line's end among them.
    #[error("the note has a line break, a tab or another control character")]
    Control,
}

/// What a put does with the note of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoteChange {
    /// The note of the file that is replaced or added to stays; a new file has none.
    #[default]
    Keep,
    /// There is none afterwards.
    Remove,
    /// It is this one.
    Set(Note),
}

impl Note {
    /// Checks a text.
    ///
    /// # Errors
    /// One for each way in which it is no note.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        if text.chars().any(is_break) {
            return Err(NoteError::Control);
        }
        if text.trim().is_empty() {
            return Err(NoteError::Empty);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character would end the line, or drive a terminal.
fn is_break(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

impl NoteChange {
    /// Bytes of the note that it brings, if it brings one.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Keep | Self::Remove => 0,
            Self::Set(note) => note.as_str().len(),
        }
    }
}

impl From<Option<Note>> for NoteChange {
    /// What makes this a file's note.
    fn from(note: Option<Note>) -> Self {
        note.map_or(Self::Remove, Self::Set)
    }
}

impl TryFrom<String> for Note {
    type Error = NoteError;

    fn try_from(text: String) -> Result<Self, NoteError> {
        Self::new(&text)
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_note_is_one_line_with_something_in_it() {
        for text in ["x", " from the scanner ", "写真 🚢", &"n".repeat(MAX_NOTE_BYTES)] {
            assert_eq!(Note::new(text).unwrap().as_str(), text);
        }
        for text in ["", " ", "\u{3000}"] {
            assert_eq!(Note::new(text), Err(NoteError::Empty), "{text:?}");
        }
        for text in ["a\nb", "a\tb", "\u{1b}[2J", "a\0", "\u{7f}", "\u{85}", "a\u{2028}b", "\n"] {
            assert_eq!(Note::new(text), Err(NoteError::Control), "{text:?}");
        }
        let long = "é".repeat(MAX_NOTE_BYTES / 2);
        assert!(Note::new(&long).is_ok());
        assert_eq!(Note::new(&format!("{long}x")), Err(NoteError::TooLong));
    }

    #[test]
    fn what_is_no_note_does_not_decode_as_one() {
        let encode = |text: &str| {
            let mut bytes = Vec::new();
            codec::encode_into(&text.to_owned(), &mut bytes).unwrap();
            bytes
        };
        assert_eq!(codec::decode::<Note>(&encode("x")).unwrap(), Note::new("x").unwrap());
        for text in ["", "a\nb", &"n".repeat(MAX_NOTE_BYTES + 1)] {
            assert!(codec::decode::<Note>(&encode(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_put_that_says_nothing_of_a_note_keeps_it() {
        assert_eq!(NoteChange::default(), NoteChange::Keep);
        let note = Note::new("abc").unwrap();
        assert_eq!(NoteChange::from(Some(note.clone())), NoteChange::Set(note.clone()));
        assert_eq!(NoteChange::from(None), NoteChange::Remove);
        assert_eq!((NoteChange::Set(note).weight(), NoteChange::Remove.weight()), (3, 0));
    }
}

//! What reaches the screen or a pipe, and in which form; used by `berth` and `berthctl`.
//!
//! Standard output has what was asked for: listings, reports, JSON. Standard error has notes and
//! errors. Names are made of what other people chose, so a terminal never gets their control
//! characters; a pipe gets the names as they are.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::looking::screen::Colour;

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// One JSON object a line instead of text, on standard error too.
    pub json: bool,
    /// No notes and no progress.
    pub quiet: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Standard output gets colours.
    pub coloured: bool,
}

impl Style {
    /// The style for this process' standard output.
    #[must_use]
    pub fn of_stdout(json: bool, quiet: bool) -> Self {
        Self { json, quiet, terminal: io::stdout().is_terminal(), coloured: false }
    }

    /// The same with colours, if they are wanted.
    #[must_use]
    pub fn coloured(self, colour: Colour) -> Self {
        Self { coloured: !self.json && colour.is_on(self.terminal), ..self }
    }
}

/// Standard output, buffered, and standard error.
pub struct Output {
    style: Style,
    out: Mutex<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Output {
    /// Writes to this process' standard output.
    #[must_use]
    pub fn stdout(style: Style) -> Self {
        Self::to(style, BufWriter::with_capacity(64 * 1024, io::stdout()))
    }

    /// Writes anywhere.
    #[must_use]
    pub fn to(style: Style, out: impl Write + Send + 'static) -> Self {
        Self { style, out: Mutex::new(Box::new(out)) }
    }

    /// How it writes.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// A line of what was asked for. It may stay in the buffer until [`Output::flush`].
    ///
    /// # Errors
    /// What standard output says; a closed pipe is `BrokenPipe`.
    pub fn line(&self, line: &str) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")
    }

    /// A JSON value on a line of its own.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&self, value: &serde_json::Value) -> io::Result<()> {
        self.line(&json_text(&value.to_string()))
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&self) -> io::Result<()> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }

    /// A name or path in a form that may be printed: escaped on a terminal, and where there are colours, since those
    /// are for one; else as it is.
    #[must_use]
    pub fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.style.terminal || self.style.coloured { escaped(name) } else { Cow::Borrowed(name) }
    }

    /// A remark on standard error, unless quiet; with JSON an object like all else.
    pub fn note(&self, text: &str) {
        match self.style {
            Style { quiet: true, .. } => {}
            Style { json: true, .. } => complain_in_json(&json!({ "note": text })),
            _ => complain(text),
        }
    }
}

/// A line on standard error. That it cannot be written is nobody's concern.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escaped(text));
}

/// A JSON object on a line of standard error.
pub fn complain_in_json(value: &Value) {
    let _ = writeln!(io::stderr(), "{}", json_text(&value.to_string()));
}

/// JSON whose strings can be printed anywhere: what `serde_json` leaves as it is and a terminal
/// should not get is written as JSON writes it, `\u202e`.
#[must_use]
pub fn json_text(json: &str) -> Cow<'_, str> {
    // A newline outside a string is layout, and within one it is escaped already.
    let is_unsafe = |character| character != '\n' && is_unsafe(character);
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_unsafe(character) {
            // None of them is beyond U+FFFF.
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// A text without control characters: `\n` for a newline, `\u{1b}` for an escape. Characters that
/// turn the direction of writing are escaped too, since they make one name look like another.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_terminal_never_gets_control_characters() {
        let table = [
            ("plain ä 日本", "plain ä 日本"),
            ("a\nb\t", "a\\nb\\t"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\u{9b}x\u{7f}", "\\u{9b}x\\u{7f}"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
        ];
        for (name, shown) in table {
            assert_eq!(escaped(name), shown);
        }
        let terminal = Output::to(Style { terminal: true, ..Style::default() }, io::sink());
        let pipe = Output::to(Style::default(), io::sink());
        assert_eq!((terminal.name("a\nb"), pipe.name("a\nb")), ("a\\nb".into(), "a\nb".into()));
        let coloured = Output::to(Style::default().coloured(Colour::Always), io::sink());
        assert_eq!(coloured.name("a\nb"), "a\\nb");
        let json = Style { json: true, ..Style::default() };
        assert!(!json.coloured(Colour::Always).coloured);
    }

    #[test]
    fn json_has_no_control_characters_either_and_says_the_same() {
        let value = json!({ "name": "a\n\u{9b}2J\u{7f}\u{202e}\u{1b}" });
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = json_text(&text);
            assert!(!safe.replace('\n', "").contains(is_unsafe), "{safe}");
            assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_is_one_object_a_line() {
        let written = Shared::default();
        let output = Output::to(Style { json: true, ..Style::default() }, written.clone());
        output.json(&serde_json::json!({ "name": "a\nb", "size": 3 })).unwrap();
        output.line("x").unwrap();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "{\"name\":\"a\\nb\",\"size\":3}\nx\n");
    }
}

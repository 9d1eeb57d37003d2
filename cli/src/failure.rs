//! Failures: the sentence for a person, the object for a program, and the exit code of both.

use std::fmt;

use berth::connection::passes;
use berth_common::error_code::ErrorCode;
use rust_i18n::t;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::human;
use crate::output::{Style, complain, complain_in_json};
use crate::retry::Tries;
use crate::wording::InWords;

/// A failure as it is told: one sentence that names the thing, and the code it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The sentence, without the `berth: ` before it. Empty when there is nothing to say.
    pub sentence: String,
    /// What the server refused it with, for programs.
    pub code: Option<ErrorCode>,
    /// The path in the home that it is about.
    pub path: Option<String>,
    /// The local path that it is about.
    pub local: Option<String>,
    /// Whether it passes: on another connection the same command can go on.
    pub lost: bool,
}

impl Failure {
    /// A failure with this sentence.
    #[must_use]
    pub fn new(exit: Exit, sentence: impl InWords) -> Self {
        let sentence = sentence.in_words();
        Self { exit, sentence, code: None, path: None, local: None, lost: false }
    }

    /// What a server refused a request with.
    #[must_use]
    pub fn of_server(code: &ErrorCode) -> Self {
        let failure = Self::new(Exit::of_server_error(code), code);
        Self { lost: passes(code), ..failure.coded(code) }
    }

    /// The same failure with what the server said.
    #[must_use]
    pub fn coded(self, code: &ErrorCode) -> Self {
        Self { code: Some(code.clone()), ..self }
    }

    /// The same failure with the path in the home, for programs.
    #[must_use]
    pub fn at(self, path: impl fmt::Display) -> Self {
        Self { path: Some(path.to_string()), ..self }
    }

    /// The same failure with the local path, for programs.
    #[must_use]
    pub fn locally(self, path: impl fmt::Display) -> Self {
        Self { local: Some(path.to_string()), ..self }
    }

    /// A command line that cannot be carried out.
    #[must_use]
    pub fn usage(sentence: impl InWords) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// The same failure with what it happened to put before it.
    #[must_use]
    pub fn of(self, what: impl fmt::Display) -> Self {
        Self { sentence: format!("{what}: {}", self.sentence), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Standard output cannot be written. A reader that has seen enough (`berth ls | head`) is told
/// nothing, as with other tools.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Failure, "");
        }
        let reason = human::reason(&error);
        Self::new(Exit::Failure, t!("cannot write the output: %{reason}", reason = reason))
    }
}

/// Collects failures of a command that goes on after one: the first decides.
#[derive(Debug)]
pub struct Failures {
    style: Style,
    first: Option<Exit>,
    tries: Tries,
}

impl Failures {
    /// None yet; they are told in this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self::of_tries(style, Tries::only_one())
    }

    /// Those of a command that may be tried again: what a try may mend is not told.
    pub(crate) fn of_tries(style: Style, tries: Tries) -> Self {
        Self { style, first: tries.first_exit(), tries }
    }

    /// Tells a failure at once and remembers its code.
    pub fn tell(&mut self, failure: &Failure) {
        self.take(failure);
    }

    /// The same; whether it was told.
    pub(crate) fn take(&mut self, failure: &Failure) -> bool {
        if self.tries.takes(failure) {
            return false;
        }
        tell("berth", failure, self.style);
        self.first.get_or_insert(failure.exit);
        true
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.first.unwrap_or(Exit::Success)
    }
}

/// Prints a program's failure on standard error: as `berth: sentence`, or as a JSON object.
pub fn tell(program: &str, failure: &Failure, style: Style) {
    if failure.sentence.is_empty() {
        return;
    }
    if style.json {
        complain_in_json(&as_json(failure));
    } else {
        complain(&format!("{program}: {failure}"));
    }
}

/// A failure for programs: the sentence, the exit code, the paths it is about, and what the server
/// said with all its numbers.
fn as_json(failure: &Failure) -> Value {
    let mut object = json!({ "error": failure.sentence, "exit": failure.exit.code() });
    for (key, path) in [("path", &failure.path), ("local", &failure.local)] {
        if let Some(path) = path {
            object[key] = json!(path);
        }
    }
    match failure.code.as_ref().map(serde_json::to_value) {
        Some(Ok(Value::Object(variant))) => {
            for (name, data) in variant {
                object["code"] = json!(name);
                object["data"] = data;
            }
        }
        Some(Ok(name)) => object["code"] = name,
        _ => {}
    }
    object
}

#[cfg(test)]
mod tests {
    use berth_common::error_code::Resource;

    use super::*;

    #[test]
    fn the_first_failure_decides() {
        let mut failures = Failures::new(Style::default());
        assert_eq!(failures.exit(), Exit::Success);
        failures.tell(&Failure::new(Exit::NotFound, ""));
        failures.tell(&Failure::new(Exit::NoRoom, ""));
        assert_eq!(failures.exit(), Exit::NotFound);
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(failure.sentence, "");
    }

    fn over_quota(limit: u64, used: i64, requested: u64) -> ErrorCode {
        ErrorCode::QuotaExceeded { resource: Resource::Bytes, limit, used, reserved: 0, requested }
    }

    #[test]
    fn a_failure_for_programs_has_every_number() {
        let failure =
            Failure::of_server(&over_quota(10, 9, 2)).of("put a\nb").at("/a\nb").locally("a\nb");
        let object = as_json(&failure);
        assert_eq!((&object["exit"], &object["code"]), (&json!(6), &json!("QuotaExceeded")));
        assert_eq!(
            object["data"],
            json!({ "resource": "Bytes", "limit": 10, "used": 9, "reserved": 0, "requested": 2 })
        );
        assert_eq!((&object["path"], &object["local"]), (&json!("/a\nb"), &json!("a\nb")));
        let object = as_json(&Failure::of_server(&ErrorCode::NotFound));
        assert_eq!((&object["code"], object.get("data")), (&json!("NotFound"), None));
        assert_eq!(as_json(&Failure::usage("x")), json!({ "error": "x", "exit": 2 }));
    }
}

//! Failures: the sentence for a person, the object for a program, and the exit code of both.

use std::fmt;

use berth::connection::passes;
use berth_common::error_code::{ErrorCode, Resource};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::human;
use crate::output::{Style, complain, complain_in_json};
use crate::retry::Tries;

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
    pub fn new(exit: Exit, sentence: impl fmt::Display) -> Self {
        let sentence = sentence.to_string();
        Self { exit, sentence, code: None, path: None, local: None, lost: false }
    }

    /// What a server refused a request with.
    #[must_use]
    pub fn of_server(code: &ErrorCode) -> Self {
        let failure = Self::new(Exit::of_server_error(code), sentence(code));
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
    pub fn usage(sentence: impl fmt::Display) -> Self {
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
        Self::new(Exit::Failure, format!("cannot write the output: {reason}"))
    }
}

/// A refusal of the server's as a sentence for people: sizes have units, and are exact only where
/// rounded ones would hide what is missing.
#[must_use]
pub fn sentence(code: &ErrorCode) -> String {
    let ErrorCode::QuotaExceeded { resource, limit, used, reserved, requested } = code else {
        return code.to_string();
    };
    let taken = i128::from(*used) + i128::from(*reserved);
    let free = u64::try_from((i128::from(*limit) - taken).max(0)).unwrap_or(u64::MAX);
    let rounded = *resource == Resource::Bytes && human::size(*requested) != human::size(free);
    let (show, unit): (fn(u64) -> String, _) = match resource {
        Resource::Bytes if rounded => (human::size, ""),
        Resource::Bytes => (|bytes| bytes.to_string(), " bytes"),
        Resource::Entries => (|entries| entries.to_string(), " files and directories"),
    };
    let used = match u64::try_from(*used) {
        Ok(used) => show(used),
        // Below zero for a moment, see `Usage`.
        Err(_) => format!("-{}", show(used.unsigned_abs())),
    };
    format!(
        "over quota: {} more{unit} asked for, and {} of {} free ({used} used, {} reserved)",
        show(*requested),
        show(free),
        show(*limit),
        show(*reserved),
    )
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
    fn a_quota_is_told_in_units_and_exactly_where_units_would_hide_it() {
        assert_eq!(
            sentence(&over_quota(20 << 20, 19 << 20, 3 << 20)),
            "over quota: 3.0 MiB more asked for, and 1.0 MiB of 20.0 MiB free \
             (19.0 MiB used, 0 B reserved)"
        );
        let exact = sentence(&over_quota(20 << 20, 19 << 20, (1 << 20) + 1));
        assert!(exact.contains("1048577 more bytes asked for, and 1048576 of"), "{exact}");
        let over = sentence(&over_quota(1, i64::MAX, u64::MAX));
        assert!(over.contains("and 0 B of 1 B free"), "{over}");
        assert!(sentence(&over_quota(1, -5, 9)).contains("(-5 B used"));
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

//! What a program that has ended printed, and how it ended.

use std::process::Output;

use serde_json::Value;

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Outcome {
    /// What was run, for messages.
    pub command: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Of a finished child. Bytes that are not UTF-8 are shown with U+FFFD.
    #[must_use]
    pub fn new(command: String, output: &Output) -> Self {
        Self {
            command,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Claims that it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code_is(0)
    }

    /// Claims that it ended with this exit code.
    ///
    /// # Panics
    /// When it ended with another.
    #[track_caller]
    pub fn code_is(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "`{}` printed:\n{}{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Claims that it failed by itself (and was not ended by a signal), whatever the code.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(
            matches!(self.code, Some(1..=120)),
            "`{}` ended with {:?}:\n{}{}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Claims that standard error has this text.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "`{}` does not say {text:?} but:\n{}",
            self.command,
            self.stderr
        );
        self
    }

    /// Standard output, which has to be one JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}`: {error} in:\n{}", self.command, self.stdout))
    }

    /// Standard output as `berth --json` prints it: one JSON object a line.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("`{}`: {error} in:\n{line}", self.command))
        };
        self.stdout.lines().map(parse).collect()
    }
}

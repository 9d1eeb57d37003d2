//! The arguments of this program, which stands in no test harness: those of `cargo test` that mean something
//! here, or nothing at all. Any other is refused, so that nobody takes a run for what it was not.

/// What is to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Parts of names, or whole ones; all tests when there are none.
    names: Vec<String>,
    exact: bool,
    /// Names are printed, and nothing is run.
    pub(crate) list: bool,
    /// Only tests that are ignored by default, of which there are none.
    ignored: bool,
}

impl Arguments {
    /// # Errors
    /// The first argument that is unknown.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => parsed.exact = true,
                "--list" => parsed.list = true,
                "--ignored" => parsed.ignored = true,
                // One test after the other, and all of what they write, is what is done anyway.
                "--include-ignored" | "--nocapture" | "--no-capture" | "--show-output"
                | "--quiet" | "-q" => {}
                "--test-threads" => drop(arguments.next()),
                threads if threads.starts_with("--test-threads=") => {}
                option if option.starts_with('-') => return Err(argument),
                _ => parsed.names.push(argument),
            }
        }
        Ok(parsed)
    }

    /// Whether a test of this name is meant.
    pub(crate) fn mean(&self, test: &str) -> bool {
        let is_it = |name: &String| if self.exact { test == name } else { test.contains(name) };
        !self.ignored && (self.names.is_empty() || self.names.iter().any(is_it))
    }
}

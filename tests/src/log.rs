//! What the daemon logs, line by line as JSON, for tests to wait on.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use serde_json::Value;

use crate::wait::wait_for;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line as it was printed.
    pub text: String,
    /// When it was read here.
    pub at: SystemTime,
    json: Value,
}

impl Line {
    fn new(text: String) -> Self {
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { text, at: SystemTime::now(), json }
    }

    /// A field of the line, whether it stands at the top or below `fields`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.json.get(name).or_else(|| self.json.get("fields")?.get(name))
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.as_u64()
    }

    /// A field as text: a string without its quotes, anything else as JSON has it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let value = self.field(name)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Whether the line tells that a transfer in this direction (`put` or `get`) has succeeded.
    #[must_use]
    pub fn is_success_of(&self, direction: &str) -> bool {
        self.number("moved_leaves").is_some()
            && self.field("error").is_none()
            && self.field("direction").and_then(Value::as_str) == Some(direction)
    }

    /// What the line says.
    #[must_use]
    pub fn message(&self) -> String {
        self.text("message").unwrap_or_default()
    }
}

/// All that a stream has printed so far; it is read by a thread of its own until it ends.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    ended: bool,
}

impl Log {
    /// Begins to read.
    pub fn capture(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let lines = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = Line::new(String::from_utf8_lossy(&line).into_owned());
                lines.lock().lines.push(line);
            }
            lines.lock().ended = true;
        });
        log
    }

    /// How many lines there are: a mark, after which a test may look for new ones.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// The first line after `mark` that `wanted` accepts, now or within the deadline.
    ///
    /// # Panics
    /// When none comes.
    pub fn wait_after(&self, mark: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        wait_for(what, || self.lock().lines.iter().skip(mark).find(|line| wanted(line)).cloned())
    }

    /// The lines after `mark` that `wanted` accepts, as of now.
    #[must_use]
    pub fn after(&self, mark: usize, wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        self.lock().lines.iter().skip(mark).filter(|line| wanted(line)).cloned().collect()
    }

    /// All that was printed.
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// All that was printed, of a process that has ended.
    #[must_use]
    pub fn finished(&self) -> String {
        wait_for("the stream ends", || self.lock().ended.then_some(()));
        self.text()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a process has written to its standard error last, as one line for an administrator: pure.
//!
//! A helper that was taken over writes what it likes there, so it is kept short and escaped, and decides
//! nothing but how its own end is told.

/// Most characters that are kept.
const MOST: usize = 240;

/// What Rust writes before it aborts for want of memory.
const NO_MEMORY: (&str, &str) = ("memory allocation of ", " failed");

/// What the sandbox's handler writes before it ends the process.
const FORBIDDEN: &str = "forbidden system call";

/// The last words so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastWords(String);

impl LastWords {
    /// One more line. What a panic says stands on the line after the one that tells where it was, and
    /// advice on backtraces tells nothing.
    pub(crate) fn hear(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() || line.starts_with("note: ") {
            return;
        }
        let is_where = self.0.starts_with("thread '") && self.0.ends_with(':');
        let before = if is_where { format!("{} ", self.0) } else { String::new() };
        self.0 = before.chars().chain(line.chars().flat_map(escaped)).take(MOST).collect();
    }

    /// The line; empty when nothing was said.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether they say that no memory could be had.
    pub(crate) fn tell_of_memory(&self) -> bool {
        let (begin, end) = NO_MEMORY;
        self.0.split_once(begin).is_some_and(|(_, rest)| rest.contains(end))
    }

    /// Whether they name a forbidden system call.
    pub(crate) fn tell_of_the_sandbox(&self) -> bool {
        self.0.contains(FORBIDDEN)
    }
}

/// Nothing that moves a cursor, breaks a line or turns text round.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = !c.is_control() && !('\u{2028}'..='\u{202e}').contains(&c) && !is_isolate(c);
    plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_unicode()).into_iter().flatten())
}

fn is_isolate(c: char) -> bool {
    ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> LastWords {
        let mut words = LastWords::default();
        lines.iter().for_each(|line| words.hear(line));
        words
    }

    #[test]
    fn a_panic_is_told_with_its_place_and_without_advice() {
        let words = after(&[
            "an earlier complaint",
            "",
            "thread 'main' (7) panicked at src/x.rs:1:2:",
            "index out of bounds",
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        ]);
        let told = "thread 'main' (7) panicked at src/x.rs:1:2: index out of bounds";
        assert_eq!(words.as_str(), told);
        assert_eq!(LastWords::default().as_str(), "");
    }

    #[test]
    fn want_of_memory_and_forbidden_calls_are_understood() {
        assert!(after(&["memory allocation of 1048576 bytes failed"]).tell_of_memory());
        assert!(!after(&["memory allocation of 1048576 bytes"]).tell_of_memory());
        assert!(after(&["forbidden system call 101 (ptrace)"]).tell_of_the_sandbox());
        assert!(!after(&["a complaint"]).tell_of_the_sandbox());
    }

    #[test]
    fn what_a_hostile_helper_writes_is_short_and_harmless() {
        let words = after(&["\u{1b}[2Jx\u{202e}y"]);
        assert_eq!(words.as_str(), "\\u{1b}[2Jx\\u{202e}y");
        assert_eq!(after(&[&"x".repeat(9999)]).as_str().len(), MOST);
    }
}

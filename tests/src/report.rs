//! What a test tells although it passes: that it was skipped, or a figure that it measured.

use std::io::Write;
use std::thread;

/// Prints a line with the test's name. Not by `eprintln!`, which a test that passes does not show.
pub fn report(line: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "{test}: {line}");
}

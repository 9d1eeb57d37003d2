//! A terminal at the shell's prompt, and the ways to type and to wait there.

use berth_tests::terminal::{Key, Screen, Terminal};
use berth_tests::{Client, Server};

pub(crate) const PROMPT: &str = "alice@127.0.0.1:/>";

pub(crate) fn server() -> (Server, Client) {
    Server::with_alice("64MiB")
}

/// A terminal at the prompt.
pub(crate) fn shell(alice: &Client) -> Terminal {
    let terminal = alice.on_terminal(&["shell"], 100, 40);
    at_prompt(&terminal, PROMPT);
    terminal
}

#[track_caller]
pub(crate) fn at_prompt(terminal: &Terminal, prompt: &str) -> Screen {
    terminal.wait_for(|screen| screen.cursor_line() == prompt)
}

/// Types a line, sees it, and carries it out; returns the screen when the prompt has come back.
#[track_caller]
pub(crate) fn run(terminal: &mut Terminal, line: &str) -> Screen {
    run_to(terminal, line, PROMPT)
}

#[track_caller]
pub(crate) fn run_to(terminal: &mut Terminal, line: &str, prompt: &str) -> Screen {
    typed(terminal, line);
    terminal.press(Key::Enter);
    at_prompt(terminal, prompt)
}

#[track_caller]
pub(crate) fn typed(terminal: &mut Terminal, text: &str) {
    terminal.type_text(text);
    terminal.wait_for(|screen| screen.cursor_line().ends_with(text.trim_end()));
}

/// Presses Tab, and waits until the line is this one.
#[track_caller]
pub(crate) fn completes(terminal: &mut Terminal, line: &str) {
    terminal.press(Key::Tab);
    terminal.wait_for(|screen| screen.cursor_line().ends_with(line.trim_end()));
}

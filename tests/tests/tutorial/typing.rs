//! What is typed while a command runs, as it is read off the document.

use std::sync::LazyLock;

use regex::Regex;

use berth_tests::terminal::{Key, Terminal};
use berth_tests::wait_until;

/// What is typed where a password is asked for.
pub(crate) const PASSWORD: &str = "sunshine in March";

/// Beginnings of lines behind which is typed what stands there.
const ASKED: &str = concat!(
    r"^(?:alice@files\.example\.org:/[^>]*> |User name: |Trust this server from now on\? \(yes/no\) ",
    r"|Which\? \(.*\) )"
);

/// Lines behind which a password is typed.
const SECRET: &str = r"^(?:Password of |New password|Again).*: ?$";

static QUESTIONS: LazyLock<[Regex; 2]> =
    LazyLock::new(|| [ASKED, SECRET].map(|pattern| Regex::new(pattern).unwrap()));

/// What is typed, and what has to be seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line { question: String, answer: String },
    Password { question: String },
    Interrupt,
}

/// What is to be typed while a command has this output.
pub(crate) fn of(output: &[String]) -> Vec<Typed> {
    let [asked, secret] = &*QUESTIONS;
    let typed = |line: &String| {
        if line.ends_with("^C") {
            return Some(Typed::Interrupt);
        }
        if secret.is_match(line) {
            return Some(Typed::Password { question: line.trim_end().to_owned() });
        }
        // A prompt at which nothing is typed has lost its last blank.
        let padded = format!("{line} ");
        let question = asked.find(&padded)?.as_str();
        let answer = padded[question.len()..].trim_end().to_owned();
        Some(Typed::Line { question: question.trim_end().to_owned(), answer })
    };
    output.iter().filter_map(typed).collect()
}

/// Someone who types at a terminal, each answer behind a question that comes after the one before.
pub(crate) struct Typist<'a> {
    pub(crate) terminal: &'a mut Terminal,
    /// The row of the last question.
    row: Option<u16>,
}

impl<'a> Typist<'a> {
    pub(crate) fn at(terminal: &'a mut Terminal) -> Self {
        Self { terminal, row: None }
    }

    fn wait(&mut self, question: &str) {
        let last = self.row;
        let screen = self
            .terminal
            .wait_for(|screen| screen.cursor_line() == question && Some(screen.cursor().0) > last);
        self.row = Some(screen.cursor().0);
    }

    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        self.wait(question);
        self.terminal.type_text(answer);
        self.terminal.wait_for(|screen| screen.cursor_line().ends_with(answer));
        self.terminal.press(Key::Enter);
    }

    pub(crate) fn password(&mut self, question: &str) {
        self.wait(question);
        let terminal = &mut *self.terminal;
        wait_until("what is typed is hidden", || !terminal.echoes());
        terminal.type_line(PASSWORD);
    }
}

#[test]
fn what_is_typed_is_read_off_questions_and_prompts() {
    let line = |question: &str, answer: &str| Typed::Line {
        question: question.to_owned(),
        answer: answer.to_owned(),
    };
    let lines = [
        "User name: alice",
        "New password of alice:",
        "alice@files.example.org:/> cd a b",
        "alice@files.example.org is the server",
        "alice@files.example.org:/a>",
        "film ==> 40% ^C",
    ];
    let password = Typed::Password { question: "New password of alice:".to_owned() };
    let expected = [
        line("User name:", "alice"),
        password,
        line("alice@files.example.org:/>", "cd a b"),
        line("alice@files.example.org:/a>", ""),
        Typed::Interrupt,
    ];
    assert_eq!(of(&lines.map(str::to_owned)), expected);
}

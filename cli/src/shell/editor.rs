//! The line that is typed at a terminal: editing, history and completion, on a thread of its own.
//!
//! The thread waits for a person, and the session goes on beside it. It ends with the shell; nothing
//! waits for it.

use std::sync::mpsc;
use std::thread;

use rust_i18n::t;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Helper};
use tokio::sync::oneshot;

use super::complete::{self, Kind};
use super::history::{History, MOST_LINES};
use super::names::Names;
use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C: the line is thrown away.
    Cleared,
    /// Ctrl-D, or the terminal has gone.
    End,
}

/// What a line is asked for.
enum Purpose {
    Command,
    /// An answer to a question, which is neither completed nor kept.
    Answer,
}

struct Order {
    prompt: String,
    purpose: Purpose,
    typed: oneshot::Sender<Result<Typed, String>>,
}

/// The thread that edits lines.
pub(super) struct Editor {
    orders: mpsc::Sender<Order>,
}

impl Editor {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(parser: clap::Command, names: Names) -> Result<Self, Failure> {
        let (orders, waiting) = mpsc::channel();
        let thread = thread::Builder::new().name("editor".to_owned());
        let started = thread.spawn(move || edit(parser, names, &waiting));
        started.map_err(|error| no_editor(crate::human::reason(&error)))?;
        Ok(Self { orders })
    }

    /// Lets a command be typed.
    ///
    /// # Errors
    /// What the terminal says.
    pub(super) async fn command(&self, prompt: String) -> Result<Typed, Failure> {
        self.order(prompt, Purpose::Command).await
    }

    /// Asks a question.
    ///
    /// # Errors
    /// What the terminal says.
    pub(super) async fn answer(&self, question: &str) -> Result<Typed, Failure> {
        self.order(question.to_owned(), Purpose::Answer).await
    }

    async fn order(&self, prompt: String, purpose: Purpose) -> Result<Typed, Failure> {
        let (typed, answer) = oneshot::channel();
        let gone = || no_editor(t!("the editor has ended"));
        self.orders.send(Order { prompt, purpose, typed }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(no_editor)
    }
}

fn no_editor(reason: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, t!("cannot read from the terminal: %{reason}", reason = reason))
}

fn edit(parser: clap::Command, names: Names, orders: &mpsc::Receiver<Order>) {
    let (mut history, lines) = History::of_the_user();
    let mut editors = editors(parser, names);
    if let Ok((commands, _)) = &mut editors {
        for line in lines {
            // A line that the editor does not want is not worth a word.
            let _ = commands.add_history_entry(line);
        }
    }
    while let Ok(Order { prompt, purpose, typed }) = orders.recv() {
        let read = match (&mut editors, purpose) {
            (Err(error), _) => Err(error.to_string()),
            (Ok((commands, _)), Purpose::Command) => {
                if let Some(assistant) = commands.helper() {
                    assistant.names.forget();
                }
                let read = understood(ask::while_editing(|| commands.readline(&prompt)));
                if let Ok(Typed::Line(line)) = &read
                    && history.keep(line)
                {
                    let _ = commands.add_history_entry(line);
                }
                read
            }
            (Ok((_, answers)), Purpose::Answer) => {
                understood(ask::while_editing(|| answers.readline(&prompt)))
            }
        };
        // Who asked may have been interrupted.
        let _ = typed.send(read);
    }
}

fn understood(read: rustyline::Result<String>) -> Result<Typed, String> {
    match read {
        Ok(line) => Ok(Typed::Line(line)),
        Err(ReadlineError::Interrupted) => Ok(Typed::Cleared),
        Err(ReadlineError::Eof) => Ok(Typed::End),
        Err(error) => Err(error.to_string()),
    }
}

type Commands = rustyline::Editor<Assistant, MemHistory>;
type Answers = rustyline::Editor<(), MemHistory>;

fn editors(parser: clap::Command, names: Names) -> rustyline::Result<(Commands, Answers)> {
    let config = Config::builder()
        .max_history_size(MOST_LINES)?
        .auto_add_history(false)
        .completion_type(CompletionType::List)
        .build();
    let mut commands = Commands::with_history(config.clone(), MemHistory::with_config(&config))?;
    commands.set_helper(Some(Assistant { parser, names }));
    Ok((commands, Answers::with_history(config.clone(), MemHistory::with_config(&config))?))
}

/// Proposes words for the Tab key.
struct Assistant {
    parser: clap::Command,
    names: Names,
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..cursor).unwrap_or(line);
        let Some(wanted) = complete::wanted(&self.parser, typed) else {
            return Ok((cursor, Vec::new()));
        };
        let candidates = match wanted.kind {
            Kind::Command => complete::commands(&self.parser, &wanted),
            Kind::Option => complete::options(&self.parser, typed, &wanted),
            Kind::Names { side, .. } => {
                complete::names(&wanted, &self.names.of(side, &wanted.directory))
            }
        };
        let pair = |candidate: complete::Candidate| Pair {
            display: candidate.shown,
            replacement: candidate.replacement,
        };
        Ok((wanted.start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Validator for Assistant {}

impl Helper for Assistant {}

//! `berth shell`: many commands on one session, typed at a prompt or read from standard input.
//!
//! `run` reads lines until the end; `command` carries one out, with the same parser and the same code as
//! `berth` itself. Decisions are in plain types: `words`, `line`, `roles`, `globs`, `complete`, `picking`,
//! `script`, `prompt`. What blocks has a thread: `editor`, a local command, standard input. The session is
//! driven by the runtime meanwhile, and one that was lost is reached again by the next command.

mod command;
mod complete;
mod editor;
mod globs;
mod history;
mod line;
mod local;
mod names;
pub(crate) mod picking;
mod prompt;
mod roles;
mod script;
mod words;

pub(crate) use words::SplitError;

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};

use berth::connect::Details;
use berth::session::Session;
use berth::trust::Fingerprint;
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::command::Next;
use self::editor::{Editor, Typed};
use self::names::{Names, View};
use crate::args::Args;
use crate::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::language;
use crate::output::complain;
use crate::reach::{Reached, Way};

/// A session, and what its commands share.
struct Shell<'a> {
    args: &'a Args,
    /// Built, so that completion and globs see every argument.
    parser: clap::Command,
    way: Way,
    session: Session,
    fingerprint: Fingerprint,
    details: Details,
    /// The directory in the home, and the one before it.
    cwd: RelPath,
    previous: Option<RelPath>,
    /// What completion looks at.
    view: Arc<Mutex<View>>,
    /// Only where somebody types.
    editor: Option<Editor>,
}

/// Carries out the commands that are typed or read, until their end.
pub(crate) async fn run(args: &Args, reached: Reached, cwd: RelPath) -> Result<Exit, Failure> {
    let interactive = io::stdin().is_terminal();
    let mut parser = language::in_language(line::parser(interactive));
    parser.build();
    let view = View { session: reached.session.clone(), cwd: cwd.clone() };
    let view = Arc::new(Mutex::new(view));
    let mut shell = Shell {
        args,
        parser,
        way: reached.way,
        session: reached.session,
        fingerprint: reached.fingerprint,
        details: reached.details,
        cwd,
        previous: None,
        view,
        editor: None,
    };
    let outcome = if interactive {
        let names = Names::new(Handle::current(), Arc::clone(&shell.view));
        shell.editor = Some(Editor::start(shell.parser.clone(), names)?);
        shell.converse().await
    } else {
        shell.follow().await
    };
    shell.session.close().await;
    outcome
}

impl Shell<'_> {
    /// At a prompt: failures are told, and the next command is asked for.
    async fn converse(&mut self) -> Result<Exit, Failure> {
        let mut terminated = listen(SignalKind::terminate())?;
        loop {
            let typed = tokio::select! {
                typed = self.typed() => typed?,
                _ = terminated.recv() => {
                    ask::restore_terminal();
                    return Ok(Exit::Interrupted);
                }
            };
            let line = match typed {
                Typed::Line(line) => line,
                Typed::Cleared => continue,
                Typed::End => return Ok(Exit::Success),
            };
            // What was pasted may be several.
            for line in line.lines() {
                match self.interruptible(line, &mut terminated).await? {
                    Some(Next::Command(Exit::Interrupted)) => break,
                    Some(Next::Command(_)) => {}
                    Some(Next::Leave) => return Ok(Exit::Success),
                    None => return Ok(Exit::Interrupted),
                }
            }
        }
    }

    async fn typed(&self) -> Result<Typed, Failure> {
        let Some(editor) = &self.editor else {
            return Ok(Typed::End);
        };
        {
            let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            *view = View { session: self.session.clone(), cwd: self.cwd.clone() };
        }
        editor.command(prompt::prompt(&self.way.settings.target, &self.cwd)).await
    }

    /// From standard input: the first failure ends it, unless the line allows it.
    async fn follow(&mut self) -> Result<Exit, Failure> {
        let mut terminated = listen(SignalKind::terminate())?;
        let mut interrupted = listen(SignalKind::interrupt())?;
        let mut number = 0_u64;
        loop {
            let line = tokio::select! {
                line = script::next_line() => line?,
                _ = terminated.recv() => return Ok(Exit::Interrupted),
                _ = interrupted.recv() => return Ok(Exit::Interrupted),
            };
            let Some(line) = line else {
                return Ok(Exit::Success);
            };
            number += 1;
            let (_, may_fail) = script::asked(&line);
            match self.interruptible(&line, &mut terminated).await? {
                None | Some(Next::Command(Exit::Interrupted)) => return Ok(Exit::Interrupted),
                Some(Next::Leave) => return Ok(Exit::Success),
                Some(Next::Command(Exit::Success)) => {}
                Some(Next::Command(_)) if may_fail => {}
                Some(Next::Command(exit)) => {
                    if !self.args.quiet && !self.args.json {
                        let told = t!(
                            "stopped at line %{number}: %{line}",
                            number = number,
                            line = line.trim()
                        );
                        complain(&format!("berth: {told}"));
                    }
                    return Ok(exit);
                }
            }
        }
    }

    /// Carries a line out. Ctrl-C ends it and nothing else; `None` when the whole program is to end.
    async fn interruptible(
        &mut self,
        line: &str,
        terminated: &mut Signal,
    ) -> Result<Option<Next>, Failure> {
        // Only from here on: a local command that was interrupted told us too.
        let mut interrupted = listen(SignalKind::interrupt())?;
        let interrupt = async {
            interrupted.recv().await;
        };
        tokio::select! {
            next = self.carry_out(line, interrupt) => Ok(Some(next)),
            _ = terminated.recv() => Ok(None),
        }
    }
}

/// The parser of the lines that a person types.
pub(crate) fn line_parser() -> clap::Command {
    line::parser(true)
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::new(
            Exit::Failure,
            t!("cannot wait for signals: %{reason}", reason = human::reason(&error)),
        )
    })
}

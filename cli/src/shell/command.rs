//! One line of the shell, from its words to its end: wildcards, the parser, the session, and the command itself.

use std::future::Future;

use berth_common::entry::EntryKind;
use berth_common::rel_path::RelPath;
use serde_json::json;

use super::editor::Typed;
use super::globs::Glob;
use super::line::{Builtin, Line, What, parse};
use super::roles::{Role, Side, roles};
use super::script::{Asked, asked};
use super::words::{Word, split};
use super::{Shell, local, names, picking};
use crate::args::{Args, Command};
use crate::commands::{self, Context, failed};
use crate::exit::Exit;
use crate::failure::{Failure, tell};
use crate::output::{Output, Style, complain};
use crate::reach::Opened;
use crate::retry::{self, Tries};
use crate::run;

/// What comes after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next one; this is how this one ended.
    Command(Exit),
    Leave,
}

impl Shell<'_> {
    /// Carries a line out and tells what fails. `interrupt` ends a command that runs; a local one hears of
    /// it by itself.
    pub(super) async fn carry_out(
        &mut self,
        line: &str,
        interrupt: impl Future<Output = ()>,
    ) -> Next {
        let mut running = None;
        let outcome = match asked(line).0 {
            Asked::Nothing => Ok(Next::Command(Exit::Success)),
            Asked::Local(command) => {
                let command = local::shell_command(command);
                let ran = local::run(command, self.editor.is_some()).await;
                ran.map(|()| Next::Command(Exit::Success))
            }
            Asked::Command(command) => tokio::select! {
                outcome = self.command(command, &mut running) => outcome,
                () = interrupt => {
                    self.session.quiet().await;
                    let sentence = running.as_ref().map_or("interrupted", run::interrupted);
                    Err(Failure::new(Exit::Interrupted, sentence))
                }
            },
        };
        outcome.unwrap_or_else(|failure| {
            tell("berth", &failure, self.style(false, false));
            Next::Command(failure.exit)
        })
    }

    fn style(&self, json: bool, quiet: bool) -> Style {
        let style = Style::of_stdout(self.args.json || json, self.args.quiet || quiet);
        style.coloured(self.args.color)
    }

    /// `running` becomes the command that can be gone on with.
    async fn command(
        &mut self,
        typed: &str,
        running: &mut Option<Command>,
    ) -> Result<Next, Failure> {
        let words = self.expanded(typed).await?;
        let Line { what, quiet, json } = match parse(self.parser.clone(), &words) {
            Ok(line) => line,
            Err(error) => {
                // As outside the shell: help is an error too, for clap.
                let _ = error.print();
                let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
                return Ok(Next::Command(exit));
            }
        };
        let output = Output::stdout(self.style(json, quiet));
        match what {
            What::Shell(builtin) => self.builtin(builtin, &output).await,
            What::Berth(command) => {
                *running = Some(command.clone());
                let args = Args {
                    directory: self.cwd.to_string(),
                    quiet: output.style().quiet,
                    json: output.style().json,
                    command,
                    ..self.args.clone()
                };
                let style = output.style();
                Ok(Next::Command(self.berth(args, output).await.unwrap_or_else(|failure| {
                    tell("berth", &failure, style);
                    failure.exit
                })))
            }
        }
    }

    /// The words of a line, with those that are patterns replaced by the names that they stand for.
    async fn expanded(&mut self, typed: &str) -> Result<Vec<String>, Failure> {
        let words = split(typed).map_err(Failure::usage)?;
        let texts: Vec<String> = words.iter().map(Word::text).collect();
        let mut expanded = Vec::with_capacity(words.len());
        for (word, role) in words.into_iter().zip(roles(&self.parser, &texts)) {
            match role {
                Role::Name { side, many, .. } => {
                    expanded.extend(self.names(word, side, many).await?);
                }
                Role::Command | Role::Option | Role::Other => expanded.push(word.text()),
            }
        }
        Ok(expanded)
    }

    async fn names(&mut self, word: Word, side: Side, many: bool) -> Result<Vec<String>, Failure> {
        let word = if side == Side::Local && word.starts_at_home() {
            word.with_first_replaced(&local::home()?.to_string_lossy())
        } else {
            word
        };
        let Some(glob) = Glob::of(&word) else {
            return Ok(vec![word.text()]);
        };
        let names = match side {
            Side::Local => glob.expand(async |at: &str, part: &_| names::local(at, part)).await?,
            Side::Remote => {
                self.connect().await?;
                let (session, cwd) = (&self.session, &self.cwd);
                let look = async |at: &str, part: &_| names::remote(session, cwd, at, part).await;
                glob.expand(look).await?
            }
        };
        if names.len() > 1 && !many {
            let sentence = format!("stands for {} names, and one is needed", names.len());
            return Err(Failure::usage(sentence).of(word.text()));
        }
        Ok(names)
    }

    /// A session that was lost is reached again.
    async fn connect(&mut self) -> Result<(), Failure> {
        if !self.session.has_ended() {
            return Ok(());
        }
        let Opened { session, fingerprint, details } = self.way.again().await?;
        (self.session, self.fingerprint, self.details) = (session, fingerprint, details);
        if !self.args.quiet && !self.args.json {
            let target = &self.way.settings.target;
            complain(&format!(
                "berth: the connection was lost; connected again to {}@{}",
                target.user, target.server
            ));
        }
        Ok(())
    }

    /// A command of `berth`, exactly as outside the shell.
    async fn berth(&mut self, mut args: Args, output: Output) -> Result<Exit, Failure> {
        if matches!(&args.command, Command::Put(put) if put.reads_stdin()) {
            return Err(Failure::usage(
                "put -: standard input has the commands; name a file, or type it outside the shell",
            ));
        }
        for path in args.command.remote_paths() {
            run::resolve(&self.cwd, path)?;
        }
        commands::check(&args)?;
        self.connect().await?;
        // One that was cancelled may have had a limit.
        self.session.limit_rate(None);
        // Else what was cancelled could not be begun again at once.
        self.session.settled().await;
        let mut context = Context {
            session: self.session.clone(),
            fingerprint: self.fingerprint,
            details: self.details.clone(),
            way: self.way.clone(),
            cwd: self.cwd.clone(),
            // It has the commands.
            has_input: false,
            output,
            progress: run::progress_mode(&args),
            tries: Tries::only_one(),
        };
        if picking::is_needed(&args.command) {
            let ask = async |question: &str| self.answer(question).await;
            if !picking::pick(&context, &mut args.command, ask).await? {
                return Ok(Exit::Success);
            }
        }
        let outcome = retry::run(&mut context, &args.command, args.retry_for).await;
        (self.session, self.fingerprint) = (context.session, context.fingerprint);
        self.details = context.details;
        // What was printed before a failure comes before it.
        context.output.flush()?;
        outcome
    }

    /// Ctrl-C and Ctrl-D answer nothing.
    async fn answer(&self, question: &str) -> Result<String, Failure> {
        let Some(editor) = &self.editor else {
            return Ok(String::new());
        };
        Ok(match editor.answer(question).await? {
            Typed::Line(answer) => answer,
            Typed::Cleared | Typed::End => String::new(),
        })
    }

    async fn builtin(&mut self, builtin: Builtin, output: &Output) -> Result<Next, Failure> {
        match builtin {
            Builtin::Cd { directory } => self.change_directory(directory.as_deref()).await?,
            Builtin::Pwd => print_path(output, &self.cwd.to_string())?,
            Builtin::Lcd { directory } => local::change_directory(directory.as_deref())?,
            Builtin::Lpwd => print_path(output, &local::directory()?)?,
            Builtin::Lls { arguments } => {
                let mut ls = std::process::Command::new("ls");
                ls.args(arguments);
                local::run(ls, self.editor.is_some()).await?;
            }
            Builtin::Exit => return Ok(Next::Leave),
        }
        Ok(Next::Command(Exit::Success))
    }

    async fn change_directory(&mut self, typed: Option<&str>) -> Result<(), Failure> {
        let to = match typed {
            None => RelPath::root(),
            Some("-") => self
                .previous
                .clone()
                .ok_or_else(|| Failure::usage("cd -: there was no directory before this one"))?,
            Some(typed) => run::resolve(&self.cwd, typed)?,
        };
        if !to.is_root() {
            self.connect().await?;
            let found = self.session.stat(&to).await;
            let found =
                found.map_err(|error| failed(&error).of(format_args!("cd {to}")).at(&to))?;
            if found.kind != EntryKind::Directory {
                let sentence = format!("cd {to}: is not a directory");
                return Err(Failure::new(Exit::Failure, sentence).at(&to));
            }
        }
        self.previous = Some(std::mem::replace(&mut self.cwd, to));
        Ok(())
    }
}

fn print_path(output: &Output, path: &str) -> Result<(), Failure> {
    if output.style().json {
        output.json(&json!({ "path": path }))?;
    } else {
        output.line(&output.name(path))?;
    }
    Ok(output.flush()?)
}

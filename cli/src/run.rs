//! `berth` from its arguments to its exit code.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use berth_common::rel_path::RelPath;
use rust_i18n::t;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{self, Args, Command, SignIn};
use crate::ask;
use crate::commands::{self, Context};
use crate::discover;
use crate::exit::Exit;
use crate::failure::{Failure, tell};
use crate::human;
use crate::language::{self, complaint};
use crate::output::{Output, Style};
use crate::progress::Mode;
use crate::reach;
use crate::retry::{self, Tries};
use crate::shell::{self, picking};
use crate::sign_in;

/// How long threads that write or hash may take to end after everything else has.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Runs `berth` with this process' arguments.
#[must_use]
pub fn berth() -> ExitCode {
    language::speak(false);
    let picks = ask::somebody() && std::io::stderr().is_terminal();
    let parsed = language::matches(&args::parser(picks));
    let args = match parsed.and_then(|matches| Args::of(&matches)) {
        Ok(args) => args,
        Err(error) => {
            // Help and the version are errors too, for clap; they go to standard output.
            complaint(&error);
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    language::speak(args.json);
    run(&args)
        .unwrap_or_else(|failure| {
            tell("berth", &failure, Style::of_stdout(args.json, args.quiet));
            failure.exit
        })
        .into()
}

fn run(args: &Args) -> Result<Exit, Failure> {
    let cwd = resolve(&RelPath::root(), &args.directory)?;
    for path in args.command.remote_paths() {
        resolve(&cwd, path)?;
    }
    commands::check(args)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            let reason = human::reason(&error);
            Failure::new(Exit::Failure, t!("cannot start: %{reason}", reason = reason))
        })?;
    let outcome = runtime.block_on(converse(args, cwd));
    runtime.shutdown_timeout(LAST_WRITES);
    outcome
}

pub(crate) fn resolve(cwd: &RelPath, typed: &str) -> Result<RelPath, Failure> {
    RelPath::resolve(cwd, typed).map_err(|error| Failure::usage(error).of(typed))
}

async fn converse(args: &Args, cwd: RelPath) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new()?;
    let style = Style::of_stdout(args.json, args.quiet).coloured(args.color);
    let output = Output::stdout(style);
    if let Command::SignIn(command) = &args.command {
        let done = sign_in::run(args, command, &output);
        let exit = until(done, &mut interrupts, interrupted(&args.command)).await?;
        output.flush()?;
        return Ok(exit);
    }
    if let Command::Discover(command) = args.command {
        return until(discover::run(command, &output), &mut interrupts, t!("interrupted")).await;
    }
    let reached = until(reach::reach(args), &mut interrupts, t!("interrupted")).await?;
    if matches!(args.command, Command::Shell) {
        // It hears the same signals, command by command.
        drop(interrupts);
        return shell::run(args, reached, cwd).await;
    }
    let mut context = Context {
        session: reached.session,
        fingerprint: reached.fingerprint,
        details: reached.details,
        way: reached.way,
        cwd,
        has_input: true,
        output,
        progress: progress_mode(args),
        tries: Tries::only_one(),
    };
    let outcome = tokio::select! {
        outcome = carry_out(&mut context, args) => outcome,
        () = interrupts.next() => Ok(Exit::Interrupted),
    };
    // What was cancelled tells the server so before the connection closes.
    context.session.clone().close().await;
    if outcome == Ok(Exit::Interrupted) {
        let failure = Failure::new(Exit::Interrupted, interrupted(&args.command));
        tell("berth", &failure, context.output.style());
    }
    context.output.flush()?;
    outcome
}

/// What comes of it, unless it is interrupted, which may happen within a question for a password.
async fn until<T>(
    done: impl Future<Output = Result<T, Failure>>,
    interrupts: &mut Interrupts,
    interrupted: Cow<'static, str>,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = done => outcome,
        () = interrupts.next() => {
            ask::restore_terminal();
            Err(Failure::new(Exit::Interrupted, interrupted))
        }
    }
}

/// Carries a command out, after its files were picked where none are named.
async fn carry_out(context: &mut Context, args: &Args) -> Result<Exit, Failure> {
    let command = &args.command;
    if !picking::is_needed(command) {
        return retry::run(context, command, args.retry_for).await;
    }
    let ask = async |question: &str| {
        let question = question.to_owned();
        let answer = ask::beside(move || ask::line(&question)).await;
        let answer = answer.unwrap_or_else(|| Err(std::io::ErrorKind::BrokenPipe.into()));
        answer
            .map_err(|error| Failure::new(Exit::Failure, human::reason(&error)).of(t!("terminal")))
    };
    let mut command = command.clone();
    match picking::pick(context, &mut command, ask).await? {
        true => retry::run(context, &command, args.retry_for).await,
        false => Ok(Exit::Success),
    }
}

pub(crate) fn interrupted(command: &Command) -> Cow<'static, str> {
    if matches!(command, Command::Put(args) if args.append) {
        t!("interrupted; look at the file before appending again, since it may have been done")
    } else if matches!(command, Command::Put(args) if args.reads_stdin()) {
        t!("interrupted; standard input cannot be read again, so start over")
    } else if matches!(command, Command::SignIn(SignIn::Join(_))) {
        t!("interrupted; if the account may have been made already, berth login tells")
    } else if command.is_resumable() {
        t!("interrupted; run the same command again to go on")
    } else {
        t!("interrupted")
    }
}

pub(crate) fn progress_mode(args: &Args) -> Mode {
    if args.quiet || args.json {
        Mode::Quiet
    } else if std::io::stderr().is_terminal() {
        Mode::Bars
    } else {
        Mode::Lines
    }
}

/// Ctrl-C and `kill`. A terminal that goes away is left alone, or `nohup` would mean nothing.
struct Interrupts([Signal; 2]);

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    Exit::Failure,
                    t!("cannot wait for signals: %{reason}", reason = human::reason(&error)),
                )
            })
        };
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

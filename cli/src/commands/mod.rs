//! The commands of `berth`, one file each, on a session that is logged in.

mod descent;
mod devices;
mod df;
mod du;
mod exec;
#[cfg(test)]
#[path = "../../../client/tests/transfers/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of single transfers")]
mod fake;
mod get;
mod get_to_output;
mod get_tree;
mod info;
mod ls;
mod manifest;
mod md5;
mod mkdir;
mod mv;
mod note;
mod passwd;
mod ping;
mod put;
mod put_tree;
mod rm;
mod show;
mod stat;
mod sync;
mod telling;
mod tree;
mod uploads;

use berth::connect::Details;
use berth::connection::ConnectionError;
use berth::credentials::CredentialError;
use berth::session::{RequestError, Session};
use berth::trust::Fingerprint;
use berth_common::rel_path::RelPath;

use crate::args::{Args, Command, Moving};
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::output::Output;
use crate::progress::Mode;
use crate::reach::Way;
use crate::retry::Tries;

/// Most files that move at once, if the server allows as many.
const MOST_AT_ONCE: u32 = 8;

/// The same for files of trees; no server allows more.
const MOST_AT_ONCE_OF_TREES: u32 = 16;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) session: Session,
    /// Of the server's certificate.
    pub(crate) fingerprint: Fingerprint,
    /// What is connected to, and how.
    pub(crate) details: Details,
    /// By which the session was reached.
    pub(crate) way: Way,
    /// Where relative remote paths start.
    pub(crate) cwd: RelPath,
    /// Whether standard input is the command's.
    pub(crate) has_input: bool,
    pub(crate) output: Output,
    pub(crate) progress: Mode,
    /// What the tries of this command share.
    pub(crate) tries: Tries,
}

/// What is wrong with a command, as far as that can be told without the server.
pub(crate) fn check(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Put(put) => put::check(put),
        Command::Get(get) => get_to_output::check(args, get),
        Command::Sync(sync) => sync::check(sync),
        Command::Exec(exec) => exec::check(exec),
        _ => Ok(()),
    }
}

/// Carries a command out.
pub(crate) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    let exit = match command {
        Command::Put(args) => put::run(context, args).await?,
        Command::Get(args) => get::run(context, args).await?,
        Command::Sync(args) => sync::run(context, args).await?,
        Command::Ls(args) => ls::run(context, args).await?,
        Command::Tree(args) => tree::run(context, args).await?,
        Command::Du(args) => du::run(context, args).await?,
        Command::Stat(args) => stat::run(context, args).await?,
        Command::Mkdir(args) => mkdir::run(context, args).await?,
        Command::Rm(args) => rm::run(context, args).await?,
        Command::Mv(args) => mv::run(context, args).await?,
        Command::Note(args) => note::run(context, args).await?,
        Command::Df => df::run(context).await?,
        Command::Md5(args) => md5::run(context, args).await?,
        Command::Uploads(args) => uploads::run(context, args).await?,
        Command::Info => info::run(context).await?,
        Command::Ping(args) => ping::run(context, args).await?,
        Command::Devices(args) => devices::run(context, args).await?,
        Command::Shell => return Err(Failure::usage("shell: it cannot be given within itself")),
        Command::Exec(args) => exec::run(context, args).await?,
        Command::Passwd(_) => passwd::run(context).await?,
        Command::SignIn(_) | Command::Discover(_) => {
            return Err(Failure::usage("this is done outside of a session"));
        }
    };
    context.output.flush()?;
    Ok(exit)
}

impl Context {
    /// One with a session of a test's.
    #[cfg(test)]
    fn of_test(session: Session, output: Output) -> Self {
        Self {
            session,
            fingerprint: Fingerprint::from_bytes([0; 32]),
            details: Details {
                server: berth::target::ServerAddress { host: "fake".to_owned(), port: 1 },
                address: ([127, 0, 0, 1], 1).into(),
                tls: "TLS 1.3",
                cipher_suite: String::new(),
            },
            way: Way::nowhere(),
            cwd: RelPath::root(),
            has_input: false,
            output,
            progress: Mode::Quiet,
            tries: Tries::only_one(),
        }
    }

    /// The path that was typed, from the working directory on.
    fn resolve(&self, typed: &str) -> Result<RelPath, Failure> {
        RelPath::resolve(&self.cwd, typed).map_err(|error| Failure::usage(error).of(typed))
    }

    /// Transfers that may run at once.
    fn at_once(&self, moving: &Moving) -> usize {
        self.session.info().max_transfers.min(moving.at_once(MOST_AT_ONCE)) as usize
    }

    /// Files of trees that may move at once: mostly small ones, and what is under way at once becomes one batch.
    fn at_once_of_trees(&self, moving: &Moving) -> usize {
        self.session.info().max_transfers.min(moving.at_once(MOST_AT_ONCE_OF_TREES)) as usize
    }

    /// Carries something out for each path in turn and goes on after a failure, except that of
    /// the connection.
    async fn for_each<F>(&self, name: &str, typed: &[String], mut act: F) -> Result<Exit, Failure>
    where
        F: AsyncFnMut(&RelPath) -> Result<(), Problem>,
    {
        let mut failures = Failures::new(self.output.style());
        for typed in typed {
            let path = self.resolve(typed)?;
            match act(&path).await {
                Ok(()) => {}
                Err(Problem::Request(RequestError::Server(code))) => {
                    // What comes before it on standard output is shown before it.
                    self.output.flush()?;
                    let failure = Failure::of_server(&code).of(format_args!("{name} {path}"));
                    failures.tell(&failure.at(&path));
                }
                Err(Problem::Request(RequestError::Connection(error))) => {
                    return Err(lost(&error).of(format_args!("{name} {path}")).at(&path));
                }
                Err(Problem::Output(failure)) => return Err(failure),
            }
        }
        Ok(failures.exit())
    }
}

/// Why a command cannot go on with a path.
#[derive(Debug)]
enum Problem {
    Request(RequestError),
    Output(Failure),
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error.into())
    }
}

/// The session is over.
fn lost(error: &ConnectionError) -> Failure {
    let failure = match error {
        ConnectionError::Refused(code) => {
            Failure::new(Exit::of_server_error(code), error).coded(code)
        }
        ConnectionError::Lost { .. }
        | ConnectionError::Silent
        | ConnectionError::Closed
        | ConnectionError::Protocol(_) => Failure::new(Exit::Connect, error),
    };
    Failure { lost: error.passes(), ..failure }
}

/// A request without a path of its own has failed.
pub(crate) fn failed(error: &RequestError) -> Failure {
    match error {
        RequestError::Server(code) => Failure::of_server(code),
        RequestError::Connection(error) => lost(error),
    }
}

/// A credential was not stored.
pub(crate) fn failed_credential(error: &CredentialError) -> Failure {
    match error {
        CredentialError::Request(error) => failed(error),
        CredentialError::Scram(error) => Failure::new(Exit::Failure, error),
    }
}

/// Whether what was typed can only be a directory, whatever stands there.
fn means_directory(typed: &str) -> bool {
    typed.ends_with('/') || matches!(typed.rsplit('/').next(), Some("." | ".."))
}

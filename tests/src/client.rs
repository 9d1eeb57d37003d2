//! Runs the real `berth`, with directories of its own for configuration, state and files.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::Signal;

use crate::Outcome;
use crate::account;
use crate::binaries::Binaries;
use crate::power::recording;
use crate::process;
use crate::terminal::Terminal;

/// One user at one machine: what it remembers is its own.
#[derive(Clone, Debug)]
pub struct Client {
    binaries: Arc<Binaries>,
    directory: PathBuf,
    /// Without one, `berth` is not told whom to log in as, nor where.
    user: Option<String>,
    password: Option<String>,
    address: String,
    fingerprint: Option<String>,
    environment: Vec<(String, String)>,
    trace: Option<PathBuf>,
    retries: bool,
}

impl Client {
    pub(crate) fn new(
        binaries: Arc<Binaries>,
        directory: PathBuf,
        user: &str,
        password: &str,
    ) -> Self {
        account::make_dir(&directory);
        for inner in ["files", "config", "state"] {
            account::make_dir(&directory.join(inner));
        }
        Self {
            binaries,
            directory,
            user: Some(user.to_owned()),
            password: Some(password.to_owned()),
            address: String::new(),
            fingerprint: None,
            environment: Vec::new(),
            trace: None,
            retries: false,
        }
    }

    /// A client of no server, in this directory.
    #[must_use]
    pub fn alone(binaries: Arc<Binaries>, directory: PathBuf) -> Self {
        Self::new(binaries, directory, "nobody", "").by_profile()
    }

    /// The same client, whose calls strace records from its start on. Needs root.
    #[must_use]
    pub fn traced(mut self, file: &Path) -> Self {
        self.trace = Some(file.to_owned());
        self
    }

    /// The same client, which goes on by itself after a loss, as `berth` does unless it is told otherwise. Most tests
    /// want to see what comes of a loss.
    #[must_use]
    pub fn retrying(mut self) -> Self {
        self.retries = true;
        self
    }

    /// The directory of all that this client has: `files`, `config` and `state`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The same client against this address and certificate: a server that was started again.
    #[must_use]
    pub fn at(mut self, address: &str, fingerprint: &str) -> Self {
        address.clone_into(&mut self.address);
        self.fingerprint = Some(fingerprint.to_owned());
        self
    }

    /// The same client, which knows nothing of the server's certificate.
    #[must_use]
    pub fn without_fingerprint(mut self) -> Self {
        self.fingerprint = None;
        self
    }

    /// The same client with another password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The same client without a password in its environment: `berth` asks for one, on a terminal.
    #[must_use]
    pub fn asked_for_password(mut self) -> Self {
        self.password = None;
        self
    }

    /// The same client with one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory in which `berth` runs, for local files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// A local file's path.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.files().join(name)
    }

    /// Makes a small local file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, content)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        account::give(&path);
        path
    }

    /// Makes small local files, each with a content of its own, and the directories that they are in; a path that ends
    /// with `/` is a directory.
    ///
    /// # Panics
    /// When one cannot be made.
    pub fn make(&self, paths: &[&str]) {
        for path in paths {
            let mut below = self.files();
            let directories = path.rsplit_once('/').map_or("", |(directories, _)| directories);
            for name in directories.split('/').filter(|name| !name.is_empty()) {
                below.push(name);
                account::make_dir(&below);
            }
            if !path.ends_with('/') {
                self.write(path, format!("content of {path}"));
            }
        }
    }

    /// Runs `berth` to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Outcome {
        self.spawn(arguments).wait()
    }

    /// Starts `berth`; it is killed if it still runs when the value is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        self.spawn_from(arguments, Stdio::null())
    }

    /// The same with this as standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_from<S: AsRef<OsStr>>(&self, arguments: &[S], input: Stdio) -> Running {
        self.spawn_between(arguments, input, Stdio::piped())
    }

    /// The same with this as standard output.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_to<S: AsRef<OsStr>>(&self, arguments: &[S], output: Stdio) -> Running {
        self.spawn_between(arguments, Stdio::null(), output)
    }

    /// The same with these files as standard input and output.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_between_files<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: std::fs::File,
        output: std::fs::File,
    ) -> Running {
        self.spawn_between(arguments, input.into(), output.into())
    }

    fn spawn_between<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: Stdio,
        output: Stdio,
    ) -> Running {
        let mut command = self.command();
        command.args(arguments).stdin(input).stdout(output);
        let shown: Vec<_> =
            arguments.iter().map(|part| part.as_ref().to_string_lossy().into_owned()).collect();
        Running::start(command, format!("berth {}", shown.join(" ")))
    }

    /// The same with these bytes as standard input, which then ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_with<S: AsRef<OsStr>>(&self, arguments: &[S], input: Vec<u8>) -> Running {
        let (running, mut pipe) = self.spawn_piped(arguments);
        // One that gives up early closes its end.
        thread::spawn(move || drop(pipe.write_all(&input)));
        running
    }

    /// The same with a pipe as standard input, which ends when the other end is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_piped<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (Running, ChildStdin) {
        let mut running = self.spawn_from(arguments, Stdio::piped());
        let pipe = running.child.as_mut().and_then(|child| child.stdin.take());
        (running, pipe.expect("it has a pipe"))
    }

    /// The same client, which is told neither user nor server nor certificate: it has a profile, or joins.
    #[must_use]
    pub fn by_profile(mut self) -> Self {
        (self.user, self.fingerprint) = (None, None);
        self
    }

    /// Starts `berth` on a terminal of this size.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn on_terminal<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        columns: u16,
        rows: u16,
    ) -> Terminal {
        Terminal::start(self.command().args(arguments), columns, rows)
    }

    fn command(&self) -> Command {
        let mut command = account::command(&self.binaries.path("berth"));
        command
            .current_dir(self.files())
            .env("HOME", &self.directory)
            .env("XDG_CONFIG_HOME", self.directory.join("config"))
            .env("XDG_STATE_HOME", self.directory.join("state"))
            .envs(self.password.iter().map(|password| ("BERTH_PASSWORD", password)))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if !self.retries {
            command.args(["--retry-for", "0"]);
        }
        if let Some(user) = &self.user {
            command.args(["-H", &format!("{user}@{}", self.address)]);
        }
        if let Some(fingerprint) = &self.fingerprint {
            command.args(["--fingerprint", fingerprint]);
        }
        match &self.trace {
            Some(file) => recording::of_command(&command, file),
            None => command,
        }
    }
}

/// A `berth` or `berthctl` that runs.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Option<Child>,
    pid: u32,
}

impl Running {
    /// The command says where its standard output goes.
    pub(crate) fn start(mut command: Command, shown: String) -> Self {
        let child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self { command: shown, pid: child.id(), child: Some(child) }
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pipe that its standard output goes to, for whoever reads it while it runs.
    ///
    /// # Panics
    /// When it was taken before.
    #[must_use]
    pub fn take_output(&mut self) -> ChildStdout {
        let pipe = self.child.as_mut().and_then(|child| child.stdout.take());
        pipe.expect("it has a pipe")
    }

    /// Kills it as a crash would, and reaps it.
    pub fn kill(mut self) {
        self.end();
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        process::signal(self.pid, Signal::INT);
    }

    /// Whether it has ended, without waiting for it.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When its output cannot be read.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        let child = self.child.take().expect("it was not waited for");
        let output = child.wait_with_output().unwrap();
        Outcome::new(std::mem::take(&mut self.command), &output)
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs several clients at the same time, each on a thread of its own, and returns what they did.
///
/// # Panics
/// When one of them panics.
pub fn at_once<T: Send>(jobs: Vec<impl FnOnce() -> T + Send>) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = jobs.into_iter().map(|job| scope.spawn(job)).collect();
        running.into_iter().map(|job| job.join().expect("no job panics")).collect()
    })
}

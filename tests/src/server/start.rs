//! Starting the daemon and reading what it says when it is up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Options, Server};
use crate::account;
use crate::binaries::Binaries;
use crate::log::Log;
use crate::puppets;
use crate::wait;

/// How long a server may take to come up: it may have to wait 30 s for an earlier one's workers.
const START: Duration = Duration::from_secs(90);

/// How a daemon that did not serve ended.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit code; `None` when it had to be killed, or a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error: complaints, and its log.
    pub stderr: String,
}

/// A daemon that listens.
pub(super) struct Started {
    pub(super) daemon: Child,
    pub(super) address: String,
    pub(super) fingerprint: String,
    pub(super) log: Log,
}

pub(super) fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

pub(super) fn scratch(directory: &Path) -> PathBuf {
    directory.join("scratch")
}

pub(super) fn new(options: Options) -> Result<Server, Refusal> {
    let binaries = Binaries::shared();
    let place = options.beneath.clone().unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("berth-test-").tempdir_in(place).unwrap();
    account::give(directory.path());
    account::make_dir(&scratch(directory.path()));
    if options.puppets {
        puppets::place(&binaries, &puppets::place_of(directory.path()));
    }
    let Started { daemon, address, fingerprint, log } =
        self::daemon(&binaries, directory.path(), &options, |_| ())?;
    Ok(Server {
        binaries,
        directory,
        options,
        daemon,
        address,
        fingerprint,
        log,
        clients: 0.into(),
    })
}

/// Starts a daemon, and does `meanwhile` with its process number every time that it looks whether it
/// is up.
pub(super) fn daemon(
    binaries: &Arc<Binaries>,
    directory: &Path,
    options: &Options,
    mut meanwhile: impl FnMut(u32),
) -> Result<Started, Refusal> {
    let config = configure(directory, options);
    let mut daemon = command(&binaries.path("berthd"), directory, options)
        .envs(options.points.iter().map(|file| ("BERTH_TEST_POINTS", file)))
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .args(
            options
                .puppets
                .then(|| format!("--libexec-dir={}", puppets::place_of(directory).display())),
        )
        .arg("--config")
        .arg(&config)
        .current_dir(directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("berthd cannot be started: {error}"));
    let stdout = Log::capture(daemon.stdout.take().expect("a pipe"));
    let log = Log::capture(daemon.stderr.take().expect("a pipe"));

    let said = |prefix: &str| {
        stdout.text().lines().find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
    };
    let up = || Some((said("berthd: listening on ")?, said("berthd: certificate ")?));
    let mut ended = None;
    wait::within(START, || {
        meanwhile(daemon.id());
        // Asked first: a daemon that has ended may have printed both lines before.
        ended = daemon.try_wait().unwrap();
        (ended.is_some() || up().is_some()).then_some(())
    });
    match up() {
        Some((address, fingerprint)) if ended.is_none() => {
            Ok(Started { daemon, address, fingerprint, log })
        }
        _ => {
            let _ = daemon.kill();
            let _ = daemon.wait();
            let code = ended.and_then(|status| status.code());
            Err(Refusal { code, stdout: stdout.finished(), stderr: log.finished() })
        }
    }
}

/// The program with nothing, or with a socket as descriptor 3, which it is told by the variables that it looks at.
/// A shell sees to both and becomes the program, since only the process itself knows its number.
fn command(berthd: &Path, directory: &Path, options: &Options) -> Command {
    const PASS: &str = "exec 3<&0 0</dev/null
        export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=berth
        exec \"$@\"";
    let mut command = match &options.passed {
        Some(listener) => {
            let mut shell = account::command(Path::new("/bin/sh"));
            let socket = listener.try_clone().expect("a descriptor");
            shell.args(["-c", PASS, "sh"]).arg(berthd).stdin(std::os::fd::OwnedFd::from(socket));
            shell
        }
        None => {
            let mut alone = account::command(berthd);
            alone.stdin(Stdio::null());
            alone
        }
    };
    if options.without_network {
        command = in_an_empty_network(command, options);
    }
    if options.without_user_namespaces {
        command = in_a_root_of_its_own(&command, &directory.join("root"));
    }
    command
}

/// The same command, run by `unshare`, which becomes it.
fn in_an_empty_network(inner: Command, options: &Options) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(["--net", "--"]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    match &options.passed {
        Some(socket) => {
            outer.stdin(std::os::fd::OwnedFd::from(socket.try_clone().expect("a descriptor")))
        }
        None => outer.stdin(Stdio::null()),
    };
    outer
}

/// The same command, in a root that is the machine's under another name: from there the kernel gives no user namespace.
/// All that are on the way execute the next one.
fn in_a_root_of_its_own(inner: &Command, root: &Path) -> Command {
    const ENTER: &str =
        "mount --rbind / \"$1\" && root=$1 && shift && exec chroot \"$root\" \"$@\"";
    account::make_dir(root);
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "--propagation=private", "--", "sh", "-c", ENTER, "sh"]).arg(root);
    outer.arg(inner.get_program()).args(inner.get_args()).env_clear().stdin(Stdio::null());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

/// Writes the configuration file.
pub(super) fn configure(directory: &Path, options: &Options) -> PathBuf {
    let config = directory.join("berthd.toml");
    fs::write(&config, configuration(directory, options)).unwrap();
    account::give(&config);
    config
}

const HEARTBEAT: &str = "heartbeat_seconds";

/// The configuration file: what every test needs, then what this one asks for.
fn configuration(directory: &Path, options: &Options) -> String {
    let data_dir = options.data_dir.clone().unwrap_or_else(|| data(directory));
    let mut lines = vec![
        // A path in Rust's debug form is a TOML string, unless it has odd characters.
        format!("data_dir = {data_dir:?}"),
        format!("listen = [{:?}]", options.listen.as_deref().unwrap_or("127.0.0.1:0")),
        "log_format = \"json\"".to_owned(),
    ];
    if options.points.is_some() && !options.config.iter().any(|line| line.starts_with(HEARTBEAT)) {
        // A process that stands at a point answers nothing.
        lines.push(format!("{HEARTBEAT} = 3600"));
    }
    lines.extend(options.config.iter().cloned());
    lines.join("\n") + "\n"
}

/// Runs `berthd check` on a configuration.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn check(configuration: &str) -> crate::Outcome {
    let binaries = Binaries::shared();
    let directory = tempfile::Builder::new().prefix("berth-check-").tempdir().unwrap();
    account::give(directory.path());
    let config = directory.path().join("berthd.toml");
    fs::write(&config, configuration).unwrap();
    account::give(&config);
    let output = account::command(&binaries.path("berthd"))
        .arg("check")
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    crate::Outcome::new("berthd check".to_owned(), &output)
}

impl Refusal {
    /// Claims that it ended by itself, and that it said this.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(matches!(self.code, Some(1..=120)), "{self:?}");
        assert!(self.stderr.contains(text), "berthd does not say {text:?} but {self:?}");
    }
}

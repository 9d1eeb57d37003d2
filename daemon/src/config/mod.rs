//! The configuration: a strict file type, checked into a runtime type with all complaints at once.
//!
//! `berthd`, `berthd check` and a reload run the same code. Of what keys name, only the site secret is opened here.

mod exec;
mod file;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_common::sandbox_mode::SandboxMode;
pub(crate) use exec::ExecConfig;
pub(crate) use file::FileConfig;

use rustix::process::Resource;

use crate::auth::FailurePolicy;
use crate::ledger::Bounds;

/// Descriptors that a session takes: channel, pidfd and panic pipe of its worker and of its filer.
const PER_CONNECTION: u64 = 6;

/// Descriptors that a program takes: channel, pidfd and panic pipe of its jail, and its pipes on their way.
const PER_PROGRAM: u64 = 12;

/// Descriptors for all else: sessions that begin, spares, administrators, the ledger.
const BESIDES: u64 = 256;

/// Descriptors that the daemon's limit is to allow, however few it needs itself. The kernel counts those in flight for
/// the whole system user and refuses a sender whose own limit is below the count; a filer's is 4096. So filers cannot
/// keep the daemon from handing clients over.
const FEWEST: u64 = 8192;

/// The checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where ledger, keys and homes lie. Absolute or relative to the working directory.
    pub(crate) data_dir: PathBuf,
    /// At least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whom a daemon that was started as root becomes.
    pub(crate) user: String,
    /// Certificate chain and key in PEM; `None` means self-signed ones in the data directory.
    pub(crate) tls_files: Option<TlsFiles>,
    /// The site secret, if there is one.
    pub(crate) site_secret_file: Option<PathBuf>,
    /// How much of the sandbox has to be there.
    pub(crate) sandbox: SandboxMode,
    pub(crate) log_format: LogFormat,
    /// Connections that the kernel holds until they are accepted.
    pub(crate) backlog: i32,
    pub(crate) max_connections: u32,
    /// An IPv6 address counts by its /64.
    pub(crate) max_connections_per_address: u32,
    /// Connections that have not logged in.
    pub(crate) max_logins_pending: u32,
    pub(crate) max_sessions_per_user: u32,
    pub(crate) max_transfers: u32,
    /// Open, resumable uploads of one user.
    pub(crate) max_uploads: u32,
    pub(crate) login: Duration,
    pub(crate) idle: Duration,
    pub(crate) stall: Duration,
    /// How failed logins are answered.
    pub(crate) failures: FailurePolicy,
    /// How long a ticket may be held before its holder is killed.
    pub(crate) ticket: Duration,
    /// How often workers and filers are asked whether they still run; whole seconds.
    pub(crate) heartbeat: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) spare_workers: u32,
    pub(crate) spare_filers: u32,
    /// Free space below which nothing more is reserved.
    pub(crate) min_free_bytes: u64,
    pub(crate) upload_expiry: Duration,
    /// Programs that users run.
    pub(crate) exec: ExecConfig,
}

/// PEM files of an administrator's own certificate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line says in place of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Vec<String>,
    pub(crate) log_format: Option<LogFormat>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {0:?}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Everything that is wrong with it.
    #[error("{0}")]
    Complaints(Complaints),
}

/// Why there is no site secret where one is set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteSecretError {
    /// Its file cannot be read.
    #[error("cannot read site_secret_file {0:?}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// It would let everybody in.
    #[error("site_secret_file {0:?} is empty")]
    Empty(PathBuf),
}

/// All that is wrong with a configuration, one sentence each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaints {
    source: String,
    sentences: Vec<String>,
}

impl Complaints {
    /// One more.
    pub(crate) fn add(&mut self, sentence: impl fmt::Display) {
        self.sentences.push(sentence.to_string());
    }

    /// All of them.
    pub(crate) fn sentences(&self) -> &[String] {
        &self.sentences
    }

    /// Whether there is none.
    ///
    /// # Errors
    /// With all of them.
    pub(crate) fn none(self) -> Result<(), ConfigError> {
        match self.sentences[..] {
            [] => Ok(()),
            _ => Err(ConfigError::Complaints(self)),
        }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used:", self.source)?;
        self.sentences.iter().try_for_each(|sentence| write!(f, "\n  {sentence}"))
    }
}

impl Config {
    /// Reads and checks a file (none means the defaults) with what the command line says in its place.
    ///
    /// # Errors
    /// When the file cannot be read, or with every complaint about it at once.
    pub(crate) fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let (config, complaints) = Self::examine(file, overrides)?;
        complaints.none()?;
        Ok(config)
    }

    /// The same, with the complaints beside what is to be used only when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn examine(
        file: Option<&Path>,
        overrides: Overrides,
    ) -> Result<(Self, Complaints), ConfigError> {
        let mut sentences = Vec::new();
        let (source, mut raw) = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::Read(path.to_owned(), error))?;
                (format!("{}", path.display()), FileConfig::parse(&text, &mut sentences))
            }
            None => ("the command line".to_owned(), FileConfig::default()),
        };
        if let Some(data_dir) = overrides.data_dir {
            raw.data_dir = data_dir;
        }
        if !overrides.listen.is_empty() {
            raw.listen = overrides.listen;
        }
        let mut config = Self::check(&raw, &mut sentences);
        if let Some(format) = overrides.log_format {
            config.log_format = format;
        }
        Ok((config, Complaints { source, sentences }))
    }

    /// The site secret without the white space around it.
    ///
    /// # Errors
    /// When its file cannot be read, or is empty.
    pub(crate) fn site_secret(&self) -> Result<Option<Vec<u8>>, SiteSecretError> {
        let Some(path) = &self.site_secret_file else {
            return Ok(None);
        };
        let bytes =
            std::fs::read(path).map_err(|error| SiteSecretError::Read(path.to_owned(), error))?;
        match bytes.trim_ascii() {
            [] => Err(SiteSecretError::Empty(path.to_owned())),
            secret => Ok(Some(secret.to_vec())),
        }
    }

    /// Says so when there are not enough descriptors for as many connections as may be.
    pub(crate) fn check_descriptors(&self) {
        let needed = self.descriptors_needed();
        if let Some(most) = rustix::process::getrlimit(Resource::Nofile).current
            && most < needed
        {
            tracing::warn!(
                most,
                needed,
                "too few open files are allowed for max_connections; raise LimitNOFILE or lower it"
            );
        }
    }

    fn descriptors_needed(&self) -> u64 {
        let programs = u64::from(self.exec.max_programs) * PER_PROGRAM;
        let own = u64::from(self.max_connections) * PER_CONNECTION + programs + BESIDES;
        own.max(FEWEST)
    }

    /// What of it is the ledger's.
    pub(crate) fn ledger_bounds(&self) -> Bounds {
        let upload_expiry_s = i64::try_from(self.upload_expiry.as_secs()).unwrap_or(i64::MAX);
        Bounds { upload_expiry_s, max_uploads: self.max_uploads }
    }

    fn check(raw: &FileConfig, complaints: &mut Vec<String>) -> Self {
        if raw.data_dir.as_os_str().is_empty() {
            complaints.push("data_dir: it is empty".to_owned());
        }
        if raw.listen.is_empty() {
            complaints.push("listen: at least one address is needed".to_owned());
        }
        let mut listen: Vec<SocketAddr> = Vec::new();
        for text in &raw.listen {
            match text.parse::<SocketAddr>() {
                Ok(addr) if addr.port() != 0 && listen.contains(&addr) => {
                    complaints.push(format!("listen: {addr} is there twice"));
                }
                Ok(addr) => listen.push(addr),
                Err(_) => complaints.push(format!(
                    "listen: {text:?} is not an address with a port, like 127.0.0.1:4022 or [::]:4022"
                )),
            }
        }
        if raw.user.is_empty() || raw.user == "root" || raw.user.contains('\0') {
            complaints
                .push(format!("user: {:?} cannot serve; name an ordinary system user", raw.user));
        }
        let tls_files = match (&raw.certificate, &raw.key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            (Some(_), None) => {
                complaints.push("key: it is needed where certificate is set".to_owned());
                None
            }
            (None, Some(_)) => {
                complaints.push("certificate: it is needed where key is set".to_owned());
                None
            }
        };
        let sandbox = match raw.sandbox.as_str() {
            "require" => SandboxMode::Require,
            "best-effort" => SandboxMode::BestEffort,
            #[cfg(debug_assertions)]
            "report" => SandboxMode::Report,
            other => {
                complaints
                    .push(format!("sandbox: {other:?} is neither \"require\" nor \"best-effort\""));
                SandboxMode::Require
            }
        };
        let log_format = match raw.log_format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                complaints.push(format!("log_format: {other:?} is neither \"text\" nor \"json\""));
                LogFormat::Text
            }
        };
        let mut number = |key: &str, value: i64, range: RangeInclusive<i64>| -> u64 {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                complaints.push(format!("{key}: {value} is not between {least} and {most}"));
            }
            value.unsigned_abs()
        };
        const DAY: i64 = 24 * 60 * 60;
        let config = Self {
            data_dir: raw.data_dir.clone(),
            listen,
            user: raw.user.clone(),
            tls_files,
            site_secret_file: raw.site_secret_file.clone(),
            sandbox,
            log_format,
            backlog: number("backlog", raw.backlog, 1..=65_535) as i32,
            max_connections: number("max_connections", raw.max_connections, 1..=100_000) as u32,
            max_connections_per_address: number(
                "max_connections_per_address",
                raw.max_connections_per_address,
                1..=100_000,
            ) as u32,
            max_logins_pending: number("max_logins_pending", raw.max_logins_pending, 1..=100_000)
                as u32,
            max_sessions_per_user: number(
                "max_sessions_per_user",
                raw.max_sessions_per_user,
                1..=100_000,
            ) as u32,
            // Each transfer holds descriptors in a worker that may have 80 of them.
            max_transfers: number("max_transfers", raw.max_transfers, 1..=16) as u32,
            max_uploads: number("max_uploads", raw.max_uploads, 1..=100_000) as u32,
            login: seconds(number("login_seconds", raw.login_seconds, 1..=600)),
            idle: seconds(number("idle_seconds", raw.idle_seconds, 1..=30 * DAY)),
            stall: seconds(number("stall_seconds", raw.stall_seconds, 1..=DAY)),
            failures: failure_policy(
                number("failed_logins", raw.failed_logins, 1..=1000) as u32,
                number("failed_login_delay_seconds", raw.failed_login_delay_seconds, 0..=60),
                number("failed_login_refuse_seconds", raw.failed_login_refuse_seconds, 1..=DAY),
            ),
            ticket: seconds(number("ticket_seconds", raw.ticket_seconds, 2..=3600)),
            heartbeat: seconds(number("heartbeat_seconds", raw.heartbeat_seconds, 1..=3600)),
            shutdown_grace: seconds(number(
                "shutdown_grace_seconds",
                raw.shutdown_grace_seconds,
                0..=DAY,
            )),
            spare_workers: number("spare_workers", raw.spare_workers, 1..=256) as u32,
            spare_filers: number("spare_filers", raw.spare_filers, 0..=256) as u32,
            min_free_bytes: number("min_free_bytes", raw.min_free_bytes, 0..=i64::MAX),
            upload_expiry: seconds(
                number("upload_expiry_days", raw.upload_expiry_days, 1..=3650)
                    .saturating_mul(DAY.unsigned_abs()),
            ),
            exec: ExecConfig::check(raw, number),
        };
        config.exec.complain(complaints);
        if raw.spare_workers > raw.max_connections {
            complaints.push("spare_workers: more than max_connections are never used".to_owned());
        }
        config
    }
}

/// Delays double up to four times the first; an address is remembered for three times its refusal.
fn failure_policy(refuse_after: u32, delay: u64, refuse_for: u64) -> FailurePolicy {
    FailurePolicy {
        delay: seconds(delay),
        max_delay: seconds(delay.saturating_mul(4)),
        refuse_after,
        refuse_for: seconds(refuse_for),
        forget_after: seconds(refuse_for.saturating_mul(3)),
        ..FailurePolicy::default()
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[cfg(test)]
mod tests;

//! The programs that are measured. Each starts its server on a place, gives the command of its client for a work, and
//! ends with its value.
//!
//! A peer never times itself, and never looks at what another wrote.

mod berth;
mod certificate;
mod dd;
mod nginx;
mod rsync;
mod sftp;
mod vsftpd;

pub(crate) use nginx::Nginx;
pub(crate) use sftp::Sftp;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::RunError;
use crate::place::Place;
use crate::server::{Server, StartError};
use crate::workload::Work;

/// Who is measured. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    #[value(skip)]
    Berth,
    Nginx,
    Rsync,
    RsyncFsync,
    Sftp,
    Ftps,
    Vsftpd,
    Dd,
}

impl Name {
    pub(crate) const ALL: [Self; 8] = [
        Self::Berth,
        Self::Nginx,
        Self::Rsync,
        Self::RsyncFsync,
        Self::Sftp,
        Self::Ftps,
        Self::Vsftpd,
        Self::Dd,
    ];

    /// What the tables call it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Berth => "Berth",
            Self::Nginx => "nginx, HTTPS",
            Self::Rsync => "rsync daemon, no TLS",
            Self::RsyncFsync => "rsync daemon --fsync, no TLS",
            Self::Sftp => "OpenSSH sftp",
            Self::Ftps => "vsftpd, FTPS",
            Self::Vsftpd => "vsftpd, no TLS",
            Self::Dd => "dd conv=fsync, no network",
        }
    }
}

/// A program whose server runs.
pub(crate) trait Peer {
    fn name(&self) -> Name;

    /// The client that does this work; `None` where the program is not made for it.
    fn client(&self, work: Work) -> io::Result<Option<Command>>;

    /// Why a work that belongs to it cannot be done.
    fn lacks(&self, _work: Work) -> Option<&'static str> {
        None
    }

    /// Where it was started.
    fn place(&self) -> &Place;

    /// The directory that has what a work wrote.
    fn written(&self, work: Work) -> PathBuf {
        self.place().target(work)
    }

    /// Takes away what a work wrote.
    fn clear(&self, work: Work) -> Result<(), RunError> {
        Ok(self.place().clear(&self.written(work), work.shape())?)
    }

    /// Its server, if it has one to which the processor time of its sessions comes back.
    fn server(&self) -> Option<&Server>;
}

/// Peers that run, and those that do not with the reason.
pub(crate) struct Peers {
    pub(crate) running: Vec<Box<dyn Peer>>,
    pub(crate) absent: Vec<(Name, String)>,
}

/// Starts all that take part and can be started.
pub(crate) fn start(place: &Place, programs: &Path, takes_part: impl Fn(Name) -> bool) -> Peers {
    let mut peers = Peers { running: Vec::new(), absent: Vec::new() };
    for name in Name::ALL.into_iter().filter(|name| takes_part(*name)) {
        match start_one(name, place, programs) {
            Ok(peer) => peers.running.push(peer),
            Err(error) => peers.absent.push((name, error.to_string())),
        }
    }
    peers
}

fn start_one(name: Name, place: &Place, programs: &Path) -> Result<Box<dyn Peer>, StartError> {
    Ok(match name {
        Name::Berth => Box::new(berth::Berth::start(place, programs)?),
        Name::Nginx => Box::new(nginx::Nginx::start(place)?),
        Name::Rsync => Box::new(rsync::Rsync::start(place, rsync::Flush::Never)?),
        Name::RsyncFsync => Box::new(rsync::Rsync::start(place, rsync::Flush::EachFile)?),
        Name::Sftp => Box::new(sftp::Sftp::start(place)?),
        Name::Ftps => Box::new(vsftpd::Vsftpd::start(place, vsftpd::Encryption::Tls)?),
        Name::Vsftpd => Box::new(vsftpd::Vsftpd::start(place, vsftpd::Encryption::Off)?),
        Name::Dd => Box::new(dd::Dd::start(place)?),
    })
}

/// A program's file, or the error that says that it is missing.
fn need(program: &'static str) -> Result<PathBuf, StartError> {
    crate::account::find(program).ok_or(StartError::NotInstalled(program))
}

/// Runs a tool that prepares something.
fn prepare(what: &'static str, mut command: Command) -> Result<(), StartError> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StartError::Preparation(what, crate::server::last_words(&said)))
}

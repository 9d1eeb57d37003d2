//! The rsync daemon with `rsync`: no encryption, a checksum of each file, and with `--fsync` each file is flushed.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::{Name, Peer, need};
use crate::account;
use crate::place::Place;
use crate::server::{Server, StartError, free_port};
use crate::workload::{Direction, Medium, Work};

/// Whether the receiver flushes what it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    Never,
    EachFile,
}

pub(super) struct Rsync {
    program: PathBuf,
    server: Server,
    port: u16,
    flush: Flush,
    place: Place,
}

impl Rsync {
    pub(super) fn start(place: &Place, flush: Flush) -> Result<Self, StartError> {
        let program = need("rsync")?;
        let own = place.own(match flush {
            Flush::Never => "rsync",
            Flush::EachFile => "rsync-fsync",
        })?;
        let config = own.join("rsyncd.conf");
        let text = format!(
            "use chroot = no\nlog file = {}\n[place]\npath = {}\nread only = no\n",
            own.join("log").display(),
            place.root().display()
        );
        fs::write(&config, text)?;
        let port = free_port()?;
        let mut command = account::ordinary_server(&program);
        command
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", config.display()));
        let server = Server::start_on(command, &own, port)?;
        Ok(Self { program, server, port, flush, place: place.clone() })
    }
}

impl Peer for Rsync {
    fn name(&self) -> Name {
        match self.flush {
            Flush::Never => Name::Rsync,
            Flush::EachFile => Name::RsyncFsync,
        }
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        // It renames what it has received.
        if !work.is_kept() {
            return Ok(None);
        }
        let mut rsync = account::ordinary(&self.program);
        rsync.args(["--archive", "--whole-file"]);
        match (self.flush, work.medium()) {
            (Flush::Never, _) => {}
            (Flush::EachFile, Medium::Disk) => {
                rsync.arg("--fsync");
            }
            // A sync costs nothing there.
            (Flush::EachFile, Medium::Memory) => return Ok(None),
        }
        let name = Place::source_name(work.shape());
        let module = format!("rsync://127.0.0.1:{}/place", self.port);
        match work.direction() {
            Direction::Put => {
                rsync.arg(self.place.source(work.shape())).arg(format!("{module}/stored/"))
            }
            Direction::Get => {
                rsync.arg(format!("{module}/{name}")).arg(self.place.received().join(""))
            }
        };
        Ok(Some(rsync))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}

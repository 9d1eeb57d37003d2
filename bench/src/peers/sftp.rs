//! OpenSSH's `sshd` and `sftp`, with a key and the fastest of its usual ciphers (aes128-gcm).
//!
//! Both run as ourselves: ssh needs a uid with a name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Name, Peer, need, prepare};
use crate::account;
use crate::place::Place;
use crate::server::{Server, StartError, free_port};
use crate::workload::{Direction, Work};

const CIPHER: &str = "aes128-gcm@openssh.com";

pub(crate) struct Sftp {
    program: PathBuf,
    server: Server,
    port: u16,
    own: PathBuf,
    place: Place,
}

impl Sftp {
    pub(crate) fn start(place: &Place) -> Result<Self, StartError> {
        let (sshd, program, keygen) = (need("sshd")?, need("sftp")?, need("ssh-keygen")?);
        let own = place.root().join("sshd");
        fs::create_dir(&own)?;
        for key in ["host_key", "user_key"] {
            let mut command = account::own(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(own.join(key));
            prepare("ssh-keygen", command)?;
        }
        if account::is_root() {
            // Where sessions are confined before they log in; its service makes it.
            fs::create_dir_all("/run/sshd")?;
        }
        let port = free_port()?;
        let config = own.join("sshd_config");
        fs::write(&config, configuration(&own, port))?;
        let mut command = account::own_server(&sshd);
        command.args(["-D", "-e", "-f"]).arg(&config);
        let server = Server::start_on(command, &own, port)?;
        Ok(Self { program, server, port, own, place: place.clone() })
    }

    /// A client that logs in and ends.
    pub(crate) fn login(&self) -> io::Result<Command> {
        let batch = self.own.join("nothing");
        if !batch.exists() {
            fs::write(&batch, "")?;
        }
        Ok(self.sftp(&batch))
    }

    fn sftp(&self, batch: &Path) -> Command {
        let mut sftp = account::own(&self.program);
        sftp.arg("-q").arg("-F").arg("none").arg("-b").arg(batch);
        sftp.arg("-P").arg(self.port.to_string()).arg("-i").arg(self.own.join("user_key"));
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        {
            sftp.arg("-o").arg(option);
        }
        sftp.arg("-o").arg(format!("Ciphers={CIPHER}")).arg("127.0.0.1");
        sftp
    }
}

fn configuration(own: &Path, port: u16) -> String {
    format!(
        "Port {port}
ListenAddress 127.0.0.1
HostKey {host_key}
PidFile none
AuthorizedKeysFile {user_key}
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
Ciphers {CIPHER}
Subsystem sftp internal-sftp
ForceCommand internal-sftp
",
        host_key = own.join("host_key").display(),
        user_key = own.join("user_key.pub").display()
    )
}

impl Peer for Sftp {
    fn name(&self) -> Name {
        Name::Sftp
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        let (source, target) = (self.place.source(work.shape()), self.place.target(work));
        let (source, target) = (source.display(), target.display());
        // A batch is a file: one from a pipe would end with it.
        let (batch, text) = match work.direction() {
            Direction::Put => ("put", format!("put -r {source} {target}/\n")),
            Direction::Get if !work.is_kept() => ("discard", format!("get {source} /dev/null\n")),
            Direction::Get => ("get", format!("get -r {source} {target}/\n")),
        };
        let batch = self.own.join(batch);
        fs::write(&batch, text)?;
        Ok(Some(self.sftp(&batch)))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}

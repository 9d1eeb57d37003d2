//! vsftpd with and without TLS 1.3, anonymous: `curl` moves the large file, `lftp` trees.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Name, Peer, certificate, need};
use crate::account;
use crate::cgroup::Group;
use crate::place::Place;
use crate::server::{Server, StartError, free_port};
use crate::workload::{Direction, Shape, Work};

/// Whether control and data connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Off,
    Tls,
}

/// Connections that lftp uses for a tree.
const PARALLEL: u32 = 8;

pub(super) struct Vsftpd {
    curl: PathBuf,
    lftp: Option<PathBuf>,
    server: Server,
    port: u16,
    encryption: Encryption,
    own: PathBuf,
    place: Place,
}

impl Vsftpd {
    pub(super) fn start(place: &Place, encryption: Encryption) -> Result<Self, StartError> {
        let (program, curl) = (need("vsftpd")?, need("curl")?);
        if !account::is_root() {
            return Err(StartError::NeedsRoot);
        }
        let own = place.own(match encryption {
            Encryption::Off => "vsftpd",
            Encryption::Tls => "vsftpd-tls",
        })?;
        // Sessions that are not logged in are confined to it.
        fs::create_dir(own.join("empty"))?;
        let port = free_port()?;
        let mut text = configuration(place.root(), &own, port);
        match encryption {
            Encryption::Off => text += "ssl_enable=NO\n",
            Encryption::Tls => text += &tls(&certificate::make(&own)?),
        }
        let config = own.join("vsftpd.conf");
        fs::write(&config, text)?;
        // It insists on a configuration that belongs to root.
        let mut command = account::own_server(&program);
        command.arg(&config);
        // Parts of a session end without being waited for, so that their time is not its parent's.
        let group = Group::make(&format!("{encryption:?}"));
        let server = Server::start_in(group.ok(), command, &own, port)?;
        Ok(Self {
            curl,
            lftp: account::find("lftp"),
            server,
            port,
            encryption,
            own,
            place: place.clone(),
        })
    }

    fn curl(&self, work: Work) -> Command {
        let mut curl = account::ordinary(&self.curl);
        curl.args(["--disable", "--silent", "--show-error"]);
        if self.encryption == Encryption::Tls {
            curl.args(["--ssl-reqd", "--insecure", "--tlsv1.3"]);
        }
        let (name, server) = (Place::source_name(work.shape()), self.url());
        match work.direction() {
            Direction::Put => curl
                .arg("--upload-file")
                .arg(self.place.source(work.shape()))
                .arg(format!("{server}/stored/file")),
            Direction::Get => curl
                .arg("--output")
                .arg(self.place.received_file(work))
                .arg(format!("{server}/{name}")),
        };
        curl
    }

    fn lftp(&self, lftp: &Path, work: Work) -> Command {
        let name = Place::source_name(work.shape());
        let settings = match self.encryption {
            Encryption::Off => "set ftp:ssl-allow no;",
            Encryption::Tls => {
                "set ftp:ssl-force yes; set ftp:ssl-allow-anonymous yes; \
                 set ftp:ssl-protect-data yes; set ssl:verify-certificate no;"
            }
        };
        let mirror = format!("mirror --no-perms --parallel={PARALLEL}");
        let moved = match work.direction() {
            Direction::Put => {
                format!(
                    "{mirror} --reverse {} /stored/tree",
                    self.place.source(work.shape()).display()
                )
            }
            Direction::Get => format!("{mirror} /{name} {}/tree", self.place.received().display()),
        };
        let mut command = account::ordinary(lftp);
        command.env("HOME", &self.own).args(["--norc", "-c"]).arg(format!(
            "set cmd:fail-exit yes; set net:max-retries 2; set ftp:use-site-utime no; {settings} \
             open {}; {moved}",
            self.url()
        ));
        command
    }

    fn url(&self) -> String {
        format!("ftp://127.0.0.1:{}", self.port)
    }
}

/// Anonymous sessions may write below the place. Files go out by `sendfile`, which is its default.
fn configuration(root: &Path, own: &Path, port: u16) -> String {
    format!(
        "listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={root}
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
xferlog_enable=NO
secure_chroot_dir={empty}
seccomp_sandbox=NO
",
        root = root.display(),
        empty = own.join("empty").display()
    )
}

fn tls(certificate: &Path) -> String {
    format!(
        "ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file={}
",
        certificate.display()
    )
}

impl Peer for Vsftpd {
    fn name(&self) -> Name {
        match self.encryption {
            Encryption::Off => Name::Vsftpd,
            Encryption::Tls => Name::Ftps,
        }
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        Ok(match (work.shape(), &self.lftp) {
            (Shape::Large, _) => Some(self.curl(work)),
            (Shape::Tree, Some(lftp)) => Some(self.lftp(lftp, work)),
            (Shape::Tree, None) => None,
        })
    }

    fn lacks(&self, work: Work) -> Option<&'static str> {
        (work.shape() == Shape::Tree && self.lftp.is_none()).then_some("lftp is not installed")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn server(&self) -> Option<&Server> {
        self.server.counts_all().then_some(&self.server)
    }
}

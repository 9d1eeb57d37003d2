//! nginx with TLS 1.3 and `curl`. It serves gets alone.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Name, Peer, certificate, need};
use crate::account;
use crate::files;
use crate::place::Place;
use crate::server::{Server, StartError, free_port};
use crate::workload::{Direction, Shape, Work};

/// Transfers that curl has under way at once, of small files.
const PARALLEL: &str = "8";

pub(crate) struct Nginx {
    curl: PathBuf,
    server: Server,
    port: u16,
    place: Place,
    /// curl's list of the tree's files.
    list: PathBuf,
}

impl Nginx {
    pub(crate) fn start(place: &Place) -> Result<Self, StartError> {
        let (program, curl) = (need("nginx")?, need("curl")?);
        let own = place.own("nginx")?;
        let config = own.join("nginx.conf");
        let port = free_port()?;
        fs::write(&config, configuration(place.root(), &own, &certificate::make(&own)?, port))?;
        let mut command = account::ordinary_server(&program);
        command.arg("-c").arg(&config).arg("-p").arg(&own).arg("-e").arg(own.join("error.log"));
        let server = Server::start_on(command, &own, port)?;
        let nginx = Self { curl, server, port, place: place.clone(), list: own.join("list") };
        let tree = place.source(Shape::Tree);
        if tree.is_dir() {
            fs::write(&nginx.list, nginx.listed(&tree)?)?;
        }
        Ok(nginx)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A curl configuration that gets every file of the tree.
    fn listed(&self, tree: &Path) -> io::Result<String> {
        let mut list = String::new();
        for (path, _) in files::walk(tree)? {
            let name = path.strip_prefix(self.place.root()).map_err(io::Error::other)?;
            let output = path.strip_prefix(tree).map_err(io::Error::other)?;
            let (name, output) = (name.display(), self.place.received().join(output));
            let _ = writeln!(list, "url = \"https://127.0.0.1:{}/{name}\"", self.port);
            let _ = writeln!(list, "output = \"{}\"", output.display());
        }
        Ok(list)
    }
}

/// What its manual recommends for throughput: `sendfile`, a worker for each processor, large output buffers.
fn configuration(root: &Path, own: &Path, certificate: &Path, port: u16) -> String {
    let mut scratch = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(scratch, "    {kind}_temp_path {};", own.join(kind).display());
    }
    format!(
        "daemon off;
worker_processes auto;
pid {pid};
events {{ worker_connections 1024; }}
http {{
{scratch}    access_log off;
    sendfile on;
    tcp_nopush on;
    output_buffers 2 1m;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.3;
        root {root};
    }}
}}
",
        pid = own.join("pid").display(),
        certificate = certificate.display(),
        root = root.display()
    )
}

impl Peer for Nginx {
    fn name(&self) -> Name {
        Name::Nginx
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        if work.direction() == Direction::Put {
            return Ok(None);
        }
        let mut curl = account::ordinary(&self.curl);
        // It is not asked to know the certificate, as Berth's client does.
        curl.args(["--disable", "--silent", "--show-error", "--fail", "--insecure"]);
        match work.shape() {
            Shape::Large => {
                let name = Place::source_name(work.shape());
                curl.arg("--output").arg(self.place.received_file(work));
                curl.arg(format!("https://127.0.0.1:{}/{name}", self.port));
            }
            Shape::Tree => {
                curl.args(["--parallel", "--parallel-max", PARALLEL, "--create-dirs"]);
                curl.arg("--config").arg(&self.list);
            }
        }
        Ok(Some(curl))
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}

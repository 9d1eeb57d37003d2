//! Puppets of a server: programs in the places of its worker and filer that do what a test orders.
//!
//! The server has to be started with [`crate::Options::puppets`]. It then runs the real programs, until
//! [`Server::puppet_workers`] or [`Server::puppet_filers`] is called.

mod login;
mod puppet;

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use berth_common::codec;
use berth_puppets::line;
use berth_puppets::orders::Script;
use berth_puppets::place::{DIRECTORY, FILER_LINE, REAL, WORKER_SCRIPT};

pub use berth_puppets::orders::{Order, Report, Station};
pub use login::{certificate_verify, log_in};
pub use puppet::{Fate, Puppet};

use crate::binaries::Binaries;
use crate::wait::DEADLINE;
use crate::{Raw, Server, account, wait_for};

/// Where a server's helpers are that has puppets.
pub(crate) fn place_of(server: &Path) -> PathBuf {
    server.join(DIRECTORY)
}

/// Links both kinds of programs there.
pub(crate) fn place(binaries: &Binaries, place: &Path) {
    account::make_dir(place);
    for (program, puppet) in
        [("berth-worker", "berth-puppet-worker"), ("berth-filer", "berth-puppet-filer")]
    {
        let path = binaries.path(puppet);
        assert!(path.is_file(), "{} is missing: build the workspace first", path.display());
        symlink(path, place.join(program)).unwrap();
        symlink(binaries.path(program), place.join(format!("{REAL}{program}"))).unwrap();
    }
    symlink(binaries.path("berth-jail"), place.join("berth-jail")).unwrap();
}

/// While it lives, new filers are puppets and report to it.
#[derive(Debug)]
pub struct PuppetFilers {
    listener: TcpListener,
    file: PathBuf,
}

impl PuppetFilers {
    /// The next filer that reports, at its start.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn next(&self) -> Puppet {
        Puppet::expect(accept(&self.listener))
    }

    /// The next filer, taken through its life until it is demoted to its role.
    ///
    /// # Panics
    /// When it ends on the way.
    #[must_use]
    pub fn join(&self) -> Puppet {
        self.next().proceed().proceed()
    }

    /// From now on filers are the real ones; those that have reported stay puppets.
    pub fn stop(&self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl Drop for PuppetFilers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An ordinary process of the daemon's user that takes orders. Ended on drop.
#[derive(Debug)]
pub struct Free {
    /// To order it about.
    pub puppet: Puppet,
    child: Child,
}

impl Free {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not report.
    #[must_use]
    pub fn start() -> Self {
        let listener = listen();
        let child = account::command(&Binaries::shared().path("berth-puppet-free"))
            .arg(listener.local_addr().unwrap().to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { puppet: Puppet::expect(accept(&listener)), child }
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// From now on new workers are puppets, which do this before they have a client.
    ///
    /// # Panics
    /// When the server has no puppets.
    pub fn puppet_workers(&self, script: &Script) {
        let mut bytes = Vec::new();
        codec::encode_into(script, &mut bytes).unwrap();
        self.place_file(WORKER_SCRIPT, &bytes);
    }

    /// From now on new workers are the real ones again.
    ///
    /// # Panics
    /// When they were not puppets.
    pub fn real_workers(&self) {
        fs::remove_file(place_of(self.directory()).join(WORKER_SCRIPT)).unwrap();
    }

    /// From now on new filers are puppets, as long as the value lives.
    ///
    /// # Panics
    /// When the server has no puppets.
    #[must_use]
    pub fn puppet_filers(&self) -> PuppetFilers {
        let listener = listen();
        let address = listener.local_addr().unwrap().to_string();
        self.place_file(FILER_LINE, address.as_bytes());
        PuppetFilers { listener, file: place_of(self.directory()).join(FILER_LINE) }
    }

    /// Connects until a puppet serves: real workers may wait as spares.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn puppet(&self) -> Puppet {
        wait_for("a puppet serves", || {
            let mut stream = TcpStream::connect(self.address()).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(DEADLINE)).ok()?;
            stream.write_all(line::MAGIC).ok()?;
            // A real worker answers that this is no TLS, and closes.
            let mut first = [0];
            let read = stream.peek(&mut first).ok()?;
            (read == 1 && first == [0]).then(|| Puppet::greet(stream)).flatten()
        })
    }

    /// Connects until a real worker serves, and logs in.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn real_login(&self, user: &str, password: &str) -> Raw {
        let mut raw = wait_for("a real worker serves", || Raw::connect_from(self, None).ok());
        raw.authenticate(user, password).expect("the login is accepted");
        raw
    }

    fn place_file(&self, name: &str, bytes: &[u8]) {
        let place = place_of(self.directory());
        assert!(place.is_dir(), "the server was started without puppets");
        let written = place.join(format!("{name}.new"));
        fs::write(&written, bytes).unwrap();
        account::give(&written);
        fs::rename(written, place.join(name)).unwrap();
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// The next connection, within the deadline.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let stream = wait_for("a puppet reports", || listener.accept().ok()).0;
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

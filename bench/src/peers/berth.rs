//! Berth itself, with all that it always does: TLS 1.3, leaves verified, quota, durable commits. The client is signed in
//! (`berth login`), so that it logs in by its device's key, as sftp does by its own.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Name, Peer, prepare};
use crate::account;
use crate::client::{self, RunError};
use crate::place::Place;
use crate::server::{Server, StartError};
use crate::workload::{Direction, Shape, Work};

const USER: &str = "bench";
const PASSWORD: &str = "correct horse";
/// How long what was removed may stand in staging.
const SWEEP: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

pub(super) struct Berth {
    programs: PathBuf,
    server: Server,
    own: PathBuf,
    place: Place,
    moves_trees: bool,
    /// Trees that were put and moved aside.
    aside: Cell<u32>,
}

impl Berth {
    pub(super) fn start(place: &Place, programs: &Path) -> Result<Self, StartError> {
        let own = place.own("berth")?;
        let data = own.join("data");
        let mut command = account::ordinary_server(&programs.join("berthd"));
        command.arg("--data-dir").arg(&data).args(["--listen", "127.0.0.1:0"]);
        let (server, (address, fingerprint)) = Server::start(command, &own, |server| {
            let said = server.said();
            let after = |prefix: &str| {
                said.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned)
            };
            Some((after("berthd: listening on ")?, after("berthd: certificate ")?))
        })?;
        let mut user = account::ordinary(&programs.join("berthctl"));
        user.arg("--data-dir").arg(&data).args(["user", "add", USER, "--quota", "1TiB"]);
        user.env("BERTH_PASSWORD", PASSWORD);
        prepare("berthctl", user)?;
        let mut berth = Self {
            programs: programs.to_owned(),
            server,
            own,
            place: place.clone(),
            moves_trees: false,
            aside: Cell::new(0),
        };
        // A client that does not know the option refuses it before it looks at --help.
        berth.moves_trees = ["put", "get"].iter().all(|command| {
            let asked = berth.berth([command, "-r", "--help"]).output();
            asked.is_ok_and(|output| output.status.success())
        });
        let mut login = berth.berth(["login", "--fingerprint", &fingerprint]);
        login.arg(format!("{USER}@{address}")).env("BERTH_PASSWORD", PASSWORD);
        prepare("berth login", login)?;
        berth.fill()?;
        Ok(berth)
    }

    /// Puts what is to be got, and makes the directory that is put to.
    fn fill(&self) -> Result<(), StartError> {
        prepare("berth mkdir", self.berth(["mkdir", "source", "stored"]))?;
        for shape in [Shape::Large, Shape::Tree] {
            let source = self.place.source(shape);
            let moved = match shape {
                Shape::Large => true,
                Shape::Tree => self.moves_trees,
            };
            if moved && source.exists() {
                let put = self.berth(put(shape, &source, "/source/").iter());
                prepare("berth put", put)?;
            }
        }
        Ok(())
    }

    fn berth<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut berth = account::ordinary(&self.programs.join("berth"));
        berth.env("HOME", &self.own).arg("-q").args(arguments);
        berth
    }

    fn user(&self) -> PathBuf {
        self.own.join("data/users").join(USER)
    }

    /// Waits until what was removed is gone from the disk too, so that the next run does not pay for it.
    fn wait_for_sweep(&self) -> Result<(), RunError> {
        let staging = self.user().join("staging");
        let end = Instant::now() + SWEEP;
        while staging.read_dir()?.next().is_some() {
            if Instant::now() > end {
                return Err(RunError::Hung);
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn put(shape: Shape, source: &Path, to: &str) -> Vec<std::ffi::OsString> {
    let recursive = match shape {
        Shape::Large => None,
        Shape::Tree => Some("-r".into()),
    };
    let rest = [source.into(), "--to".into(), to.into()];
    ["put".into()].into_iter().chain(recursive).chain(rest).collect()
}

impl Peer for Berth {
    fn name(&self) -> Name {
        Name::Berth
    }

    fn client(&self, work: Work) -> io::Result<Option<Command>> {
        let name = Place::source_name(work.shape());
        Ok(Some(match (work.direction(), work.shape()) {
            (Direction::Put, shape) => {
                self.berth(put(shape, &self.place.source(shape), "/stored/").iter())
            }
            (Direction::Get, Shape::Large) => {
                let mut berth = self.berth(["get", name, "--to"]);
                match work.is_kept() {
                    true => berth.arg(self.place.received().join("")),
                    false => berth.arg("-"),
                };
                berth
            }
            (Direction::Get, Shape::Tree) => {
                let mut berth = self.berth(["get", "-r", name, "--to"]);
                berth.arg(self.place.received().join(""));
                berth
            }
        }))
    }

    fn lacks(&self, work: Work) -> Option<&'static str> {
        (work.shape() == Shape::Tree && !self.moves_trees).then_some("this berth has no -r")
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn written(&self, work: Work) -> PathBuf {
        match work.direction() {
            Direction::Put => self.user().join("home/stored"),
            Direction::Get => self.place.received(),
        }
    }

    fn clear(&self, work: Work) -> Result<(), RunError> {
        if work.direction() == Direction::Get {
            return Ok(self.place.clear(&self.place.received(), work.shape())?);
        }
        // By Berth: its ledger has to know.
        let output = self.own.join("clear");
        match work.shape() {
            Shape::Large => client::run(self.berth(["rm", "-r", "stored"]), &output)?,
            Shape::Tree => {
                let aside = format!("aside-{}", self.aside.replace(self.aside.get() + 1));
                client::run(self.berth(["mv", "stored", &aside]), &output)?
            }
        };
        client::run(self.berth(["mkdir", "stored"]), &output)?;
        self.wait_for_sweep()
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}

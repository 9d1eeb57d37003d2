//! The daemon's admin socket, asked directly: for tests that ask too often to run `berthctl`, or that
//! ask for what it does not offer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use berth_cli::human::parse_size;
use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin, SessionSummary, Status};
use berth_common::entry::Limits;
use berth_common::frame::{FrameHeader, HEADER_BYTES, decode_message, encode_message};
use berth_common::ids::UserName;
use berth_common::scram::{ITERATIONS, SALT_SIZE, ScramVerifier};

use super::Server;
use crate::wait::DEADLINE;

/// Asks the daemon of a data directory something as its administrator, if there is one just now.
///
/// # Errors
/// When there is no answer: the daemon may have ended.
pub fn ask_as_administrator(data: &Path, question: &AdminToDaemon) -> io::Result<DaemonToAdmin> {
    let mut stream = UnixStream::connect(data.join("admin").join("admin.sock"))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(&encode_message(question).map_err(io::Error::other)?)?;
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = FrameHeader::decode(header).map_err(io::Error::other)?;
    let mut body = vec![0; header.body];
    stream.read_exact(&mut body)?;
    decode_message(&body).map_err(io::Error::other)
}

/// The request for a user whose login costs as little as may be.
///
/// # Panics
/// When the name is none.
#[must_use]
pub fn user_of_cheap_logins(user: &str, password: &str, limits: Limits) -> AdminToDaemon {
    let verifier = ScramVerifier::from_password(password, vec![7; SALT_SIZE], *ITERATIONS.start());
    let user = UserName::new(user).expect("a user's name");
    AdminToDaemon::UserAdd { user, verifier: verifier.expect("a verifier"), limits }
}

impl Server {
    /// Asks the daemon something as its administrator.
    ///
    /// # Errors
    /// When there is no answer: the daemon may have ended.
    pub fn ask_as_administrator(&self, question: &AdminToDaemon) -> io::Result<DaemonToAdmin> {
        ask_as_administrator(&self.data(), question)
    }

    /// Makes a user whose login costs as little as may be, by which the challenge differs from that for an unknown
    /// user. `quota` is as `berthctl` takes it: `10MiB`, or `unlimited`.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_user(&self, user: &str, password: &str, quota: &str) {
        let bytes = (quota != "unlimited").then(|| parse_size(quota).expect("a size"));
        self.add_user_with(user, password, Limits { bytes, entries: None });
    }

    /// The same with any limits.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_user_with(&self, user: &str, password: &str, limits: Limits) {
        let added = self.ask_as_administrator(&user_of_cheap_logins(user, password, limits));
        assert_eq!(added.expect("an answer"), DaemonToAdmin::Done);
    }

    /// How the server is.
    ///
    /// # Panics
    /// When there is no answer, or another.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.ask_as_administrator(&AdminToDaemon::Status) {
            Ok(DaemonToAdmin::Status(status)) => *status,
            other => panic!("instead of the status: {other:?}"),
        }
    }

    /// The sessions of now, by one question that costs no process.
    ///
    /// # Errors
    /// When there is no answer, or another.
    pub fn list_sessions(&self) -> io::Result<Vec<SessionSummary>> {
        let mut all: Vec<SessionSummary> = Vec::new();
        loop {
            let after = all.last().map(|session| session.session);
            match self.ask_as_administrator(&AdminToDaemon::SessionList { after })? {
                DaemonToAdmin::Sessions { sessions, last } => {
                    all.extend(sessions);
                    if last {
                        return Ok(all);
                    }
                }
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
    }
}

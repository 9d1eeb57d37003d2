//! The daemon's admin socket, asked once a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use berth_common::frame::{self, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use rust_i18n::t;

use crate::human;
use crate::wording::InWords as _;

/// How long the daemon may take to answer what it can answer at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the daemon listens for its administrator.
#[derive(Debug)]
pub(super) struct AdminSocket {
    path: PathBuf,
}

/// Why there is no answer. `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// No socket at the path.
    #[error("{}", t!("there is no admin socket at %{name}: is berthd running, and is this its data directory? \
         (--data-dir or --socket say where)", name = _0.display()))]
    Missing(PathBuf),
    /// A socket without a daemon.
    #[error("{}", t!("nobody listens at %{name}: berthd is not running", name = _0.display()))]
    NotRunning(PathBuf),
    /// The directory or the socket is closed to us.
    #[error("{}", t!("no permission to use %{name}: run berthctl as the daemon's user or as root", name = _0.display()))]
    Permission(PathBuf),
    /// The connection ended before the answer.
    #[error("{}", t!("berthd closed the connection without an answer; it may have ended, or it does not take \
         orders from this user: its log says which"))]
    Closed,
    /// No answer in time.
    #[error("{}", t!("berthd has not answered for %{seconds} s; its log may say why", seconds = _0.as_secs()))]
    Silent(Duration),
    /// Any other failure of the socket.
    #[error("{}", t!("cannot speak with berthd at %{path}: %{reason}", path = path.display(), reason = human::reason(error)))]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Bytes that are no answer.
    #[error("{}", t!("berthd's answer cannot be read (%{name}): is it of the same version as berthctl?", name = _0.in_words()))]
    Frame(#[from] FrameError),
}

impl AdminSocket {
    /// The socket at this path; nothing is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Asks and waits for the answer. Each question has a connection of its own.
    ///
    /// # Errors
    /// When there is no daemon, no permission, or no whole answer.
    pub(super) fn ask(&self, question: &AdminToDaemon) -> Result<DaemonToAdmin, SocketError> {
        self.ask_for_more(question).map(|(answer, _)| answer)
    }

    /// The same, with the connection from which what follows the answer can be read.
    ///
    /// # Errors
    /// As `ask`.
    pub(super) fn ask_for_more(
        &self,
        question: &AdminToDaemon,
    ) -> Result<(DaemonToAdmin, UnixStream), SocketError> {
        let question_frame = frame::encode_message(question)?;
        let patience = patience(question);
        let mut stream = UnixStream::connect(&self.path).map_err(|error| self.explain(error))?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|error| self.explain(error))?;
        stream.set_read_timeout(patience).map_err(|error| self.explain(error))?;
        // The daemon may refuse a peer before it has read all, and its refusal is worth reading.
        let sent = stream.write_all(&question_frame);
        match (read_answer(&mut stream), sent) {
            (Ok(answer), _) => {
                // What follows comes as fast as it is taken.
                stream.set_read_timeout(Some(PATIENCE)).map_err(|error| self.explain(error))?;
                Ok((answer, stream))
            }
            (Err(ReadError::Io(_)), Err(error)) | (Err(ReadError::Io(error)), Ok(())) => {
                Err(self.explain(error))
            }
            (Err(ReadError::Frame(error)), _) => Err(error.into()),
        }
    }

    /// What an error of the connection means.
    pub(super) fn explain(&self, error: io::Error) -> SocketError {
        let path = || self.path.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SocketError::Missing(path()),
            ErrorKind::ConnectionRefused => SocketError::NotRunning(path()),
            ErrorKind::PermissionDenied => SocketError::Permission(path()),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                SocketError::Closed
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => SocketError::Silent(PATIENCE),
            _ => SocketError::Io { path: path(), error },
        }
    }
}

/// Removing a user takes as long as removing the files does, a copy as long as the disk needs, and verifying
/// as long as a walk; all else is quick.
fn patience(question: &AdminToDaemon) -> Option<Duration> {
    match question {
        AdminToDaemon::UserRemove { .. }
        | AdminToDaemon::LedgerBackup
        | AdminToDaemon::QuotaVerify { .. } => None,
        _ => Some(PATIENCE),
    }
}

enum ReadError {
    Io(io::Error),
    Frame(FrameError),
}

fn read_answer(stream: &mut impl Read) -> Result<DaemonToAdmin, ReadError> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).map_err(ReadError::Io)?;
    let header = FrameHeader::decode(header).map_err(ReadError::Frame)?;
    if header.kind != FrameKind::Message {
        return Err(ReadError::Frame(FrameError::Kind(1)));
    }
    // The header has checked the length against the bound for messages.
    let mut body = vec![0; header.body];
    stream.read_exact(&mut body).map_err(ReadError::Io)?;
    frame::decode_message(&body).map_err(ReadError::Frame)
}

/// Collects a list that comes in pages: asks after the last item of the page before, until the
/// page that is the last.
///
/// # Errors
/// The question's.
pub(super) fn pages<T, K, E>(
    mut ask: impl FnMut(Option<K>) -> Result<(Vec<T>, bool), E>,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, E> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let (page, last) = ask(all.last().map(&key))?;
        // An empty page that is not the last would be asked for again for ever.
        let stuck = page.is_empty();
        all.extend(page);
        if last || stuck {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Asks a daemon that does this with its one connection.
    fn ask_one_that(
        daemon: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<DaemonToAdmin, SocketError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || daemon(listener.accept().unwrap().0));
        let answer = AdminSocket::new(path).ask(&AdminToDaemon::Status);
        daemon.join().unwrap();
        answer
    }

    #[test]
    fn a_question_is_answered_in_one_frame() {
        let answer = ask_one_that(|mut stream| {
            let mut header = [0; HEADER_BYTES];
            stream.read_exact(&mut header).unwrap();
            let mut body = vec![0; FrameHeader::decode(header).unwrap().body];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(
                frame::decode_message::<AdminToDaemon>(&body).unwrap(),
                AdminToDaemon::Status
            );
            stream.write_all(&frame::encode_message(&DaemonToAdmin::Done).unwrap()).unwrap();
        });
        assert_eq!(answer.unwrap(), DaemonToAdmin::Done);
    }

    #[test]
    fn a_daemon_that_closes_or_babbles_is_told_apart() {
        assert!(matches!(ask_one_that(drop), Err(SocketError::Closed)));
        let babble = |bytes: &'static [u8]| {
            ask_one_that(move |mut stream| stream.write_all(bytes).unwrap()).unwrap_err()
        };
        assert!(matches!(babble(b"SSH-2.0-OpenSSH\r\n"), SocketError::Frame(_)));
        assert!(matches!(babble(&[0, 0, 0, 9, 0, 1]), SocketError::Closed));
        assert!(matches!(babble(&[0xff; 20]), SocketError::Frame(_)));
    }

    #[test]
    fn a_socket_that_is_missing_dead_or_closed_to_us_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let ask = || AdminSocket::new(path.clone()).ask(&AdminToDaemon::Status).unwrap_err();
        let missing = ask();
        assert!(matches!(missing, SocketError::Missing(_)));
        assert!(missing.to_string().contains("is berthd running"), "{missing}");
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(ask(), SocketError::NotRunning(_)));
        if !rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
            assert!(matches!(ask(), SocketError::Permission(_)));
        }
    }

    #[test]
    fn pages_are_asked_for_until_the_last() {
        let numbers = pages::<u32, u32, ()>(
            |after| {
                let first = after.map_or(1, |last| last + 1);
                Ok(((first..first + 3).collect(), first == 7))
            },
            |number| *number,
        );
        assert_eq!(numbers.unwrap(), (1..=9).collect::<Vec<_>>());
        let stuck = pages::<u32, u32, ()>(|_| Ok((Vec::new(), false)), |number| *number);
        assert_eq!(stuck.unwrap(), [] as [u32; 0], "a daemon cannot keep us asking for ever");
    }
}

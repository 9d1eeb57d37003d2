//! What berthd tells the service manager that started it (`sd_notify(3)`): ready, reloading, stopping, how it
//! goes, and that it is alive. Without one, nothing of it happens.
//!
//! The socket never blocks: a manager that does not read must not hold up the daemon's one thread. It is connected
//! at the start, since an announcer may look up no address any more once it is shut in. What the
//! watchdog stands for, and why, is in `docs/decisions/0008-what-the-watchdog-covers.md`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::daemon::Daemon;
use crate::ledger::Health;
use crate::sys;

const SOCKET: &str = "NOTIFY_SOCKET";
const VARIABLES: [&str; 3] = [SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How often it is looked whether there is something to tell.
const EVERY: Duration = Duration::from_secs(1);

/// While the daemon starts: how often it asks for time, and for how much. A start that hangs is over then.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_FOR: Duration = Duration::from_secs(60);

/// The way to the manager, if there is one. The address is kept for one that begins to listen late, or again.
pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads what the manager says in the environment, and forgets it there. Call it before there are threads, and
    /// before the process is shut in.
    ///
    /// # Errors
    /// When the address is none, or the environment cannot be changed any more.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let address = std::env::var_os(SOCKET);
        let watchdog = sd_notify::watchdog_enabled();
        if VARIABLES.iter().any(|name| std::env::var_os(name).is_some()) {
            sys::forget_variables(&VARIABLES)?;
        }
        Self::new(address.as_deref(), watchdog)
    }

    fn new(address: Option<&OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = match address {
            Some(address) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                let address = parse(address)?;
                // One that does not listen is no reason not to serve; what is told first says so in the log.
                let _ = socket.connect_addr(&address);
                Some((socket, address))
            }
            None => None,
        };
        Ok(Self { socket, watchdog: watchdog.filter(|period| !period.is_zero()) })
    }

    /// Recovery is over, and the listeners are open; or an announcer has begun to speak.
    pub(crate) fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// How an announcer goes.
    pub(crate) fn announced(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// An announcer takes back what it said, which takes no time.
    pub(crate) fn falls_silent(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// A reload begins; [`Notifier::ready`] ends it, whatever came of it.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "cannot tell the service manager of a reload"),
        }
    }

    /// The end has begun, and takes at most so long.
    pub(crate) fn stopping(&self, most: Duration) {
        let status = NotifyState::Status("stopping: transfers may end");
        self.tell(&[NotifyState::Stopping, status, extend(most)]);
    }

    /// Does what comes before serving, and asks for more time for as long as it goes on.
    ///
    /// # Cancel safety
    /// That of the work.
    pub(crate) async fn while_starting<T>(&self, work: impl Future<Output = T>) -> T {
        let ask = async {
            loop {
                self.tell(&[NotifyState::Status("recovering homes"), extend(ASK_FOR)]);
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            never = ask => never,
        }
    }

    /// Tells how many sessions there are when that has changed, and that the daemon is alive for as long as it
    /// is. Runs for as long as the daemon serves; at once over without a manager.
    pub(crate) async fn tend(&self, daemon: &Daemon) {
        if self.socket.is_none() {
            return;
        }
        // Three times within the watchdog's period, so that one delayed datagram is no death.
        let ping_every = self.watchdog.map(|period| period / 3);
        let mut ticks = tokio::time::interval(ping_every.map_or(EVERY, |every| every.min(EVERY)));
        let (mut told, mut pinged, mut health) = (None, None::<Instant>, Health::Answers);
        loop {
            ticks.tick().await;
            let found = daemon.ledger.health();
            report(std::mem::replace(&mut health, found), found);
            let sessions = daemon.sessions.borrow().len();
            if told.replace((sessions, found)) != Some((sessions, found)) {
                self.tell(&[NotifyState::Status(&status(sessions, found))]);
            }
            let due = ping_every.is_some_and(|every| pinged.is_none_or(|at| at.elapsed() >= every));
            if due && found != Health::Hangs {
                pinged = Some(Instant::now());
                self.tell(&[NotifyState::Watchdog]);
            }
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        let sent = socket.send(text.as_bytes()).or_else(|error| match error.kind() {
            // It did not listen when this began, or has begun anew since.
            io::ErrorKind::NotConnected | io::ErrorKind::ConnectionRefused => {
                socket.connect_addr(address)?;
                socket.send(text.as_bytes())
            }
            _ => Err(error),
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }
}

/// A path, or a name without one, which is written with `@`.
fn parse(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(address),
        _ => Err(io::Error::other(format!("{SOCKET}={address:?} is no address"))),
    }
}

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

fn status(sessions: usize, health: Health) -> String {
    let serving = match sessions {
        1 => "serving 1 connection".to_owned(),
        count => format!("serving {count} connections"),
    };
    match health {
        Health::Answers => serving,
        Health::WaitsForDisk => format!("{serving}; the ledger waits for its disk"),
        Health::Hangs => format!("{serving}; the ledger hangs"),
    }
}

/// Logs a change.
fn report(before: Health, found: Health) {
    if before == found {
        return;
    }
    match found {
        Health::Answers => tracing::info!("the ledger's thread answers again"),
        Health::WaitsForDisk => tracing::error!(
            "the ledger's thread waits for its disk, which does not answer; a restart would not help"
        ),
        Health::Hangs => tracing::error!("the ledger's thread hangs; the watchdog is not answered"),
    }
}

/// Whom both a daemon and its tasks tell.
pub(crate) type SharedNotifier = Rc<Notifier>;

#[cfg(test)]
mod tests {
    use super::*;

    fn manager() -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (dir, socket, Notifier::new(Some(path.as_os_str()), None).unwrap())
    }

    fn said(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn states_go_out_as_lines() {
        let (_dir, socket, notifier) = manager();
        notifier.ready();
        assert_eq!(said(&socket), "READY=1\n");
        notifier.reloading();
        let reloading = said(&socket);
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
        notifier.stopping(Duration::from_secs(70));
        let stopping = said(&socket);
        assert!(stopping.starts_with("STOPPING=1\nSTATUS="), "{stopping}");
        assert!(stopping.ends_with("EXTEND_TIMEOUT_USEC=70000000\n"), "{stopping}");
    }

    #[test]
    fn a_manager_that_listens_late_or_again_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let notifier = Notifier::new(Some(path.as_os_str()), None).unwrap();
        notifier.ready();
        for _ in 0..2 {
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            notifier.ready();
            assert_eq!(said(&socket), "READY=1\n");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let (_dir, _socket, notifier) = manager();
        // More than any socket's queue takes.
        (0..5000).for_each(|_| notifier.ready());
    }

    #[test]
    fn a_start_that_takes_long_asks_for_time_at_once() {
        let (_dir, socket, notifier) = manager();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(notifier.while_starting(tokio::task::yield_now()));
        let text = said(&socket);
        assert_eq!(text, "STATUS=recovering homes\nEXTEND_TIMEOUT_USEC=60000000\n");
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_an_address_that_is_none_is_refused() {
        Notifier::new(None, None).unwrap().ready();
        assert!(Notifier::new(Some(OsStr::new("relative")), None).is_err());
        assert!(parse(OsStr::new("@name")).unwrap().as_abstract_name() == Some(b"name"));
    }

    #[test]
    fn the_status_counts_connections_and_names_what_is_wrong() {
        assert_eq!(status(1, Health::Answers), "serving 1 connection");
        assert_eq!(status(0, Health::Hangs), "serving 0 connections; the ledger hangs");
    }
}

//! The administrator's socket: one request, one answer; after that of a backup, its bytes.
//!
//! It lies in a directory that is closed to others before the socket is made, and who connects is checked:
//! only the daemon's own user and root are heard. Each connection has its own task, a deadline, and a
//! bound on what it may send.

mod backup;
mod credentials;
mod programs;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_common::admin_protocol::{AdminError, AdminToDaemon, DaemonToAdmin, Status};
use berth_common::frame::{self, FrameError, FrameHeader, FrameKind, HEADER_BYTES};
use berth_common::ids::UserName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use crate::daemon::Daemon;
use crate::data_dir::{ADMIN, DataDir};
use crate::exit::KillReason;
use crate::ledger::{Invitation, LedgerError};
use crate::verify;
use users::{because, not_verified};

/// The socket's name in its directory.
const SOCKET: &str = "admin.sock";

/// How long a request may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Administrators at once.
const AT_ONCE: usize = 16;

/// Users or sessions in one answer: far from the bound of a frame.
const PER_PAGE: usize = 400;

/// Users that a status names at most, so that it fits a message with the longest names.
const STATUS_USERS: usize = 1024;

/// Makes the socket. The caller holds the daemon's lock, so what is left there is nobody's.
///
/// # Errors
/// When it cannot be made; the path is in the error.
pub(crate) fn bind(data_dir: &DataDir) -> io::Result<UnixListener> {
    let path: PathBuf = Path::new(&data_dir.join(ADMIN)).join(SOCKET);
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot make the socket {}: {error}", path.display()))
    };
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(explain(error)),
    }
    UnixListener::bind(&path).map_err(explain)
}

/// Serves administrators for as long as the daemon runs.
pub(crate) async fn serve(daemon: Rc<Daemon>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                spawn_local(async move {
                    if let Err(error) = converse(&daemon, stream).await {
                        tracing::warn!(%error, "an administrator's request failed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept on the administrator's socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why a conversation ended without an answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a request: {0}")]
    Frame(#[from] FrameError),
    #[error("not a message")]
    Kind,
    #[error("it took longer than {} s", PATIENCE.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

async fn converse(daemon: &Rc<Daemon>, mut stream: UnixStream) -> Result<(), Failure> {
    let uid = stream.peer_cred()?.uid();
    let answer = if uid == rustix::process::geteuid().as_raw() || uid == 0 {
        match tokio::time::timeout(PATIENCE, read(&mut stream)).await? {
            Ok(AdminToDaemon::LedgerBackup) => {
                return backup::send(daemon, uid, &mut stream).await;
            }
            Ok(request) => answer(daemon, uid, request).await,
            Err(Failure::Io(error)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(uid, %error, "refused on the administrator's socket");
                DaemonToAdmin::Refused(AdminError::Refused)
            }
        }
    } else {
        tracing::warn!(uid, "refused on the administrator's socket");
        DaemonToAdmin::Refused(AdminError::Refused)
    };
    let frame = frame::encode_message(&answer)?;
    tokio::time::timeout(PATIENCE, stream.write_all(&frame)).await??;
    Ok(())
}

async fn read(stream: &mut UnixStream) -> Result<AdminToDaemon, Failure> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    // The bound is checked before anything is allocated.
    let FrameHeader { kind, body } = FrameHeader::decode(header)?;
    if kind != FrameKind::Message {
        return Err(Failure::Kind);
    }
    let mut bytes = vec![0; body];
    stream.read_exact(&mut bytes).await?;
    Ok(frame::decode_message(&bytes)?)
}

async fn answer(daemon: &Rc<Daemon>, uid: u32, request: AdminToDaemon) -> DaemonToAdmin {
    let action = describe(&request);
    let answer = carry_out(daemon, request).await.unwrap_or_else(DaemonToAdmin::Refused);
    if let Some((action, subject)) = action {
        match &answer {
            DaemonToAdmin::Refused(error) => {
                tracing::warn!(uid, action, subject = ?subject, %error, "administrator refused");
            }
            _ => tracing::info!(uid, action, subject = ?subject, "administrator"),
        }
    }
    answer
}

/// What a request changes, for the log; `None` when it only looks.
fn describe(request: &AdminToDaemon) -> Option<(&'static str, String)> {
    match request {
        AdminToDaemon::UserAdd { user, .. } => Some(("user add", user.to_string())),
        AdminToDaemon::UserPassword { user, .. } => Some(("user passwd", user.to_string())),
        AdminToDaemon::UserLock { user } => Some(("user lock", user.to_string())),
        AdminToDaemon::UserUnlock { user } => Some(("user unlock", user.to_string())),
        AdminToDaemon::UserRemove { user } => Some(("user remove", user.to_string())),
        AdminToDaemon::ExecAllow { user, programs } => {
            Some(("user allow-exec", format!("{user} {}", programs::names(programs))))
        }
        AdminToDaemon::ExecDeny { user, programs } => {
            Some(("user deny-exec", format!("{user} {}", programs::names(programs))))
        }
        AdminToDaemon::DeviceRevoke { user, device: Some(device) } => {
            Some(("device revoke", format!("{user} {device}")))
        }
        AdminToDaemon::DeviceRevoke { user, device: None } => {
            Some(("device revoke --all", user.to_string()))
        }
        AdminToDaemon::InvitationAdd { invitation, user, .. } => {
            let name = user.as_ref().map_or("anybody", UserName::as_str);
            Some(("invite", format!("{invitation} {name}")))
        }
        AdminToDaemon::InvitationRevoke { invitation } => {
            Some(("invitation revoke", invitation.to_string()))
        }
        AdminToDaemon::QuotaSet { user, bytes, entries } => {
            Some(("quota set", format!("{user} bytes {bytes:?} entries {entries:?}")))
        }
        AdminToDaemon::QuotaVerify { user, fix: true } => {
            Some(("quota verify --fix", user.to_string()))
        }
        AdminToDaemon::SessionKill { session } => Some(("session kill", session.to_string())),
        AdminToDaemon::UserList { .. }
        | AdminToDaemon::UserShow { .. }
        | AdminToDaemon::ExecList { .. }
        | AdminToDaemon::DeviceList { .. }
        | AdminToDaemon::InvitationList { .. }
        | AdminToDaemon::QuotaVerify { fix: false, .. }
        | AdminToDaemon::SessionList { .. }
        | AdminToDaemon::LedgerBackup
        | AdminToDaemon::Status => None,
    }
}

async fn carry_out(
    daemon: &Rc<Daemon>,
    request: AdminToDaemon,
) -> Result<DaemonToAdmin, AdminError> {
    let ledger = &daemon.ledger;
    match request {
        AdminToDaemon::UserAdd { user, verifier, limits } => {
            users::add(daemon, &user, verifier, limits).await?;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::UserList { after } => {
            let records = ledger.users(after, PER_PAGE).await.map_err(|_| AdminError::Ledger)?;
            let last = records.len() < PER_PAGE;
            let users = records.iter().map(|record| users::summary(daemon, record)).collect();
            Ok(DaemonToAdmin::Users { users, last })
        }
        AdminToDaemon::UserShow { user } => match ledger.user(&user).await {
            Ok(Some(record)) => Ok(DaemonToAdmin::User(users::summary(daemon, &record))),
            Ok(None) => Err(AdminError::NoSuchUser(user)),
            Err(_) => Err(AdminError::Ledger),
        },
        AdminToDaemon::UserPassword { user, verifier } => {
            ledger.set_verifier(&user, verifier).await.map_err(because(&user))?;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::UserLock { user } => {
            // First the lock, then the sessions: a login between sees one or the other.
            ledger.set_locked(&user, true).await.map_err(because(&user))?;
            daemon.end_sessions_of(&user, &KillReason::Administrator).await;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::UserUnlock { user } => {
            ledger.set_locked(&user, false).await.map_err(because(&user))?;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::UserRemove { user } => {
            users::remove(daemon, &user).await?;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::ExecList { user } => programs::list(daemon, &user).await,
        AdminToDaemon::ExecAllow { user, programs } => {
            programs::allow(daemon, user, programs).await
        }
        AdminToDaemon::ExecDeny { user, programs } => programs::deny(daemon, &user, programs).await,
        AdminToDaemon::DeviceList { user } => credentials::devices(daemon, &user).await,
        AdminToDaemon::DeviceRevoke { user, device } => {
            credentials::revoke_device(daemon, user, device).await
        }
        AdminToDaemon::InvitationAdd { invitation, verifier, user, limits, valid_s } => {
            let invited = Invitation { verifier, user, limits };
            credentials::invite(daemon, invitation, invited, valid_s).await
        }
        AdminToDaemon::InvitationList { after } => credentials::invitations(daemon, after).await,
        AdminToDaemon::InvitationRevoke { invitation } => {
            credentials::revoke_invitation(daemon, invitation).await
        }
        AdminToDaemon::QuotaSet { user, bytes, entries } => {
            ledger.set_limits(&user, bytes, entries).await.map_err(because(&user))?;
            Ok(DaemonToAdmin::Done)
        }
        AdminToDaemon::QuotaVerify { user, fix } => {
            let verification = verify::verify(daemon, &user, fix).await;
            verification.map(DaemonToAdmin::Verified).map_err(not_verified(&user))
        }
        AdminToDaemon::SessionList { after } => {
            let (sessions, last) = daemon.sessions.borrow().page(after, PER_PAGE, Instant::now());
            Ok(DaemonToAdmin::Sessions { sessions, last })
        }
        AdminToDaemon::SessionKill { session } => {
            match daemon.end_session(session, KillReason::Administrator).await {
                true => Ok(DaemonToAdmin::Done),
                false => Err(AdminError::NoSuchSession(session)),
            }
        }
        // Answered with more than a message, before it comes here.
        AdminToDaemon::LedgerBackup => Err(AdminError::Refused),
        AdminToDaemon::Status => {
            status(daemon).await.map(|status| DaemonToAdmin::Status(Box::new(status)))
        }
    }
}

async fn status(daemon: &Daemon) -> Result<Status, AdminError> {
    let users = daemon.ledger.count_users().await.map_err(|_| AdminError::Ledger)?;
    let read_only_users = match daemon.are_all_read_only() {
        true => all_users(daemon).await.map_err(|_| AdminError::Ledger)?,
        false => daemon.read_only_users(),
    };
    let sessions = daemon.sessions.borrow();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: daemon.started.elapsed().as_secs(),
        listen: daemon.listen.borrow().iter().map(ToString::to_string).collect(),
        fingerprint: daemon.settings().identity.fingerprint().to_string(),
        users,
        connections: sessions.len() as u32,
        sessions: sessions.iter().filter(|(_, entry)| entry.user.is_some()).count() as u32,
        spare_workers: daemon.workers.count(),
        spare_filers: daemon.filers.count(),
        incidents: daemon.incidents.told(),
        tickets: daemon.tickets.borrow().times(),
        ledger: daemon.ledger.work(),
        read_only_users,
    })
}

/// The users, or the first of them where a message could not carry more.
async fn all_users(daemon: &Daemon) -> Result<Vec<UserName>, LedgerError> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let (users, last) = daemon.ledger.user_states(after, PER_PAGE).await?;
        all.extend(users.into_iter().map(|(user, _)| user));
        all.truncate(STATUS_USERS);
        match last {
            Some(last) if all.len() < STATUS_USERS => after = last,
            _ => return Ok(all),
        }
    }
}

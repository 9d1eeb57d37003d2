//! From a connection to a session: `Hello`, the site secret, SCRAM.

use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, VERSIONS, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramError, site_proof};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::connection::{Connection, ConnectionError};
use crate::password::Password;
use crate::session::{Session, SessionInfo};

/// How long the whole login may take. The server allows less, but says so itself.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Who logs in, and with what.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: UserName,
    /// The password.
    pub password: Password,
    /// The site's secret, where the site has one.
    pub site_secret: Option<SiteSecret>,
}

/// What keeps strangers out before any login; it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SiteSecret(Vec<u8>);

impl SiteSecret {
    /// The secret in a file's content: its bytes without white space at either end.
    #[must_use]
    pub fn from_file_content(content: &[u8]) -> Self {
        Self(content.trim_ascii().to_vec())
    }
}

impl std::fmt::Debug for SiteSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteSecret(…)")
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server refused.
    #[error(transparent)]
    Refused(ErrorCode),
    /// The connection failed.
    #[error(transparent)]
    Connection(ConnectionError),
    /// The site asks for a secret, and none was given.
    #[error("this server asks for a site secret: give --site-secret-file")]
    SiteSecretMissing,
    /// The site secret that was given is not the site's.
    #[error("the server refused the site secret")]
    SiteSecretWrong,
    /// The server did not prove that it knows this user.
    #[error("the server could not prove that it knows this user; it may be an impostor")]
    Impostor,
    /// SCRAM failed in another way.
    #[error(transparent)]
    Scram(ScramError),
    /// The server did not answer in time.
    #[error("the server did not answer within {} s", LOGIN_TIMEOUT.as_secs())]
    TimedOut,
}

impl From<ConnectionError> for LoginError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Refused(code) => Self::Refused(code),
            other => Self::Connection(other),
        }
    }
}

impl From<ScramError> for LoginError {
    fn from(error: ScramError) -> Self {
        match error {
            ScramError::ServerSignature => Self::Impostor,
            ScramError::Refused => Self::Refused(ErrorCode::LoginRefused),
            other => Self::Scram(other),
        }
    }
}

/// Logs in on a stream whose TLS exporter is `exporter`, and begins a session on it.
///
/// # Errors
/// One variant a reason.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn log_in<S>(
    stream: S,
    exporter: &[u8; 32],
    credentials: &Credentials,
) -> Result<Session, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let conversation = converse(Connection::new(stream), exporter, credentials);
    timeout(LOGIN_TIMEOUT, conversation).await.map_err(|_| LoginError::TimedOut)?
}

async fn converse<S>(
    mut connection: Connection<S>,
    exporter: &[u8; 32],
    credentials: &Credentials,
) -> Result<Session, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = concat!("berth ", env!("CARGO_PKG_VERSION")).to_owned();
    connection.send(&ClientToWorker::Hello { versions: VERSIONS.to_vec(), client }).await?;
    let (protocol, server, max_transfers, challenge) = match connection.receive().await? {
        WorkerToClient::Hello { version, server, max_transfers, site_challenge } => {
            if !VERSIONS.contains(&version) {
                return Err(LoginError::Refused(ErrorCode::Version));
            }
            (version, server, max_transfers, site_challenge)
        }
        _ => return Err(ConnectionError::unexpected("answer to the greeting").into()),
    };
    if let Some(challenge) = challenge {
        let secret = credentials.site_secret.as_ref().ok_or(LoginError::SiteSecretMissing)?;
        let proof = site_proof(&secret.0, &challenge, exporter);
        connection.send(&ClientToWorker::SiteProof { proof }).await?;
        match connection.receive().await {
            Ok(WorkerToClient::SiteAccepted) => {}
            Ok(_) => return Err(ConnectionError::unexpected("answer to the site proof").into()),
            Err(ConnectionError::Refused(ErrorCode::LoginRefused)) => {
                return Err(LoginError::SiteSecretWrong);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let user = prove(&mut connection, exporter, credentials).await?;
    let max_transfers = max_transfers.max(1);
    let info = SessionInfo { user, server, protocol, max_transfers, exporter: *exporter };
    Ok(Session::start(connection, info))
}

/// SCRAM: the client proves that it knows the password, the server that it knows the user.
async fn prove<S>(
    connection: &mut Connection<S>,
    exporter: &[u8; 32],
    credentials: &Credentials,
) -> Result<UserName, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = ClientFirst::new(credentials.user.as_str(), ChannelBinding::login(exporter))?;
    let message = first.message().to_vec();
    connection.send(&ClientToWorker::LoginFirst { message }).await?;
    let WorkerToClient::LoginChallenge { message } = connection.receive().await? else {
        return Err(ConnectionError::unexpected("answer to the login").into());
    };
    let last = answer(first, credentials.password.clone(), message).await?;
    let message = last.message().to_vec();
    connection.send(&ClientToWorker::LoginFinal { message }).await?;
    let WorkerToClient::LoginAccepted { message, user } = connection.receive().await? else {
        return Err(ConnectionError::unexpected("answer to the proof").into());
    };
    last.verify(&message)?;
    if user != credentials.user {
        return Err(LoginError::Impostor);
    }
    Ok(user)
}

/// Hashing the password takes a good part of a second, so it is done beside the runtime.
pub(crate) async fn answer(
    first: ClientFirst,
    password: Password,
    challenge: Vec<u8>,
) -> Result<berth_common::scram::ClientFinal, ScramError> {
    tokio::task::spawn_blocking(move || first.answer(password.as_str(), &challenge))
        .await
        .unwrap_or(Err(ScramError::Malformed("the hashing was stopped")))
}

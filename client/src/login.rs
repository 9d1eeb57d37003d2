//! From a connection to a session: `Hello`, the site secret, and a proof of who logs in, by a password (SCRAM) or by
//! a device's key. How somebody who was invited comes to an account before that is in `join`.

mod join;

use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, VERSIONS, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramError, site_proof};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

pub use join::{JoinError, Joining, join};

use crate::connection::{Connection, ConnectionError};
use crate::device::DeviceSecret;
use crate::password::Password;
use crate::session::{Session, SessionInfo};

/// How long the whole login may take. The server allows less, but says so itself.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Who logs in, and with what.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: UserName,
    /// What proves it.
    pub proof: Proof,
    /// The site's secret, where the site has one.
    pub site_secret: Option<SiteSecret>,
}

impl Credentials {
    /// By a password, to a site without a secret.
    #[must_use]
    pub fn password(user: UserName, password: Password) -> Self {
        Self { user, proof: Proof::Password(password), site_secret: None }
    }

    /// By this device's key, to a site without a secret.
    #[must_use]
    pub fn device(user: UserName, key: DeviceSecret) -> Self {
        Self { user, proof: Proof::Device(key), site_secret: None }
    }

    /// The same to a site that has this secret.
    #[must_use]
    pub fn site_secret(self, secret: SiteSecret) -> Self {
        Self { site_secret: Some(secret), ..self }
    }
}

/// What somebody proves by who they are.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A password. Hashing it takes a good part of a second.
    Password(Password),
    /// This device's key, which costs nothing.
    Device(DeviceSecret),
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
    #[error("this server asks for a site secret")]
    SiteSecretMissing,
    /// The site secret that was given is not the site's.
    #[error("the server refused the site secret")]
    SiteSecretWrong,
    /// The server does not know this device's key any more, or lets the user in by none.
    #[error("this device is not signed in any more, or the user is locked")]
    DeviceRefused,
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
    let conversation = async {
        let mut connection = Connection::new(stream);
        let greeted = greet(&mut connection, exporter, credentials.site_secret.as_ref()).await?;
        let user = prove(&mut connection, exporter, credentials).await?;
        Ok(greeted.session(connection, user, exporter))
    };
    timeout(LOGIN_TIMEOUT, conversation).await.map_err(|_| LoginError::TimedOut)?
}

/// What the server said of itself.
struct Greeted {
    server: String,
    protocol: u16,
    max_transfers: u32,
}

impl Greeted {
    fn session<S>(self, connection: Connection<S>, user: UserName, exporter: &[u8; 32]) -> Session
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { server, protocol, max_transfers } = self;
        let max_transfers = max_transfers.max(1);
        let info = SessionInfo { user, server, protocol, max_transfers, exporter: *exporter };
        Session::start(connection, info)
    }
}

/// Says hello, and proves to be none of the strangers.
async fn greet<S>(
    connection: &mut Connection<S>,
    exporter: &[u8; 32],
    site_secret: Option<&SiteSecret>,
) -> Result<Greeted, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
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
        let secret = site_secret.ok_or(LoginError::SiteSecretMissing)?;
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
    Ok(Greeted { server, protocol, max_transfers })
}

async fn prove<S>(
    connection: &mut Connection<S>,
    exporter: &[u8; 32],
    credentials: &Credentials,
) -> Result<UserName, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let user = match &credentials.proof {
        Proof::Password(password) => {
            by_password(connection, exporter, &credentials.user, password).await?
        }
        Proof::Device(secret) => by_device(connection, exporter, &credentials.user, secret).await?,
    };
    if user == credentials.user { Ok(user) } else { Err(LoginError::Impostor) }
}

/// SCRAM: the client proves that it knows the password, the server that it knows the user.
async fn by_password<S>(
    connection: &mut Connection<S>,
    exporter: &[u8; 32],
    user: &UserName,
    password: &Password,
) -> Result<UserName, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = ClientFirst::new(user.as_str(), ChannelBinding::login(exporter))?;
    let message = first.message().to_vec();
    connection.send(&ClientToWorker::LoginFirst { message }).await?;
    let WorkerToClient::LoginChallenge { message } = connection.receive().await? else {
        return Err(ConnectionError::unexpected("answer to the login").into());
    };
    let last = answer(first, password.clone(), message).await?;
    let message = last.message().to_vec();
    connection.send(&ClientToWorker::LoginFinal { message }).await?;
    let WorkerToClient::LoginAccepted { message, user } = connection.receive().await? else {
        return Err(ConnectionError::unexpected("answer to the proof").into());
    };
    last.verify(&message)?;
    Ok(user)
}

/// A signature for this channel. That the server is the right one is known by its certificate alone.
async fn by_device<S>(
    connection: &mut Connection<S>,
    exporter: &[u8; 32],
    user: &UserName,
    secret: &DeviceSecret,
) -> Result<UserName, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let signature = secret.sign_login(exporter, user);
    let login = ClientToWorker::LoginDevice { user: user.clone(), key: secret.key(), signature };
    connection.send(&login).await?;
    match connection.receive().await {
        Ok(WorkerToClient::LoginAccepted { user, .. }) => Ok(user),
        Ok(_) => Err(ConnectionError::unexpected("answer to the login").into()),
        Err(ConnectionError::Refused(ErrorCode::LoginRefused)) => Err(LoginError::DeviceRefused),
        Err(error) => Err(error.into()),
    }
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

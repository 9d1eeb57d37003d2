//! How somebody who was invited makes an account: SCRAM with the invitation, bound to the channel and to the account,
//! and then, on the same connection, the account's first login.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::credentials::{InvitationSecret, NewAccount};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::{ChannelBinding, ClientFirst, ScramError, ScramVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{Credentials, LOGIN_TIMEOUT, LoginError, Proof, SiteSecret, answer, greet, prove};
use crate::connection::{Connection, ConnectionError};
use crate::password::Password;
use crate::session::Session;

/// What somebody joins with.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The invitation.
    pub invitation: InvitationSecret,
    /// The account that is wanted.
    pub account: NewAccount,
    /// Its password, of which the account's verifier was made.
    pub password: Password,
    /// The site's secret, where the site has one.
    pub site_secret: Option<SiteSecret>,
}

impl Joining {
    /// Makes what the server is to keep of the password. It takes as long as a login does, so it is done before there
    /// is a connection, and beside the runtime.
    ///
    /// # Errors
    /// What keeps the password from being one.
    pub async fn new(
        invitation: InvitationSecret,
        user: UserName,
        password: Password,
        site_secret: Option<SiteSecret>,
    ) -> Result<Self, ScramError> {
        let text = password.clone();
        let verifier = tokio::task::spawn_blocking(move || ScramVerifier::generate(text.as_str()))
            .await
            .unwrap_or(Err(ScramError::Password))?;
        let account = NewAccount { user, verifier };
        Ok(Self { invitation, account, password, site_secret })
    }
}

/// Why nobody has joined, or not come further.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No account was made, and the invitation can still be used if it is one.
    #[error(transparent)]
    Before(LoginError),
    /// The connection was lost when the account may have been made.
    #[error("it is unknown whether the account was made: {0}")]
    Unknown(LoginError),
    /// The account was made, but its login failed.
    #[error("the account was made, but its first login failed: {0}")]
    After(LoginError),
}

/// Makes an account on a stream whose TLS exporter is `exporter`, logs in, and begins a session.
///
/// # Errors
/// One variant for each state of the account.
///
/// # Cancel safety
/// Dropping it closes the connection; it may be unknown then whether the account was made.
pub async fn join<S>(
    stream: S,
    exporter: &[u8; 32],
    joining: &Joining,
) -> Result<Session, JoinError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = Connection::new(stream);
    // What may be true of the account when something takes too long.
    let mut state: fn(LoginError) -> JoinError = JoinError::Before;
    let conversation = async {
        let site_secret = joining.site_secret.as_ref();
        let greeted =
            greet(&mut connection, exporter, site_secret).await.map_err(JoinError::Before)?;
        let binding = ChannelBinding::new_account(exporter, &joining.account);
        let id = joining.invitation.id().to_string();
        let first = ClientFirst::new(&id, binding).map_err(|e| JoinError::Before(e.into()))?;
        let question = ClientToWorker::JoinFirst {
            message: first.message().to_vec(),
            account: joining.account.clone(),
        };
        let challenge = ask(&mut connection, &question).await.map_err(JoinError::Before)?;
        let WorkerToClient::JoinChallenge { message } = challenge else {
            let error = ConnectionError::unexpected("answer to the invitation");
            return Err(JoinError::Before(error.into()));
        };
        let secret = Password::new(joining.invitation.as_password());
        let last = answer(first, secret, message).await.map_err(|e| JoinError::Before(e.into()))?;
        let question = ClientToWorker::JoinFinal { message: last.message().to_vec() };
        state = JoinError::Unknown;
        let joined = ask(&mut connection, &question).await.map_err(|error| match error {
            // Which of them the server gives before it makes an account is known; a server that ends may have made it.
            LoginError::Refused(code) if refused_for_good(&code) => {
                JoinError::Before(LoginError::Refused(code))
            }
            other => JoinError::Unknown(other),
        })?;
        let WorkerToClient::Joined { message } = joined else {
            let error = ConnectionError::unexpected("answer to the proof");
            return Err(JoinError::Unknown(error.into()));
        };
        last.verify(&message).map_err(|error| JoinError::Unknown(error.into()))?;
        state = JoinError::After;
        let credentials = Credentials {
            user: joining.account.user.clone(),
            proof: Proof::Password(joining.password.clone()),
            site_secret: None,
        };
        let user =
            prove(&mut connection, exporter, &credentials).await.map_err(JoinError::After)?;
        Ok((greeted, user))
    };
    let outcome = timeout(LOGIN_TIMEOUT, conversation).await;
    let (greeted, user) = outcome.unwrap_or_else(|_| Err(state(LoginError::TimedOut)))?;
    Ok(greeted.session(connection, user, exporter))
}

async fn ask<S>(
    connection: &mut Connection<S>,
    question: &ClientToWorker,
) -> Result<WorkerToClient, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.send(question).await?;
    Ok(connection.receive().await?)
}

/// Whether a refusal says that no account was made.
fn refused_for_good(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotInvited
            | ErrorCode::NameTaken
            | ErrorCode::OtherName
            | ErrorCode::LoginRefused
            | ErrorCode::TooManyFailures { .. }
            | ErrorCode::LedgerUnavailable
    )
}

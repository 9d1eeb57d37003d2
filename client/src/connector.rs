//! The way to a session: which server, whom to trust, and then who logs in.

use std::path::Path;

use crate::client_key::ClientKey;
use crate::connect::{ConnectError, Connected, Details, connect};
use crate::login::{Credentials, JoinError, Joining, LoginError, join, log_in};
use crate::session::Session;
use crate::target::ServerAddress;
use crate::trust::{Fingerprint, KnownServers};
use crate::verify::Trust;

/// Connects to one server, as often as it is asked to.
///
/// Unless it is told otherwise, it trusts a server with a certificate of an authority that the system trusts.
#[derive(Clone, Debug)]
pub struct Connector {
    server: ServerAddress,
    trust: Trust,
    key: Option<ClientKey>,
}

impl Connector {
    /// To this server.
    #[must_use]
    pub fn new(server: ServerAddress) -> Self {
        Self { server, trust: Trust::SystemAuthorities, key: None }
    }

    /// Trusts this and nothing else.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Trusts the server with this certificate and no other.
    #[must_use]
    pub fn fingerprint(self, fingerprint: Fingerprint) -> Self {
        self.trust(Trust::Pinned(fingerprint))
    }

    /// Trusts a server with a certificate of an authority in this PEM file, for its name.
    #[must_use]
    pub fn authorities(self, file: &Path) -> Self {
        self.trust(Trust::Authorities(file.to_owned()))
    }

    /// Trusts the server as it is known in this file; one that is not in it changes nothing.
    #[must_use]
    pub fn known_servers(self, known: &KnownServers) -> Self {
        match known.get(&self.server) {
            Some(fingerprint) => self.fingerprint(fingerprint),
            None => self,
        }
    }

    /// Lets every session that has this key take over, at once, an upload that another of them began. Without it a
    /// session can do so with its own alone; those of others it goes on with when the server has noticed that they
    /// were given up.
    #[must_use]
    pub fn client_key(self, key: ClientKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Connects and makes sure who the server is. Needs a tokio runtime with input, output and time.
    ///
    /// A server ends a connection on which nobody logs in, by default after ten seconds: ask a person first.
    ///
    /// # Errors
    /// [`ConnectError::Untrusted`] when the server is another one than is trusted; it has the certificate's
    /// fingerprint. [`ConnectError::Trust`] when the authorities cannot be read. All others say why nobody was
    /// reached.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        let connected = connect(&self.server, &self.trust).await?;
        Ok(Connected { key: self.key.clone(), ..connected })
    }
}

impl Connected {
    /// The SHA-256 of the server's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What was connected to, and how.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Logs in, and begins a session. A password is hashed on a thread of its own, for a good part of a second.
    ///
    /// # Errors
    /// [`LoginError::Refused`] with `LoginRefused` when user or password are wrong, or with another reason of the
    /// server's; [`LoginError::DeviceRefused`]; [`LoginError::SiteSecretMissing`] and
    /// [`LoginError::SiteSecretWrong`] where the site has a secret. [`LoginError::Impostor`] when the server could
    /// not prove that it knows the user.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn log_in(self, credentials: &Credentials) -> Result<Session, LoginError> {
        let session = log_in(self.stream, &self.exporter, credentials).await?;
        Ok(keyed(session, self.key, self.fingerprint))
    }

    /// Makes an account by an invitation, logs in to it, and begins a session.
    ///
    /// # Errors
    /// One variant of [`JoinError`] for each state of the account: there is none, it is unknown, there is one.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; it may be unknown then whether the account was made.
    pub async fn join(self, joining: &Joining) -> Result<Session, JoinError> {
        let session = join(self.stream, &self.exporter, joining).await?;
        Ok(keyed(session, self.key, self.fingerprint))
    }
}

fn keyed(session: Session, key: Option<ClientKey>, server: Fingerprint) -> Session {
    match key {
        Some(key) => session.with_client_key(key, server),
        None => session,
    }
}

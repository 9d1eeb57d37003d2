//! From a server's name to a TLS 1.3 stream that speaks `berth/1`, and to a sentence when not.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_common::client_protocol::ALPN;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client_key::ClientKey;
use crate::reason::reason;
use crate::target::ServerAddress;
use crate::trust::Fingerprint;
use crate::verify::{Distrust, Trust, TrustError, Verifier};
use crate::wire::Wire;

/// How long one address may take to answer, and then the handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that nobody acknowledges end the connection after this long, as at the server's end.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection on which nothing has come for so long is asked whether it still stands.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// Between such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// So many of them without an answer end the connection, also while it is only waited for.
const KEEPALIVE_PROBES: u32 = 3;

/// Bytes of TLS records that may wait for the socket. One write of this size costs one system call.
const TLS_BUFFER_BYTES: usize = 128 * 1024;

/// A TLS connection to a server that is trusted.
#[derive(Debug)]
pub struct Connected {
    /// What the protocol is spoken on. A test may put something of its own around it.
    pub stream: TlsStream<Wire<TcpStream>>,
    /// The TLS exporter of RFC 9266, to which logins are bound.
    pub exporter: [u8; 32],
    /// The SHA-256 of the server's certificate.
    pub fingerprint: Fingerprint,
    /// What was connected to, and how.
    pub details: Details,
    /// From which the tokens of uploads are made, if it is to last longer than the session.
    pub(crate) key: Option<ClientKey>,
}

/// What a connection is, for those who want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The server, as it was asked for.
    pub server: ServerAddress,
    /// The address that answered.
    pub address: SocketAddr,
    /// The version of TLS: `TLS 1.3`.
    pub tls: &'static str,
    /// The cipher suite by its registered name: `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("unknown host {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No address accepts a connection.
    #[error("cannot connect to {server}: {}", connect_reason(source))]
    Tcp {
        /// The server.
        server: ServerAddress,
        /// What the operating system says of the last address that was tried.
        source: io::Error,
    },
    /// There is a listener, but it does not answer.
    #[error(
        "{server} accepts connections but does not answer in TLS; is it the port of a Berth server?"
    )]
    Mute {
        /// The server.
        server: ServerAddress,
    },
    /// What answers does not speak TLS, or another protocol within it.
    #[error("{server} does not speak Berth ({speaks}); is it the port of a Berth server?")]
    NotBerth {
        /// The server.
        server: ServerAddress,
        /// What it speaks instead.
        speaks: Speaks,
    },
    /// The connection was closed during the handshake.
    #[error(
        "{server} closed the connection during the handshake; it may be busy, or no Berth server"
    )]
    Closed {
        /// The server.
        server: ServerAddress,
    },
    /// The handshake failed in another way.
    #[error("no secure connection to {server}: {}", reason(source))]
    Handshake {
        /// The server.
        server: ServerAddress,
        /// What TLS says.
        source: io::Error,
    },
    /// The server's certificate is not the one expected, or of no authority that is trusted.
    #[error("{server} shows the certificate {fingerprint}, which is not trusted: {reason}")]
    Untrusted {
        /// The server.
        server: ServerAddress,
        /// The certificate's.
        fingerprint: Fingerprint,
        /// Why not.
        reason: Distrust,
    },
    /// The authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What a server speaks that does not speak Berth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Something that is not TLS at all.
    NoTls,
    /// TLS before 1.3.
    OldTls,
    /// TLS, and within it another protocol.
    AnotherService,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTls => "it does not speak TLS",
            Self::OldTls => "it does not speak TLS 1.3",
            Self::AnotherService => "another TLS service",
        })
    }
}

fn connect_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused; is berthd running there?".into(),
        io::ErrorKind::TimedOut => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        _ => reason(error),
    }
}

/// Connects to a server and makes sure who it is.
///
/// # Errors
/// One variant a reason; each is a sentence for the user.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn connect(server: &ServerAddress, trust: &Trust) -> Result<Connected, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, provider.clone())?);
    let handshake = |source| ConnectError::Handshake { server: server.clone(), source };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| handshake(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::try_from(server.host.clone()).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, error);
        ConnectError::Resolve { host: server.host.clone(), source }
    })?;

    let tcp = connect_tcp(server).await?;
    let address = tcp.peer_addr().map_err(handshake)?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = match timeout(CONNECT_TIMEOUT, connector.connect(name, Wire::new(tcp))).await {
        Err(_) => {
            return Err(ConnectError::Mute { server: server.clone() });
        }
        Ok(Err(error)) => return Err(tls_error(server, error, &verifier)),
        Ok(Ok(stream)) => stream,
    };
    let (_, session) = stream.get_mut();
    session.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    if session.alpn_protocol() != Some(ALPN) {
        return Err(ConnectError::NotBerth {
            server: server.clone(),
            speaks: Speaks::AnotherService,
        });
    }
    let exporter = session
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .map_err(|error| handshake(io::Error::other(error)))?;
    let Some(fingerprint) = verifier.seen().fingerprint else {
        return Err(handshake(io::Error::other("the server showed no certificate")));
    };
    // No other version is offered.
    let (tls, cipher_suite) = ("TLS 1.3", cipher_suite(session));
    let details = Details { server: server.clone(), address, tls, cipher_suite };
    Ok(Connected { stream, exporter, fingerprint, details, key: None })
}

/// rustls puts the version of TLS into its names.
fn cipher_suite(session: &ClientConnection) -> String {
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    suite.map_or_else(String::new, |name| name.replacen("TLS13_", "TLS_", 1))
}

/// Tries the host's addresses one after the other.
async fn connect_tcp(server: &ServerAddress) -> Result<TcpStream, ConnectError> {
    let resolve = |source| ConnectError::Resolve { host: server.host.clone(), source };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((server.host.as_str(), server.port))
        .await
        .map_err(resolve)?
        .collect();
    let mut last = None;
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream)
                    .map_err(|source| ConnectError::Tcp { server: server.clone(), source })?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(match last {
        Some(source) => ConnectError::Tcp { server: server.clone(), source },
        None => resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
    })
}

/// No waiting for larger packets, and a network that is gone is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT.as_millis() as u32)?;
    Ok(())
}

fn tls_error(server: &ServerAddress, error: io::Error, verifier: &Verifier) -> ConnectError {
    let server = server.clone();
    let seen = verifier.seen();
    if let (Some(reason), Some(fingerprint)) = (seen.refused, seen.fingerprint) {
        return ConnectError::Untrusted { server, fingerprint, reason };
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            ConnectError::NotBerth { server, speaks: Speaks::NoTls }
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            ConnectError::NotBerth { server, speaks: Speaks::AnotherService }
        }
        Some(
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(_),
        ) => ConnectError::NotBerth { server, speaks: Speaks::OldTls },
        Some(_) => ConnectError::Handshake { server, source: error },
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => ConnectError::Closed { server },
            _ => ConnectError::Handshake { server, source: error },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_network_is_noticed_within_a_minute_also_while_an_answer_is_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            ServerAddress { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let stream = connect_tcp(&server).await.unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        let probes = sockopt::tcp_keepintvl(&stream).unwrap();
        let count = sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(idle + probes * count, Duration::from_secs(60));
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 60_000);
    }
}

//! TLS as a worker serves it: version 1.3 only, ALPN `berth/1`, no tickets, the key at the daemon.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use berth_common::broker_protocol::{CloseReason, WorkerSetup};
use berth_common::client_protocol::ALPN;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{Traffic, Wire};
use crate::signer::BrokerKey;

/// The label of RFC 9266's channel binding.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Bytes of TLS records that may wait for the socket. One write of this size costs one system call.
const TLS_BUFFER_BYTES: usize = 128 * 1024;

/// A client whose handshake is done.
pub(crate) struct Accepted {
    /// The stream.
    pub(crate) stream: TlsStream<Wire<TcpStream>>,
    /// What logins are bound to.
    pub(crate) exporter: [u8; 32],
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The client speaks something else, or another version of it.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The client does not offer `berth/1`.
    #[error("the client did not ask for berth/1")]
    Alpn,
    /// The connection ended or failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl HandshakeError {
    /// What the daemon is told.
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Tls(_) | Self::Alpn => CloseReason::Handshake,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData => CloseReason::Handshake,
                io::ErrorKind::UnexpectedEof => CloseReason::ClientLeft,
                _ => CloseReason::Network,
            },
        }
    }
}

/// Makes the configuration. It allocates all that a handshake needs of it, before any client is known.
///
/// # Errors
/// When the provider has no TLS 1.3.
pub(crate) fn configuration(
    setup: &WorkerSetup,
    key: BrokerKey,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let chain = setup.certificates.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = SingleCertAndKey::from(CertifiedKey::new(chain, Arc::new(key)));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A worker serves one client and ends, so nothing could ever be resumed.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Shakes hands. The signature blocks this thread (see `signer`).
///
/// # Errors
/// See [`HandshakeError`]; the client has been sent an alert where TLS has one.
pub(crate) async fn accept(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    traffic: Rc<Traffic>,
) -> Result<Accepted, HandshakeError> {
    socket.set_nodelay(true)?;
    let mut stream = TlsAcceptor::from(config).accept(Wire::new(socket, traffic)).await?;
    let (_, connection) = stream.get_mut();
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(HandshakeError::Alpn);
    }
    connection.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    let exporter = connection
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(HandshakeError::Tls)?;
    Ok(Accepted { stream, exporter })
}

#[cfg(test)]
mod tests {
    use berth_common::channel::Channel;
    use berth_common::sandbox_mode::SandboxMode;

    use super::*;

    #[test]
    fn nothing_can_be_resumed_and_nothing_comes_early() {
        let setup = WorkerSetup {
            sandbox: SandboxMode::Require,
            certificates: Vec::new(),
            signature_scheme: 0x0403,
            server: String::new(),
            boot_id: [0; 16],
            idle_seconds: 1,
            stall_seconds: 1,
            login_seconds: 1,
            max_transfers: 1,
        };
        let (channel, _daemon) = Channel::pair().unwrap();
        let key = BrokerKey::new(setup.signature_scheme, Arc::new(channel));
        let config = configuration(&setup, key).unwrap();
        assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
        assert!(!config.ticketer.enabled() && !config.session_storage.can_cache());
    }
}

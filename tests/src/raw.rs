//! A client of the native protocol that does exactly what a test tells it, right or wrong.
//!
//! It shares the message types and SCRAM with the product and nothing else: not its connection,
//! not its patience, not its checks. It blocks, and gives up after [`DEADLINE`].

pub mod leaving;
pub mod records;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use berth_common::client_protocol::{ALPN, ClientToWorker, VERSIONS, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{
    BlockHeader, FrameHeader, FrameKind, HEADER_BYTES, decode_message, encode_message,
};
use berth_common::ids::RequestId;
use berth_common::scram::{ChannelBinding, ClientFirst};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::Server;
use crate::wait::DEADLINE;

/// A connection.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    exporter: [u8; 32],
    next_id: u32,
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(WorkerToClient),
    /// A data block.
    Block(BlockHeader, Vec<u8>),
    /// The server closed the connection, cleanly or not.
    Closed,
}

impl Raw {
    /// Connects, and finishes the TLS handshake.
    ///
    /// # Panics
    /// When there is no TLS to be had.
    #[must_use]
    pub fn connect(server: &Server) -> Self {
        Self::connect_from(server, None).expect("a TLS connection")
    }

    /// The same from another address of this machine, such as 127.0.0.2.
    ///
    /// # Errors
    /// When the connection or the handshake fails.
    ///
    /// # Panics
    /// When the server's address is none.
    pub fn connect_from(server: &Server, from: Option<SocketAddr>) -> io::Result<Self> {
        Self::over(tcp(server.address().parse().expect("an address"), from)?)
    }

    /// Finishes the TLS handshake over a connection.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn over(socket: TcpStream) -> io::Result<Self> {
        Self::configured(socket, tls_config())
    }

    /// The same as a TLS client of another kind.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn configured(mut socket: TcpStream, config: ClientConfig) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from("berth").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let exporter = tls
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
            .map_err(io::Error::other)?;
        Ok(Self { stream: StreamOwned::new(tls, socket), exporter, next_id: 1 })
    }

    /// Connects and logs in.
    ///
    /// # Panics
    /// When the login is refused.
    #[must_use]
    pub fn login(server: &Server, user: &str, password: &str) -> Self {
        let mut raw = Self::connect(server);
        raw.authenticate(user, password).expect("the login is accepted");
        raw
    }

    /// Says hello and logs in.
    ///
    /// # Errors
    /// What the server refuses it with.
    ///
    /// # Panics
    /// When the server does anything else.
    pub fn authenticate(&mut self, user: &str, password: &str) -> Result<(), ErrorCode> {
        self.hello();
        let binding = ChannelBinding::login(&self.exporter);
        let first = ClientFirst::new(user, binding).expect("a user's name");
        self.send(&ClientToWorker::LoginFirst { message: first.message().to_vec() });
        let challenge = match self.message() {
            WorkerToClient::LoginChallenge { message } => message,
            WorkerToClient::Refused { error } => return Err(error),
            other => panic!("instead of a challenge: {other:?}"),
        };
        let last = first.answer(password, &challenge).expect("a challenge of RFC 5802");
        self.send(&ClientToWorker::LoginFinal { message: last.message().to_vec() });
        match self.message() {
            WorkerToClient::LoginAccepted { message, .. } => {
                last.verify(&message).expect("the server proves that it knows the verifier");
                Ok(())
            }
            WorkerToClient::Refused { error } => Err(error),
            other => panic!("instead of an answer to the proof: {other:?}"),
        }
    }

    /// Says hello, and returns the server's.
    pub fn hello(&mut self) -> WorkerToClient {
        self.send(&ClientToWorker::Hello {
            versions: VERSIONS.to_vec(),
            client: "berth-tests".to_owned(),
        });
        self.message()
    }

    /// Asks something and returns the next message, which need not be the answer to it.
    pub fn ask(&mut self, question: impl FnOnce(RequestId) -> ClientToWorker) -> WorkerToClient {
        let id = self.id();
        self.send(&question(id));
        self.message()
    }

    /// A request's number that was not used before.
    pub fn id(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId(self.next_id)
    }

    /// Our own address of the connection.
    ///
    /// # Errors
    /// The system's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.sock.local_addr()
    }

    /// The connection beneath TLS.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// Asks the server for new keys, by a `KeyUpdate` of TLS.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn update_keys(&mut self) -> io::Result<()> {
        self.stream.conn.refresh_traffic_keys().map_err(io::Error::other)?;
        self.stream.flush()
    }

    /// The TLS exporter, to which logins are bound.
    #[must_use]
    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the connection is lost.
    pub fn send(&mut self, message: &ClientToWorker) {
        self.send_bytes(&encode_message(message).expect("a message"));
    }

    /// Sends a block, whether its digests are right or not.
    ///
    /// # Panics
    /// When the connection is lost, or the header contradicts the data's length.
    pub fn send_block(&mut self, header: &BlockHeader, data: &[u8]) {
        self.send_bytes(&header.encode(data.len()).expect("a block"));
        self.send_bytes(data);
    }

    /// Sends anything.
    ///
    /// # Panics
    /// When the connection is lost.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).expect("the connection holds");
    }

    /// Sends anything to a server that may have closed the connection.
    ///
    /// # Errors
    /// When it has.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// What comes next.
    ///
    /// # Panics
    /// When nothing comes before the deadline, or what comes is no frame.
    pub fn receive(&mut self) -> Received {
        let mut header = [0; HEADER_BYTES];
        match self.stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock) => {
                panic!("the server was silent for {DEADLINE:?}")
            }
            Err(_) => return Received::Closed,
        }
        let header = FrameHeader::decode(header).expect("a frame");
        let mut body = vec![0; header.body];
        if self.stream.read_exact(&mut body).is_err() {
            return Received::Closed;
        }
        match header.kind {
            FrameKind::Message => Received::Message(decode_message(&body).expect("a message")),
            FrameKind::Block => {
                let (block, data) = BlockHeader::decode(&body).expect("a block");
                Received::Block(block, body.split_off(data))
            }
        }
    }

    /// The next frame, which has to be a message.
    ///
    /// # Panics
    /// When it is a block, or the connection is closed.
    pub fn message(&mut self) -> WorkerToClient {
        match self.receive() {
            Received::Message(message) => message,
            other => panic!("instead of a message: {other:?}"),
        }
    }

    /// Reads until the server closes the connection; returns the reason that it gave, if any.
    pub fn closing(&mut self) -> Option<ErrorCode> {
        let mut reason = None;
        loop {
            match self.receive() {
                Received::Message(WorkerToClient::Refused { error }) => reason = Some(error),
                Received::Message(_) | Received::Block(..) => {}
                Received::Closed => return reason,
            }
        }
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}

/// A TCP connection, from a chosen address if one is given.
///
/// # Errors
/// The system's.
pub fn tcp(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let Some(from) = from else {
        return TcpStream::connect(to);
    };
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &from)?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// The TLS client that Berth serves.
///
/// # Panics
/// When the provider has no TLS 1.3.
#[must_use]
pub fn tls_config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// Trusts whoever answers: the server is ours, and SCRAM's binding would notice another.
/// The handshake's signature is checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

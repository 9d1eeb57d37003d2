//! A client that says exactly what a test wants, right or wrong.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{self, Md5, TreeDigest};
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::frame::{self, BlockHeader, FrameHeader, FrameKind, HEADER_BYTES};
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest wait for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Checks the handshake's signature, which the daemon makes, but not who the server is.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
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
        Err(rustls::Error::General("not TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

pub(super) struct Client {
    pub(super) stream: TlsStream<TcpStream>,
}

impl Client {
    pub(super) async fn connect(socket: std::net::TcpStream, alpn: &[&[u8]]) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        Ok(Self { stream })
    }

    pub(super) async fn send(&mut self, message: &ClientToWorker) {
        let frame = frame::encode_message(message).unwrap();
        self.stream.write_all(&frame).await.unwrap();
        // Without it a frame may stay in rustls when the runtime wants this task to yield.
        self.stream.flush().await.unwrap();
    }

    pub(super) async fn send_block(
        &mut self,
        id: u32,
        offset: usize,
        data: &[u8],
        leaves: Vec<Md5>,
    ) {
        let header = BlockHeader { transfer: RequestId(id), offset: offset as u64, leaves };
        let head = header.encode(data.len()).unwrap();
        self.stream.write_all(&head).await.unwrap();
        self.stream.write_all(data).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// A frame, whatever it is.
    pub(super) async fn frame(&mut self) -> io::Result<(FrameKind, Vec<u8>)> {
        frame_of(&mut self.stream).await
    }

    /// The next frame, which must be a message.
    pub(super) async fn recv(&mut self) -> WorkerToClient {
        let (kind, body) = self.frame().await.unwrap();
        assert_eq!(kind, FrameKind::Message);
        frame::decode_message(&body).unwrap()
    }

    pub(super) async fn ask(&mut self, message: &ClientToWorker) -> WorkerToClient {
        self.send(message).await;
        self.recv().await
    }

    pub(super) async fn greet(&mut self) -> WorkerToClient {
        let hello = ClientToWorker::Hello { versions: vec![1], client: "test".into() };
        self.ask(&hello).await
    }

    pub(super) async fn log_in(&mut self) {
        assert!(matches!(self.greet().await, WorkerToClient::Hello { version: 1, .. }));
        let first = ClientToWorker::LoginFirst { message: b"first".to_vec() };
        let challenge = WorkerToClient::LoginChallenge { message: b"challenge first".to_vec() };
        assert_eq!(self.ask(&first).await, challenge);
        let last = ClientToWorker::LoginFinal { message: b"final".to_vec() };
        let accepted = self.ask(&last).await;
        assert!(matches!(accepted, WorkerToClient::LoginAccepted { .. }), "{accepted:?}");
    }

    /// Begins a put, and checks the leaves that the server states; gives their number.
    pub(super) async fn begin_put(&mut self, id: u32, path: &str, file: &[u8]) -> usize {
        self.send(&put(id, path, file)).await;
        let ready = self.recv().await;
        let WorkerToClient::PutReady { leaves, .. } = ready else { panic!("{ready:?}") };
        let mut stated = Vec::new();
        while (stated.len() as u64) < leaves {
            match self.recv().await {
                WorkerToClient::JournalLeaves { leaves, .. } => stated.extend(leaves),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stated, digest::leaves(file)[..stated.len()]);
        stated.len()
    }

    /// Sends blocks from a leaf on, up to `end`.
    pub(super) async fn send_blocks(&mut self, id: u32, file: &[u8], from: usize, end: usize) {
        let mut offset = from;
        while offset < end {
            let len = BLOCK_SIZE.min(end - offset);
            let data = &file[offset..offset + len];
            self.send_block(id, offset, data, digest::leaves(data)).await;
            offset += len;
        }
    }

    /// A whole put; gives the answer.
    pub(super) async fn put(&mut self, id: u32, path: &str, file: &[u8]) -> WorkerToClient {
        let leaves = self.begin_put(id, path, file).await;
        self.send_blocks(id, file, leaves * LEAF_SIZE, file.len()).await;
        self.ask(&put_end(id, file)).await
    }
}

/// A frame, whatever it is.
pub(super) async fn frame_of<R>(stream: &mut R) -> io::Result<(FrameKind, Vec<u8>)>
where
    R: AsyncRead + Unpin,
{
    let read = async {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let header = FrameHeader::decode(header).unwrap();
        let mut body = vec![0; header.body];
        stream.read_exact(&mut body).await?;
        Ok((header.kind, body))
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}

pub(super) fn source(file: &[u8]) -> SourceFingerprint {
    SourceFingerprint { size: file.len() as u64, mtime_ns: 1, ctime_ns: 2, inode: 3 }
}

pub(super) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub(super) fn put(id: u32, at: &str, file: &[u8]) -> ClientToWorker {
    ClientToWorker::Put(Put {
        id: RequestId(id),
        path: path(at),
        source: source(file).into(),
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    })
}

pub(super) fn tree_digest(file: &[u8]) -> Md5 {
    TreeDigest::resume(&digest::leaves(file)).finish()
}

pub(super) fn put_end(id: u32, file: &[u8]) -> ClientToWorker {
    let (digest, source) = (tree_digest(file), source(file).into());
    ClientToWorker::PutEnd { id: RequestId(id), digest, source }
}

/// Bytes that differ from leaf to leaf.
pub(super) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 1000 + at % 251) as u8).collect()
}

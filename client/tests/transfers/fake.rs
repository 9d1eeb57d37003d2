//! A server in memory: it says what a test tells it to, and shows what the client says.

use berth::login::{Credentials, LoginError, Proof, log_in};
use berth::password::Password;
use berth::session::Session;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::{self, Md5, TreeDigest};
use berth_common::entry::{Entry, EntryKind, HomeFingerprint, Limits, Usage};
use berth_common::frame::{self, BlockHeader, FrameHeader, FrameKind, HEADER_BYTES};
use berth_common::ids::{RequestId, UserName};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::scram::{ChannelBinding, Nonce, ScramVerifier, ServerFirst};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// The TLS exporter of every connection.
pub(crate) const EXPORTER: [u8; 32] = [9; 32];

/// What a client sends.
#[derive(Debug)]
pub(crate) enum FromClient {
    /// A message.
    Message(ClientToWorker),
    /// A block and its data.
    Block(BlockHeader, Vec<u8>),
}

/// The server's end of a connection.
pub(crate) struct FakeServer {
    stream: DuplexStream,
}

/// Bytes that differ from leaf to leaf.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / LEAF_SIZE * 31 + at % 251) as u8).collect()
}

/// The tree digest of a whole file.
pub(crate) fn tree(bytes: &[u8]) -> Md5 {
    TreeDigest::resume(&digest::leaves(bytes)).finish()
}

/// Some usage.
pub(crate) fn usage() -> Usage {
    Usage {
        limits: Limits::default(),
        used_bytes: 1,
        used_entries: 1,
        reserved_bytes: 0,
        reserved_entries: 0,
    }
}

/// What `stat` says of a file with this content.
pub(crate) fn entry(bytes: &[u8], digest: Option<Md5>) -> Entry {
    Entry {
        name: "file".into(),
        kind: EntryKind::File,
        size: bytes.len() as u64,
        mtime_ns: 1_500_000_000_123_456_789,
        mode: 0o640,
        digest,
        note: None,
    }
}

/// What identifies a file with this content.
pub(crate) fn fingerprint(bytes: &[u8], inode: u64) -> HomeFingerprint {
    HomeFingerprint { inode, ctime_ns: 5, size: bytes.len() as u64, digest: None }
}

/// A session and the server's end of it.
pub(crate) async fn session() -> (Session, FakeServer) {
    let (session, server) = log_in_with("secret", "secret").await;
    (session.unwrap(), server)
}

/// Both ends of a connection on which nothing was said yet.
pub(crate) fn connection() -> (DuplexStream, FakeServer) {
    let (client, stream) = tokio::io::duplex(64 * 1024);
    (client, FakeServer { stream })
}

/// Logs in with one password where the server expects another, or the same.
pub(crate) async fn log_in_with(
    given: &str,
    real: &str,
) -> (Result<Session, LoginError>, FakeServer) {
    let (client, mut server) = connection();
    let credentials = Credentials {
        user: UserName::new("alice").unwrap(),
        proof: Proof::Password(Password::new(given.into())),
        site_secret: None,
    };
    let login = log_in(client, &EXPORTER, &credentials);
    let (session, ()) = tokio::join!(login, server.welcome(real));
    (session, server)
}

impl FakeServer {
    async fn welcome(&mut self, password: &str) {
        self.greet().await;
        self.check_password(password).await;
    }

    /// Answers the greeting.
    pub(crate) async fn greet(&mut self) {
        let ClientToWorker::Hello { .. } = self.message().await else { panic!("no greeting") };
        self.say(&WorkerToClient::Hello {
            version: 1,
            server: "fake".into(),
            max_transfers: 4,
            site_challenge: None,
        })
        .await;
    }

    /// Lets alice in by this password, and nobody else.
    pub(crate) async fn check_password(&mut self, password: &str) {
        let ClientToWorker::LoginFirst { message } = self.message().await else {
            panic!("no login")
        };
        let hello = ServerFirst::parse(&message).unwrap();
        let verifier = ScramVerifier::from_password(password, vec![7; 16], 4096).unwrap();
        let (message, proof) = hello.challenge(verifier, &Nonce::random().unwrap()).unwrap();
        self.say(&WorkerToClient::LoginChallenge { message }).await;
        let ClientToWorker::LoginFinal { message } = self.message().await else {
            panic!("no proof")
        };
        let answer = match proof.verify(&message, &ChannelBinding::login(&EXPORTER)) {
            Ok(message) => {
                let user = UserName::new("alice").unwrap();
                WorkerToClient::LoginAccepted { message, user }
            }
            Err(_) => {
                WorkerToClient::Refused { error: berth_common::error_code::ErrorCode::LoginRefused }
            }
        };
        self.say(&answer).await;
    }

    /// Sends a message.
    pub(crate) async fn say(&mut self, message: &WorkerToClient) {
        let frame = frame::encode_message(message).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Sends the block of `file` at `offset`; with `corrupt` one of its bytes is another.
    pub(crate) async fn send_block(
        &mut self,
        id: RequestId,
        file: &[u8],
        offset: u64,
        corrupt: bool,
    ) {
        let at = offset as usize;
        let mut data = file[at..file.len().min(at + BLOCK_SIZE)].to_vec();
        let leaves = digest::leaves(&data);
        if corrupt {
            data[LEAF_SIZE + 1] ^= 1;
        }
        let head = BlockHeader { transfer: id, offset, leaves }.encode(data.len()).unwrap();
        self.stream.write_all(&head).await.unwrap();
        self.stream.write_all(&data).await.unwrap();
    }

    /// Waits for what the client sends next; `None` when it has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<FromClient> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).await.ok()?;
        let header = FrameHeader::decode(header).unwrap();
        let mut body = vec![0; header.body];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(match header.kind {
            FrameKind::Message => FromClient::Message(frame::decode_message(&body).unwrap()),
            FrameKind::Block => {
                let (header, data) = BlockHeader::decode(&body).unwrap();
                FromClient::Block(header, body.split_off(data))
            }
        })
    }

    /// Waits for a message.
    pub(crate) async fn message(&mut self) -> ClientToWorker {
        match self.next().await {
            Some(FromClient::Message(message)) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Waits for a block.
    pub(crate) async fn block(&mut self) -> (BlockHeader, Vec<u8>) {
        match self.next().await {
            Some(FromClient::Block(header, data)) => (header, data),
            other => panic!("expected a block, got {other:?}"),
        }
    }
}

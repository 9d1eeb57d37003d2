//! Worker and daemon: the client's socket, login questions, signatures, session events.
//!
//! The daemon's end is called the broker. What a worker may send depends on its phase;
//! `daemon/src/broker.rs` has the table.

use serde::{Deserialize, Serialize};

use crate::channel::Message;
use crate::credentials::{DeviceId, DeviceKey, DeviceSummary, NewAccount, NewCredential};
use crate::error_code::ErrorCode;
use crate::exec::{Arguments, ExecEnd, ProgramName};
use crate::ids::{RequestId, SessionId, UserName};
use crate::rel_path::RelPath;
use crate::sandbox_mode::SandboxMode;

/// What a worker tells and asks the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToDaemon {
    /// Set up and demoted; waits for a client.
    Ready,
    /// Asks for the one signature of the TLS handshake.
    Sign {
        /// The TLS signature scheme (RFC 8446, section 4.2.3).
        scheme: u16,
        /// What is to be signed: a TLS 1.3 server's CertificateVerify content.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The handshake is done. Sent once.
    Handshaken {
        /// The TLS exporter of RFC 9266, to which logins are bound.
        #[serde(with = "serde_bytes")]
        exporter: [u8; 32],
    },
    /// The client's answer to the site challenge.
    SiteProof {
        /// As the client sent it.
        #[serde(with = "serde_bytes")]
        proof: [u8; 32],
    },
    /// SCRAM's client-first-message.
    LoginFirst {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// SCRAM's client-final-message.
    LoginFinal {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// A login by a device's key.
    LoginDevice {
        /// Who.
        user: UserName,
        /// By which key.
        key: DeviceKey,
        /// As the client sent it.
        #[serde(with = "serde_bytes")]
        signature: [u8; 64],
    },
    /// Begins to make an account by an invitation.
    JoinFirst {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// The account that the proof must cover.
        account: NewAccount,
    },
    /// Ends it.
    JoinFinal {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// Begins to store a credential.
    CredentialFirst {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// The credential that the second proof must cover.
        credential: NewCredential,
    },
    /// Ends it.
    CredentialFinal {
        /// As the client sent it, at most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// Asks for the user's devices.
    Devices,
    /// Revokes devices of the user.
    RevokeDevices {
        /// Which; at most [`crate::credentials::MAX_DEVICES`].
        devices: Vec<DeviceId>,
    },
    /// For the log and the table of sessions.
    TransferStarted {
        /// The transfer.
        id: RequestId,
        /// Which way.
        direction: Direction,
        /// Of which file.
        path: RelPath,
        /// Bytes of the file, where they are known.
        size: Option<u64>,
    },
    /// Bytes moved since the session's last report; sent at most every 5 s while transfers run.
    Progress {
        /// File bytes received from the client.
        received: u64,
        /// File bytes sent to the client.
        sent: u64,
    },
    /// For the log and the table of sessions.
    TransferEnded {
        /// The transfer.
        id: RequestId,
        /// Leaves that were already there when it began.
        resumed_leaves: u64,
        /// Leaves that were moved, blocks sent again included.
        moved_leaves: u64,
        /// `None` when it succeeded.
        error: Option<ErrorCode>,
    },
    /// For the log: small files that went together.
    BatchEnded {
        /// Which way.
        direction: Direction,
        /// How many were moved.
        files: u32,
        /// Their bytes.
        bytes: u64,
        /// How many were not.
        failed: u32,
    },
    /// Asks for a program to be run; answered by `ExecStarted` or `ExecFailed` of this number.
    ExecStart {
        /// The request of the client's.
        id: RequestId,
        /// Which.
        program: ProgramName,
        /// What it is given.
        arguments: Arguments,
        /// Where in the home it starts.
        directory: RelPath,
    },
    /// The program is to end now. It may have just ended.
    ExecStop {
        /// Which.
        id: RequestId,
        /// Why.
        why: ExecStopped,
    },
    /// The answer to `Ping`.
    Alive,
    /// The session ends for this reason; the process exits at once.
    Closing {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a worker has a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStopped {
    /// The client does not want it any more.
    Cancelled,
    /// It has written more than it may.
    Output,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// From the client.
    Put,
    /// To the client.
    Get,
}

/// Why a worker ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// The client closed the connection.
    ClientLeft,
    /// The TLS handshake failed (wrong protocol, no common version, wrong ALPN).
    Handshake,
    /// The client broke the protocol or was refused.
    Refused {
        /// What the client was told.
        error: ErrorCode,
    },
    /// The network failed.
    Network,
    /// The daemon told it to end.
    Told,
}

/// What the daemon tells and answers a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DaemonToWorker {
    /// The first message: all that a worker needs before a client.
    Setup(WorkerSetup),
    /// A client. Carries its TCP socket.
    Client {
        /// The session's number.
        session: SessionId,
        /// 32 random bytes for the site challenge, when the site has a secret.
        site_challenge: Option<serde_bytes::ByteArray<32>>,
    },
    /// The signature that was asked for.
    Signed {
        /// The bytes that TLS wants.
        #[serde(with = "serde_bytes")]
        signature: Vec<u8>,
    },
    /// The site proof is right.
    SiteAccepted,
    /// SCRAM's server-first-message.
    LoginChallenge {
        /// To relay.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The login is accepted. Carries the channel to the filer.
    LoginAccepted {
        /// SCRAM's server-final-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// The user.
        user: UserName,
    },
    /// SCRAM's server-first-message for an invitation.
    JoinChallenge {
        /// To relay.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The account was made; its user may log in.
    Joined {
        /// SCRAM's server-final-message, to relay.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// SCRAM's server-first-message for a new credential.
    CredentialChallenge {
        /// To relay.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// What was asked of the user's credentials was done.
    CredentialsChanged,
    /// It was not done; the session goes on.
    CredentialsRefused {
        /// Why.
        error: ErrorCode,
    },
    /// The user's devices.
    Devices {
        /// All of them.
        devices: Vec<DeviceSummary>,
    },
    /// The program runs. Carries the other ends of its three pipes: what is written to the first is its standard
    /// input; its output and errors are read from the second and the third. None of them blocks.
    ExecStarted {
        /// The request.
        id: RequestId,
        /// How much output to take from it.
        output_bytes: u64,
    },
    /// It does not, or it was stopped as the client wished.
    ExecFailed {
        /// The request.
        id: RequestId,
        /// Why.
        error: ErrorCode,
    },
    /// It has ended, and nothing of it is left but what is in the pipes.
    ExecEnded {
        /// The request.
        id: RequestId,
        /// How.
        end: ExecEnd,
    },
    /// Once somebody has logged in: say that you still run. Answered by `Alive` before the next one comes.
    Ping,
    /// End after telling the client so: a refused login or site proof, a session too many.
    Refuse {
        /// What to tell.
        error: ErrorCode,
    },
    /// Take no new requests; end when the running transfers have ended, or after this many seconds.
    Shutdown {
        /// The grace time.
        grace_seconds: u32,
    },
}

/// All that a worker needs before a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSetup {
    /// How much of the sandbox has to be there.
    pub sandbox: SandboxMode,
    /// The certificate chain in DER, the server's own first. The key stays with the daemon.
    pub certificates: Vec<serde_bytes::ByteBuf>,
    /// The TLS signature scheme of the key.
    pub signature_scheme: u16,
    /// The name and version that clients are told.
    pub server: String,
    /// The boot's id, by which journals tell what to trust (see [`crate::journal`]).
    #[serde(with = "serde_bytes")]
    pub boot_id: [u8; 16],
    /// Seconds without a request after which a session ends; never during a transfer.
    pub idle_seconds: u32,
    /// Seconds without a byte after which a transfer ends.
    pub stall_seconds: u32,
    /// Seconds from the connection to the login.
    pub login_seconds: u32,
    /// Transfers that a session may have at once.
    pub max_transfers: u32,
}

impl Message for WorkerToDaemon {
    const MAX_DESCRIPTORS: usize = 0;
}

impl Message for DaemonToWorker {
    const MAX_DESCRIPTORS: usize = 3;

    fn descriptors(&self) -> usize {
        match self {
            Self::Client { .. } | Self::LoginAccepted { .. } => 1,
            Self::ExecStarted { .. } => 3,
            _ => 0,
        }
    }
}

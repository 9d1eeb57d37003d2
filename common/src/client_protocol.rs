//! Client and worker: Berth's native protocol, version 1, inside TLS 1.3 with ALPN `berth/1`.
//!
//! The client speaks first. Each request carries an id that the client has not in use; answers carry it back
//! and may come in any order, so requests can be pipelined. A transfer keeps its request's id until its
//! `PutDone`, `GetDone` (from the client) or `Failed`. `docs/PROTOCOL.md` describes the conversation.

use serde::{Deserialize, Serialize};

use crate::batch::{GetResult, PutResult, SmallPut, StatResult};
use crate::credentials::{DeviceId, DeviceKey, DeviceSummary, NewAccount, NewCredential};
use crate::digest::Md5;
use crate::entry::{Entry, Existing, HomeFingerprint, PutSource, SourceEnd, UploadSummary, Usage};
use crate::error_code::ErrorCode;
use crate::exec::{Arguments, ExecEnd, OutputStream, ProgramName};
use crate::ids::{RequestId, StagingName, UploadToken, UserName};
use crate::note::{Note, NoteChange};
use crate::rel_path::RelPath;

/// The application protocol that TLS negotiates.
pub const ALPN: &[u8] = b"berth/1";

/// The versions of the protocol that this build speaks.
///
/// 1. the first.
pub const VERSIONS: &[u16] = &[1];

/// The port that `berthd` listens on and `berth` connects to unless told otherwise.
pub const DEFAULT_PORT: u16 = 4022;

/// What a client asks and sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientToWorker {
    /// The first message of all; its bytes are pinned by a test.
    Hello {
        /// Versions that the client speaks, preferred first; at most 16.
        versions: Vec<u16>,
        /// The client's name and version, for the log; at most 128 bytes.
        client: String,
    },
    /// The answer to a site challenge, see [`crate::scram::site_proof`].
    SiteProof {
        /// HMAC-SHA-256 under the site secret.
        #[serde(with = "serde_bytes")]
        proof: [u8; 32],
    },
    /// SCRAM's client-first-message.
    LoginFirst {
        /// At most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// SCRAM's client-final-message.
    LoginFinal {
        /// At most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// Logs in by a device's key, in place of SCRAM; answered by `LoginAccepted`.
    LoginDevice {
        /// Who.
        user: UserName,
        /// By which key.
        key: DeviceKey,
        /// Of [`crate::credentials::login_statement`], by that key.
        #[serde(with = "serde_bytes")]
        signature: [u8; 64],
    },
    /// Begins to make an account by an invitation: a SCRAM exchange with the invitation's id as the user and its
    /// secret as the password, whose channel binding covers `account`.
    JoinFirst {
        /// SCRAM's client-first-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// What is to be made.
        account: NewAccount,
    },
    /// Ends it; answered by `Joined`, after which the new user may log in.
    JoinFinal {
        /// SCRAM's client-final-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// Begins to store a credential: a second SCRAM exchange, with the current password, whose channel binding
    /// covers `credential`.
    CredentialFirst {
        /// The request.
        id: RequestId,
        /// SCRAM's client-first-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// What is to be stored.
        credential: NewCredential,
    },
    /// Ends it.
    CredentialFinal {
        /// The request.
        id: RequestId,
        /// SCRAM's client-final-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// Asks for the user's devices.
    Devices {
        /// The request.
        id: RequestId,
    },
    /// Lets a device log in no more, and ends its other sessions. Also done when there is no such device.
    RevokeDevices {
        /// The request.
        id: RequestId,
        /// Which; at most [`crate::credentials::MAX_DEVICES`].
        devices: Vec<DeviceId>,
    },
    /// Asks for one entry, its digest and note included.
    Stat {
        /// The request.
        id: RequestId,
        /// Of what.
        path: RelPath,
    },
    /// Asks for a directory's entries; they come in any order, in several `Entries`.
    List {
        /// The request.
        id: RequestId,
        /// The directory.
        path: RelPath,
        /// Whether the files' notes are wanted.
        #[serde(default)]
        notes: bool,
    },
    /// Makes a directory.
    MakeDirectory {
        /// The request.
        id: RequestId,
        /// Its path.
        path: RelPath,
        /// Makes missing parents too, and succeeds when the directory is there already.
        parents: bool,
    },
    /// Removes a file, an empty directory or, with `recursive`, a whole tree.
    Remove {
        /// The request.
        id: RequestId,
        /// What.
        path: RelPath,
        /// Whether a directory may have content.
        recursive: bool,
    },
    /// Renames a file or directory.
    Rename {
        /// The request.
        id: RequestId,
        /// From where.
        from: RelPath,
        /// To where: the new path itself, not a directory to move into.
        to: RelPath,
        /// Whether a file may be replaced by a file.
        overwrite: bool,
    },
    /// Keeps a note with a file, or takes the one that is kept away.
    SetNote {
        /// The request.
        id: RequestId,
        /// The file.
        path: RelPath,
        /// The note; `None` for none.
        note: Option<Note>,
    },
    /// Asks for limits and usage.
    Usage {
        /// The request.
        id: RequestId,
    },
    /// Asks for the open uploads, in several `Uploads`.
    Uploads {
        /// The request.
        id: RequestId,
    },
    /// Ends an open upload and removes what was received.
    AbortUpload {
        /// The request.
        id: RequestId,
        /// Which.
        upload: StagingName,
    },
    /// Asks for a file's plain MD5 (what `md5sum` prints).
    Md5 {
        /// The request.
        id: RequestId,
        /// The file.
        path: RelPath,
    },
    /// Asks for some of a file's leaf digests, in several `Leaves`, to send only what differs from them; or, with
    /// `most` 0, which file it is.
    Leaves {
        /// The request.
        id: RequestId,
        /// The file.
        path: RelPath,
        /// From which leaf on; those beyond the file's end are left out.
        from: u64,
        /// How many at most.
        most: u64,
    },
    /// Asks for the same bytes back, to measure the line; answered by `Echoed`, in the order in which echoes came.
    Echo {
        /// The request.
        id: RequestId,
        /// Any bytes, at most [`crate::limits::MAX_ECHO_BYTES`].
        #[serde(with = "serde_bytes")]
        payload: Vec<u8>,
    },
    /// Begins or resumes an upload; answered by `PutReady` and, when resuming, `JournalLeaves`.
    Put(Put),
    /// All blocks were sent; answered by `PutDone` once the file is in the home and on disk.
    PutEnd {
        /// The transfer.
        id: RequestId,
        /// The tree digest.
        digest: Md5,
        /// What was sent; of the same kind as what the put began with.
        source: SourceEnd,
    },
    /// Puts small files, each whole or not at all and by itself; answered by `FilesPut`. At most
    /// [`crate::batch::AT_ONCE`] of this, `GetFiles` and `StatFiles` are carried out at once; more have to wait.
    PutFiles {
        /// The request.
        id: RequestId,
        /// The files; within the bounds of [`crate::batch::is_put`].
        files: Vec<SmallPut>,
    },
    /// Asks for small files; answered by `FilesGot`.
    GetFiles {
        /// The request.
        id: RequestId,
        /// The files; within the bounds of [`crate::batch::is_get`].
        paths: Vec<RelPath>,
    },
    /// Asks what stands at several paths, with digests, as `Stat` does for one; answered by `FilesStated`.
    StatFiles {
        /// The request.
        id: RequestId,
        /// The paths; within the bounds of [`crate::batch::is_stat`].
        paths: Vec<RelPath>,
    },
    /// Begins or resumes a download; answered by `GetReady`.
    Get {
        /// The transfer.
        id: RequestId,
        /// The file.
        path: RelPath,
        /// What the client has of it already.
        resume: Option<GetResume>,
    },
    /// The leaf digests that a resuming client's journal has, in order, until `GetResume::leaves` were sent.
    JournalLeaves {
        /// The transfer.
        id: RequestId,
        /// At most [`crate::limits::LEAVES_PER_MESSAGE`].
        leaves: Vec<Md5>,
    },
    /// The block at this offset differed from its MD5 (or something before it did): send from there again.
    /// Once for each block; a second time, or for an earlier one, it is answered by `Failed` with
    /// `IntegrityMismatch`.
    Again {
        /// The transfer, a get.
        id: RequestId,
        /// Where to begin; a block boundary as the blocks were sent.
        offset: u64,
    },
    /// The file has arrived and its digest agrees: the get is over.
    GetDone {
        /// The transfer.
        id: RequestId,
    },
    /// Runs a program that the administrator has allowed; answered by `ExecStarted`. At most
    /// [`crate::exec::MOST_PROGRAMS`] at once.
    Exec {
        /// The request; it stays in use until `ExecDone` or `Failed`.
        id: RequestId,
        /// Which.
        program: ProgramName,
        /// What it is given, byte for byte.
        arguments: Arguments,
        /// Where in the home it starts.
        directory: RelPath,
    },
    /// Bytes for the program's standard input.
    ExecInput {
        /// Which program.
        id: RequestId,
        /// At most [`crate::exec::MAX_EXEC_DATA`], and never more than [`crate::exec::EXEC_INPUT_WINDOW`] that
        /// no `ExecInputTaken` has told of.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// The input has ended; none follows.
    ExecInputEnd {
        /// Which program.
        id: RequestId,
    },
    /// Ends a transfer or a program; a resumable upload stays resumable. Answered by `Failed` with `Cancelled`,
    /// unless it has just ended.
    Cancel {
        /// The transfer, or the program.
        id: RequestId,
    },
}

/// What a client asks for with a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The transfer.
    pub id: RequestId,
    /// Where the file is to appear; the parent must exist.
    pub path: RelPath,
    /// What is sent, with its size where that is known.
    pub source: PutSource,
    /// Lets this client go on with the upload of a file later.
    pub token: UploadToken,
    /// Permission bits to keep, without setuid, setgid and sticky.
    pub mode: u16,
    /// What happens to a file that stands there.
    pub existing: Existing,
    /// The file that stands there, when the client knows its leaves ([`ClientToWorker::Leaves`]) and will name those
    /// that are the same in place of sending them; for a file of more than [`crate::limits::SMALL_UPLOAD_BYTES`].
    pub base: Option<HomeFingerprint>,
    /// What becomes of the file's note.
    #[serde(default)]
    pub note: NoteChange,
}

/// What a client has of a file that it is getting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetResume {
    /// The file for which it was received.
    pub fingerprint: HomeFingerprint,
    /// How many leaves are verified.
    pub leaves: u64,
}

/// What a worker answers and sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToClient {
    /// The answer to `Hello`.
    Hello {
        /// The version that both speak.
        version: u16,
        /// The server's name and version; empty where the site has a secret.
        server: String,
        /// Transfers that a session may have at once.
        max_transfers: u32,
        /// 32 random bytes when the site has a secret; `SiteProof` must come next.
        site_challenge: Option<serde_bytes::ByteArray<32>>,
    },
    /// The site secret is right.
    SiteAccepted,
    /// SCRAM's server-first-message.
    LoginChallenge {
        /// At most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The login is accepted, and the server proves that it knows the verifier.
    LoginAccepted {
        /// SCRAM's server-final-message; empty for a device's login, which only TLS authenticates the server for.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
        /// The user.
        user: UserName,
    },
    /// SCRAM's server-first-message for an invitation.
    JoinChallenge {
        /// At most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The account is there, and the invitation is used.
    Joined {
        /// SCRAM's server-final-message.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// SCRAM's server-first-message for a new credential.
    CredentialChallenge {
        /// The request.
        id: RequestId,
        /// At most 1 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The session is over, because of this; the connection is closed.
    Refused {
        /// Why.
        error: ErrorCode,
    },
    /// The request, or the transfer, failed.
    Failed {
        /// Which.
        id: RequestId,
        /// Why.
        error: ErrorCode,
    },
    /// The request was carried out, durably.
    Done {
        /// Which.
        id: RequestId,
    },
    /// The answer to `Stat`.
    Entry {
        /// The request.
        id: RequestId,
        /// The entry.
        entry: Entry,
    },
    /// A part of the answer to `List`.
    Entries {
        /// The request.
        id: RequestId,
        /// Some entries; may be empty.
        entries: Vec<Entry>,
        /// Whether this is the last part.
        last: bool,
    },
    /// The answer to `Usage`.
    Usage {
        /// The request.
        id: RequestId,
        /// The usage.
        usage: Usage,
    },
    /// A part of the answer to `Uploads`.
    Uploads {
        /// The request.
        id: RequestId,
        /// Some uploads.
        uploads: Vec<UploadSummary>,
        /// Whether this is the last part.
        last: bool,
    },
    /// The answer to `Devices`.
    Devices {
        /// The request.
        id: RequestId,
        /// All of them, in the order of their registration.
        devices: Vec<DeviceSummary>,
    },
    /// The answer to `Md5`.
    Md5 {
        /// The request.
        id: RequestId,
        /// The MD5 of the whole file.
        md5: Md5,
        /// Its size in bytes.
        size: u64,
    },
    /// A part of the answer to `Leaves`.
    Leaves {
        /// The request.
        id: RequestId,
        /// The file; the same in all parts.
        fingerprint: HomeFingerprint,
        /// Some digests, in order.
        leaves: Vec<Md5>,
        /// Whether this is the last part.
        last: bool,
    },
    /// The answer to `Echo`.
    Echoed {
        /// The request.
        id: RequestId,
        /// The bytes that came with it.
        #[serde(with = "serde_bytes")]
        payload: Vec<u8>,
    },
    /// An upload is open: `JournalLeaves` follow until `leaves` have come, then blocks may be sent
    /// from that leaf on.
    PutReady {
        /// The transfer.
        id: RequestId,
        /// How many leaves the server has verified already.
        leaves: u64,
        /// Whether an earlier upload by this token was dropped because its source had changed.
        started_over: bool,
        /// Whether blocks without data may be sent: the put's base is what stands there.
        based: bool,
    },
    /// The digests of the leaves that the server has, in order.
    JournalLeaves {
        /// The transfer.
        id: RequestId,
        /// At most [`crate::limits::LEAVES_PER_MESSAGE`].
        leaves: Vec<Md5>,
    },
    /// The block at this offset differed from its MD5: send from there again.
    /// Blocks already on their way are ignored until the one at this offset comes.
    Again {
        /// The transfer, a put.
        id: RequestId,
        /// Where to begin.
        offset: u64,
    },
    /// The file is in the home, whole and durable.
    PutDone {
        /// The transfer.
        id: RequestId,
        /// Whether it replaced a file.
        replaced: bool,
        /// Limits and usage now.
        usage: Usage,
    },
    /// The answer to `PutFiles`.
    FilesPut {
        /// The request.
        id: RequestId,
        /// What came of each file, in the order in which they were sent.
        results: Vec<PutResult>,
        /// Limits and usage now; `None` when nothing was put.
        usage: Option<Usage>,
    },
    /// The answer to `GetFiles`.
    FilesGot {
        /// The request.
        id: RequestId,
        /// What came of each file, in the order in which they were asked for.
        files: Vec<GetResult>,
    },
    /// The answer to `StatFiles`.
    FilesStated {
        /// The request.
        id: RequestId,
        /// What stands at each path, in the order in which they were asked about.
        results: Vec<StatResult>,
    },
    /// A file is open: blocks follow, from the leaf `leaves` on, then `GetEnd`.
    GetReady {
        /// The transfer.
        id: RequestId,
        /// The file.
        entry: Entry,
        /// Identifies the content for a later resume.
        fingerprint: HomeFingerprint,
        /// How many of the client's leaves count: what it stated, or 0 when the file is another one.
        /// When it is not 0, the client's `JournalLeaves` must come before blocks are sent.
        leaves: u64,
    },
    /// The program runs; input may be sent.
    ExecStarted {
        /// Which.
        id: RequestId,
    },
    /// Bytes that the program has written, as they come.
    ExecOutput {
        /// Which.
        id: RequestId,
        /// Where it wrote them.
        stream: OutputStream,
        /// At least one and at most [`crate::exec::MAX_EXEC_DATA`].
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// The program's standard input has so many bytes more, or takes none any more: as many may follow.
    ExecInputTaken {
        /// Which.
        id: RequestId,
        /// How many.
        bytes: u32,
    },
    /// The program has ended, and all of its output was sent.
    ExecDone {
        /// Which.
        id: RequestId,
        /// How.
        end: ExecEnd,
    },
    /// All blocks were sent.
    GetEnd {
        /// The transfer.
        id: RequestId,
        /// The tree digest of what was sent.
        digest: Md5,
    },
}

//! Every message of every direction: it round-trips, none of its truncations decodes, and the first message
//! of all has the bytes that it will have for ever.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Debug;

use berth_common::admin_protocol::*;
use berth_common::batch::{GetResult, PutResult, ReadResult, SmallPut, StatResult};
use berth_common::broker_protocol::*;
use berth_common::channel::Message;
use berth_common::client_protocol::*;
use berth_common::codec;
use berth_common::credentials::*;
use berth_common::digest::Md5;
use berth_common::entry::*;
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::exec::*;
use berth_common::filer_protocol::*;
use berth_common::frame;
use berth_common::ids::*;
use berth_common::jail_protocol::{self, DaemonToJail, JailToDaemon};
use berth_common::ledger_protocol::*;
use berth_common::note::{Note, NoteChange};
use berth_common::rel_path::RelPath;
use berth_common::sandbox_mode::SandboxMode;
use berth_common::scram::ScramVerifier;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

/// Checks the samples of one direction: all variants are there, and each survives the codec.
macro_rules! check {
    ($enum:ident { $($variant:ident),+ $(,)? } $samples:expr) => {{
        let samples: Vec<$enum> = $samples;
        let name = |message: &$enum| match message {
            $($enum::$variant { .. } => stringify!($variant),)+
        };
        let seen: BTreeSet<_> = samples.iter().map(name).collect();
        assert_eq!(seen, BTreeSet::from([$(stringify!($variant)),+]), "a sample of each variant");
        samples.iter().for_each(survives);
    }};
}

fn survives<M: Serialize + DeserializeOwned + PartialEq + Debug>(message: &M) {
    let mut bytes = Vec::new();
    codec::encode_into(message, &mut bytes).unwrap();
    assert_eq!(&codec::decode::<M>(&bytes).unwrap(), message);
    for cut in 0..bytes.len() {
        assert!(codec::decode::<M>(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
    }
    for index in 0..bytes.len() {
        // Whatever a damaged message means, it must not panic.
        let mut damaged = bytes.clone();
        damaged[index] ^= 0xff;
        let _ = codec::decode::<M>(&damaged);
    }
}

const ID: RequestId = RequestId(7);
const OP: OpId = OpId(9);
const NAME: StagingName = StagingName(0x1234);

fn path() -> RelPath {
    RelPath::new("dir/a name\n").unwrap()
}

fn user() -> UserName {
    UserName::new("alice").unwrap()
}

const DEVICE: DeviceKey = DeviceKey([3; 32]);
const INVITATION: InvitationId = InvitationId([4; 8]);

fn program() -> ProgramName {
    ProgramName::new("sha256sum").unwrap()
}

fn arguments() -> Arguments {
    Arguments::new(vec![b"-".to_vec(), vec![1, 255]]).unwrap()
}

fn device() -> NewCredential {
    NewCredential::Device { key: DEVICE, name: DeviceName::new("laptop").unwrap() }
}

fn devices() -> Vec<DeviceSummary> {
    let name = DeviceName::new("laptop").unwrap();
    vec![DeviceSummary { device: DEVICE.id(), name, created_s: 1, used_s: Some(2) }]
}

fn account() -> NewAccount {
    NewAccount { user: user(), verifier: verifier() }
}

fn md5() -> Md5 {
    Md5::from_bytes([0xab; 16])
}

fn source() -> SourceFingerprint {
    SourceFingerprint { size: u64::MAX, mtime_ns: i64::MIN, ctime_ns: i64::MAX, inode: 1 }
}

fn fingerprint() -> HomeFingerprint {
    HomeFingerprint { inode: 1, ctime_ns: -1, size: 2, digest: Some(md5()) }
}

fn entry() -> Entry {
    Entry {
        name: "ä\u{fffd}".into(),
        kind: EntryKind::File,
        size: 1 << 40,
        mtime_ns: -1,
        mode: 0o644,
        digest: None,
        note: Some(note()),
    }
}

fn usage() -> Usage {
    Usage {
        limits: Limits { bytes: Some(10), entries: None },
        used_bytes: -1,
        used_entries: 2,
        reserved_bytes: 3,
        reserved_entries: 4,
    }
}

fn verifier() -> ScramVerifier {
    ScramVerifier::from_password("pencil", vec![1; 16], 4096).unwrap()
}

fn token() -> UploadToken {
    UploadToken([3; 16])
}

fn note() -> Note {
    Note::new("from the scanner, 写真").unwrap()
}

fn small_put() -> SmallPut {
    SmallPut {
        path: path(),
        content: vec![0, 1, 2],
        md5: md5(),
        mtime_ns: -1,
        mode: 0o640,
        overwrite: true,
        note: NoteChange::Set(note()),
    }
}

fn stat_results() -> Vec<StatResult> {
    vec![StatResult::Entry(entry()), StatResult::Failed(ErrorCode::NotFound)]
}

fn put_results() -> Vec<PutResult> {
    vec![PutResult::Done { replaced: true }, PutResult::Failed(over_quota())]
}

fn home_reports() -> Vec<HomeReport> {
    vec![
        HomeReport::Stands { inode: u64::MAX, bytes: 1 << 40 },
        HomeReport::Moved { inode: 2, place: path() },
        HomeReport::Left { inode: 3 },
        HomeReport::Unclear,
    ]
}

fn over_quota() -> ErrorCode {
    ErrorCode::QuotaExceeded {
        resource: Resource::Bytes,
        limit: 1,
        used: -2,
        reserved: 3,
        requested: u64::MAX,
    }
}

#[test]
fn client_to_worker_round_trips() {
    check!(ClientToWorker {
        Hello, SiteProof, LoginFirst, LoginFinal, LoginDevice, JoinFirst, JoinFinal, CredentialFirst,
        CredentialFinal, Devices, RevokeDevices, Stat, List, MakeDirectory,
        Remove, Rename, SetNote, Usage, Uploads, AbortUpload, Md5, Leaves, Echo, Put, PutEnd, PutFiles, GetFiles, StatFiles, Get, JournalLeaves,
        Again, GetDone, Exec, ExecInput, ExecInputEnd, Cancel,
    } vec![
        ClientToWorker::Hello { versions: vec![1, 2], client: "berth".into() },
        ClientToWorker::SiteProof { proof: [1; 32] },
        ClientToWorker::LoginFirst { message: b"n,,".to_vec() },
        ClientToWorker::LoginFinal { message: vec![] },
        ClientToWorker::LoginDevice { user: user(), key: DEVICE, signature: [7; 64] },
        ClientToWorker::JoinFirst { message: vec![1], account: account() },
        ClientToWorker::JoinFinal { message: vec![2] },
        ClientToWorker::CredentialFirst { id: ID, message: vec![1], credential: device() },
        ClientToWorker::CredentialFirst {
            id: ID,
            message: vec![1],
            credential: NewCredential::Password(verifier()),
        },
        ClientToWorker::Devices { id: ID },
        ClientToWorker::RevokeDevices { id: ID, devices: vec![DEVICE.id()] },
        ClientToWorker::CredentialFinal { id: ID, message: vec![2] },
        ClientToWorker::Stat { id: ID, path: RelPath::root() },
        ClientToWorker::List { id: ID, path: path(), notes: true },
        ClientToWorker::MakeDirectory { id: ID, path: path(), parents: true },
        ClientToWorker::Remove { id: ID, path: path(), recursive: false },
        ClientToWorker::Rename { id: ID, from: path(), to: path(), overwrite: true },
        ClientToWorker::SetNote { id: ID, path: path(), note: Some(note()) },
        ClientToWorker::SetNote { id: ID, path: path(), note: None },
        ClientToWorker::Usage { id: ID },
        ClientToWorker::Uploads { id: ID },
        ClientToWorker::AbortUpload { id: ID, upload: NAME },
        ClientToWorker::Md5 { id: ID, path: path() },
        ClientToWorker::Leaves { id: ID, path: path(), from: 1, most: u64::MAX },
        ClientToWorker::Echo { id: ID, payload: vec![0, 0xff, b'\n'] },
        ClientToWorker::Put(Put {
            id: ID,
            path: path(),
            source: source().into(),
            token: token(),
            mode: 0o7777,
            existing: Existing::Append,
            base: Some(fingerprint()),
            note: NoteChange::Remove,
        }),
        ClientToWorker::Put(Put {
            id: ID,
            path: path(),
            source: PutSource::Stream,
            token: token(),
            mode: 0o7777,
            existing: Existing::Keep,
            base: None,
            note: NoteChange::Keep,
        }),
        ClientToWorker::PutEnd { id: ID, digest: md5(), source: source().into() },
        ClientToWorker::PutEnd { id: ID, digest: md5(), source: SourceEnd::Stream { size: u64::MAX } },
        ClientToWorker::PutFiles { id: ID, files: vec![small_put()] },
        ClientToWorker::GetFiles { id: ID, paths: vec![path(), path()] },
        ClientToWorker::StatFiles { id: ID, paths: vec![path(), RelPath::root()] },
        ClientToWorker::Get { id: ID, path: path(), resume: None },
        ClientToWorker::Get {
            id: ID, path: path(), resume: Some(GetResume { fingerprint: fingerprint(), leaves: 5 }),
        },
        ClientToWorker::JournalLeaves { id: ID, leaves: vec![md5(); 3] },
        ClientToWorker::Again { id: ID, offset: 1 << 50 },
        ClientToWorker::GetDone { id: ID },
        ClientToWorker::Exec {
            id: ID, program: program(), arguments: arguments(), directory: path(),
        },
        ClientToWorker::ExecInput { id: ID, data: vec![0, 255] },
        ClientToWorker::ExecInputEnd { id: ID },
        ClientToWorker::Cancel { id: ID },
    ]);
}

#[test]
fn worker_to_client_round_trips() {
    check!(WorkerToClient {
        Hello, SiteAccepted, LoginChallenge, LoginAccepted, JoinChallenge, Joined,
        CredentialChallenge, Devices, Refused, Failed, Done, Entry,
        Entries, Usage, Uploads, Md5, Leaves, Echoed, PutReady, JournalLeaves, Again, PutDone, FilesPut, FilesGot, FilesStated, GetReady,
        GetEnd, ExecStarted, ExecOutput, ExecInputTaken, ExecDone,
    } vec![
        WorkerToClient::Hello {
            version: 1, server: "berthd".into(), max_transfers: 8, site_challenge: Some(ByteArray::new([1; 32])),
        },
        WorkerToClient::Hello { version: 1, server: String::new(), max_transfers: 8, site_challenge: None },
        WorkerToClient::SiteAccepted,
        WorkerToClient::LoginChallenge { message: vec![1] },
        WorkerToClient::LoginAccepted { message: vec![2], user: user() },
        WorkerToClient::JoinChallenge { message: vec![3] },
        WorkerToClient::Joined { message: vec![3] },
        WorkerToClient::CredentialChallenge { id: ID, message: vec![3] },
        WorkerToClient::Devices { id: ID, devices: devices() },
        WorkerToClient::Refused { error: ErrorCode::LoginRefused },
        WorkerToClient::Failed { id: ID, error: over_quota() },
        WorkerToClient::Done { id: ID },
        WorkerToClient::Entry { id: ID, entry: entry() },
        WorkerToClient::Entries { id: ID, entries: vec![entry(); 2], last: true },
        WorkerToClient::Usage { id: ID, usage: usage() },
        WorkerToClient::Uploads {
            id: ID,
            uploads: vec![UploadSummary {
                upload: NAME, path: path(), size: 1, received: 2, opened_s: 3, expires_s: 4, active: true,
            }],
            last: false,
        },
        WorkerToClient::Md5 { id: ID, md5: md5(), size: 9 },
        WorkerToClient::Leaves { id: ID, fingerprint: fingerprint(), leaves: vec![md5()], last: true },
        WorkerToClient::PutReady { id: ID, leaves: 4, started_over: true, based: false },
        WorkerToClient::Echoed { id: ID, payload: vec![] },
        WorkerToClient::JournalLeaves { id: ID, leaves: vec![md5()] },
        WorkerToClient::Again { id: ID, offset: 0 },
        WorkerToClient::PutDone { id: ID, replaced: true, usage: usage() },
        WorkerToClient::FilesPut { id: ID, results: put_results(), usage: Some(usage()) },
        WorkerToClient::FilesStated { id: ID, results: stat_results() },
        WorkerToClient::FilesGot {
            id: ID,
            files: vec![
                GetResult::File { entry: entry(), content: vec![1, 2], md5: md5() },
                GetResult::TooLarge,
                GetResult::Failed(ErrorCode::NotFound),
            ],
        },
        WorkerToClient::GetReady { id: ID, entry: entry(), fingerprint: fingerprint(), leaves: 1 },
        WorkerToClient::GetEnd { id: ID, digest: md5() },
        WorkerToClient::ExecStarted { id: ID },
        WorkerToClient::ExecOutput { id: ID, stream: OutputStream::Stderr, data: vec![7; 9] },
        WorkerToClient::ExecInputTaken { id: ID, bytes: 70_000 },
        WorkerToClient::ExecDone { id: ID, end: ExecEnd::Exited { code: 3 } },
        WorkerToClient::ExecDone { id: ID, end: ExecEnd::Signalled { signal: 9 } },
        WorkerToClient::ExecDone { id: ID, end: ExecEnd::OutOfTime { seconds: 60 } },
        WorkerToClient::ExecDone { id: ID, end: ExecEnd::OutOfCpu { seconds: 30 } },
        WorkerToClient::ExecDone { id: ID, end: ExecEnd::TooMuchOutput { bytes: 1 << 40 } },
    ]);
}

#[test]
fn worker_to_daemon_round_trips() {
    check!(WorkerToDaemon {
        Ready, Sign, Handshaken, SiteProof, LoginFirst, LoginFinal, LoginDevice, JoinFirst, JoinFinal,
        CredentialFirst, CredentialFinal, Devices, RevokeDevices,
        TransferStarted, Progress, TransferEnded, BatchEnded, ExecStart, ExecStop, Alive, Closing,
    } vec![
        WorkerToDaemon::Ready,
        WorkerToDaemon::Sign { scheme: 0x0403, message: vec![32; 130] },
        WorkerToDaemon::Handshaken { exporter: [5; 32] },
        WorkerToDaemon::SiteProof { proof: [6; 32] },
        WorkerToDaemon::LoginFirst { message: vec![1] },
        WorkerToDaemon::LoginFinal { message: vec![1] },
        WorkerToDaemon::LoginDevice { user: user(), key: DEVICE, signature: [7; 64] },
        WorkerToDaemon::JoinFirst { message: vec![1], account: account() },
        WorkerToDaemon::JoinFinal { message: vec![2] },
        WorkerToDaemon::CredentialFirst { message: vec![1], credential: device() },
        WorkerToDaemon::Devices,
        WorkerToDaemon::RevokeDevices { devices: vec![DEVICE.id()] },
        WorkerToDaemon::CredentialFinal { message: vec![1] },
        WorkerToDaemon::TransferStarted { id: ID, direction: Direction::Put, path: path(), size: Some(1) },
        WorkerToDaemon::TransferStarted { id: ID, direction: Direction::Put, path: path(), size: None },
        WorkerToDaemon::Progress { received: 1, sent: 2 },
        WorkerToDaemon::TransferEnded {
            id: ID, resumed_leaves: 1, moved_leaves: 2, error: Some(over_quota()),
        },
        WorkerToDaemon::BatchEnded { direction: Direction::Get, files: 1, bytes: 2, failed: 3 },
        WorkerToDaemon::ExecStart {
            id: ID, program: program(), arguments: arguments(), directory: path(),
        },
        WorkerToDaemon::ExecStop { id: ID, why: ExecStopped::Output },
        WorkerToDaemon::ExecStop { id: ID, why: ExecStopped::Cancelled },
        WorkerToDaemon::Alive,
        WorkerToDaemon::Closing { reason: CloseReason::Refused { error: ErrorCode::Protocol } },
    ]);
}

#[test]
fn daemon_to_worker_round_trips() {
    check!(DaemonToWorker {
        Setup, Client, Signed, SiteAccepted, LoginChallenge, LoginAccepted, JoinChallenge, Joined,
        CredentialChallenge, CredentialsChanged, CredentialsRefused, Devices, ExecStarted, ExecFailed,
        ExecEnded, Ping, Refuse, Shutdown,
    } vec![
        DaemonToWorker::Setup(WorkerSetup {
            sandbox: SandboxMode::Require,
            certificates: vec![ByteBuf::from(vec![0x30; 400])],
            signature_scheme: 0x0403,
            server: "berthd".into(),
            boot_id: [1; 16],
            idle_seconds: 600,
            stall_seconds: 60,
            login_seconds: 10,
            max_transfers: 8,
        }),
        DaemonToWorker::Client { session: SessionId(1), site_challenge: Some(ByteArray::new([2; 32])) },
        DaemonToWorker::Signed { signature: vec![1; 70] },
        DaemonToWorker::SiteAccepted,
        DaemonToWorker::LoginChallenge { message: vec![1] },
        DaemonToWorker::LoginAccepted { message: vec![1], user: user() },
        DaemonToWorker::CredentialChallenge { message: vec![1] },
        DaemonToWorker::CredentialsChanged,
        DaemonToWorker::CredentialsRefused { error: ErrorCode::PasswordRefused },
        DaemonToWorker::JoinChallenge { message: vec![1] },
        DaemonToWorker::Joined { message: vec![1] },
        DaemonToWorker::Devices { devices: devices() },
        DaemonToWorker::ExecStarted { id: ID, output_bytes: 1 << 26 },
        DaemonToWorker::ExecFailed { id: ID, error: ErrorCode::ProgramNotAllowed },
        DaemonToWorker::ExecFailed { id: ID, error: ErrorCode::TooManyPrograms { limit: 2 } },
        DaemonToWorker::ExecFailed { id: ID, error: ErrorCode::ExecUnavailable },
        DaemonToWorker::ExecEnded { id: ID, end: ExecEnd::Exited { code: 0 } },
        DaemonToWorker::Ping,
        DaemonToWorker::Refuse { error: ErrorCode::TooManySessions { limit: 16 } },
        DaemonToWorker::Shutdown { grace_seconds: 30 },
    ]);
}

#[test]
fn worker_to_filer_round_trips() {
    check!(WorkerToFiler {
        Stat, List, ListMore, ListStop, OpenRead, KeepMd5, CloseRead, OpenUpload, Extend, Commit, CloseUpload,
        PutFiles, ReadFiles, StatFiles, MakeDirectory, Remove, Rename, SetNote, Usage, Uploads, AbortUpload,
        DescriptorsTaken,
    } vec![
        WorkerToFiler::Stat { op: OP, path: path() },
        WorkerToFiler::List { op: OP, path: path(), notes: false },
        WorkerToFiler::ListMore { op: OP },
        WorkerToFiler::ListStop { op: OP },
        WorkerToFiler::OpenRead { op: OP, path: path() },
        WorkerToFiler::KeepMd5 { op: OP, handle: Handle(1), md5: md5() },
        WorkerToFiler::CloseRead { handle: Handle(1) },
        WorkerToFiler::OpenUpload {
            op: OP,
            upload: OpenUpload {
                path: path(), source: source().into(), token: token(), mode: 0o600, existing: Existing::Keep,
                note: NoteChange::Set(note()),
            },
        },
        WorkerToFiler::Extend { op: OP, handle: Handle(2), least: u64::MAX },
        WorkerToFiler::Commit { op: OP, handle: Handle(2), digest: md5() },
        WorkerToFiler::CloseUpload { op: OP, handle: Handle(2), keep: true },
        WorkerToFiler::PutFiles { op: OP, files: vec![small_put()] },
        WorkerToFiler::ReadFiles { op: OP, paths: vec![path()] },
        WorkerToFiler::StatFiles { op: OP, paths: vec![path()] },
        WorkerToFiler::MakeDirectory { op: OP, path: path(), parents: true },
        WorkerToFiler::Remove { op: OP, path: path(), recursive: true },
        WorkerToFiler::Rename { op: OP, from: path(), to: path(), overwrite: true },
        WorkerToFiler::SetNote { op: OP, path: path(), note: Some(note()) },
        WorkerToFiler::Usage { op: OP },
        WorkerToFiler::Uploads { op: OP },
        WorkerToFiler::AbortUpload { op: OP, upload: NAME },
        WorkerToFiler::DescriptorsTaken { messages: 3 },
    ]);
}

#[test]
fn filer_to_worker_round_trips() {
    check!(FilerToWorker {
        Failed, Done, Entry, Entries, Opened, UploadOpened, Extended, Committed, FilesPut, FilesRead, FilesStated, Usage,
        Uploads,
    } vec![
        FilerToWorker::Failed { op: OP, error: ErrorCode::DiskFull },
        FilerToWorker::Done { op: OP },
        FilerToWorker::Entry { op: OP, entry: entry() },
        FilerToWorker::Entries { op: OP, entries: vec![], last: true },
        FilerToWorker::Opened {
            op: OP, handle: Handle(1), entry: entry(), fingerprint: fingerprint(), md5: Some(md5()),
        },
        FilerToWorker::UploadOpened {
            op: OP, handle: Handle(1), resumable: true, resumed: true, started_over: false, limit: None,
        },
        FilerToWorker::Extended { op: OP, limit: u64::MAX },
        FilerToWorker::Committed { op: OP, replaced: true, usage: usage() },
        FilerToWorker::FilesPut { op: OP, results: put_results(), usage: None },
        FilerToWorker::FilesRead {
            op: OP,
            files: vec![
                ReadResult::File { entry: entry(), content: vec![3] },
                ReadResult::TooLarge,
                ReadResult::Failed(ErrorCode::NotServed),
            ],
        },
        FilerToWorker::FilesStated { op: OP, results: stat_results() },
        FilerToWorker::Usage { op: OP, usage: usage() },
        FilerToWorker::Uploads { op: OP, uploads: vec![], last: true },
    ]);
    let opened = |resumable| FilerToWorker::UploadOpened {
        op: OP,
        handle: Handle(1),
        resumable,
        resumed: false,
        started_over: false,
        limit: Some(1),
    };
    assert_eq!((opened(true).descriptors(), opened(false).descriptors()), (2, 1));
}

#[test]
fn filer_to_daemon_round_trips() {
    check!(FilerToDaemon {
        Ready, Joined, ReserveUpload, Reserve, ReserveFiles, Lease, Extend, Room, Claim, Drop, LetGo, Intent, Ticket,
        Reports, Released, Settle, Gone, Usage, Uploads, StagingSyncFailed, OutcomeUnknown, Alive,
        Findings, OwedNames, Listed, Walked, Done, Failed, SyncFailed,
    } vec![
        FilerToDaemon::Ready,
        FilerToDaemon::Joined,
        FilerToDaemon::ReserveUpload {
            op: OP, path: path(), source: source(), token: token(), growth: 1, entries: 1,
        },
        FilerToDaemon::Reserve { op: OP, growth: u64::MAX, entries: 0, stages: None },
        FilerToDaemon::Reserve { op: OP, growth: 0, entries: 1, stages: Some(u64::MAX) },
        FilerToDaemon::ReserveFiles {
            op: OP,
            files: vec![FileReservation { growth: u64::MAX, entries: 1, stages: 2 }],
        },
        FilerToDaemon::Lease { op: OP, entries: 1, replaces: 2 },
        FilerToDaemon::Extend { op: OP, name: NAME, least: u64::MAX },
        FilerToDaemon::Room { op: OP },
        FilerToDaemon::Claim { op: OP, name: NAME },
        FilerToDaemon::Drop { op: OP, name: NAME },
        FilerToDaemon::LetGo { name: NAME },
        FilerToDaemon::Intent {
            op: OP,
            items: vec![
                IntentItem::Stage { name: NAME, inode: 1, size: 2, replaces: Some(3) },
                IntentItem::Take,
                IntentItem::Over,
            ],
            settle: None,
        },
        FilerToDaemon::Intent {
            op: OP,
            items: vec![IntentItem::Take],
            settle: Some(Settling {
                op: OpId(2),
                items: vec![SettleItem { name: NAME, outcome: Outcome::NotHappened }],
            }),
        },
        FilerToDaemon::Ticket { op: OP },
        FilerToDaemon::Reports { reports: home_reports() },
        FilerToDaemon::Released { op: OP },
        FilerToDaemon::Settle {
            op: OP,
            items: vec![
                SettleItem { name: NAME, outcome: Outcome::Placed { replaced: None } },
                SettleItem { name: NAME, outcome: Outcome::Removed { bytes: 1, entries: 2 } },
                SettleItem { name: NAME, outcome: Outcome::NotHappened },
            ],
        },
        FilerToDaemon::Gone { names: vec![NAME; 3] },
        FilerToDaemon::Usage { op: OP },
        FilerToDaemon::Uploads { op: OP, after: Some(NAME) },
        FilerToDaemon::StagingSyncFailed,
        FilerToDaemon::OutcomeUnknown,
        FilerToDaemon::Alive,
        FilerToDaemon::OwedNames { op: OP, names: vec![OwedName(0), OwedName(u64::MAX)] },
        FilerToDaemon::Findings {
            op: OP,
            findings: vec![
                Finding::Missing,
                Finding::File { inode: 1, size: 2, links: 1 },
                Finding::Directory { inode: 1, bytes: 2, entries: 3 },
            ],
        },
        FilerToDaemon::Listed { op: OP, done: true },
        FilerToDaemon::Walked {
            op: OP,
            sum: HomeSum { bytes: 1, entries: 2, linked: 3, linked_names: vec!["a/b".into()] },
        },
        FilerToDaemon::Done { op: OP },
        FilerToDaemon::Failed { op: OP, reason: "no".into() },
        FilerToDaemon::SyncFailed { op: OP, reason: "no".into() },
    ]);
}

#[test]
fn daemon_to_filer_round_trips() {
    check!(DaemonToFiler {
        Join, Reserved, FilesReserved, Leased, Extended, Room, UploadReserved, Granted, Owing, Settled, Usage, Uploads,
        Done, Refused, Ping, Examine, Look, Remove, Keep, Sweep, ListOwed, TakeOwed, Empty, Reports, List,
        Sum,
    } vec![
        DaemonToFiler::Join(Role::Serve {
            user: user(),
            session: SessionId(1),
            sync: StagingSync::Directory,
            sandbox: SandboxMode::Require,
        }),
        DaemonToFiler::Join(Role::Recover {
            user: user(),
            sync: StagingSync::FileSystem,
            sandbox: SandboxMode::BestEffort,
        }),
        DaemonToFiler::Join(Role::Walk { user: user(), sandbox: SandboxMode::Require }),
        DaemonToFiler::Reserved { op: OP, name: NAME },
        DaemonToFiler::FilesReserved {
            op: OP,
            results: vec![
                ReservationResult::Reserved(NAME),
                ReservationResult::Refused(over_quota()),
            ],
        },
        DaemonToFiler::Leased { op: OP, name: NAME, bytes: 0 },
        DaemonToFiler::Extended { op: OP, bytes: u64::MAX },
        DaemonToFiler::Room { op: OP, bytes: u64::MAX },
        DaemonToFiler::UploadReserved { op: OP, name: NAME, resumed: true, superseded: Some(NAME) },
        DaemonToFiler::Granted { op: OP, names: vec![NAME], reporting: true },
        DaemonToFiler::Owing { op: OP, name: OwedName(5) },
        DaemonToFiler::Settled { op: OP, usage: usage() },
        DaemonToFiler::Usage { op: OP, usage: usage() },
        DaemonToFiler::Uploads {
            op: OP,
            uploads: vec![UploadRow {
                name: NAME, path: path(), source: source(), opened_s: 1, expires_s: 2, active: false,
            }],
            last: true,
        },
        DaemonToFiler::Done { op: OP },
        DaemonToFiler::Refused { op: OP, error: over_quota() },
        DaemonToFiler::Ping,
        DaemonToFiler::Examine { op: OP, names: vec![NAME] },
        DaemonToFiler::Look { op: OP, names: vec![NAME] },
        DaemonToFiler::Remove { op: OP, names: vec![NAME] },
        DaemonToFiler::Keep { names: vec![NAME] },
        DaemonToFiler::Sweep { op: OP },
        DaemonToFiler::ListOwed { op: OP },
        DaemonToFiler::TakeOwed { op: OP, pairs: vec![(OwedName(5), NAME)] },
        DaemonToFiler::Empty { op: OP },
        DaemonToFiler::Reports { op: OP, reports: home_reports() },
        DaemonToFiler::List { op: OP },
        DaemonToFiler::Sum { op: OP },
    ]);
}

#[test]
fn jail_messages_round_trip() {
    check!(DaemonToJail { Run, Stop } vec![
        DaemonToJail::Run(jail_protocol::Task {
            sandbox: SandboxMode::Require,
            name: program(),
            arguments: arguments(),
            directory: path(),
            home: ByteBuf::from(b"/srv/berth/users/alice/home".to_vec()),
            program: ByteBuf::from(b"/usr/bin/sha256sum".to_vec()),
            limits: jail_protocol::Limits { cpu_seconds: 30, memory_bytes: 1 << 28 },
        }),
        DaemonToJail::Stop,
    ]);
    assert_eq!(DaemonToJail::Stop.descriptors(), 0);
    let refusals = [
        jail_protocol::Refusal::NoDirectory,
        jail_protocol::Refusal::NotADirectory,
        jail_protocol::Refusal::NotServed,
        jail_protocol::Refusal::Jail { step: "x".into() },
        jail_protocol::Refusal::Program { errno: 8 },
    ];
    let mut samples: Vec<_> = refusals.into_iter().map(JailToDaemon::Refused).collect();
    samples.extend([
        JailToDaemon::Started,
        JailToDaemon::Ended { end: jail_protocol::End::Exited(1), cpu_milliseconds: 2 },
        JailToDaemon::Ended { end: jail_protocol::End::Signalled(9), cpu_milliseconds: 2 },
    ]);
    check!(JailToDaemon { Started, Refused, Ended } samples);
}

#[test]
fn the_largest_task_fits_a_packet() {
    let longest = vec![vec![b'x'; MAX_ARGUMENT_BYTES]];
    let mut many = vec![Vec::new(); MAX_ARGUMENTS - 1];
    many.push(vec![b'x'; MAX_ARGUMENT_BYTES]);
    for list in [longest, many] {
        let directory = RelPath::new(&vec!["d".repeat(255); 15].join("/")).unwrap();
        let start = WorkerToDaemon::ExecStart {
            id: ID,
            program: ProgramName::new(&"p".repeat(ProgramName::MAX_BYTES)).unwrap(),
            arguments: Arguments::new(list).unwrap(),
            directory,
        };
        let mut bytes = Vec::new();
        codec::encode_into(&start, &mut bytes).unwrap();
        assert!(bytes.len() + 8 * 1024 < berth_common::limits::MAX_PACKET, "{}", bytes.len());
    }
}

#[test]
fn admin_messages_round_trip() {
    let summary = || UserSummary {
        user: user(),
        locked: false,
        usage: usage(),
        sessions: 1,
        uploads: 2,
        created_s: 3,
    };
    check!(AdminToDaemon {
        UserAdd, UserList, UserShow, UserPassword, UserLock, UserUnlock, UserRemove, ExecList,
        ExecAllow, ExecDeny, DeviceList,
        DeviceRevoke, InvitationAdd, InvitationList, InvitationRevoke, QuotaSet, QuotaVerify,
        SessionList, SessionKill, LedgerBackup, Status,
    } vec![
        AdminToDaemon::UserAdd { user: user(), verifier: verifier(), limits: Limits::default() },
        AdminToDaemon::UserList { after: None },
        AdminToDaemon::UserShow { user: user() },
        AdminToDaemon::UserPassword { user: user(), verifier: verifier() },
        AdminToDaemon::ExecList { user: user() },
        AdminToDaemon::ExecAllow { user: user(), programs: vec![program()] },
        AdminToDaemon::ExecDeny { user: user(), programs: vec![] },
        AdminToDaemon::DeviceList { user: user() },
        AdminToDaemon::DeviceRevoke { user: user(), device: Some(DEVICE.id()) },
        AdminToDaemon::InvitationAdd {
            invitation: INVITATION,
            verifier: verifier(),
            user: Some(user()),
            limits: Limits { bytes: Some(1), entries: None },
            valid_s: u32::MAX,
        },
        AdminToDaemon::InvitationList { after: Some(INVITATION) },
        AdminToDaemon::InvitationRevoke { invitation: INVITATION },
        AdminToDaemon::UserLock { user: user() },
        AdminToDaemon::UserUnlock { user: user() },
        AdminToDaemon::UserRemove { user: user() },
        AdminToDaemon::QuotaSet { user: user(), bytes: Change::To(1), entries: Change::Keep },
        AdminToDaemon::QuotaVerify { user: user(), fix: true },
        AdminToDaemon::SessionList { after: Some(SessionId(1)) },
        AdminToDaemon::SessionKill { session: SessionId(1) },
        AdminToDaemon::LedgerBackup,
        AdminToDaemon::Status,
    ]);
    check!(DaemonToAdmin { Done, Refused, Users, User, Devices, Programs, Invitations, Verified, Sessions, LedgerBackup, Status } vec![
        DaemonToAdmin::Done,
        DaemonToAdmin::Refused(AdminError::NoSuchUser(user())),
        DaemonToAdmin::Users { users: vec![summary()], last: true },
        DaemonToAdmin::User(summary()),
        DaemonToAdmin::Devices(devices()),
        DaemonToAdmin::Programs(vec![program()]),
        DaemonToAdmin::Invitations {
            invitations: vec![InvitationSummary {
                invitation: INVITATION, user: None, limits: Limits::default(), created_s: 1, expires_s: 2,
                used_by: Some(user()),
            }],
            last: true,
        },
        DaemonToAdmin::Verified(Verification {
            user: user(), ledger_bytes: -1, ledger_entries: 2, disk_bytes: 3, disk_entries: 4,
            fixed: true, writable_again: false, linked: 1, linked_names: vec!["a/b".into()],
        }),
        DaemonToAdmin::Refused(AdminError::NotVerified { user: user(), reason: "a".into() }),
        DaemonToAdmin::Sessions {
            sessions: vec![SessionSummary {
                session: SessionId(1), user: Some(user()), peer: "[::1]:1".into(), age_s: 1, idle_s: 2,
                transfers: 3, received: 4, sent: 5, worker_pid: 6, filer_pid: None,
            }],
            last: false,
        },
        DaemonToAdmin::LedgerBackup { bytes: 1, md5: Md5::of(b"x"), version: 2, users: 3 },
        DaemonToAdmin::Status(Box::new(Status {
            version: "0".into(), pid: 1, uptime_s: 2, listen: vec!["[::]:1".into()], fingerprint: "ab".into(),
            users: 3, connections: 4, sessions: 5, spare_workers: 6, spare_filers: 7,
            incidents: Incidents {
                workers: IncidentCounts { crashed: 1, sandbox: 2, memory: 3, stalled: 4, broke: 5 },
                filers: IncidentCounts::default(),
                jails: IncidentCounts { stalled: 6, ..IncidentCounts::default() },
                latest: [
                    IncidentKind::Crashed, IncidentKind::Sandbox, IncidentKind::Memory,
                    IncidentKind::Stalled, IncidentKind::Broke,
                ]
                .map(|kind| Incident {
                    at_s: 1, program: "berth-worker".into(), pid: 2, session: Some(SessionId(3)),
                    user: Some(user()), peer: Some("[::1]:1".into()), kind, what: "a".into(),
                })
                .into(),
            },
            tickets: TicketTimes { granted: 9, p50_us: 10, p99_us: 11, most_us: 12 },
            ledger: LedgerWork { requests: 13, transactions: 14 },
            read_only_users: vec![user()],
        })),
    ]);
}

#[test]
fn the_first_message_keeps_its_bytes_for_ever() {
    let hello = ClientToWorker::Hello { versions: vec![1], client: "berth/0.1.0".into() };
    let frame = frame::encode_message(&hello).unwrap();
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = "00000027 00 81 a5 48656c6c6f 82 a8 76657273696f6e73 91 01 a6 636c69656e74 ab 62657274682f302e312e30";
    assert_eq!(hex, pinned.replace(' ', ""));
    let protocol = include_str!("../../docs/PROTOCOL.md");
    assert!(protocol.contains(pinned), "docs/PROTOCOL.md shows the same bytes");
}

#[test]
fn a_client_that_says_nothing_of_notes_keeps_them_and_asks_for_none() {
    /// As `ClientToWorker` without the fields for notes.
    #[derive(Serialize)]
    enum Silent {
        List {
            id: RequestId,
            path: RelPath,
        },
        Put {
            id: RequestId,
            path: RelPath,
            source: PutSource,
            token: UploadToken,
            mode: u16,
            existing: Existing,
        },
    }
    let decoded = |message: &Silent| {
        let mut bytes = Vec::new();
        codec::encode_into(message, &mut bytes).unwrap();
        codec::decode::<ClientToWorker>(&bytes).unwrap()
    };
    let list = ClientToWorker::List { id: ID, path: path(), notes: false };
    assert_eq!(decoded(&Silent::List { id: ID, path: path() }), list);
    let (source, existing) = (PutSource::Stream, Existing::Replace);
    let (id, path, token, mode) = (ID, path(), token(), 0o600);
    let put = Silent::Put { id, path: path.clone(), source, token, mode, existing };
    let (base, note) = (None, NoteChange::Keep);
    let expected = Put { id, path, source, token, mode, existing, base, note };
    assert_eq!(decoded(&put), ClientToWorker::Put(expected));
}

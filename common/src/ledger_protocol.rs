//! Filer and daemon: reserve, intent and ticket, released, settle; and the orders of a recovering filer.
//!
//! `docs/LEDGER.md` describes the protocol and why each step stands where it does. A filer has at most
//! [`crate::limits::MAX_FILER_REQUESTS`] questions outstanding, one of them for the ticket.

use serde::{Deserialize, Serialize};

use crate::channel::Message;
use crate::entry::{SourceFingerprint, Usage};
use crate::error_code::ErrorCode;
use crate::ids::{OpId, OwedName, SessionId, StagingName, UploadToken, UserName};
use crate::rel_path::RelPath;
use crate::sandbox_mode::SandboxMode;

/// What a filer tells and asks the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilerToDaemon {
    /// Set up as far as is possible without a directory; waits for its role.
    Ready,
    /// Demoted to its role's directories; serves from now on.
    Joined,
    /// Serve: opens or resumes a resumable upload. Answered by `UploadReserved`.
    ReserveUpload {
        /// The operation.
        op: OpId,
        /// Where the file is to appear.
        path: RelPath,
        /// What is sent.
        source: SourceFingerprint,
        /// Who may go on with it.
        token: UploadToken,
        /// Bytes by which the home would grow: the new size less that of the file that stands there, or 0.
        growth: u64,
        /// 1 if nothing stands at the path, else 0.
        entries: u64,
    },
    /// Serve: sets bytes and entries aside in the daemon's memory, for what need not outlive the session.
    /// Answered by `Reserved`.
    Reserve {
        /// The operation.
        op: OpId,
        /// Bytes by which the home would grow.
        growth: u64,
        /// Entries by which it would grow.
        entries: u64,
        /// Bytes that will be written to staging for it; `None` when what it is for stands there already, or
        /// `Room` is asked for it.
        stages: Option<u64>,
    },
    /// Serve: the same for several files at once, which the filer writes itself. Answered by `FilesReserved`.
    ReserveFiles {
        /// The operation.
        op: OpId,
        /// One for each file; at most [`crate::limits::CHANGES_PER_MESSAGE`].
        files: Vec<FileReservation>,
    },
    /// Serve: begins a reservation in the daemon's memory for an upload of unknown size. Answered by `Leased`.
    Lease {
        /// The operation.
        op: OpId,
        /// 1 if nothing stands at the path, else 0.
        entries: u64,
        /// Bytes of the file that it may replace: so many more may be written than are reserved.
        replaces: u64,
    },
    /// Serve: has such a reservation grow. Answered by `Extended`, or refused when `least` does not fit.
    Extend {
        /// The operation.
        op: OpId,
        /// Which.
        name: StagingName,
        /// Bytes that it must have at least. What it has already is never refused.
        least: u64,
    },
    /// Serve: how much may be written to the disk, for what no other question tells the size of: the rest of an
    /// upload that is resumed, a stream beside the file that it replaces, the copy that an append makes. It
    /// reserves nothing. Answered by `Room`.
    Room {
        /// The operation.
        op: OpId,
    },
    /// Serve: makes an upload of the user's own this session's, so that it can be aborted.
    /// Answered by `Done`.
    Claim {
        /// The operation.
        op: OpId,
        /// Which.
        name: StagingName,
    },
    /// Serve: the files of this reservation or upload are gone; drop it. Answered by `Done`.
    Drop {
        /// The operation.
        op: OpId,
        /// Which.
        name: StagingName,
    },
    /// Serve: this session works on the upload no longer; it stays. Not answered.
    LetGo {
        /// Which.
        name: StagingName,
    },
    /// Serve: writes intents and asks for the ticket. Answered by `Granted`; after it the filer has the
    /// ticket until `Released`. For one `Take` alone the answer may be `Owing`, with the ticket too.
    Intent {
        /// The operation.
        op: OpId,
        /// What is about to happen.
        items: Vec<IntentItem>,
        /// What an earlier batch has to settle, if it is ready at the same moment: a request of its own,
        /// carried out first and in the same transaction. Each is answered, and may be refused, by itself.
        settle: Option<Settling>,
    },
    /// Serve: asks for the ticket without an intent, for a change that moves no sum, or for what is left of
    /// a batch whose intents are written. Answered by `Granted` without names.
    Ticket {
        /// The operation.
        op: OpId,
    },
    /// Serve: what happened to the home, for the verification that is under way (`Granted` said so). What
    /// came in or was renamed is told before `Released`, what left before `Settle`. Not answered.
    Reports {
        /// In the order of events; at most [`crate::limits::REPORTS_PER_MESSAGE`], by their weight.
        reports: Vec<HomeReport>,
    },
    /// Serve: gives the ticket back. Not answered.
    Released {
        /// The operation that got it.
        op: OpId,
    },
    /// Serve: ends intents; what happened is durable on disk. Answered by `Settled`.
    Settle {
        /// The operation.
        op: OpId,
        /// One for each intent.
        items: Vec<SettleItem>,
    },
    /// Serve: nothing stands in staging any more at these names, which were settled or dropped.
    /// Not answered. The name of something that was placed and replaced nothing ends with its settle,
    /// unless it was a resumable upload's, beside which a journal may stand.
    Gone {
        /// Which.
        names: Vec<StagingName>,
    },
    /// Serve: answered by `Usage`.
    Usage {
        /// The operation.
        op: OpId,
    },
    /// Serve: answered by `Uploads`, in the order of their names, beginning after `after`.
    Uploads {
        /// The operation.
        op: OpId,
        /// The last name of the part before.
        after: Option<StagingName>,
    },
    /// Serve: an fsync of staging failed. Nothing more may be settled for this user. Not answered.
    StagingSyncFailed,
    /// Serve: a change was made that cannot be acknowledged, since it is not known to be durable: the session
    /// is to be ended, so that nobody is told that the change failed. Not answered.
    OutcomeUnknown,
    /// Serve: the answer to `Ping`. Recover: an order that takes long goes on.
    Alive,
    /// Recover: the answer to `Examine` or `Look`, in the same order.
    Findings {
        /// The operation.
        op: OpId,
        /// What stands at each name.
        findings: Vec<Finding>,
    },
    /// Recover: the answer to `ListOwed`.
    OwedNames {
        /// The operation.
        op: OpId,
        /// At most [`crate::limits::FINDINGS_PER_MESSAGE`]; none when there are none.
        names: Vec<OwedName>,
    },
    /// Walk: the answer to `List`.
    Listed {
        /// The operation.
        op: OpId,
        /// Whether nothing is left to list.
        done: bool,
    },
    /// Walk: the answer to `Sum`.
    Walked {
        /// The operation.
        op: OpId,
        /// What the home holds.
        sum: HomeSum,
    },
    /// Recover, walk: the order was carried out.
    Done {
        /// The operation.
        op: OpId,
    },
    /// Recover, walk: the order could not be carried out (an I/O error, an unreadable directory).
    Failed {
        /// The operation.
        op: OpId,
        /// For the daemon's log; at most 1 KiB.
        reason: String,
    },
    /// Recover: the answer to `Examine` when the `syncfs` failed, so that no other filer's next one proves
    /// anything.
    SyncFailed {
        /// The operation.
        op: OpId,
        /// For the daemon's log; at most 1 KiB.
        reason: String,
    },
}

/// What is set aside for a file among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReservation {
    /// Bytes by which the home would grow.
    pub growth: u64,
    /// Entries by which it would grow.
    pub entries: u64,
    /// Bytes that will be written to staging for it.
    pub stages: u64,
}

/// What came of a reservation among several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationResult {
    /// It is held under this name, which is the staged file's.
    Reserved(StagingName),
    /// It is refused; those beside it need not be.
    Refused(ErrorCode),
}

/// What is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntentItem {
    /// A staged file or directory is about to be placed in the home (put, overwrite, mkdir).
    Stage {
        /// Its name; reserved before.
        name: StagingName,
        /// Its inode number, by which replay tells it from what it displaced.
        inode: u64,
        /// Its size in bytes; 0 for a directory.
        size: u64,
        /// Size of the file that stands at the path now, if one does.
        replaces: Option<u64>,
    },
    /// Something in the home is about to be taken into staging (delete, rmdir, recursive delete).
    /// The daemon mints the name.
    Take,
    /// A file in the home is about to be replaced by a rename; it is pinned in staging by a link.
    /// The daemon mints the name.
    Over,
}

/// A settle that travels with the intent of the next batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// The operation. Answered by `Settled`, which does not wait for the ticket.
    pub op: OpId,
    /// One for each intent.
    pub items: Vec<SettleItem>,
}

/// How an intent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleItem {
    /// The intent.
    pub name: StagingName,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened under the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The staged file or directory is in the home.
    Placed {
        /// Bytes of the file that it displaced into staging, if it did.
        replaced: Option<u64>,
    },
    /// What was taken (or replaced by a rename) stands in staging, out of every reach.
    Removed {
        /// Bytes of regular files in it.
        bytes: u64,
        /// Entries in it, itself included.
        entries: u64,
    },
    /// Nothing was changed. A resumable upload is open again; any other row is dropped.
    NotHappened,
}

/// What a change did to a home, told while it is verified. For each inode number the last report counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HomeReport {
    /// It stands in the home: it came in, or was renamed there.
    Stands {
        /// Its inode number.
        inode: u64,
        /// Bytes, if it is a regular file, else 0.
        bytes: u64,
    },
    /// A directory was renamed in the home. What is below it is to be listed again.
    Moved {
        /// Its inode number.
        inode: u64,
        /// Where it stands.
        place: RelPath,
    },
    /// It is in the home no longer.
    Left {
        /// Its inode number.
        inode: u64,
    },
    /// A name of an object with several left the home: where its others are cannot be told.
    Unclear,
}

impl HomeReport {
    /// How much room it takes in a message, which has [`crate::limits::REPORTS_PER_MESSAGE`]. More for a
    /// long path.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Moved { place, .. } => 1 + place.as_str().len() / 64,
            Self::Stands { .. } | Self::Left { .. } | Self::Unclear => 1,
        }
    }
}

/// What a walk found in a home.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeSum {
    /// Bytes of regular files, once for each name.
    pub bytes: u64,
    /// Objects, the home itself not counted.
    pub entries: u64,
    /// Regular files with several names, which are not served.
    pub linked: u64,
    /// Where some of these stand: at most [`crate::limits::LINKED_NAMES`].
    pub linked_names: Vec<String>,
}

/// What stands at a staging name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Nothing.
    Missing,
    /// A file, or anything else that is not a directory.
    File {
        /// Its inode number.
        inode: u64,
        /// Bytes, if it is a regular file, else 0.
        size: u64,
        /// Number of its names.
        links: u64,
    },
    /// A directory.
    Directory {
        /// Its inode number.
        inode: u64,
        /// Bytes of the regular files below it.
        bytes: u64,
        /// Entries below it, itself included.
        entries: u64,
    },
}

/// What the daemon tells and answers a filer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DaemonToFiler {
    /// The first message: the filer's role, for good.
    Join(Role),
    /// The reservation is held under this name, which is the staged file's.
    Reserved {
        /// The operation.
        op: OpId,
        /// The name.
        name: StagingName,
    },
    /// What came of each reservation, in the order in which they were asked for.
    FilesReserved {
        /// The operation.
        op: OpId,
        /// One for each file.
        results: Vec<ReservationResult>,
    },
    /// The reservation for an upload of unknown size is held under this name, which is the staged file's.
    Leased {
        /// The operation.
        op: OpId,
        /// The name.
        name: StagingName,
        /// Bytes that it has: a lease, or what is left of the quota, which may be nothing.
        bytes: u64,
    },
    /// The reservation was looked at again.
    Extended {
        /// The operation.
        op: OpId,
        /// Bytes that it has now: a lease more, or what is left of the quota.
        bytes: u64,
    },
    /// What was free above the floor when it was asked for. Others who ask at the same time are told the same.
    Room {
        /// The operation.
        op: OpId,
        /// Bytes; none when less is free than the floor.
        bytes: u64,
    },
    /// The upload is this session's.
    UploadReserved {
        /// The operation.
        op: OpId,
        /// Its name.
        name: StagingName,
        /// Whether it was begun earlier. Its file may still be missing, after a power cut.
        resumed: bool,
        /// An earlier upload of the same client for the same path with another source: it is this session's
        /// now, to be removed and dropped.
        superseded: Option<StagingName>,
    },
    /// The intents are durable, and the ticket is yours.
    Granted {
        /// The operation.
        op: OpId,
        /// For each item its name, minted or as it was.
        names: Vec<StagingName>,
        /// Whether the home is being verified: what happens to it is to be told by `Reports`.
        reporting: bool,
    },
    /// The ledger cannot be written and nothing was; the ticket is yours all the same, to take out what the
    /// `Take` was about. There is nothing to settle: once it is durable it is acknowledged, and the daemon
    /// accounts for it when the ledger works again.
    Owing {
        /// The operation.
        op: OpId,
        /// Where it is taken to.
        name: OwedName,
    },
    /// The intents are settled, which is the acknowledgement.
    Settled {
        /// The operation.
        op: OpId,
        /// Limits and usage now.
        usage: Usage,
    },
    /// The answer to `Usage`.
    Usage {
        /// The operation.
        op: OpId,
        /// Limits and usage now.
        usage: Usage,
    },
    /// A part of the answer to `Uploads`.
    Uploads {
        /// The operation.
        op: OpId,
        /// Some uploads.
        uploads: Vec<UploadRow>,
        /// Whether there are none after these.
        last: bool,
    },
    /// It is done.
    Done {
        /// The operation.
        op: OpId,
    },
    /// The operation is refused; for an intent, nothing was written and no ticket was granted.
    Refused {
        /// The operation.
        op: OpId,
        /// Why.
        error: ErrorCode,
    },
    /// Serve: say that you still run. Answered by `Alive` before the next one comes.
    Ping,
    /// Recover: make staging durable, then report what stands at these names. Answered by `Findings`.
    Examine {
        /// The operation.
        op: OpId,
        /// At most [`crate::limits::FINDINGS_PER_MESSAGE`], so that the answer fits a packet.
        names: Vec<StagingName>,
    },
    /// Recover: report what stands at these names, durable or not. Answered by `Findings`.
    Look {
        /// The operation.
        op: OpId,
        /// At most [`crate::limits::FINDINGS_PER_MESSAGE`].
        names: Vec<StagingName>,
    },
    /// Recover: remove whatever stands at these names, and the journals beside them. Answered by `Done`.
    Remove {
        /// The operation.
        op: OpId,
        /// At most [`crate::limits::NAMES_PER_MESSAGE`].
        names: Vec<StagingName>,
    },
    /// Recover: these names, and the journals beside them, survive the sweep that follows. Not answered.
    Keep {
        /// At most [`crate::limits::NAMES_PER_MESSAGE`].
        names: Vec<StagingName>,
    },
    /// Recover: remove all that stands in staging under any other name, but for what is owed.
    /// Answered by `Done`.
    Sweep {
        /// The operation.
        op: OpId,
    },
    /// Recover: say what stands at owed names. Answered by `OwedNames`.
    ListOwed {
        /// The operation.
        op: OpId,
    },
    /// Recover: give what is owed the names of intents that are durable. Answered by `Done`.
    TakeOwed {
        /// The operation.
        op: OpId,
        /// At most [`crate::limits::FINDINGS_PER_MESSAGE`].
        pairs: Vec<(OwedName, StagingName)>,
    },
    /// Recover: the user is removed; remove all that stands in staging. Answered by `Done`.
    Empty {
        /// The operation.
        op: OpId,
    },
    /// Walk: sessions have reported this. Answered by `Done`.
    Reports {
        /// The operation.
        op: OpId,
        /// In the order of events; as many as sessions send in a message.
        reports: Vec<HomeReport>,
    },
    /// Walk: list some directories further. Answered by `Listed`.
    List {
        /// The operation.
        op: OpId,
    },
    /// Walk: nothing is left to list and nothing to report; say what the home holds. Answered by `Walked`.
    Sum {
        /// The operation.
        op: OpId,
    },
}

/// A filer's role, with the directories that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Serves a session. Carries the home, staging and the channel to the worker, in this order.
    Serve {
        /// Whose.
        user: UserName,
        /// The session, for log lines.
        session: SessionId,
        /// How staging is made durable.
        sync: StagingSync,
        /// How much of the sandbox has to be there.
        sandbox: SandboxMode,
    },
    /// Recovers. Carries staging alone.
    Recover {
        /// Whose.
        user: UserName,
        /// How staging is made durable.
        sync: StagingSync,
        /// How much of the sandbox has to be there.
        sandbox: SandboxMode,
    },
    /// Walks the home for a verification, reading only. Carries the home alone.
    Walk {
        /// Whose.
        user: UserName,
        /// How much of the sandbox has to be there.
        sandbox: SandboxMode,
    },
}

/// What it takes to make the renames durable that touch staging. The daemon decides it by the file
/// system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagingSync {
    /// An fsync of staging: there is one ordered journal.
    Directory,
    /// A sync of the whole file system.
    FileSystem,
}

/// An open upload, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// Its name in staging.
    pub name: StagingName,
    /// Where it is to appear.
    pub path: RelPath,
    /// What is sent.
    pub source: SourceFingerprint,
    /// Seconds since the epoch.
    pub opened_s: i64,
    /// Seconds since the epoch.
    pub expires_s: i64,
    /// Whether a session works on it.
    pub active: bool,
}

impl Message for FilerToDaemon {
    const MAX_DESCRIPTORS: usize = 0;
}

impl Message for DaemonToFiler {
    const MAX_DESCRIPTORS: usize = 3;

    fn descriptors(&self) -> usize {
        match self {
            Self::Join(Role::Serve { .. }) => 3,
            Self::Join(Role::Recover { .. } | Role::Walk { .. }) => 1,
            _ => 0,
        }
    }
}

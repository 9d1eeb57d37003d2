//! Worker and filer: what a session may do with the user's home, in domain words.
//!
//! Each question carries an operation's number that the worker has not in use; answers carry it back, in any
//! order. The filer hands over *opened files*, so that file data crosses no channel. That files are files,
//! where staging is and what a ticket is, is the filer's own business.

use serde::{Deserialize, Serialize};

use crate::batch::{PutResult, ReadResult, SmallPut, StatResult};
use crate::channel::Message;
use crate::digest::Md5;
use crate::entry::{Entry, Existing, HomeFingerprint, PutSource, UploadSummary, Usage};
use crate::error_code::ErrorCode;
use crate::ids::{Handle, OpId, StagingName, UploadToken};
use crate::note::{Note, NoteChange};
use crate::rel_path::RelPath;

/// Messages with descriptors that a filer may have sent and the worker not yet taken.
/// Descriptors in flight count against the whole uid, so their number is kept small.
pub const MAX_UNTAKEN: usize = 8;

/// Operations that a worker may have outstanding at its filer, listings included. One more ends both.
pub const MAX_OPERATIONS: usize = 288;

/// Files that a worker may have open at once, uploads and files being read together. One more ends both.
pub const MAX_HANDLES: usize = 1024;

/// The exit code of a filer whose worker broke this protocol; its last words say how.
pub const WORKER_BROKE_EXIT: u8 = 3;

/// What a worker asks of its filer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToFiler {
    /// Answered by `Entry`.
    Stat {
        /// The operation.
        op: OpId,
        /// Of what.
        path: RelPath,
    },
    /// Answered by `Entries`, one chunk; the next one comes when `ListMore` asks for it.
    List {
        /// The operation.
        op: OpId,
        /// The directory.
        path: RelPath,
        /// Whether the files' notes are wanted, each of which has to be read.
        notes: bool,
    },
    /// Credit for one more chunk of a listing, or part of `Uploads`, whose last one has not come yet.
    ListMore {
        /// The listing.
        op: OpId,
    },
    /// Ends a listing, or `Uploads`, early. Not answered.
    ListStop {
        /// The listing.
        op: OpId,
    },
    /// Opens a file for reading; answered by `Opened`.
    OpenRead {
        /// The operation.
        op: OpId,
        /// The file.
        path: RelPath,
    },
    /// Stores the plain MD5 of a file that is open for reading, if it has not changed since it was opened.
    /// Answered by `Done`.
    KeepMd5 {
        /// The operation.
        op: OpId,
        /// The file.
        handle: Handle,
        /// The MD5.
        md5: Md5,
    },
    /// The worker has closed the file. Not answered.
    CloseRead {
        /// The file.
        handle: Handle,
    },
    /// Opens or resumes an upload; answered by `UploadOpened`.
    OpenUpload {
        /// The operation.
        op: OpId,
        /// What and where.
        upload: OpenUpload,
    },
    /// Asks for more room for an upload of unknown size; one question at a time for each, answered before the
    /// upload is committed or closed. Answered by `Extended`, or refused when `least` is not to be had.
    Extend {
        /// The operation.
        op: OpId,
        /// The upload.
        handle: Handle,
        /// Bytes that it must be able to have at least. What it has room for already is never refused.
        least: u64,
    },
    /// Puts an upload into the home, durably; the worker has closed its files. Answered by `Committed`.
    /// After a failure the handle is gone; a resumable upload stays, unless its data cannot be trusted.
    Commit {
        /// The operation.
        op: OpId,
        /// The upload.
        handle: Handle,
        /// The tree digest that both sides agreed on.
        digest: Md5,
    },
    /// The worker has closed its files and will not commit. Answered by `Done`, when an upload that does not
    /// stay is gone, its row included: a session that ends before that may leave it to be resumed.
    CloseUpload {
        /// The operation.
        op: OpId,
        /// The upload.
        handle: Handle,
        /// Whether a resumable upload stays for a later session; a small one never does.
        keep: bool,
    },
    /// Puts small files, which the worker has verified, each whole or not at all; answered by `FilesPut`. At most
    /// [`crate::batch::AT_ONCE`] of these at once: one more ends both.
    PutFiles {
        /// The operation.
        op: OpId,
        /// The files; within the bounds of [`crate::batch::is_put`].
        files: Vec<SmallPut>,
    },
    /// Reads small files; answered by `FilesRead`.
    ReadFiles {
        /// The operation.
        op: OpId,
        /// The files; within the bounds of [`crate::batch::is_get`].
        paths: Vec<RelPath>,
    },
    /// Asks what stands at several paths; answered by `FilesStated`.
    StatFiles {
        /// The operation.
        op: OpId,
        /// The paths; within the bounds of [`crate::batch::is_stat`].
        paths: Vec<RelPath>,
    },
    /// Answered by `Done`.
    MakeDirectory {
        /// The operation.
        op: OpId,
        /// Its path.
        path: RelPath,
        /// Makes missing parents, and succeeds when the directory is there.
        parents: bool,
    },
    /// Answered by `Done`.
    Remove {
        /// The operation.
        op: OpId,
        /// What.
        path: RelPath,
        /// Whether a directory may have content.
        recursive: bool,
    },
    /// Answered by `Done`.
    Rename {
        /// The operation.
        op: OpId,
        /// From where.
        from: RelPath,
        /// To where.
        to: RelPath,
        /// Whether a file may be replaced by a file.
        overwrite: bool,
    },
    /// Keeps a note with a file, or takes the one that is kept away. Answered by `Done`.
    SetNote {
        /// The operation.
        op: OpId,
        /// The file.
        path: RelPath,
        /// The note; `None` for none.
        note: Option<Note>,
    },
    /// Answered by `Usage`.
    Usage {
        /// The operation.
        op: OpId,
    },
    /// Answered by `Uploads`, one part; the next one comes when `ListMore` asks for it.
    Uploads {
        /// The operation.
        op: OpId,
    },
    /// Answered by `Done`.
    AbortUpload {
        /// The operation.
        op: OpId,
        /// Which.
        upload: StagingName,
    },
    /// So many messages with descriptors were taken from the channel. Not answered.
    DescriptorsTaken {
        /// How many since the last of these.
        messages: u32,
    },
}

/// What a worker asks for with an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// Where the file is to appear.
    pub path: RelPath,
    /// What is sent, with its size where that is known.
    pub source: PutSource,
    /// Lets the client go on with the upload of a file later.
    pub token: UploadToken,
    /// Permission bits to keep; of a file that is added to, its own are kept.
    pub mode: u16,
    /// What happens to a file that stands there.
    pub existing: Existing,
    /// What becomes of its note.
    pub note: NoteChange,
}

/// What a filer answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilerToWorker {
    /// The operation failed; nothing was changed.
    Failed {
        /// Which.
        op: OpId,
        /// Why.
        error: ErrorCode,
    },
    /// The operation was carried out, durably.
    Done {
        /// Which.
        op: OpId,
    },
    /// The answer to `Stat`.
    Entry {
        /// The operation.
        op: OpId,
        /// The entry.
        entry: Entry,
    },
    /// A chunk of a listing.
    Entries {
        /// The operation.
        op: OpId,
        /// Some entries; may be empty.
        entries: Vec<Entry>,
        /// Whether this is the last chunk.
        last: bool,
    },
    /// A file is open for reading. Carries its descriptor.
    Opened {
        /// The operation.
        op: OpId,
        /// What to call it.
        handle: Handle,
        /// The file.
        entry: Entry,
        /// Identifies its content.
        fingerprint: HomeFingerprint,
        /// Its plain MD5, if a valid one is stored.
        md5: Option<Md5>,
    },
    /// An upload is open. Carries the descriptor of its data, and of its journal if it is resumable.
    UploadOpened {
        /// The operation.
        op: OpId,
        /// What to call it.
        handle: Handle,
        /// Whether it has a journal.
        resumable: bool,
        /// Whether it was begun earlier, so that its journal has to be read.
        resumed: bool,
        /// Whether an earlier upload was dropped because its source had changed.
        started_over: bool,
        /// Bytes that may be written to one of unknown size, until more are granted.
        limit: Option<u64>,
    },
    /// The answer to `Extend`.
    Extended {
        /// The operation.
        op: OpId,
        /// Bytes that may be written now.
        limit: u64,
    },
    /// An upload is in the home.
    Committed {
        /// The operation.
        op: OpId,
        /// Whether it replaced a file.
        replaced: bool,
        /// Limits and usage now.
        usage: Usage,
    },
    /// The answer to `PutFiles`.
    FilesPut {
        /// The operation.
        op: OpId,
        /// What came of each file, in the order in which they were sent.
        results: Vec<PutResult>,
        /// Limits and usage now; `None` when nothing was put.
        usage: Option<Usage>,
    },
    /// The answer to `ReadFiles`; within the bounds of a batch.
    FilesRead {
        /// The operation.
        op: OpId,
        /// What came of each file, in the order in which they were asked for.
        files: Vec<ReadResult>,
    },
    /// The answer to `StatFiles`.
    FilesStated {
        /// The operation.
        op: OpId,
        /// What stands at each path, in the order in which they were asked about.
        results: Vec<StatResult>,
    },
    /// The answer to `Usage`.
    Usage {
        /// The operation.
        op: OpId,
        /// The usage.
        usage: Usage,
    },
    /// A part of the answer to `Uploads`.
    Uploads {
        /// The operation.
        op: OpId,
        /// Some uploads.
        uploads: Vec<UploadSummary>,
        /// Whether this is the last part.
        last: bool,
    },
}

impl Message for WorkerToFiler {
    const MAX_DESCRIPTORS: usize = 0;
}

impl Message for FilerToWorker {
    const MAX_DESCRIPTORS: usize = 2;

    fn descriptors(&self) -> usize {
        match self {
            Self::Opened { .. } | Self::UploadOpened { resumable: false, .. } => 1,
            Self::UploadOpened { resumable: true, .. } => 2,
            _ => 0,
        }
    }
}

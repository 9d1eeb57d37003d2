//! What the session and the transfers ask of the filesystem, in domain words.
//!
//! These are actor messages, not the wire's: `filesystem` alone knows the filer's protocol.

use std::os::fd::OwnedFd;

use actix::{Message, Recipient};
use berth_common::batch::{PutResult, ReadResult, SmallPut, StatResult};
use berth_common::digest::Md5;
use berth_common::entry::{Entry, Existing, HomeFingerprint, PutSource, UploadSummary, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{Handle, OpId, StagingName, UploadToken};
use berth_common::note::{Note, NoteChange};
use berth_common::rel_path::RelPath;
use tokio::sync::mpsc;

/// An answer, or why there is none.
pub(crate) type Answer<T> = Result<T, ErrorCode>;

macro_rules! message {
    ($name:ty => $result:ty) => {
        impl Message for $name {
            type Result = $result;
        }
    };
}

/// Asks for one entry.
#[derive(Debug)]
pub(crate) struct Stat(pub(crate) RelPath);
message!(Stat => Answer<Entry>);

/// Asks for limits and usage.
#[derive(Debug)]
pub(crate) struct GetUsage;
message!(GetUsage => Answer<Usage>);

/// A part of an answer that comes in several.
#[derive(Debug)]
pub(crate) struct Part<T> {
    /// Some items; may be none.
    pub(crate) items: Vec<T>,
    /// Whether this is the last part.
    pub(crate) last: bool,
}

/// An answer that comes in several parts.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    /// Which listing; names it in [`ListMore`].
    pub(crate) op: OpId,
    /// The parts. It ends without a last one when the session does.
    pub(crate) parts: mpsc::UnboundedReceiver<Answer<Part<T>>>,
}

/// Asks for a directory's entries. One part comes by itself, each other one for a [`ListMore`].
#[derive(Debug)]
pub(crate) struct List {
    /// Which.
    pub(crate) path: RelPath,
    /// Whether the files' notes are wanted.
    pub(crate) notes: bool,
}
message!(List => Parts<Entry>);

/// Asks for the next part of a listing or of the open uploads.
#[derive(Debug)]
pub(crate) struct ListMore(pub(crate) OpId);
message!(ListMore => ());

/// Asks for the open uploads. One part comes by itself, each other one for a [`ListMore`].
#[derive(Debug)]
pub(crate) struct ListUploads;
message!(ListUploads => Parts<UploadSummary>);

/// Puts small files, each whole or not at all.
#[derive(Debug)]
pub(crate) struct PutFiles(pub(crate) Vec<SmallPut>);
message!(PutFiles => Answer<FilesPut>);

/// What came of them.
#[derive(Debug)]
pub(crate) struct FilesPut {
    /// Of each, in the order in which they were sent.
    pub(crate) results: Vec<PutResult>,
    /// Limits and usage now; `None` when nothing was put.
    pub(crate) usage: Option<Usage>,
}

/// Reads small files whole.
#[derive(Debug)]
pub(crate) struct ReadFiles(pub(crate) Vec<RelPath>);
message!(ReadFiles => Answer<Vec<ReadResult>>);

/// Asks what stands at several paths.
#[derive(Debug)]
pub(crate) struct StatFiles(pub(crate) Vec<RelPath>);
message!(StatFiles => Answer<Vec<StatResult>>);

/// A change of names or notes.
#[derive(Debug)]
pub(crate) enum Change {
    /// Makes a directory.
    MakeDirectory {
        /// Its path.
        path: RelPath,
        /// With its parents.
        parents: bool,
    },
    /// Removes a file or directory.
    Remove {
        /// Which.
        path: RelPath,
        /// With its content.
        recursive: bool,
    },
    /// Renames a file or directory.
    Rename {
        /// From where.
        from: RelPath,
        /// To where.
        to: RelPath,
        /// Whether a file may be replaced.
        overwrite: bool,
    },
    /// Keeps a note with a file, or takes the one that is kept away.
    SetNote {
        /// Which file.
        path: RelPath,
        /// The note.
        note: Option<Note>,
    },
    /// Ends an open upload.
    AbortUpload(StagingName),
}
message!(Change => Answer<()>);

/// Opens a file for reading.
#[derive(Debug)]
pub(crate) struct OpenRead(pub(crate) RelPath);
message!(OpenRead => Answer<OpenFile>);

/// A file that is open for reading, until [`CloseRead`].
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// What the filer calls it.
    pub(crate) handle: Handle,
    /// The file.
    pub(crate) file: OwnedFd,
    /// Its name, size and times.
    pub(crate) entry: Entry,
    /// Identifies its content.
    pub(crate) fingerprint: HomeFingerprint,
    /// Its plain MD5, if a valid one is stored.
    pub(crate) md5: Option<Md5>,
}

/// Stores the plain MD5 of a file that is open for reading.
#[derive(Debug)]
pub(crate) struct KeepMd5 {
    /// The file.
    pub(crate) handle: Handle,
    /// The MD5.
    pub(crate) md5: Md5,
}
message!(KeepMd5 => Answer<()>);

/// The file was closed.
#[derive(Debug)]
pub(crate) struct CloseRead(pub(crate) Handle);
message!(CloseRead => ());

/// Opens or resumes an upload.
#[derive(Debug)]
pub(crate) struct OpenUpload {
    /// Where the file is to appear.
    pub(crate) path: RelPath,
    /// What is sent.
    pub(crate) source: PutSource,
    /// Who may go on with it.
    pub(crate) token: UploadToken,
    /// Permission bits to keep.
    pub(crate) mode: u16,
    /// What happens to a file that stands there.
    pub(crate) existing: Existing,
    /// What becomes of its note.
    pub(crate) note: NoteChange,
}
message!(OpenUpload => Answer<OpenedUpload>);

/// An open upload, until [`Commit`] or [`CloseUpload`].
#[derive(Debug)]
pub(crate) struct OpenedUpload {
    /// What the filer calls it.
    pub(crate) handle: Handle,
    /// Its data.
    pub(crate) data: OwnedFd,
    /// Its journal, if it is resumable.
    pub(crate) journal: Option<OwnedFd>,
    /// Whether it was begun earlier.
    pub(crate) resumed: bool,
    /// Whether an earlier one was dropped because its source had changed.
    pub(crate) started_over: bool,
    /// Bytes that may be written to one of unknown size, until [`Extend`] gives more.
    pub(crate) limit: Option<u64>,
}

/// Asks for room for so many bytes in all in an upload of unknown size; answered by how many there may be. The
/// answer comes before [`Commit`] or [`CloseUpload`] may be said.
#[derive(Debug)]
pub(crate) struct Extend {
    /// The upload.
    pub(crate) handle: Handle,
    /// Bytes that there must be room for.
    pub(crate) least: u64,
}
message!(Extend => Answer<u64>);

/// Puts an upload, whose files were closed, into the home.
#[derive(Debug)]
pub(crate) struct Commit {
    /// The upload.
    pub(crate) handle: Handle,
    /// Its tree digest.
    pub(crate) digest: Md5,
}
message!(Commit => Answer<Committed>);

/// An upload is in the home.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Whether it replaced a file.
    pub(crate) replaced: bool,
    /// Limits and usage now.
    pub(crate) usage: Usage,
}

/// The upload's files were closed, and it will not be committed. Answered when one that does not stay is
/// gone.
#[derive(Debug)]
pub(crate) struct CloseUpload {
    /// The upload.
    pub(crate) handle: Handle,
    /// Whether it stays for a later session, if it is resumable.
    pub(crate) keep: bool,
}
message!(CloseUpload => Answer<()>);

/// The filer is gone, or broken: the session cannot go on.
#[derive(Debug)]
pub(crate) struct FilerLost;
message!(FilerLost => ());

/// All that may be asked of the filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Filesystem {
    pub(crate) stat: Recipient<Stat>,
    pub(crate) usage: Recipient<GetUsage>,
    pub(crate) list: Recipient<List>,
    pub(crate) list_more: Recipient<ListMore>,
    pub(crate) list_uploads: Recipient<ListUploads>,
    pub(crate) change: Recipient<Change>,
    pub(crate) reading: Reading,
    pub(crate) uploading: Uploading,
    pub(crate) small: SmallFiles,
}

/// What a batch asks.
#[derive(Clone, Debug)]
pub(crate) struct SmallFiles {
    pub(crate) put: Recipient<PutFiles>,
    pub(crate) read: Recipient<ReadFiles>,
    pub(crate) stat: Recipient<StatFiles>,
}

/// What a download, or an MD5, asks.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) open: Recipient<OpenRead>,
    pub(crate) keep_md5: Recipient<KeepMd5>,
    pub(crate) close: Recipient<CloseRead>,
}

/// What an upload asks.
#[derive(Clone, Debug)]
pub(crate) struct Uploading {
    pub(crate) open: Recipient<OpenUpload>,
    pub(crate) extend: Recipient<Extend>,
    pub(crate) commit: Recipient<Commit>,
    pub(crate) close: Recipient<CloseUpload>,
}

//! The session's transfers, as programs ask for them: one file, from a path or a stream and to a path or a stream.

use std::path::{Path, PathBuf};

use berth_common::entry::Existing;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::progress::{Event, Reporter};
use crate::session::Session;
use crate::transfer::{
    GetJob, GetReport, PutJob, PutReport, TransferError, get, get_async, put, put_async,
};

/// What a file from a stream may be done with unless it is said: written by its owner, read by all (0644).
const MODE: u16 = 0o644;

/// How a file is put. By default it replaces a file that stands there, of which it sends only what differs, and keeps
/// the note, and tells nobody.
#[derive(Clone, Debug)]
pub struct PutOptions {
    existing: Existing,
    whole: bool,
    note: NoteChange,
    mode: u16,
    progress: Reporter,
}

impl Default for PutOptions {
    fn default() -> Self {
        let (existing, note, progress) = (Existing::Replace, NoteChange::Keep, Reporter::nobody());
        Self { existing, whole: false, note, mode: MODE, progress }
    }
}

impl PutOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What happens to a file that stands there.
    #[must_use]
    pub fn existing(self, existing: Existing) -> Self {
        Self { existing, ..self }
    }

    /// Sends all of it, also what the file that stands there has already.
    #[must_use]
    pub fn whole(self, whole: bool) -> Self {
        Self { whole, ..self }
    }

    /// What becomes of the file's note.
    #[must_use]
    pub fn note(self, note: NoteChange) -> Self {
        Self { note, ..self }
    }

    /// The permission bits that a file from a stream has, by default 0644; those of a local file go with it. Only the
    /// lowest nine are kept.
    #[must_use]
    pub fn mode(self, mode: u16) -> Self {
        Self { mode: mode & 0o777, ..self }
    }

    /// Calls `tell` for each event. It is called by the transfer, which waits until it returns.
    #[must_use]
    pub fn progress(self, tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { progress: Reporter::new(tell), ..self }
    }
}

/// How a file is got. By default nothing is replaced, and nobody is told.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    replace: bool,
    progress: Reporter,
}

impl GetOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a local file with other content may be replaced.
    #[must_use]
    pub fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }

    /// Calls `tell` for each event. It is called by the transfer or by its helper thread, which waits until it
    /// returns.
    #[must_use]
    pub fn progress(self, tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { progress: Reporter::new(tell), ..self }
    }
}

impl Session {
    /// Puts a local file, whose parent in the home exists. On success it is in the home, whole and durable. What an
    /// earlier put of the same file has left is gone on with.
    ///
    /// # Errors
    /// - [`TransferError::Server`] when the server refuses it, for instance with `QuotaExceeded` and its numbers, with
    ///   `NotFound` when the parent does not exist, or with `UploadBusy` while another session puts it;
    /// - [`TransferError::Connection`] when the session is over; another one goes on with the upload;
    /// - [`TransferError::AppendUnknown`] when it was to be appended and nothing says whether it was;
    /// - [`TransferError::SourceIsADirectory`], [`TransferError::SourceNotAFile`], [`TransferError::SourceChanged`],
    ///   [`TransferError::SourceVanished`] and [`TransferError::Local`] for what is wrong with the local file;
    /// - [`TransferError::Plan`] when a block differs from its digest, also when it was sent again.
    ///
    /// # Cancel safety
    /// Dropping it tells the server, which keeps what it has verified: a later put goes on there. Whoever puts the same
    /// file on this session again waits for [`Session::settled`] first, since the server takes a moment. Dropped when
    /// all bytes were sent, the file may be stored all the same.
    pub async fn put(
        &self,
        local: impl AsRef<Path>,
        remote: &RelPath,
        options: &PutOptions,
    ) -> Result<PutReport, TransferError> {
        let job = self.put_job(local.as_ref().to_owned(), remote, options);
        put(self, &job, &options.progress).await
    }

    /// Puts what `input` has, to its end. How much that is need not be known: room is set aside as it comes. Nothing
    /// of it can be gone on with later.
    ///
    /// # Errors
    /// - [`TransferError::Input`] when it cannot be read;
    /// - [`TransferError::StreamLost`] when the session was over before the end, and nothing is stored;
    /// - [`TransferError::StreamUnknown`] when it was over after the end was sent, and nothing says whether it was
    ///   stored; [`TransferError::AppendUnknown`] where it was to be appended;
    /// - [`TransferError::StreamNotKept`] when bytes were damaged on their way that are kept no longer;
    /// - [`TransferError::Server`] as with [`Session::put`].
    ///
    /// # Cancel safety
    /// Dropping it tells the server, which keeps nothing. What was read is gone. Dropped when all bytes were sent, the
    /// file may be stored all the same.
    pub async fn put_from(
        &self,
        input: impl AsyncRead + Unpin + Send + 'static,
        remote: &RelPath,
        options: &PutOptions,
    ) -> Result<PutReport, TransferError> {
        let job = self.put_job(PathBuf::new(), remote, options);
        put_async(self, &job, input, &options.progress).await
    }

    /// Gets a file to a local path, which is the file's own and not that of a directory. On success it is there, whole,
    /// verified and on disk, with its time and its mode. Until then it grows in `NAME.part` beside it, and what an
    /// earlier get has left there is gone on with. A file with the same content is all that was wanted.
    ///
    /// # Errors
    /// - [`TransferError::Exists`] when a file with other content is there and may not be replaced;
    /// - [`TransferError::TargetIsADirectory`], [`TransferError::TargetNotAFile`], [`TransferError::ForeignPart`],
    ///   [`TransferError::PartGone`], [`TransferError::NoRoom`], [`TransferError::Local`] and
    ///   [`TransferError::Journal`] for what is wrong here;
    /// - [`TransferError::Busy`] while another process, or a get that was dropped a moment ago, receives it;
    /// - [`TransferError::Server`] when the server refuses it, for instance with `NotFound` or `IsADirectory`;
    /// - [`TransferError::Connection`] when the session is over; another one goes on with the rest;
    /// - [`TransferError::Plan`] when a block differs from its digest, also when it was sent again, and
    ///   [`TransferError::WholeDiffers`] when all are right and the whole is not.
    ///
    /// # Cancel safety
    /// Dropping it tells the server, and keeps what was verified: a later get goes on there. Whoever gets the same file
    /// again waits for [`Session::settled`] first, since a thread may still write what had come. Dropped when all bytes
    /// had come, the file may come to its place all the same.
    pub async fn get(
        &self,
        remote: &RelPath,
        local: impl AsRef<Path>,
        options: &GetOptions,
    ) -> Result<GetReport, TransferError> {
        let local = local.as_ref().to_owned();
        let job = GetJob { remote: remote.clone(), local, force: options.replace };
        get(self, &job, &options.progress).await
    }

    /// Gets a file and writes it to `output`, each block when it is verified, and flushes that at the end. An event
    /// tells what was verified, of which the last two mebibytes may not be written yet.
    ///
    /// All of a session shares one line, on which nothing else comes while the output takes nothing. So the output must
    /// not wait for another transfer of the same session; copying from one file of a home to another takes two sessions.
    ///
    /// # Errors
    /// - [`TransferError::Output`] when it cannot be written;
    /// - [`TransferError::OutputCut`] when the file does not come to its end, or is not right: what was written is its
    ///   beginning, or all of it where the whole differs from its digest;
    /// - [`TransferError::Server`] as with [`Session::get`], and [`TransferError::Connection`], before anything was
    ///   written.
    ///
    /// # Cancel safety
    /// Dropping it tells the server. The output has the file's beginning then, and nothing is written to it any more.
    pub async fn get_to(
        &self,
        remote: &RelPath,
        output: impl AsyncWrite + Unpin,
        options: &GetOptions,
    ) -> Result<GetReport, TransferError> {
        get_async(self, remote, output, &options.progress).await
    }

    fn put_job(&self, local: PathBuf, remote: &RelPath, options: &PutOptions) -> PutJob {
        PutJob {
            local,
            remote: remote.clone(),
            token: self.upload_token(remote),
            existing: options.existing,
            whole: options.whole,
            note: options.note.clone(),
            mode: options.mode,
        }
    }
}

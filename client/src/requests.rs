//! The requests of a session other than transfers, one method each. Those about passwords and devices are in
//! `credentials`.

use berth_common::batch::StatResult;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{Entry, UploadSummary, Usage};
use berth_common::ids::{RequestId, StagingName};
use berth_common::note::Note;
use berth_common::rel_path::RelPath;

use crate::connection::ConnectionError;
use crate::session::{Exchange, RequestError, Session};

pub(crate) fn unexpected() -> RequestError {
    ConnectionError::unexpected("answer").into()
}

/// More unfinished uploads than a server lets a user have.
const MOST_UPLOADS: usize = 100_000;

impl Session {
    /// One entry, its digest and note included.
    ///
    /// # Errors
    /// What the server refused it with, or why the session is over; so in all methods here.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn stat(&self, path: &RelPath) -> Result<Entry, RequestError> {
        let path = path.clone();
        match self.request(|id| ClientToWorker::Stat { id, path }).await? {
            WorkerToClient::Entry { entry, .. } => Ok(entry),
            _ => Err(unexpected()),
        }
    }

    /// What stands at several paths, digests included; within the bounds of [`berth_common::batch::is_stat`].
    ///
    /// # Errors
    /// See [`Session::stat`]; what is wrong with one path is its own result.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn stat_files(&self, paths: Vec<RelPath>) -> Result<Vec<StatResult>, RequestError> {
        let count = paths.len();
        match self.request(|id| ClientToWorker::StatFiles { id, paths }).await? {
            WorkerToClient::FilesStated { results, .. } if results.len() == count => Ok(results),
            _ => Err(unexpected()),
        }
    }

    /// A directory's entries, part by part, in any order. Take the parts as they come, or drop the [`Listing`]: all of a
    /// session shares one line, on which nothing else comes while a part that has come is not taken.
    ///
    /// A name is the server's word: before it becomes a part of a local path, see that it is one component, and neither
    /// `.` nor `..`.
    ///
    /// # Errors
    /// See [`Session::stat`]; that it is no directory is the first part's error.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn list(&self, path: &RelPath) -> Result<Listing, RequestError> {
        self.list_all(path, false).await
    }

    /// The same with the files' notes, each of which the server has to read.
    ///
    /// # Errors
    /// See [`Session::list`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn list_with_notes(&self, path: &RelPath) -> Result<Listing, RequestError> {
        self.list_all(path, true).await
    }

    async fn list_all(&self, path: &RelPath, notes: bool) -> Result<Listing, RequestError> {
        let exchange = self.exchange();
        let path = path.clone();
        exchange.send(&ClientToWorker::List { id: exchange.id, path, notes }).await?;
        Ok(Listing { exchange, ended: false })
    }

    /// Makes a directory; with `parents` also its parents, and it may be there already.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn make_directory(&self, path: &RelPath, parents: bool) -> Result<(), RequestError> {
        let path = path.clone();
        self.done(|id| ClientToWorker::MakeDirectory { id, path, parents }).await
    }

    /// Removes a file, an empty directory or, with `recursive`, a tree.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn remove(&self, path: &RelPath, recursive: bool) -> Result<(), RequestError> {
        let path = path.clone();
        self.done(|id| ClientToWorker::Remove { id, path, recursive }).await
    }

    /// Renames `from` to `to`, which is the new path itself.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn rename(
        &self,
        from: &RelPath,
        to: &RelPath,
        overwrite: bool,
    ) -> Result<(), RequestError> {
        let (from, to) = (from.clone(), to.clone());
        self.done(|id| ClientToWorker::Rename { id, from, to, overwrite }).await
    }

    /// Keeps a note with a file, in place of the one that is kept, or with `None` takes that away. It is on disk when
    /// this returns.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn set_note(&self, path: &RelPath, note: Option<Note>) -> Result<(), RequestError> {
        let path = path.clone();
        self.done(|id| ClientToWorker::SetNote { id, path, note }).await
    }

    /// Limits and usage.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn usage(&self) -> Result<Usage, RequestError> {
        match self.request(|id| ClientToWorker::Usage { id }).await? {
            WorkerToClient::Usage { usage, .. } => Ok(usage),
            _ => Err(unexpected()),
        }
    }

    /// The open uploads.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn uploads(&self) -> Result<Vec<UploadSummary>, RequestError> {
        let mut exchange = self.exchange();
        exchange.send(&ClientToWorker::Uploads { id: exchange.id }).await?;
        let mut all = Vec::new();
        loop {
            match exchange.message().await? {
                WorkerToClient::Uploads { uploads, last, .. } => {
                    let is_part = !uploads.is_empty();
                    all.extend(uploads);
                    if last {
                        return Ok(all);
                    }
                    // None has as many, and a part that is empty would have no end.
                    if !is_part || all.len() > MOST_UPLOADS {
                        return Err(unexpected());
                    }
                }
                _ => return Err(unexpected()),
            }
        }
    }

    /// Ends an open upload and removes what was received.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server does it.
    pub async fn abort_upload(&self, upload: StagingName) -> Result<(), RequestError> {
        self.done(|id| ClientToWorker::AbortUpload { id, upload }).await
    }

    /// A file's plain MD5 and size.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn md5(&self, path: &RelPath) -> Result<(Md5, u64), RequestError> {
        let path = path.clone();
        match self.request(|id| ClientToWorker::Md5 { id, path }).await? {
            WorkerToClient::Md5 { md5, size, .. } => Ok((md5, size)),
            _ => Err(unexpected()),
        }
    }

    /// Has bytes sent back.
    ///
    /// # Errors
    /// See [`Session::stat`]; `Protocol` when other bytes come back.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn echo(&self, payload: Vec<u8>) -> Result<(), RequestError> {
        let sent = payload.clone();
        match self.request(|id| ClientToWorker::Echo { id, payload }).await? {
            WorkerToClient::Echoed { payload, .. } if payload == sent => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Sends a request that is answered by `Done`.
    pub(crate) async fn done(
        &self,
        message: impl FnOnce(RequestId) -> ClientToWorker,
    ) -> Result<(), RequestError> {
        match self.request(message).await? {
            WorkerToClient::Done { .. } => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

/// A directory's entries as they come. While nobody takes them, nothing else comes on the session.
#[derive(Debug)]
pub struct Listing {
    exchange: Exchange,
    ended: bool,
}

impl Listing {
    /// Whether the last part has come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next part, which may be empty; `None` after the last one.
    ///
    /// # Errors
    /// See [`Session::stat`].
    ///
    /// # Cancel safety
    /// No part is lost: it is what the next call gives.
    pub async fn next_part(&mut self) -> Result<Option<Vec<Entry>>, RequestError> {
        if self.ended {
            return Ok(None);
        }
        match self.exchange.message().await? {
            WorkerToClient::Entries { entries, last, .. } => {
                self.ended = last;
                Ok(Some(entries))
            }
            _ => Err(unexpected()),
        }
    }
}

//! Answers to the requests that have no conversation: what is asked of the filesystem for each.

use std::rc::Rc;

use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, RequestId};
use berth_common::rel_path::RelPath;
use tokio::sync::Semaphore;

use super::state::Request;
use crate::broker::Broker;
use crate::connection::ConnectionGone;
use crate::filesystem::{Answer, Filesystem, GetUsage, List, ListMore, ListUploads, Stat};
use crate::transfer::Services;
use crate::transfer::batch::Batches;
use crate::transfer::leaves::leaves_of;
use crate::transfer::md5::md5_of;

/// Files that are hashed at once for requests; each holds a descriptor and a block or two.
pub(super) const HASHED_AT_ONCE: usize = 4;

/// What answering needs.
#[derive(Clone)]
pub(crate) struct Answering {
    filesystem: Filesystem,
    services: Services,
    batches: Batches,
    md5s: Rc<Semaphore>,
}

impl Answering {
    /// Answers by `filesystem`, and tells the daemon what was moved.
    pub(crate) fn new(filesystem: Filesystem, services: Services, broker: Broker) -> Self {
        let md5s = Rc::new(Semaphore::new(HASHED_AT_ONCE));
        let files = filesystem.small.clone();
        let batches = Batches { files, services: services.clone(), broker };
        Self { filesystem, services, batches, md5s }
    }

    /// Works a request out. All parts of the answer but the last are sent here; the last is returned, so
    /// that the id is free before the client has it.
    pub(crate) async fn answer(self, id: RequestId, request: Request) -> WorkerToClient {
        let answer = match request {
            Request::Stat(path) => self.stat(id, path).await,
            Request::List { path, notes } => self.list(id, path, notes).await,
            Request::Usage => self.usage(id).await,
            Request::Uploads => self.uploads(id).await,
            Request::Md5(path) => self.md5(id, path).await,
            Request::Leaves(path, from, most) => self.leaves(id, path, from, most).await,
            Request::PutFiles(files) => self.batches.put(id, files).await,
            Request::GetFiles(paths) => self.batches.get(id, paths).await,
            Request::StatFiles(paths) => self.batches.stat(id, paths).await,
            Request::Change(change) => match self.filesystem.change.send(change).await {
                Ok(done) => done.map(|()| WorkerToClient::Done { id }),
                Err(_) => Err(ErrorCode::Internal),
            },
        };
        answer.unwrap_or_else(|error| WorkerToClient::Failed { id, error })
    }

    async fn stat(&self, id: RequestId, path: RelPath) -> Answer<WorkerToClient> {
        let answer = self.filesystem.stat.send(Stat(path)).await;
        let entry = answer.unwrap_or(Err(ErrorCode::Internal))?;
        Ok(WorkerToClient::Entry { id, entry })
    }

    async fn usage(&self, id: RequestId) -> Answer<WorkerToClient> {
        let answer = self.filesystem.usage.send(GetUsage).await;
        let usage = answer.unwrap_or(Err(ErrorCode::Internal))?;
        Ok(WorkerToClient::Usage { id, usage })
    }

    async fn list(&self, id: RequestId, path: RelPath, notes: bool) -> Answer<WorkerToClient> {
        let listing = self.filesystem.list.send(List { path, notes }).await;
        let mut listing = listing.map_err(|_| ErrorCode::Internal)?;
        loop {
            let part = listing.parts.recv().await.unwrap_or(Err(ErrorCode::Internal))?;
            let answer = WorkerToClient::Entries { id, entries: part.items, last: part.last };
            if part.last {
                return Ok(answer);
            }
            self.pass_on(&answer, listing.op).await?;
        }
    }

    async fn uploads(&self, id: RequestId) -> Answer<WorkerToClient> {
        let listing = self.filesystem.list_uploads.send(ListUploads).await;
        let mut listing = listing.map_err(|_| ErrorCode::Internal)?;
        loop {
            let part = listing.parts.recv().await.unwrap_or(Err(ErrorCode::Internal))?;
            let answer = WorkerToClient::Uploads { id, uploads: part.items, last: part.last };
            if part.last {
                return Ok(answer);
            }
            self.pass_on(&answer, listing.op).await?;
        }
    }

    async fn md5(&self, id: RequestId, path: RelPath) -> Answer<WorkerToClient> {
        let _one = self.md5s.acquire().await.map_err(|_| ErrorCode::Internal)?;
        let (md5, size) = md5_of(path, &self.filesystem.reading, &self.services).await?;
        Ok(WorkerToClient::Md5 { id, md5, size })
    }

    async fn leaves(
        &self,
        id: RequestId,
        path: RelPath,
        from: u64,
        most: u64,
    ) -> Answer<WorkerToClient> {
        let _one = self.md5s.acquire().await.map_err(|_| ErrorCode::Internal)?;
        leaves_of(id, path, (from, most), &self.filesystem.reading, &self.services).await
    }

    /// Sends a part that is not the last. The next one is asked for when this one has entered the client's
    /// queue, so that a listing never fills memory.
    async fn pass_on(&self, part: &WorkerToClient, listing: OpId) -> Answer<()> {
        // Nobody is left to be told of this error.
        self.services.outgoing.send(part).await.map_err(|ConnectionGone| ErrorCode::Cancelled)?;
        let more = self.filesystem.list_more.send(ListMore(listing)).await;
        more.map_err(|_| ErrorCode::Internal)
    }
}

//! Small files on their way from the home: asked for and got many in one message.
//!
//! What stands at a name already, or was begun before, is left to a get of its own. `storing` has them appear.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use berth_common::batch::{GetResult, Room};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;

use super::storing::Storing;
use super::{GetJob, GetReport, TransferError};
use crate::connection::ConnectionError;
use crate::session::{RequestError, Session};

/// Files that are asked for in one message.
#[derive(Debug, Default)]
pub struct SmallGets {
    jobs: Vec<GetJob>,
    room: Room,
}

/// What came of a small file.
#[derive(Debug)]
pub enum SmallGot {
    /// It is at its place, or cannot be.
    Ended(GetJob, Result<GetReport, TransferError>),
    /// It is to be got by itself.
    Alone(GetJob),
}

impl SmallGets {
    /// Takes a file in that was listed with so many bytes; gives it back when there is no room for it.
    ///
    /// # Errors
    /// The file.
    pub fn add(&mut self, job: GetJob, size: u64) -> Result<(), GetJob> {
        if !self.room.take(job.remote.as_str(), size) {
            return Err(job);
        }
        self.jobs.push(job);
        Ok(())
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Gets and stores them.
    ///
    /// # Cancel safety
    /// Dropping it leaves open which of them are stored; each is, whole, or is not.
    pub async fn get(self, session: &Session, storing: &Storing) -> Vec<SmallGot> {
        let jobs = self.jobs;
        if storing.cannot() {
            return jobs.into_iter().map(SmallGot::Alone).collect();
        }
        let looked = tokio::task::spawn_blocking(move || {
            jobs.into_iter().partition::<Vec<_>, _>(|job| is_free(&job.local))
        });
        let Ok((fresh, others)) = looked.await else {
            // The runtime is going down.
            return Vec::new();
        };
        let mut got: Vec<SmallGot> = others.into_iter().map(SmallGot::Alone).collect();
        if fresh.is_empty() {
            return got;
        }
        let begun = Instant::now();
        let paths: Vec<RelPath> = fresh.iter().map(|job| job.remote.clone()).collect();
        match ask(session, paths).await {
            Err(error) => {
                let failed = |job| SmallGot::Ended(job, Err(error.clone().into()));
                got.extend(fresh.into_iter().map(failed));
            }
            Ok(files) => got.extend(storing.store(fresh, files, begun).await),
        }
        got
    }
}

async fn ask(session: &Session, paths: Vec<RelPath>) -> Result<Vec<GetResult>, RequestError> {
    let count = paths.len();
    match session.request(|id| ClientToWorker::GetFiles { id, paths }).await? {
        WorkerToClient::FilesGot { files, .. } if files.len() == count => Ok(files),
        _ => Err(ConnectionError::unexpected("answer to a batch").into()),
    }
}

/// Whether nothing stands at a target, nor a part of an earlier try beside it.
fn is_free(target: &Path) -> bool {
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let is_nothing = |path: &Path| {
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    is_nothing(target) && is_nothing(Path::new(&part))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_does_not_fit_is_given_back() {
        let job = || GetJob {
            remote: RelPath::new("a").unwrap(),
            local: PathBuf::from("a"),
            force: false,
        };
        let mut gets = SmallGets::default();
        assert!(gets.is_empty());
        assert!(gets.add(job(), 64 * 1024).is_ok());
        assert!(gets.add(job(), 64 * 1024).is_err());
        assert!(gets.add(job(), 1).is_ok());
        assert!(!gets.is_empty());
    }

    #[test]
    fn what_is_there_or_was_begun_is_not_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), b"").unwrap();
        fs::write(path("b.part"), b"").unwrap();
        std::os::unix::fs::symlink("nowhere", path("c")).unwrap();
        assert!(!is_free(&path("a")) && !is_free(&path("b")) && !is_free(&path("c")));
        assert!(is_free(&path("d")));
    }
}

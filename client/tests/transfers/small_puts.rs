//! Small files that are put together, against a server in memory: what is sent again, and what it may replace then.

use std::fs::File;

use berth::session::Session;
use berth::transfer::{Place, SmallFile, SmallPuts};
use berth_common::batch::PutResult;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;

use crate::fake::{FakeServer, session, usage};

const DONE: PutResult = PutResult::Done { replaced: false };
const REPLACED: PutResult = PutResult::Done { replaced: true };
const EXISTS: PutResult = PutResult::Failed(ErrorCode::AlreadyExists);
const DAMAGED: PutResult = PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 });

/// Puts a file at each of these paths; what came of each.
async fn put(session: &Session, files: &[(&str, Place)], overwrite: bool) -> Vec<PutResult> {
    let local = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&local, "content").unwrap();
    let mut puts = SmallPuts::default();
    for (path, place) in files {
        let file = SmallFile::read(&File::open(&local).unwrap()).unwrap();
        puts.add(RelPath::new(path).unwrap(), file, *place).unwrap();
    }
    let (results, _) = puts.put(session, overwrite).await.unwrap();
    results.into_iter().map(|(_, result)| result).collect()
}

impl FakeServer {
    /// Takes a message of small files: the path of each, and whether it may replace. Answers so.
    async fn take_files(&mut self, results: &[PutResult]) -> Vec<(String, bool)> {
        let ClientToWorker::PutFiles { id, files } = self.message().await else {
            panic!("no small files")
        };
        let usage = Some(usage());
        self.say(&WorkerToClient::FilesPut { id, results: results.to_vec(), usage }).await;
        files.into_iter().map(|file| (file.path.to_string(), file.overwrite)).collect()
    }
}

fn sent(files: &[(&str, bool)]) -> Vec<(String, bool)> {
    files.iter().map(|(path, overwrite)| (format!("/{path}"), *overwrite)).collect()
}

#[tokio::test]
async fn a_place_that_is_not_free_any_more_is_overwritten_if_that_is_wanted() {
    let (session, mut server) = session().await;
    let files = [("a", Place::Free), ("b", Place::Free), ("c", Place::Unknown)];
    let serve = async {
        let first = server.take_files(&[DONE, EXISTS, REPLACED]).await;
        assert_eq!(first, sent(&[("a", false), ("b", false), ("c", true)]));
        let second = server.take_files(&[REPLACED]).await;
        assert_eq!(second, sent(&[("b", true)]));
    };
    let (results, ()) = tokio::join!(put(&session, &files, true), serve);
    assert_eq!(results, [DONE, REPLACED, REPLACED]);
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept_whatever_was_known_of_its_place() {
    let (session, mut server) = session().await;
    let files = [("a", Place::Free), ("b", Place::Unknown), ("c", Place::Unknown)];
    let serve = async {
        let first = server.take_files(&[EXISTS, EXISTS, DAMAGED]).await;
        assert_eq!(first, sent(&[("a", false), ("b", false), ("c", false)]));
        assert_eq!(server.take_files(&[EXISTS]).await, sent(&[("c", false)]));
    };
    let (results, ()) = tokio::join!(put(&session, &files, false), serve);
    assert_eq!(results, [EXISTS, EXISTS, EXISTS]);
}

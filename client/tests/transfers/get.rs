//! `get` against a server in memory: corrupted blocks, cuts, resume, files that are in the way.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::fake::{FakeServer, content, entry, fingerprint, session, tree};
use berth::connection::ConnectionError;
use berth::progress::Reporter;
use berth::session::Session;
use berth::transfer::plan::PlanError;
use berth::transfer::{GetJob, GetReport, TransferError, get};
use berth_common::client_protocol::{ClientToWorker, GetResume, WorkerToClient};
use berth_common::digest::{self, Md5};
use berth_common::ids::RequestId;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::rel_path::RelPath;

const BLOCK: u64 = BLOCK_SIZE as u64;
const LEAF: u64 = LEAF_SIZE as u64;

async fn get_file(
    session: &Session,
    local: &Path,
    force: bool,
) -> Result<GetReport, TransferError> {
    let remote = RelPath::new("dir/file").unwrap();
    let job = GetJob { remote, local: local.to_owned(), force };
    get(session, &job, &Reporter::nobody()).await
}

impl FakeServer {
    /// Takes the request for a get of this file, and the leaves if `accept` says that they count.
    async fn open_get(
        &mut self,
        file: &[u8],
        inode: u64,
        accept: bool,
    ) -> (RequestId, Option<GetResume>, Vec<Md5>) {
        let ClientToWorker::Get { id, resume, .. } = self.message().await else { panic!("no get") };
        let leaves = resume.filter(|_| accept).map_or(0, |resume| resume.leaves);
        let (entry, fingerprint) = (entry(file, None), fingerprint(file, inode));
        self.say(&WorkerToClient::GetReady { id, entry, fingerprint, leaves }).await;
        let mut have = Vec::new();
        while (have.len() as u64) < leaves {
            let ClientToWorker::JournalLeaves { leaves, .. } = self.message().await else {
                panic!("no leaves")
            };
            have.extend(leaves);
        }
        (id, resume, have)
    }

    async fn end(&mut self, id: RequestId, file: &[u8]) {
        self.say(&WorkerToClient::GetEnd { id, digest: tree(file) }).await;
    }

    async fn expect_done(&mut self, id: RequestId) {
        assert_eq!(self.message().await, ClientToWorker::GetDone { id });
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_corrupted_block_is_asked_for_again_and_the_file_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(3 * BLOCK_SIZE + 9);
    let local = dir.path().join("file");
    let (session, mut server) = session().await;
    let serve = async {
        let (id, resume, _) = server.open_get(&file, 1, true).await;
        assert_eq!(resume, None);
        server.send_block(id, &file, 0, false).await;
        server.send_block(id, &file, BLOCK, true).await;
        // These and the end are on their way already.
        server.send_block(id, &file, 2 * BLOCK, false).await;
        server.send_block(id, &file, 3 * BLOCK, false).await;
        server.end(id, &file).await;
        assert_eq!(server.message().await, ClientToWorker::Again { id, offset: BLOCK });
        for offset in [BLOCK, 2 * BLOCK, 3 * BLOCK] {
            server.send_block(id, &file, offset, false).await;
        }
        server.end(id, &file).await;
        server.expect_done(id).await;
    };
    let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
    let report = report.unwrap();
    assert_eq!(std::fs::read(&local).unwrap(), file);
    assert_eq!(report.digest, Some(tree(&file)));
    assert_eq!((report.resumed_leaves, report.moved_leaves), (0, 25 + 17));
    let metadata = std::fs::metadata(&local).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_500_000_000, 123_456_789));
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!(names_in(dir.path()), ["file"]);
}

#[tokio::test]
async fn a_block_that_is_bad_twice_ends_it_and_the_rest_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(3 * BLOCK_SIZE);
    let local = dir.path().join("file");
    let (bad, mut server) = session().await;
    let serve = async {
        let (id, ..) = server.open_get(&file, 1, true).await;
        server.send_block(id, &file, 0, false).await;
        server.send_block(id, &file, BLOCK, true).await;
        assert_eq!(server.message().await, ClientToWorker::Again { id, offset: BLOCK });
        server.send_block(id, &file, BLOCK, true).await;
        assert_eq!(server.message().await, ClientToWorker::Cancel { id });
    };
    let (report, ()) = tokio::join!(get_file(&bad, &local, false), serve);
    let error = report.unwrap_err();
    let integrity = PlanError::Integrity { offset: BLOCK };
    assert!(matches!(&error, TransferError::Plan(reason) if *reason == integrity), "{error}");
    assert!(!error.ends_session());
    assert!(error.to_string().contains(&BLOCK.to_string()), "{error}");
    assert!(!local.exists());

    let (session, mut server) = session().await;
    let serve = async {
        let (id, resume, have) = server.open_get(&file, 1, true).await;
        let fingerprint = fingerprint(&file, 1);
        assert_eq!(resume, Some(GetResume { fingerprint, leaves: 8 }));
        assert_eq!(have, digest::leaves(&file)[..8]);
        for offset in [BLOCK, 2 * BLOCK] {
            server.send_block(id, &file, offset, false).await;
        }
        server.end(id, &file).await;
        server.expect_done(id).await;
    };
    let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
    let report = report.unwrap();
    assert_eq!((report.resumed_leaves, report.moved_leaves), (8, 16));
    assert_eq!(std::fs::read(&local).unwrap(), file);
}

#[tokio::test]
async fn a_lost_connection_leaves_what_was_verified_and_a_changed_file_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(2 * BLOCK_SIZE + 3);
    let local = dir.path().join("file");
    let (cut, mut server) = session().await;
    let serve = async {
        let (id, ..) = server.open_get(&file, 1, true).await;
        server.send_block(id, &file, 0, false).await;
        drop(server);
    };
    let (report, ()) = tokio::join!(get_file(&cut, &local, false), serve);
    let error = report.unwrap_err();
    assert!(matches!(error, TransferError::Connection(ConnectionError::Closed)), "{error}");
    assert!(error.ends_session());
    assert_eq!(names_in(dir.path()), ["file.part", "file.part.journal", "file.part.meta"]);

    let other: Vec<u8> = file.iter().map(|byte| byte ^ 0xff).collect();
    let (session, mut server) = session().await;
    let serve = async {
        let (id, resume, _) = server.open_get(&other, 2, false).await;
        assert_eq!(resume.map(|resume| resume.leaves), Some(8));
        for offset in [0, BLOCK, 2 * BLOCK] {
            server.send_block(id, &other, offset, false).await;
        }
        server.end(id, &other).await;
        server.expect_done(id).await;
    };
    let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
    let report = report.unwrap();
    assert!(report.started_over);
    assert_eq!(report.resumed_leaves, 0);
    assert_eq!(std::fs::read(&local).unwrap(), other);
    assert_eq!(names_in(dir.path()), ["file"]);
}

#[tokio::test]
async fn sizes_around_the_boundaries_arrive() {
    let dir = tempfile::tempdir().unwrap();
    for size in
        [0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1]
    {
        let file = content(size);
        let local = dir.path().join(format!("file{size}"));
        let (session, mut server) = session().await;
        let serve = async {
            let (id, ..) = server.open_get(&file, 1, true).await;
            let mut offset = 0;
            while offset < size as u64 {
                server.send_block(id, &file, offset, false).await;
                offset += BLOCK;
            }
            server.end(id, &file).await;
            server.expect_done(id).await;
        };
        let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
        assert_eq!(report.unwrap().moved_leaves, (size as u64).div_ceil(LEAF));
        assert_eq!(std::fs::read(&local).unwrap(), file);
    }
    assert_eq!(names_in(dir.path()).len(), 8);
}

#[tokio::test]
async fn a_file_that_differs_as_a_whole_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(BLOCK_SIZE + 1);
    let local = dir.path().join("file");
    let (session, mut server) = session().await;
    let serve = async {
        let (id, ..) = server.open_get(&file, 1, true).await;
        server.send_block(id, &file, 0, false).await;
        server.send_block(id, &file, BLOCK, false).await;
        server.end(id, b"something else").await;
        assert_eq!(server.message().await, ClientToWorker::Cancel { id });
    };
    let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
    assert!(matches!(report.unwrap_err(), TransferError::WholeDiffers));
    assert!(names_in(dir.path()).is_empty());
}

#[tokio::test]
async fn nothing_that_differs_is_overwritten_and_what_is_the_same_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(LEAF_SIZE + 1);
    let local = dir.path().join("file");
    let mut other = file.clone();
    other[5] ^= 1;
    // What stands there, whether the server has a digest, whether it is the same.
    let table =
        [(&file, true, true), (&file, false, true), (&other, true, false), (&other, false, false)];
    for (standing, has_digest, same) in table {
        std::fs::write(&local, standing).unwrap();
        let (session, mut server) = session().await;
        let serve = async {
            let ClientToWorker::Stat { id, .. } = server.message().await else { panic!("no stat") };
            let digest = has_digest.then(|| tree(&file));
            server.say(&WorkerToClient::Entry { id, entry: entry(&file, digest) }).await;
            if !has_digest {
                let ClientToWorker::Md5 { id, .. } = server.message().await else {
                    panic!("no md5")
                };
                let (md5, size) = (Md5::of(&file), file.len() as u64);
                server.say(&WorkerToClient::Md5 { id, md5, size }).await;
            }
        };
        let (report, ()) = tokio::join!(get_file(&session, &local, false), serve);
        match report {
            Ok(report) => assert!(same && report.unchanged),
            Err(error) => assert!(!same && matches!(error, TransferError::Exists { .. })),
        }
        drop(session);
        assert!(server.next().await.is_none(), "nothing else was asked for");
        assert_eq!(&std::fs::read(&local).unwrap(), standing);
    }
    let (session, mut server) = session().await;
    let serve = async {
        let (id, ..) = server.open_get(&file, 1, true).await;
        server.send_block(id, &file, 0, false).await;
        server.end(id, &file).await;
        server.expect_done(id).await;
    };
    let (report, ()) = tokio::join!(get_file(&session, &local, true), serve);
    assert!(report.unwrap().replaced);
    assert_eq!(std::fs::read(&local).unwrap(), file);
}

#[tokio::test]
async fn force_never_replaces_what_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let (session, mut server) = session().await;
    for target in [fifo.as_path(), &link, Path::new("/dev/null")] {
        for force in [true, false] {
            let error = get_file(&session, target, force).await.unwrap_err();
            assert!(matches!(error, TransferError::TargetNotAFile { .. }));
        }
    }
    drop(session);
    assert!(server.next().await.is_none(), "nothing was asked for");
    assert_eq!(names_in(dir.path()), ["fifo", "link"]);
}

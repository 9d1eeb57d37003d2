//! `put` against a server in memory: resume, blocks sent again, a source that changes.

use std::path::Path;

use crate::fake::{FakeServer, FromClient, content, log_in_with, session, tree, usage};
use berth::connection::ConnectionError;
use berth::login::LoginError;
use berth::progress::Reporter;
use berth::session::Session;
use berth::transfer::{PutJob, PutReport, TransferError, put};
use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest;
use berth_common::entry::{Existing, PutSource};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UploadToken;
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;

const LEAF: u64 = LEAF_SIZE as u64;

async fn put_file(session: &Session, local: &Path) -> Result<PutReport, TransferError> {
    let job = PutJob {
        local: local.to_owned(),
        remote: RelPath::new("dir/file").unwrap(),
        token: UploadToken([3; 16]),
        existing: Existing::Replace,
        whole: true,
        note: NoteChange::Keep,
        mode: 0o644,
    };
    put(session, &job, &Reporter::nobody()).await
}

impl FakeServer {
    /// Takes the request for a put and says that these leaves of the file are there.
    async fn open_put(&mut self, file: &[u8], leaves: usize) -> Put {
        let ClientToWorker::Put(put) = self.message().await else { panic!("no put") };
        let PutSource::File(source) = put.source else { panic!("no file: {put:?}") };
        assert_eq!((source.size, put.path.as_str()), (file.len() as u64, "dir/file"));
        let id = put.id;
        self.say(&WorkerToClient::PutReady {
            id,
            leaves: leaves as u64,
            started_over: false,
            based: false,
        })
        .await;
        let have = &digest::leaves(file)[..leaves];
        for part in have.chunks(2) {
            self.say(&WorkerToClient::JournalLeaves { id, leaves: part.to_vec() }).await;
        }
        put
    }
}

#[tokio::test]
async fn goes_on_where_the_server_is_and_sends_again_what_it_wants_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(4 * BLOCK_SIZE + 77);
    let local = dir.path().join("file");
    std::fs::write(&local, &file).unwrap();
    let (session, mut server) = session().await;
    let serve = async {
        let put = server.open_put(&file, 3).await;
        let mut received = file[..3 * LEAF_SIZE].to_vec();
        let mut again = Some(11 * LEAF);
        let mut sent = 0;
        let answer = loop {
            match server.next().await.unwrap() {
                FromClient::Block(header, data) => {
                    assert_eq!(header.leaves, digest::leaves(&data));
                    sent += header.leaves.len() as u64;
                    if again == Some(header.offset) {
                        server
                            .say(&WorkerToClient::Again { id: put.id, offset: header.offset })
                            .await;
                        again = None;
                    } else if header.offset == received.len() as u64 {
                        received.extend(data);
                    }
                }
                // It crosses an `Again`, and is ignored then.
                FromClient::Message(ClientToWorker::PutEnd { .. })
                    if received.len() < file.len() => {}
                FromClient::Message(ClientToWorker::PutEnd { digest, source, .. }) => {
                    let PutSource::File(begun) = put.source else { panic!("no file") };
                    assert_eq!((digest, source), (tree(&file), begun.into()));
                    break WorkerToClient::PutDone { id: put.id, replaced: true, usage: usage() };
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(received, file);
        server.say(&answer).await;
        sent
    };
    let (report, sent) = tokio::join!(put_file(&session, &local), serve);
    let report = report.unwrap();
    assert_eq!(report.digest, tree(&file));
    assert_eq!((report.resumed_leaves, report.moved_leaves), (3, sent));
    assert_eq!(report.resumed_bytes(), 3 * 128 * 1024);
    assert!(sent >= 30 + 8, "a block was sent twice");
    assert!(report.replaced);
}

#[tokio::test]
async fn the_last_block_can_be_asked_for_after_the_end_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(BLOCK_SIZE + 5);
    let local = dir.path().join("file");
    std::fs::write(&local, &file).unwrap();
    let (session, mut server) = session().await;
    let serve = async {
        let id = server.open_put(&file, 0).await.id;
        server.block().await;
        let (last, _) = server.block().await;
        let ClientToWorker::PutEnd { .. } = server.message().await else { panic!("no end") };
        server.say(&WorkerToClient::Again { id, offset: last.offset }).await;
        let (again, _) = server.block().await;
        assert_eq!(again, last);
        // The first end is enough for a server that has kept it.
        server.say(&WorkerToClient::PutDone { id, replaced: false, usage: usage() }).await;
    };
    let (report, ()) = tokio::join!(put_file(&session, &local), serve);
    assert_eq!(report.unwrap().moved_leaves, 10);
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_or_a_fault_is_not_called_undone() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(7);
    let local = dir.path().join("file");
    std::fs::write(&local, &file).unwrap();
    for (answer, unknown) in
        [(None, true), (Some(ErrorCode::Internal), true), (Some(ErrorCode::Busy), false)]
    {
        let (session, mut server) = session().await;
        let serve = async {
            let id = server.open_put(&file, 0).await.id;
            server.block().await;
            let ClientToWorker::PutEnd { .. } = server.message().await else { panic!("no end") };
            if let Some(error) = answer {
                server.say(&WorkerToClient::Failed { id, error }).await;
            }
            drop(server);
        };
        let job = PutJob {
            local: local.clone(),
            remote: RelPath::new("dir/file").unwrap(),
            token: UploadToken([3; 16]),
            existing: Existing::Append,
            whole: true,
            note: NoteChange::Keep,
            mode: 0o644,
        };
        let progress = Reporter::nobody();
        let (report, ()) = tokio::join!(put(&session, &job, &progress), serve);
        let error = report.unwrap_err();
        assert_eq!(matches!(error, TransferError::AppendUnknown(_)), unknown, "{error}");
    }
}

#[tokio::test]
async fn files_without_bytes_and_files_that_are_there_already_need_no_block() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 3 * LEAF_SIZE] {
        let file = content(size);
        let local = dir.path().join("file");
        std::fs::write(&local, &file).unwrap();
        let (session, mut server) = session().await;
        let serve = async {
            let id = server.open_put(&file, size / LEAF_SIZE).await.id;
            let ClientToWorker::PutEnd { digest, .. } = server.message().await else {
                panic!("no end")
            };
            assert_eq!(digest, tree(&file));
            server.say(&WorkerToClient::PutDone { id, replaced: false, usage: usage() }).await;
        };
        let (report, ()) = tokio::join!(put_file(&session, &local), serve);
        assert_eq!(report.unwrap().moved_leaves, 0);
    }
}

#[tokio::test]
async fn a_source_that_changes_is_cancelled_and_never_ended() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(8 * BLOCK_SIZE);
    let local = dir.path().join("file");
    std::fs::write(&local, &file).unwrap();
    let (session, mut server) = session().await;
    let serve = async {
        server.open_put(&file, 0).await;
        server.block().await;
        std::fs::write(&local, &file[..BLOCK_SIZE]).unwrap();
        loop {
            match server.next().await.unwrap() {
                FromClient::Block(..) => {}
                FromClient::Message(ClientToWorker::Cancel { .. }) => break,
                FromClient::Message(other) => panic!("{other:?}"),
            }
        }
    };
    let (report, ()) = tokio::join!(put_file(&session, &local), serve);
    assert!(matches!(report, Err(TransferError::SourceChanged)));
}

#[tokio::test]
async fn a_put_that_is_given_up_while_much_waits_to_be_sent_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let file = content(16 * BLOCK_SIZE);
    let local = dir.path().join("file");
    std::fs::write(&local, &file).unwrap();
    let (session, mut server) = session().await;
    {
        let serve = async {
            server.open_put(&file, 0).await;
            // It takes nothing more, so that all queues on the way fill up.
            for _ in 0..200 {
                tokio::task::spawn_blocking(|| ()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            report = put_file(&session, &local) => panic!("{report:?}"),
            () = serve => {}
        }
    }
    while let FromClient::Block(..) = match server.next().await.unwrap() {
        FromClient::Message(ClientToWorker::Cancel { .. }) => return,
        other => other,
    } {}
    panic!("another message than the end of the put");
}

#[tokio::test]
async fn a_put_that_is_given_up_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("file");
    std::fs::write(&local, content(BLOCK_SIZE)).unwrap();
    let (session, mut server) = session().await;
    let id = {
        let running = put_file(&session, &local);
        tokio::select! {
            report = running => panic!("{report:?}"),
            message = server.message() => match message {
                ClientToWorker::Put(put) => put.id,
                other => panic!("{other:?}"),
            },
        }
    };
    let (cancel, ()) = tokio::join!(server.message(), session.close());
    assert_eq!(cancel, ClientToWorker::Cancel { id });
    assert!(server.next().await.is_none());
}

#[tokio::test]
async fn what_the_server_refuses_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("file");
    std::fs::write(&local, b"x").unwrap();
    let (session, mut server) = session().await;
    let serve = async {
        let ClientToWorker::Put(put) = server.message().await else { panic!("no put") };
        server.say(&WorkerToClient::Failed { id: put.id, error: ErrorCode::DiskFull }).await;
        let ClientToWorker::Put(_) = server.message().await else { panic!("no put") };
        server.say(&WorkerToClient::Refused { error: ErrorCode::ShuttingDown }).await;
    };
    let puts = async {
        let full = put_file(&session, &local).await.unwrap_err();
        (full, put_file(&session, &local).await.unwrap_err())
    };
    let ((full, gone), ()) = tokio::join!(puts, serve);
    assert!(matches!(full, TransferError::Server(ErrorCode::DiskFull)), "{full}");
    assert!(!full.ends_session() && !full.passes());
    let over = ConnectionError::Refused(ErrorCode::ShuttingDown);
    assert!(matches!(&gone, TransferError::Connection(reason) if *reason == over), "{gone}");
    assert!(gone.ends_session() && gone.passes());
}

#[tokio::test]
async fn a_wrong_password_is_refused_on_both_sides() {
    let (refused, _) = log_in_with("wrong", "secret").await;
    assert!(matches!(refused, Err(LoginError::Refused(ErrorCode::LoginRefused))));
}

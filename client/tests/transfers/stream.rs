//! `put` of a stream against a server in memory: what is announced, sent again, and said when it fails.

use std::io::{self, Cursor, Read};

use crate::fake::{FakeServer, FromClient, content, session, tree, usage};
use berth::progress::Reporter;
use berth::session::Session;
use berth::transfer::{KEPT_BLOCKS, PutJob, PutReport, TransferError, put_stream};
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::digest;
use berth_common::entry::{Existing, PutSource, SourceEnd};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::BLOCK_SIZE;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;

async fn put_it(
    session: &Session,
    input: impl Read + Send + 'static,
    existing: Existing,
) -> Result<PutReport, TransferError> {
    let job = PutJob {
        local: "-".into(),
        remote: RelPath::new("dir/file").unwrap(),
        token: UploadToken([3; 16]),
        existing,
        whole: true,
        note: NoteChange::Keep,
        mode: 0o644,
    };
    put_stream(session, &job, input, &Reporter::nobody()).await
}

impl FakeServer {
    async fn open_stream(&mut self) -> RequestId {
        let ClientToWorker::Put(put) = self.message().await else { panic!("no put") };
        assert_eq!(put.source, PutSource::Stream);
        let id = put.id;
        self.say(&WorkerToClient::PutReady { id, leaves: 0, started_over: false, based: false })
            .await;
        id
    }
}

#[tokio::test]
async fn what_is_wanted_again_is_sent_again_and_the_end_says_how_much_there_was() {
    for size in [0, 1, BLOCK_SIZE, 3 * BLOCK_SIZE + 77] {
        let file = content(size);
        let (session, mut server) = session().await;
        let serve = async {
            let id = server.open_stream().await;
            let mut received = Vec::new();
            let mut again = Some((size / BLOCK_SIZE * BLOCK_SIZE) as u64);
            loop {
                match server.next().await.unwrap() {
                    FromClient::Block(header, data) => {
                        assert_eq!(header.leaves, digest::leaves(&data));
                        if again == Some(header.offset) {
                            let offset = header.offset;
                            server.say(&WorkerToClient::Again { id, offset }).await;
                            again = None;
                        } else if header.offset == received.len() as u64 {
                            received.extend(data);
                        }
                    }
                    // It crosses an `Again`, and is ignored then.
                    FromClient::Message(ClientToWorker::PutEnd { .. })
                        if received.len() < file.len() => {}
                    FromClient::Message(ClientToWorker::PutEnd { digest, source, .. }) => {
                        assert_eq!(digest, tree(&file));
                        assert_eq!(source, SourceEnd::Stream { size: size as u64 });
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(received == file);
            let done = WorkerToClient::PutDone { id, replaced: false, usage: usage() };
            server.say(&done).await;
        };
        let input = Cursor::new(file.clone());
        let (report, ()) = tokio::join!(put_it(&session, input, Existing::Replace), serve);
        let report = report.unwrap();
        assert_eq!((report.size, report.digest), (size as u64, tree(&file)));
    }
}

#[tokio::test]
async fn what_is_kept_no_longer_cannot_be_sent_again() {
    let file = content((KEPT_BLOCKS + 1) * BLOCK_SIZE);
    let (session, mut server) = session().await;
    let serve = async {
        let id = server.open_stream().await;
        while !matches!(server.next().await, Some(FromClient::Message(_))) {}
        server.say(&WorkerToClient::Again { id, offset: 0 }).await;
        let cancelled = server.message().await;
        assert!(matches!(cancelled, ClientToWorker::Cancel { .. }), "{cancelled:?}");
    };
    let (failed, ()) = tokio::join!(put_it(&session, Cursor::new(file), Existing::Replace), serve);
    let failed = failed.unwrap_err();
    assert!(matches!(failed, TransferError::StreamNotKept), "{failed}");
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_cancels_the_put() {
    let (session, mut server) = session().await;
    let serve = async {
        server.open_stream().await;
        let cancelled = server.message().await;
        assert!(matches!(cancelled, ClientToWorker::Cancel { .. }), "{cancelled:?}");
    };
    let (failed, ()) = tokio::join!(put_it(&session, Broken, Existing::Replace), serve);
    let failed = failed.unwrap_err();
    assert!(matches!(failed, TransferError::Input(_)), "{failed}");
}

#[tokio::test]
async fn a_connection_that_is_lost_before_the_end_means_starting_over() {
    let (session, mut server) = session().await;
    let serve = async move {
        server.open_stream().await;
        server.block().await;
    };
    // More than is on its way at once.
    let input = io::repeat(7).take(1 << 30);
    let (failed, ()) = tokio::join!(put_it(&session, input, Existing::Replace), serve);
    let failed = failed.unwrap_err();
    assert!(matches!(failed, TransferError::StreamLost(_)), "{failed}");
    assert!(failed.ends_session() && !failed.passes());
}

#[tokio::test]
async fn a_connection_that_is_lost_after_the_end_means_looking_at_what_was_stored() {
    for existing in [Existing::Replace, Existing::Keep, Existing::Append] {
        let (session, mut server) = session().await;
        let serve = async move {
            server.open_stream().await;
            while !matches!(server.next().await, Some(FromClient::Message(_))) {}
        };
        let input = Cursor::new(content(BLOCK_SIZE + 5));
        let (failed, ()) = tokio::join!(put_it(&session, input, existing), serve);
        let failed = failed.unwrap_err();
        let expected = match existing {
            Existing::Append => matches!(failed, TransferError::AppendUnknown(_)),
            Existing::Replace | Existing::Keep => matches!(failed, TransferError::StreamUnknown(_)),
        };
        assert!(expected && failed.ends_session() && !failed.passes(), "{failed}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_the_server_says_it() {
    let (session, mut server) = session().await;
    let serve = async {
        let id = server.open_stream().await;
        server.block().await;
        let error = ErrorCode::DiskFull;
        server.say(&WorkerToClient::Failed { id, error }).await;
        // What was on its way.
        while server.next().await.is_some() {}
        panic!("the session is over");
    };
    // The input never ends by itself.
    let failed = tokio::select! {
        failed = put_it(&session, io::repeat(7), Existing::Replace) => failed,
        () = serve => unreachable!(),
    };
    assert!(matches!(failed, Err(TransferError::Server(ErrorCode::DiskFull))), "{failed:?}");
}

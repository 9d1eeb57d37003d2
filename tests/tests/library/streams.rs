//! Puts from streams and gets to streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use berth::{ErrorCode, Existing, GetOptions, PutOptions, TransferError};
use berth_tests::Server;
use berth_tests::files::Content;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{path, run, session};

const SIZE: usize = (5 << 20) + 3;

/// Fails when it is read, and when it is written to.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn bytes_go_from_a_stream_and_to_a_stream_by_several_tasks_of_one_session() {
    let (server, _) = Server::with_alice("unlimited");
    run(async {
        let session = session(&server).await;
        let tasks = [0, 1, 7, SIZE].map(|size| {
            let session = session.clone();
            // They can move between threads, as a server's tasks do.
            tokio::spawn(async move {
                let bytes = Content::seed(3).bytes(size);
                let (remote, options) = (path(&format!("f{size}")), PutOptions::new());
                let input = io::Cursor::new(bytes.clone());
                let report = session.put_from(input, &remote, &options).await.unwrap();
                assert_eq!(report.size, size as u64);
                let mut output = Vec::new();
                let options = GetOptions::new();
                let got = session.get_to(&remote, &mut output, &options).await.unwrap();
                assert!(output == bytes && got.size == size as u64, "{size}");
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        let (keep, remote) = (PutOptions::new().existing(Existing::Keep), path("f7"));
        let error = session.put_from(&b"x"[..], &remote, &keep).await.unwrap_err();
        assert!(matches!(error, TransferError::Server(ErrorCode::AlreadyExists)), "{error}");
        let append = PutOptions::new().existing(Existing::Append);
        session.put_from(&b"more"[..], &remote, &append).await.unwrap();
        assert_eq!(session.stat(&remote).await.unwrap().size, 11);
    });
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}

#[test]
fn a_stream_that_fails_is_told_by_its_own_reason_and_the_session_goes_on() {
    let (server, _) = Server::with_alice("unlimited");
    run(async {
        let session = session(&server).await;
        let error = session.put_from(Broken, &path("f"), &PutOptions::new()).await.unwrap_err();
        let reason =
            matches!(&error, TransferError::Input(e) if e.kind() == io::ErrorKind::InvalidData);
        assert!(reason, "{error}");
        let bytes = Content::seed(4).bytes(SIZE);
        let input = io::Cursor::new(bytes);
        session.put_from(input, &path("f"), &PutOptions::new()).await.unwrap();
        let error = session.get_to(&path("f"), Broken, &GetOptions::new()).await.unwrap_err();
        let reason =
            matches!(&error, TransferError::Output(e) if e.kind() == io::ErrorKind::StorageFull);
        assert!(reason, "{error}");
        let none = session.get_to(&path("none"), Vec::new(), &GetOptions::new()).await.unwrap_err();
        assert!(matches!(none, TransferError::Server(ErrorCode::NotFound)), "{none}");
        assert_eq!(session.stat(&path("f")).await.unwrap().size, SIZE as u64);
    });
}

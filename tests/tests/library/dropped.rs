//! What is left of a future that was dropped, as `# Cancel safety` states it.

use std::path::Path;
use std::sync::Arc;

use berth::{ClientKey, Event, GetOptions, PutOptions, Session, TransferError};
use berth_tests::files::assert_same;
use berth_tests::{Options, Server};
use tokio::sync::Notify;

use super::{alice, connector, local, path, run, session};

const SIZE: u64 = 24 << 20;

/// Bytes a second where something is to be dropped half way.
const RATE: u64 = 12 << 20;

/// Puts `file` to `f` and drops it when the server has verified something and not all.
async fn put_until_some_is_there(session: &Session, file: &Path) {
    session.limit_rate(Some(RATE));
    let (remote, options) = (path("f"), PutOptions::new());
    let some_is_there = async {
        loop {
            let uploads = session.uploads().await.unwrap();
            if uploads.first().is_some_and(|upload| upload.received >= 2 << 20) {
                return;
            }
        }
    };
    tokio::select! {
        put = session.put(file, &remote, &options) => panic!("it came to its end: {put:?}"),
        () = some_is_there => {}
    }
    session.limit_rate(None);
}

/// Gets `f` to `back` and drops it when so many bytes were verified.
pub(super) async fn get_until(session: &Session, back: &Path, position: u64) {
    session.limit_rate(Some(RATE));
    let come = Arc::new(Notify::new());
    let own = Arc::clone(&come);
    let options = GetOptions::new().progress(move |event| {
        if matches!(event, Event::Advanced { position: at } if at >= position) {
            own.notify_one();
        }
    });
    let remote = path("f");
    tokio::select! {
        biased;
        () = come.notified() => {}
        got = session.get(&remote, back, &options) => panic!("it came to its end: {got:?}"),
    }
    session.limit_rate(None);
}

#[test]
fn a_put_that_is_dropped_frees_its_place_and_the_next_one_goes_on() {
    let server = Server::start(Options::new().set("max_transfers = 1"));
    server.add_user("alice", "a", "unlimited");
    let file = local(&server, "file", SIZE);
    run(async {
        let session = session(&server).await;
        assert_eq!(session.info().max_transfers, 1);
        put_until_some_is_there(&session, &file).await;
        session.settled().await;
        let uploads = session.uploads().await.unwrap();
        assert!(matches!(&uploads[..], [upload] if !upload.active), "{uploads:?}");
        assert!(!server.home("alice").join("f").exists());

        let report = session.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        assert!(report.resumed_bytes() >= 2 << 20 && !report.started_over, "{report:?}");
        assert_eq!(session.uploads().await.unwrap(), []);
    });
    assert_same(&file, &server.home("alice").join("f"));
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}

#[test]
fn a_session_that_is_dropped_is_closed_and_another_goes_on_with_its_upload() {
    let (server, _) = Server::with_alice("unlimited");
    let file = local(&server, "file", SIZE);
    let key = ClientKey::load(&server.scratch().join("state")).unwrap();
    run(async {
        let connector = connector(&server).client_key(key);
        let session =
            async || connector.connect().await.unwrap().log_in(&alice("a")).await.unwrap();
        let first = session().await;
        put_until_some_is_there(&first, &file).await;
        drop(first);
        // By its key it takes the upload over, whether the server has missed the first one or not.
        let second = session().await;
        let report = second.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        assert!(report.resumed_bytes() >= 2 << 20, "{report:?}");
        // Clones share one connection, which is closed with the last.
        let clone = second.clone();
        drop(second);
        clone.usage().await.unwrap();
        drop(clone);
        tokio::task::spawn_blocking(move || {
            server.wait_for_no_session_of("alice");
            assert_same(&file, &server.home("alice").join("f"));
            server.assert_at_rest("alice");
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_get_that_is_dropped_leaves_a_part_and_the_next_one_goes_on() {
    let (server, _) = Server::with_alice("unlimited");
    let (file, back) = (local(&server, "file", SIZE), server.scratch().join("back"));
    run(async {
        let session = session(&server).await;
        session.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        get_until(&session, &back, 4 << 20).await;
        session.settled().await;
        assert!(!back.exists() && server.scratch().join("back.part").exists());
        let report = session.get(&path("f"), &back, &GetOptions::new()).await.unwrap();
        assert!(report.resumed_bytes() >= 4 << 20, "{report:?}");
        assert!(!server.scratch().join("back.part").exists());
    });
    assert_same(&file, &back);
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing_and_frees_its_place() {
    let server = Server::start(Options::new().set("max_transfers = 1"));
    server.add_user("alice", "a", "unlimited");
    run(async {
        let session = session(&server).await;
        session.limit_rate(Some(RATE));
        let come = Arc::new(Notify::new());
        let own = Arc::clone(&come);
        let options = PutOptions::new().progress(move |event| {
            if matches!(event, Event::Advanced { position } if position >= 2 << 20) {
                own.notify_one();
            }
        });
        let remote = path("f");
        tokio::select! {
            biased;
            () = come.notified() => {}
            put = session.put_from(tokio::io::repeat(7), &remote, &options) => panic!("{put:?}"),
        }
        session.limit_rate(None);
        session.settled().await;
        assert_eq!(session.uploads().await.unwrap(), []);
        session.put_from(&b"small"[..], &remote, &PutOptions::new()).await.unwrap();
        assert_eq!(session.stat(&remote).await.unwrap().size, 5);
    });
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}

#[test]
fn a_session_that_was_closed_says_so_to_who_still_has_it() {
    let (server, _) = Server::with_alice("unlimited");
    let file = local(&server, "file", 5);
    run(async {
        let session = session(&server).await;
        session.clone().close().await;
        assert!(session.has_ended());
        let error = session.put(&file, &path("f"), &PutOptions::new()).await.unwrap_err();
        assert!(matches!(error, TransferError::Connection(_)) && error.ends_session(), "{error}");
    });
    server.wait_for_no_session_of("alice");
}

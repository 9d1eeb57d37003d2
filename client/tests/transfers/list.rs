//! Listings that are waited for and given up.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;

use crate::fake::{entry, session};

#[tokio::test]
async fn no_part_is_lost_when_waiting_for_one_is_given_up() {
    let (session, mut server) = session().await;
    let mut listing = session.list(&RelPath::root()).await.unwrap();
    let ClientToWorker::List { id, .. } = server.message().await else { panic!("no list") };
    for last in [false, true] {
        let is_waiting = {
            let mut next = pin!(listing.next_part());
            poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await
        };
        assert!(is_waiting);
        let entries = vec![entry(b"content", None)];
        server.say(&WorkerToClient::Entries { id, entries: entries.clone(), last }).await;
        assert_eq!(listing.next_part().await, Ok(Some(entries)));
    }
    assert_eq!(listing.next_part().await, Ok(None));
}

//! What a transfer tells while it runs.

use std::sync::{Arc, Mutex};

use berth::{Changed, Event, GetOptions, PutOptions};
use berth_tests::Server;
use berth_tests::files::{Content, assert_same};

use super::{local, path, run, session};

const SIZE: u64 = (10 << 20) + 7;

/// Keeps all events.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    fn hear(&self) -> impl Fn(Event) + Send + Sync + 'static {
        let heard = Arc::clone(&self.0);
        move |event| heard.lock().unwrap().push(event)
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Events of a transfer that went through: a beginning, positions that grow up to the size, and the end.
#[track_caller]
fn assert_whole(events: &[Event], from: u64) {
    let [Event::Started { size, from: began }, moved @ .., Event::Storing, Event::Stored] = events
    else {
        panic!("{events:?}");
    };
    assert_eq!((*size, *began), (Some(SIZE), from));
    let positions = moved.iter().map(|event| match event {
        Event::Advanced { position } => *position,
        other => panic!("{other:?}"),
    });
    let positions: Vec<u64> = positions.collect();
    assert!(positions.is_sorted() && positions.first() > Some(&from), "{positions:?}");
    assert_eq!(positions.last(), Some(&SIZE));
}

#[test]
fn positions_grow_and_end_at_the_size_both_ways() {
    let (server, _) = Server::with_alice("unlimited");
    let (file, back) = (local(&server, "file", SIZE), server.scratch().join("back"));
    let heard = Heard::default();
    run(async {
        let session = session(&server).await;
        let put = PutOptions::new().progress(heard.hear());
        let report = session.put(&file, &path("f"), &put).await.unwrap();
        assert_eq!((report.size, report.resumed_bytes()), (SIZE, 0));
        assert_whole(&heard.take(), 0);
        let get = GetOptions::new().progress(heard.hear());
        assert_eq!(session.get(&path("f"), &back, &get).await.unwrap().size, SIZE);
        assert_whole(&heard.take(), 0);
        // What is there already is no transfer.
        assert!(session.get(&path("f"), &back, &get).await.unwrap().unchanged);
        assert_eq!(heard.take(), []);
    });
    assert_same(&file, &back);
    server.assert_at_rest("alice");
}

#[test]
fn a_transfer_that_goes_on_says_from_where_and_one_that_cannot_says_that_it_starts_over() {
    let (server, _) = Server::with_alice("unlimited");
    let (file, back) = (local(&server, "file", SIZE), server.scratch().join("back"));
    let heard = Heard::default();
    run(async {
        let session = session(&server).await;
        session.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        let get = GetOptions::new().progress(heard.hear());
        super::dropped::get_until(&session, &back, 4 << 20).await;
        session.settled().await;
        let report = session.get(&path("f"), &back, &get).await.unwrap();
        assert!(report.resumed_bytes() >= 4 << 20, "{report:?}");
        assert_whole(&heard.take(), report.resumed_bytes());
        assert_same(&file, &back);

        let other = server.scratch().join("other");
        super::dropped::get_until(&session, &other, 4 << 20).await;
        session.settled().await;
        Content::seed(99).write(&file, SIZE);
        session.put(&file, &path("f"), &PutOptions::new()).await.unwrap();
        let report = session.get(&path("f"), &other, &get).await.unwrap();
        assert!(report.started_over && report.resumed_bytes() == 0, "{report:?}");
        let events = heard.take();
        assert!(events.contains(&Event::StartedOver(Changed::Remote)), "{events:?}");
        assert_same(&file, &other);
    });
}

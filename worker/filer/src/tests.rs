//! Faults that only the inside can make: syncs and counts that fail. The rest is tested from outside, in `tests/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::JoinHandle;

use berth_common::batch::{PutResult, SmallPut};
use berth_common::channel::Channel;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::OpId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, StagingSync};
use berth_common::note::Note;
use rustix::io::Errno;

use crate::helper::Helper;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::outbox::Outbox;
use crate::placing::Row;
use crate::run::RunError;
use crate::serve::Server;
use crate::session::{End, Session};
use crate::staging::Staging;
use harness::{Bench, FilerEnd, small, source, upload};

/// More than a small upload may have.
const LARGE: usize = 1024 * 1024 + 5;

/// Which syncs and walks of a staging directory, and openings of its files for reading, fail: the n-th from now on,
/// once; 0 or less for none.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    data: Arc<AtomicI64>,
    staging: Arc<AtomicI64>,
    walks: Arc<AtomicI64>,
    opens: Arc<AtomicI64>,
}

impl Faults {
    pub(crate) fn before_opening(&self) -> Result<(), Errno> {
        fail_at_one(&self.opens)
    }

    pub(crate) fn before_staging_sync(&self) -> Result<(), Errno> {
        fail_at_one(&self.staging)
    }

    pub(crate) fn before_data_sync(&self) -> Result<(), Errno> {
        fail_at_one(&self.data)
    }

    pub(crate) fn before_walk(&self) -> Result<(), Errno> {
        fail_at_one(&self.walks)
    }
}

/// Others of this uid have too many descriptors in flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<AtomicBool>);

impl Crowd {
    pub(crate) fn check(&self) -> Result<(), Errno> {
        if self.0.load(Ordering::SeqCst) { Err(Errno::TOOMANYREFS) } else { Ok(()) }
    }
}

fn fail_at_one(count: &AtomicI64) -> Result<(), Errno> {
    if count.fetch_sub(1, Ordering::SeqCst) == 1 { Err(Errno::IO) } else { Ok(()) }
}

/// A filer in a thread, and the counters of its faults.
fn serving() -> (Bench, Arc<AtomicI64>, Arc<AtomicI64>) {
    let faults = Faults::default();
    let (data, staging) = (Arc::clone(&faults.data), Arc::clone(&faults.staging));
    (Bench::serving(move |channel, _: &Path| in_a_thread(channel, faults)), data, staging)
}

fn in_a_thread(daemon: FilerEnd, faults: Faults) -> Box<dyn Any> {
    in_a_thread_with(daemon, faults, Helper::start().unwrap(), Crowd::default())
}

fn in_a_thread_with(
    daemon: FilerEnd,
    faults: Faults,
    helper: Helper,
    crowd: Crowd,
) -> Box<dyn Any> {
    Box::new(std::thread::spawn(move || {
        daemon.send(&FilerToDaemon::Ready, &[]).unwrap();
        let mut directories = daemon.recv().unwrap().descriptors.into_iter();
        let home = Home::new(directories.next().unwrap()).unwrap();
        let mut staging =
            Staging::new(directories.next().unwrap(), StagingSync::Directory).unwrap();
        staging.faults = faults;
        let worker = Channel::from_descriptor(directories.next().unwrap()).unwrap();
        let server = Server::new(daemon, worker, home, staging, helper).unwrap();
        server.in_a_crowd(crowd).joined().serve()
    }))
}

fn staged_names(bench: &Bench) -> usize {
    std::fs::read_dir(&bench.staging).unwrap().count()
}

#[test]
fn a_failed_sync_of_data_drops_the_upload_for_good() {
    for size in [5, LARGE] {
        let (mut bench, data, _) = serving();
        bench.put("a", b"old", true).unwrap();
        data.store(1, Ordering::SeqCst);
        let mut opened = bench.open(upload("a", source(size, 0), true)).unwrap();
        let bytes = vec![b'x'; size];
        opened.files[0].write_all(&bytes).unwrap();
        assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::Internal));
        assert_eq!(bench.read("a"), b"old");
        bench.check();
        assert!(bench.ledger.rows.is_empty(), "also a resumable one");
        // The next one is another file, and nothing is wrong with the session.
        bench.put("a", b"new", true).unwrap();
        bench.check();
    }
}

/// Files that are put together: as many as are synced one by one, and as are synced at once.
fn together(count: u8, bytes: &[u8]) -> Vec<SmallPut> {
    (0..count).map(|n| small(&format!("f{n}"), bytes, true)).collect()
}

#[test]
fn a_failed_sync_of_data_drops_what_was_put_together_and_nothing_else() {
    for (count, failed) in [(3, 1), (9, 9)] {
        let (mut bench, data, _) = serving();
        bench.put("f0", b"old", true).unwrap();
        data.store(1, Ordering::SeqCst);
        let results = bench.put_together(together(count, b"new"));
        let error = PutResult::Failed(ErrorCode::Internal);
        assert_eq!(results.iter().filter(|result| **result == error).count(), failed, "{count}");
        bench.check();
        assert_eq!(staged_names(&bench), 0);
        assert!(bench.ledger.rows.is_empty());
        // Nothing is wrong with the session, nor with anybody else's.
        assert!(!bench.ledger.sync_failed);
        let results = bench.put_together(together(count, b"newer"));
        assert!(results.iter().all(|result| matches!(result, PutResult::Done { .. })));
        assert_eq!(bench.read("f0"), b"newer");
        bench.check();
    }
}

#[test]
fn a_failed_sync_of_staging_settles_nothing_of_what_was_put_together() {
    for count in [3, 9] {
        let (mut bench, data, staging) = serving();
        bench.put("f0", b"old", true).unwrap();
        bench.settle_down();
        bench.ledger.log.clear();
        // Of several files the data first, so that staging is synced by itself.
        data.store(i64::from(count == 9), Ordering::SeqCst);
        staging.store(1, Ordering::SeqCst);
        let results = bench.put_together(together(count, b"new"));
        let refused = PutResult::Failed(ErrorCode::ReadOnly);
        assert_eq!(results, vec![refused; count.into()]);
        bench.until("the word of the failure", |bench| bench.ledger.sync_failed);
        assert!(!bench.ledger.said().contains(&"Intent"));
        assert_eq!(bench.read("f0"), b"old");
        assert_eq!(staged_names(&bench), count.into(), "left for replay to look at");
    }
}

#[test]
fn what_was_put_together_and_cannot_be_made_durable_is_not_told_to_have_failed() {
    let (mut bench, _, staging) = serving();
    // The second sync of staging stands behind the act.
    staging.store(2, Ordering::SeqCst);
    let op = bench.begin(|op| WorkerToFiler::PutFiles { op, files: together(9, b"new") });
    bench.until("the word of the outcome", |bench| bench.ledger.said().contains(&"OutcomeUnknown"));
    let said = bench.ledger.said();
    assert_eq!(said[..4], ["ReserveFiles", "Intent", "Released", "StagingSyncFailed"]);
    assert!(!said.contains(&"Settle"));
    let path = harness::rel("");
    bench.ask(|op| WorkerToFiler::Stat { op, path });
    assert!(!bench.has_answer(op), "what has happened is not told to have failed");
}

#[test]
fn a_failed_sync_of_staging_settles_nothing_and_stops_all_changes() {
    let (mut bench, _, staging) = serving();
    bench.put("a", b"old", true).unwrap();
    bench.settle_down();
    let opened = bench.open(upload("later", source(LARGE, 0), true)).unwrap();
    bench.ledger.log.clear();
    // The first sync of a put stands before the intent: nothing has happened, and that is told.
    staging.store(1, Ordering::SeqCst);
    assert_eq!(bench.put("a", b"new", true), Err(ErrorCode::ReadOnly));
    assert_eq!(bench.read("a"), b"old");
    bench.until("the word of the failure", |bench| bench.ledger.sync_failed);
    assert!(!bench.ledger.said().contains(&"Settle"));
    // What was staged is left for replay to look at.
    assert_eq!(staged_names(&bench), 1 + 2);
    let before = bench.ledger.log.len();
    assert_eq!(bench.put("b", b"x", true), Err(ErrorCode::ReadOnly));
    assert_eq!(bench.make_directory("d", true), Err(ErrorCode::ReadOnly));
    assert_eq!(bench.remove("a", false), Err(ErrorCode::ReadOnly));
    assert_eq!(bench.rename("a", "b", true), Err(ErrorCode::ReadOnly));
    let path = harness::rel("a");
    let noted = bench.change(|op| WorkerToFiler::SetNote { op, path, note: None });
    assert_eq!(noted, Err(ErrorCode::ReadOnly));
    assert_eq!(bench.commit(opened, b""), Err(ErrorCode::ReadOnly));
    // The upload that was open can be resumed.
    bench.until("its upload to be let go", |bench| bench.ledger.log.len() > before);
    assert_eq!(bench.ledger.said()[before..], ["LetGo"]);
    // Reading goes on.
    let path = harness::rel("a");
    let answer = bench.ask(|op| WorkerToFiler::Stat { op, path });
    assert!(matches!(answer, berth_common::filer_protocol::FilerToWorker::Entry { .. }));
}

/// The daemon is told that the outcome of `op` is unknown, and ends the session; the worker is told nothing.
fn assert_unknown(bench: &mut Bench, op: OpId, said: &[&str]) {
    bench.until("the word of the outcome", |bench| bench.ledger.said().contains(&"OutcomeUnknown"));
    assert_eq!(bench.ledger.said(), said);
    // What the filer answers is in the order of its turns: nothing came before this.
    let path = harness::rel("");
    bench.ask(|op| WorkerToFiler::Stat { op, path });
    assert!(!bench.has_answer(op), "what has happened is not told to have failed");
    assert_eq!(staged_names(bench), 1, "what was taken is left for replay to look at");
}

#[test]
fn a_put_that_cannot_be_made_durable_is_neither_settled_nor_told_to_have_failed() {
    let (mut bench, _, staging) = serving();
    bench.put("a", b"old", true).unwrap();
    bench.settle_down();
    let mut opened = bench.open(upload("a", source(3, 0), true)).unwrap();
    opened.files[0].write_all(b"new").unwrap();
    bench.ledger.log.clear();
    // The second sync of a put comes after the act.
    staging.store(2, Ordering::SeqCst);
    let op = bench.begin_commit(opened, b"new");
    let said = ["Intent", "Released", "StagingSyncFailed", "OutcomeUnknown"];
    assert_unknown(&mut bench, op, &said);
    assert_eq!(bench.read("a"), b"new");
}

#[test]
fn a_removal_or_a_rename_that_cannot_be_made_durable_is_neither_settled_nor_told_to_have_failed() {
    for rename in [false, true] {
        let (mut bench, _, staging) = serving();
        bench.put("a", b"old", true).unwrap();
        bench.put("b", b"b", true).unwrap();
        bench.settle_down();
        bench.ledger.log.clear();
        staging.store(1, Ordering::SeqCst);
        let (a, b) = (harness::rel("a"), harness::rel("b"));
        let op = bench.begin(|op| match rename {
            false => WorkerToFiler::Remove { op, path: a, recursive: false },
            true => WorkerToFiler::Rename { op, from: b, to: a, overwrite: true },
        });
        let said = ["Intent", "Released", "StagingSyncFailed", "OutcomeUnknown"];
        assert_unknown(&mut bench, op, &said);
    }
}

#[test]
fn a_note_that_cannot_be_made_durable_is_not_told_to_have_failed() {
    let (mut bench, _, staging) = serving();
    bench.put("a", b"old", true).unwrap();
    bench.settle_down();
    bench.ledger.log.clear();
    staging.store(1, Ordering::SeqCst);
    let (path, note) = (harness::rel("a"), Note::new("lost?").ok());
    let op = bench.begin(|op| WorkerToFiler::SetNote { op, path, note });
    bench.until("the word of the outcome", |bench| bench.ledger.said().contains(&"OutcomeUnknown"));
    let path = harness::rel("");
    bench.ask(|op| WorkerToFiler::Stat { op, path });
    assert!(!bench.has_answer(op), "it may stand there");
    assert_eq!(bench.ledger.said(), ["Ticket", "Released", "StagingSyncFailed", "OutcomeUnknown"]);
}

#[test]
fn a_recovering_filer_tells_a_failed_sync_from_other_failures() {
    let directory = tempfile::tempdir().unwrap();
    let opened = std::fs::File::open(directory.path()).unwrap();
    let staging = Staging::new(opened, StagingSync::Directory).unwrap();
    staging.faults.staging.store(1, Ordering::SeqCst);
    let (daemon, channel) = harness::DaemonEnd::pair().unwrap();
    let recovering = std::thread::spawn(move || crate::recover::recover(&channel, staging));
    let examine = |op| {
        daemon.send(&DaemonToFiler::Examine { op, names: vec![] }, &[]).unwrap();
        daemon.recv().unwrap().message
    };
    let answer = examine(OpId(1));
    assert!(matches!(answer, FilerToDaemon::SyncFailed { op: OpId(1), .. }), "{answer:?}");
    let answer = examine(OpId(2));
    assert!(matches!(answer, FilerToDaemon::Findings { op: OpId(2), .. }), "{answer:?}");
    drop(daemon);
    recovering.join().unwrap().unwrap();
}

#[test]
fn after_a_failed_count_the_filer_ends_and_the_row_is_left_to_replay() {
    for rename in [false, true] {
        let faults = Faults::default();
        let walks = Arc::clone(&faults.walks);
        let mut bench = Bench::serving(move |channel, _: &Path| in_a_thread(channel, faults));
        bench.put("a", b"old", true).unwrap();
        bench.put("b", b"b", true).unwrap();
        bench.settle_down();
        bench.ledger.log.clear();
        walks.store(1, Ordering::SeqCst);
        let (a, b) = (harness::rel("a"), harness::rel("b"));
        bench.begin(|op| match rename {
            false => WorkerToFiler::Remove { op, path: a, recursive: false },
            true => WorkerToFiler::Rename { op, from: b, to: a, overwrite: true },
        });
        while bench.pump() {}
        assert_eq!(bench.ledger.said(), ["Intent", "Released"], "and no settle");
        assert_eq!(staged_names(&bench), 1, "what was taken is left for replay to look at");
    }
}

/// How the filer's thread has ended.
fn end_of(bench: &mut Bench) -> Result<(), RunError> {
    while bench.pump() {}
    let filer = std::mem::replace(&mut bench.filer, Box::new(()));
    filer.downcast::<JoinHandle<Result<(), RunError>>>().unwrap().join().unwrap()
}

#[test]
fn an_upload_whose_writers_cannot_be_looked_for_is_touched_by_nobody_and_the_filer_ends() {
    for (size, failing) in [(5, 1), (LARGE, 1), (LARGE, 2)] {
        for keep in [None, Some(true), Some(false)] {
            let faults = Faults::default();
            let opens = Arc::clone(&faults.opens);
            let mut bench = Bench::serving(move |channel, _: &Path| in_a_thread(channel, faults));
            let opened = bench.open(upload("a", source(size, 0), true)).unwrap();
            bench.ledger.log.clear();
            opens.store(failing, Ordering::SeqCst);
            let handle = opened.handle;
            let op = match keep {
                None => bench.begin_commit(opened, b""),
                Some(keep) => {
                    drop(opened);
                    bench.begin(|op| WorkerToFiler::CloseUpload { op, handle, keep })
                }
            };
            let end = end_of(&mut bench);
            let case = format!("{size}, {failing}, {keep:?}: {end:?}");
            assert!(matches!(end, Err(RunError::Broken(_))), "{case}, and not the worker's");
            assert!(!bench.has_answer(op), "{case}");
            assert!(bench.ledger.said().is_empty(), "{case}: {:?}", bench.ledger.said());
            assert_eq!(staged_names(&bench), if size == LARGE { 2 } else { 1 }, "{case}");
        }
    }
}

#[test]
fn a_removal_that_is_owed_is_not_acknowledged_before_it_is_durable() {
    let (mut bench, _, staging) = serving();
    bench.put("a", b"old", true).unwrap();
    bench.settle_down();
    bench.ledger.outage = true;
    bench.ledger.log.clear();
    staging.store(1, Ordering::SeqCst);
    let path = harness::rel("a");
    let op = bench.begin(|op| WorkerToFiler::Remove { op, path, recursive: false });
    let said = ["Intent", "Released", "StagingSyncFailed", "OutcomeUnknown"];
    assert_unknown(&mut bench, op, &said);
}

#[test]
fn a_ticket_that_comes_after_a_failed_sync_is_not_used() {
    for rename in [false, true] {
        let (mut bench, _, staging) = serving();
        bench.put("a", b"a", true).unwrap();
        bench.put("b", b"b", true).unwrap();
        bench.settle_down();
        // The intent is held back, with the ticket that its answer brings.
        let held = Rc::new(RefCell::new(None));
        let own = Rc::clone(&held);
        bench.watch = Some(Box::new(move |message| match message {
            FilerToDaemon::Intent { .. } => {
                own.replace(Some(message.clone()));
                false
            }
            _ => true,
        }));
        let (a, b) = (harness::rel("a"), harness::rel("b"));
        let op = bench.begin(|op| match rename {
            false => WorkerToFiler::Remove { op, path: a, recursive: false },
            true => WorkerToFiler::Rename { op, from: b, to: a, overwrite: true },
        });
        bench.until("the intent", |bench| bench.halted);
        staging.store(1, Ordering::SeqCst);
        assert_eq!(bench.put("c", b"c", true), Err(ErrorCode::ReadOnly));
        bench.until("the word of the failure", |bench| bench.ledger.sync_failed);

        bench.ledger.log.clear();
        let granted = bench.ledger.hear(held.take().unwrap()).unwrap();
        bench.daemon.as_ref().unwrap().send(&granted, &[]).unwrap();
        let answer = bench.answer(op).0;
        let error = ErrorCode::ReadOnly;
        assert_eq!(answer, berth_common::filer_protocol::FilerToWorker::Failed { op, error });
        assert_eq!((bench.read("a"), bench.read("b")), (b"a".into(), b"b".into()));
        assert_eq!(bench.ledger.said(), ["Intent", "Released"], "and no settle");
    }
}

#[test]
fn one_sync_serves_all_who_asked_before_it_began() {
    for sync in [StagingSync::Directory, StagingSync::FileSystem] {
        one_sync_serves_all(sync);
    }
}

/// A session without peers, whose home and staging this directory is.
fn alone_in(directory: &Path, sync: StagingSync) -> Rc<Session> {
    let opened = || std::fs::File::open(directory).unwrap();
    let (_, channel) = harness::DaemonEnd::pair().unwrap();
    let (_, to_worker) = harness::WorkerEnd::pair().unwrap();
    let end = Rc::new(End::default());
    let helper = Helper::start().unwrap();
    Rc::new(Session::new(
        Home::new(opened()).unwrap(),
        Staging::new(opened(), sync).unwrap(),
        Ledger::new(channel, Rc::clone(&end), helper.names()),
        helper,
        Outbox::new(to_worker).unwrap(),
        end,
    ))
}

#[test]
fn what_was_begun_before_a_sync_failed_is_not_durable_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let session = alone_in(directory.path(), StagingSync::Directory);
    let ended = Rc::new(RefCell::new(Vec::new()));
    let sync_what_was_begun_at = |failed_before| {
        let (own, results) = (Rc::clone(&session), Rc::clone(&ended));
        session.tasks.spawn(async move {
            let synced = own.sync_staged_files(1, failed_before).await;
            results.borrow_mut().push(synced.map_err(|it| it.row));
        });
        let before = ended.borrow().len();
        while ended.borrow().len() == before {
            session.tasks.run_woken();
            session.begin_sync();
            std::thread::yield_now();
        }
    };
    session.staging.faults.data.store(1, Ordering::SeqCst);
    // Of one batch, while another is written, whose lost bytes the system may tell of here.
    sync_what_was_begun_at(0);
    sync_what_was_begun_at(0);
    sync_what_was_begun_at(session.staging.failed_file_syncs());
    assert_eq!(*ended.borrow(), [Err(Row::Open), Err(Row::Open), Ok(())]);
}

fn one_sync_serves_all(sync: StagingSync) {
    let directory = tempfile::tempdir().unwrap();
    let session = alone_in(directory.path(), sync);
    // The helper is held up until all have asked.
    let (go, held) = mpsc::channel::<()>();
    drop(session.helper.run_once(move || held.recv()));
    let done = Rc::new(Cell::new(0));
    for number in 0..5 {
        let (own, done) = (Rc::clone(&session), Rc::clone(&done));
        // Renames, too, where they need the same.
        let renames = number > 2 && sync == StagingSync::FileSystem;
        session.tasks.spawn(async move {
            match renames {
                true => own.sync_objects(Vec::new()).await.unwrap(),
                false => own.sync_staging().await.unwrap(),
            }
            done.set(done.get() + 1);
        });
    }
    session.tasks.run_woken();
    session.begin_sync();
    session.begin_sync();
    go.send(()).unwrap();
    while done.get() < 5 {
        session.tasks.run_woken();
        std::thread::yield_now();
    }
    assert_eq!(session.staging.faults.staging.load(Ordering::SeqCst), -1, "one sync");
}

/// A filer in a thread, whose helper removes a tree for as long as this is not set.
fn removing_a_large_tree() -> (Bench, Arc<AtomicBool>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let helper = Helper::start().unwrap();
    let seen = Arc::clone(&is_over);
    drop(helper.walk(move || match seen.load(Ordering::SeqCst) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }));
    let start =
        |channel, _: &Path| in_a_thread_with(channel, Faults::default(), helper, Crowd::default());
    (Bench::serving(start), is_over)
}

#[test]
fn what_is_small_is_given_up_and_answered_while_a_large_tree_is_removed() {
    // Each of these waits for an answer that a discard or a removal comes before; without it, for ever.
    for size in [5, LARGE] {
        let (mut bench, is_over) = removing_a_large_tree();
        bench.put("taken", b"x", true).unwrap();
        let bytes = vec![b'x'; size];
        // Refused under the ticket: the file appears after the filer has looked.
        let home = bench.home.clone();
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. }) {
                std::fs::write(home.join("a"), b"theirs").unwrap();
            }
            true
        }));
        let mut opened = bench.open(upload("a", source(size, 0), false)).unwrap();
        opened.files[0].write_all(&bytes).unwrap();
        assert_eq!(bench.commit(opened, &bytes), Err(ErrorCode::AlreadyExists));
        bench.watch = None;
        bench.charge_home();
        // Given up by the client.
        let given_up = bench.open(upload("b", source(size, 1), true)).unwrap().handle;
        bench.close(given_up, false);
        // Whoever opens a resumable upload waits for the discards that are under way.
        let kept = bench.open(upload("b", source(LARGE, 2), true)).unwrap().handle;
        // Kept, and aborted.
        bench.close(kept, true);
        let names = bench.ledger.rows.keys().copied().collect::<Vec<_>>();
        for upload in names {
            assert_eq!(bench.change(|op| WorkerToFiler::AbortUpload { op, upload }), Ok(()));
        }
        // What was replaced is cleared, and so is a small tree.
        bench.put("taken", b"other", true).unwrap();
        bench.make_directory("d/e", true).unwrap();
        bench.remove("d", true).unwrap();
        bench.check();
        assert_eq!(staged_names(&bench), 0, "{size}");
        assert!(!is_over.swap(true, Ordering::SeqCst));
    }
}

#[test]
fn who_cannot_be_handed_a_file_is_told_so_and_nothing_of_it_stays_open() {
    let crowd = Crowd::default();
    let own = crowd.clone();
    let start = move |channel, _: &Path| {
        in_a_thread_with(channel, Faults::default(), Helper::start().unwrap(), own)
    };
    let mut bench = Bench::serving(start);
    bench.put("a", b"old", true).unwrap();
    bench.settle_down();
    bench.ledger.log.clear();
    crowd.0.store(true, Ordering::SeqCst);
    let path = harness::rel("a");
    for _ in 0..=berth_common::filer_protocol::MAX_HANDLES {
        let path = path.clone();
        let answer = bench.ask(|op| WorkerToFiler::OpenRead { op, path });
        let refused = matches!(answer, FilerToWorker::Failed { error: ErrorCode::Internal, .. });
        assert!(refused, "{answer:?}");
    }
    let small = bench.open(upload("a", source(3, 0), true));
    assert_eq!(small.unwrap_err(), ErrorCode::Internal);
    let large = bench.open(upload("b", source(LARGE, 0), true));
    assert_eq!(large.unwrap_err(), ErrorCode::Internal);
    // What carries no descriptor goes on.
    assert!(matches!(
        bench.ask(|op| WorkerToFiler::Stat { op, path }),
        FilerToWorker::Entry { .. }
    ));
    assert_eq!(bench.ledger.said(), ["Reserve", "Drop", "ReserveUpload", "LetGo"]);
    crowd.0.store(false, Ordering::SeqCst);
    let resumed = bench.open(upload("b", source(LARGE, 0), true)).unwrap();
    assert!(resumed.resumed, "the client goes on with it");
    let handle = resumed.handle;
    drop(resumed);
    bench.close(handle, false);
    bench.put("a", b"new", true).unwrap();
    bench.check();
}

//! Workers and filers that stop answering while their client stays connected. The test is the clock.

use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};

use super::fakes::{FakeFiler, FakeWorker, Fakes, run, run_beyond};
use super::*;
use crate::filer_handle::SILENCE;
use crate::program::Program;

/// The turn of each session comes.
fn beat(fakes: &Fakes) {
    for (_, entry) in fakes.daemon.sessions.borrow().iter() {
        drop(entry.control.events.send(Event::Beat));
    }
}

/// Each is asked, once.
async fn asked(worker: &FakeWorker, filer: &FakeFiler) {
    assert_eq!(worker.recv().await, DaemonToWorker::Ping);
    assert_eq!(filer.recv().await, DaemonToFiler::Ping);
}

/// The daemon has taken what the filer had sent before.
async fn filer_is_heard(filer: &FakeFiler) {
    filer.send(&FilerToDaemon::Usage { op: OP });
    assert!(matches!(filer.recv().await, DaemonToFiler::Usage { .. }));
}

/// The same of the worker, which has moved so many bytes by then.
async fn worker_is_heard(fakes: &Fakes, worker: &FakeWorker, bytes: u64) {
    worker.send(&WorkerToDaemon::Progress { received: 1, sent: 0 });
    let moved = || fakes.daemon.sessions.borrow().get(SessionId(1)).unwrap().received;
    while moved() != bytes {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The session's one incident: whose it is, its kind and its sentence.
fn incident(fakes: &Fakes) -> (String, &'static str, String) {
    let latest = fakes.daemon.incidents.told().latest;
    // A recovering filer that the test plays ends badly, after it has done its work.
    let mut of_sessions = latest.iter().filter(|incident| incident.session.is_some());
    let incident = of_sessions.next().unwrap();
    assert_eq!(of_sessions.next(), None);
    (incident.program.clone(), incident.kind.name(), incident.what.clone())
}

fn silent(program: Program) -> (String, &'static str, String) {
    (program.to_string(), "stalled", "killed: was too slow: does not answer".to_owned())
}

#[test]
fn who_answers_is_asked_again_and_goes_on() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        for round in 1..=5 {
            beat(&fakes);
            asked(&worker, &filer).await;
            // One turn is missed, in which nothing more is asked.
            beat(&fakes);
            worker.send(&WorkerToDaemon::Alive);
            filer.send(&FilerToDaemon::Alive);
            filer_is_heard(&filer).await;
            worker_is_heard(&fakes, &worker, round).await;
        }
        assert_eq!(fakes.daemon.incidents.told().total(), 0);
    });
}

#[test]
fn a_worker_that_does_not_answer_is_told_as_stalled_and_its_filer_is_not() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        beat(&fakes);
        asked(&worker, &filer).await;
        filer.send(&FilerToDaemon::Alive);
        filer_is_heard(&filer).await;
        beat(&fakes);
        beat(&fakes);
        worker.ended().await;
        filer.ended().await;
        fakes.no_sessions().await;
        assert_eq!(incident(&fakes), silent(Program::Worker));
    });
}

#[test]
fn a_filer_that_does_not_answer_is_told_as_stalled_and_what_it_left_is_replayed() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let name = granted(&filer, 10).await;
        filer.send(&FilerToDaemon::Released { op: OP });
        beat(&fakes);
        asked(&worker, &filer).await;
        worker.send(&WorkerToDaemon::Alive);
        worker_is_heard(&fakes, &worker, 1).await;
        beat(&fakes);
        beat(&fakes);
        filer.ended().await;
        worker.ended().await;
        fakes.recoverer().await.find(&[name], vec![Finding::Missing]).await;
        fakes.no_sessions().await;
        assert_eq!(incident(&fakes), silent(Program::Filer));
        let usage = fakes.daemon.ledger.usage(&user("alice")).await.unwrap();
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (10, 0));
    });
}

/// One of the two answers twice, having been asked once.
fn answers_twice(program: Program, answer: impl Fn(&FakeWorker, &FakeFiler)) {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        beat(&fakes);
        asked(&worker, &filer).await;
        answer(&worker, &filer);
        answer(&worker, &filer);
        filer.ended().await;
        worker.ended().await;
        fakes.no_sessions().await;
        let (who, kind, what) = incident(&fakes);
        assert_eq!((who.as_str(), kind), (program.as_str(), "broke"));
        assert!(what.contains("answered what was not asked"), "{what}");
    });
}

#[test]
fn a_worker_that_answers_what_nobody_asked_breaks_the_protocol() {
    answers_twice(Program::Worker, |worker, _| worker.send(&WorkerToDaemon::Alive));
}

#[test]
fn a_filer_that_answers_what_nobody_asked_breaks_the_protocol() {
    answers_twice(Program::Filer, |_, filer| filer.send(&FilerToDaemon::Alive));
}

#[test]
fn before_the_login_other_deadlines_hold() {
    run(|| async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, _) = fakes.handshake().await;
        for _ in 0..5 {
            beat(&fakes);
        }
        worker.log_in("wrong").await;
        assert!(matches!(worker.recv().await, DaemonToWorker::Refuse { .. }), "and nothing before");
        // It is told to end, and has its time for that.
        for _ in 0..5 {
            beat(&fakes);
        }
        worker.send(&WorkerToDaemon::Closing { reason: CloseReason::Told });
        worker.crash();
        fakes.no_sessions().await;
        assert_eq!(fakes.daemon.incidents.told().workers.stalled, 0);
    });
}

#[test]
fn a_recovering_filer_that_says_nothing_for_long_is_ended_and_another_one_tried() {
    run_beyond(SILENCE, || async {
        let fakes = Fakes::start(|_| {}).await;
        let (_client, worker, filer) = fakes.session().await;
        let name = granted(&filer, 10).await;
        filer.crash();
        worker.crash();
        let silent = fakes.recoverer().await;
        assert!(matches!(silent.recv().await, DaemonToFiler::Examine { .. }));
        // The spares are ready, so that none of them is late when the clock is put on.
        let (next, _worker) = (fakes.filer().await, fakes.worker().await);
        while fakes.daemon.filers.count() == 0 || fakes.daemon.workers.count() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::advance(SILENCE).await;
        tokio::time::resume();
        silent.ended().await;

        assert!(matches!(next.recv().await, DaemonToFiler::Join(_)));
        next.send(&FilerToDaemon::Joined);
        // That it goes on is no answer.
        next.send(&FilerToDaemon::Alive);
        next.find(&[name], vec![Finding::Missing]).await;
        fakes.no_sessions().await;
        let latest = fakes.daemon.incidents.told().latest;
        assert!(latest.iter().any(|incident| incident.what.contains("does not answer")));
    });
}

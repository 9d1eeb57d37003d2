//! Valid messages, ten thousand a second: from workers to the daemon, from one and from several at once, and from a
//! worker to its filer. bob is served meanwhile, and who sends more than any honest one does is ended for that.

use std::time::Instant;

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerToDaemon};
use berth_common::channel::Message;
use berth_common::codec;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::OpId;
use berth_tests::puppets::{Order, Puppet, Report, certificate_verify};
use berth_tests::{Options, report};

use crate::asking::{Asking, path};
use crate::broker::{credential, ended, progress, refused, started};
use crate::scene::Scene;

const PER_SECOND: u64 = 10_000;

/// What became of a flood.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    All(u64),
    /// The puppet was ended meanwhile.
    Ended,
}

fn packets<M: Message, B: From<Vec<u8>>>(messages: &[M]) -> Vec<B> {
    let packet = |message| {
        let mut packet = Vec::new();
        codec::encode_into(message, &mut packet).unwrap();
        packet.into()
    };
    messages.iter().map(packet).collect()
}

/// To the daemon, in turn.
fn in_turn(puppet: &Puppet, messages: &[WorkerToDaemon], times: u64) -> Order {
    let (descriptor, packets) = (puppet.descriptor(0), packets(messages));
    Order::SendInTurn { descriptor, packets, times, per_second: PER_SECOND }
}

fn sent(puppet: &mut Puppet, order: &Order) -> Sent {
    match puppet.order(order) {
        Ok(Report::Sent { times, errno: 0 }) => Sent::All(times),
        Ok(Report::Sent { .. }) | Err(_) => Sent::Ended,
        Ok(other) => panic!("{other:?}"),
    }
}

/// Sends these in turn while bob's session works.
fn flood(scene: &Scene, puppet: &mut Puppet, messages: &[WorkerToDaemon], times: u64) -> Sent {
    let order = in_turn(puppet, messages, times);
    scene.beside(|| sent(puppet, &order))
}

/// A server that asks nobody whether it still runs: a puppet in its flood does not answer.
fn without_heartbeats() -> Scene {
    Scene::with(Options::new().set("heartbeat_seconds = 3600"))
}

#[test]
fn as_many_transfers_as_any_worker_may_tell_of_keep_nobody_from_being_served() {
    const MESSAGES: u64 = 20_000;
    let scene = without_heartbeats();
    let (mut puppet, _) = scene.worker_after_login();
    let pairs = [started(1, Some(1)), ended(1)];
    let began = Instant::now();
    assert_eq!(flood(&scene, &mut puppet, &pairs, MESSAGES), Sent::All(MESSAGES));
    // It has broken nothing, and is answered like anybody.
    let daemon = puppet.descriptor(0);
    let question =
        WorkerToDaemon::CredentialFirst { message: Vec::new(), credential: credential() };
    puppet.send(daemon, &question).unwrap();
    let (answer, _) = puppet.receive::<DaemonToWorker>(daemon).unwrap();
    assert_eq!(answer, refused());
    let reason = CloseReason::ClientLeft;
    puppet.send(daemon, &WorkerToDaemon::Closing { reason }).unwrap();
    let worker = puppet.pid();
    drop(puppet);
    let ended = || "ended normally".to_owned();
    assert_eq!(scene.ends_of(worker), (ended(), ended()));
    // Five thousand at once and five hundred a second have lines, and the others are counted.
    let transfers = scene.transcript_of(worker, "transfer");
    assert_eq!(transfers.told_of, MESSAGES / 2);
    assert!(transfers.lines <= 5001 + 500 * (1 + began.elapsed().as_secs()), "{transfers:?}");
    scene.assert_exact();
}

#[test]
fn a_flood_ends_its_session_for_what_it_is_while_another_works_on() {
    const OFTEN: &str = "more often than any honest one does";
    let scene = without_heartbeats();
    for (message, reason) in [
        (progress(), OFTEN),
        (WorkerToDaemon::Alive, "it answered what was not asked"),
        (certificate_verify(), "Sign is not allowed in the phase Serving"),
        (started(1, None), "it began a transfer too many"),
        (ended(1), "it ended a transfer that it had not begun"),
    ] {
        let (mut puppet, _) = scene.worker_after_login();
        let sent = flood(&scene, &mut puppet, std::slice::from_ref(&message), 10_000_000);
        assert_eq!(sent, Sent::Ended, "{message:?}");
        let (worker, filer) = scene.ends_of(puppet.pid());
        assert!(worker.contains("broke the protocol") && worker.contains(reason), "{worker}");
        assert_eq!(filer, "killed: its partner ended", "{message:?}");
    }
    // Before a login nothing may be repeated, so that a flood ends at its second message.
    let mut puppet = scene.server.puppet();
    assert_eq!(flood(&scene, &mut puppet, &[certificate_verify()], 10_000_000), Sent::Ended);
    let (worker, _) = scene.ends_of(puppet.pid());
    assert!(worker.contains("Sign is not allowed in the phase Signed"), "{worker}");
    drop(puppet);
    scene.assert_exact();
}

#[test]
fn four_workers_that_tell_as_much_as_they_may_at_once_keep_nobody_from_being_served() {
    const WORKERS: usize = 4;
    const MESSAGES: u64 = 20_000;
    /// Messages that a channel holds are some hundred.
    const UNHEARD: u64 = 1_000;
    let scene = without_heartbeats();
    let mut puppets: Vec<Puppet> = (0..WORKERS).map(|_| scene.worker_after_login().0).collect();
    let pairs = [started(1, Some(1)), ended(1)];
    let order = in_turn(&puppets[0], &pairs, MESSAGES);
    let began = Instant::now();
    scene.beside(|| {
        for puppet in &mut puppets {
            puppet.begin(&order);
        }
        for puppet in &mut puppets {
            let all = Report::Sent { times: MESSAGES, errno: 0 };
            assert_eq!(puppet.report(), Ok(all), "nothing of it breaks a rule");
        }
    });
    report(&format!("{WORKERS} times {MESSAGES} messages within {:?}", began.elapsed()));
    let workers: Vec<u32> = puppets.iter().map(Puppet::pid).collect();
    drop(puppets);
    for worker in workers {
        let ended = || "ended normally".to_owned();
        assert_eq!(scene.ends_of(worker), (ended(), ended()));
        // What its channel holds when its filer has ended is heard for a moment, however busy the machine is.
        let transfers = scene.transcript_of(worker, "transfer");
        assert!(transfers.told_of >= MESSAGES / 2 - UNHEARD, "{transfers:?}");
    }
    scene.assert_exact();
}

/// Questions that the filer answers from the disk, and such that it asks the daemon for.
#[test]
fn a_filer_that_its_worker_asks_as_much_as_it_may_keeps_nobody_from_being_served() {
    const QUESTIONS: u64 = 20_000;
    let scene = without_heartbeats();
    let mut asking = Asking::new(&scene);
    let questions: Vec<WorkerToFiler> = (0..64)
        .map(|number| match (OpId(number), number % 4) {
            (op, 0) => WorkerToFiler::Stat { op, path: path("") },
            (op, 1) => WorkerToFiler::List { op, path: path(""), notes: false },
            (op, 2) => WorkerToFiler::Stat { op, path: path("nothing/is/there") },
            (op, _) => WorkerToFiler::Usage { op },
        })
        .collect();
    let (descriptor, packets) = (asking.filer, packets(&questions));
    let order = Order::AskInTurn { descriptor, packets, times: QUESTIONS, per_second: PER_SECOND };
    let began = Instant::now();
    let asked = scene.beside(|| sent(&mut asking.puppet, &order));
    report(&format!("{QUESTIONS} questions within {:?}", began.elapsed()));
    assert_eq!(asked, Sent::All(QUESTIONS), "nothing of it breaks a rule");
    // It has answered all but the last ones, and goes on answering.
    for _ in 0..(QUESTIONS - 1) % questions.len() as u64 + 1 {
        asking.puppet.receive::<FilerToWorker>(descriptor).unwrap();
    }
    let made = |op| WorkerToFiler::MakeDirectory { op, path: path("made"), parents: false };
    let (answer, _) = asking.ask(made).unwrap();
    assert!(matches!(answer, FilerToWorker::Done { .. }), "{answer:?}");
    drop(asking);
    scene.assert_exact();
}

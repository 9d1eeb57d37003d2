//! Filers that are to carry out orders, to recover staging or to walk a home, and say something else instead. Each
//! is ended with a reason in the log, another one does the work, and nobody else notices.

use berth_common::channel::Message;
use berth_common::codec;
use berth_common::ids::{OpId, OwedName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, HomeSum};
use berth_common::limits::LINKED_NAMES;
use berth_tests::puppets::{Order, Puppet, PuppetFilers};

use crate::scene::Scene;

const OP: OpId = OpId(1);

/// More often than any honest filer says anything.
const OFTEN: u64 = 1000;

/// What a puppet says when it has its order, so often, and what the log calls that.
type Answer = (Box<dyn Fn(OpId) -> FilerToDaemon>, u64, &'static str);

fn answer(
    say: impl Fn(OpId) -> FilerToDaemon + 'static,
    times: u64,
    reason: &'static str,
) -> Answer {
    (Box::new(say), times, reason)
}

/// What is wrong in both roles.
fn wrong() -> Vec<Answer> {
    vec![
        answer(|op| FilerToDaemon::Usage { op }, 1, "Usage is no answer to its order"),
        answer(|op| FilerToDaemon::Ticket { op }, 1, "Ticket is no answer to its order"),
        answer(|_| FilerToDaemon::Joined, 1, "Joined is no answer to its order"),
        answer(
            |op| FilerToDaemon::Done { op: OpId(op.0.wrapping_add(1)) },
            1,
            "Done is no answer to its order",
        ),
    ]
}

/// The next filer, in its role.
fn join(filers: PuppetFilers) -> Puppet {
    let mut filer = filers.join();
    // Who comes after it is real.
    filers.stop();
    filer.send(filer.descriptor(0), &FilerToDaemon::Joined).unwrap();
    filer
}

fn receive(filer: &mut Puppet) -> DaemonToFiler {
    filer.receive(filer.descriptor(0)).unwrap().0
}

/// Says it, unless the daemon is quicker to end it.
fn say(filer: &mut Puppet, message: &impl Message, times: u64) {
    let (descriptor, mut packet) = (filer.descriptor(0), Vec::new());
    codec::encode_into(message, &mut packet).unwrap();
    filer.begin(&Order::Send { descriptor, packet, times, per_second: 0 });
}

/// Says that nothing is left to list, until it is asked for the sum.
fn list_all(walker: &mut Puppet, mut op: OpId) -> OpId {
    loop {
        say(walker, &FilerToDaemon::Listed { op, done: true }, 1);
        walker.report().unwrap();
        match receive(walker) {
            DaemonToFiler::List { op: next } => op = next,
            DaemonToFiler::Sum { op } => return op,
            other => panic!("{other:?}"),
        }
    }
}

/// Waits for the line that tells how a filer ended that had orders, and claims that this is why.
#[track_caller]
fn assert_ended_for(scene: &Scene, mark: usize, field: &str, reason: &str) {
    let line = scene.server.log().wait_after(mark, reason, |line| {
        line.message().contains("filer ended") && line.text("user").as_deref() == Some("alice")
    });
    let told = line.text(field).unwrap();
    assert!(told.contains("broke the protocol") && told.contains(reason), "{reason}: {told}");
}

#[test]
fn a_recovering_filer_that_says_anything_else_is_ended_and_another_one_recovers() {
    let scene = Scene::new();
    let more = [
        answer(|op| FilerToDaemon::Listed { op, done: false }, OFTEN, "Listed is no answer"),
        answer(|op| FilerToDaemon::Findings { op, findings: vec![] }, 1, "Findings is no answer"),
        answer(
            |op| FilerToDaemon::OwedNames { op, names: vec![OwedName(7); 9] },
            OFTEN,
            "OwedNames is no answer",
        ),
        // As many as wait for a daemon that was stopped for a day are honest.
        answer(|_| FilerToDaemon::Alive, 10 * OFTEN, "it says that it goes on more often"),
    ];
    for (message, times, reason) in wrong().into_iter().chain(more) {
        let (mut filer, worker) = scene.filer();
        let reserve = FilerToDaemon::Reserve { op: OP, growth: 1, entries: 1, stages: None };
        filer.send(filer.descriptor(0), &reserve).unwrap();
        assert!(matches!(receive(&mut filer), DaemonToFiler::Reserved { .. }));
        let filers = scene.server.puppet_filers();
        let mark = scene.server.log().mark();
        filer.begin(&Order::Exit(0));
        drop(worker);
        let mut recovering = join(filers);
        let DaemonToFiler::Remove { op, .. } = receive(&mut recovering) else {
            panic!("another order")
        };
        say(&mut recovering, &message(op), times);
        scene.assert_steady();
        recovering.ended();
        assert_ended_for(&scene, mark, "report", reason);
        scene.assert_unharmed();
    }
    scene.assert_exact();
}

#[test]
fn a_walking_filer_that_says_anything_else_is_ended_and_another_one_walks() {
    let scene = Scene::new();
    let more = [
        answer(|_| FilerToDaemon::Alive, 1, "Alive is no answer"),
        answer(|op| FilerToDaemon::Findings { op, findings: vec![] }, 1, "Findings is no answer"),
        answer(
            |op| FilerToDaemon::Walked { op, sum: HomeSum::default() },
            1,
            "Walked is no answer",
        ),
        // The second one answers no order.
        answer(|op| FilerToDaemon::Listed { op, done: false }, OFTEN, "Listed is no answer"),
    ];
    let walk = |message: &dyn Fn(OpId) -> FilerToDaemon, times, reason, at_the_end| {
        let filers = scene.server.puppet_filers();
        let mark = scene.server.log().mark();
        let verifying = scene.server.begin_berthctl(&["quota", "verify", "alice"], None);
        let mut walker = join(filers);
        let DaemonToFiler::List { mut op } = receive(&mut walker) else { panic!("another order") };
        if at_the_end {
            op = list_all(&mut walker, op);
        }
        say(&mut walker, &message(op), times);
        scene.assert_steady();
        walker.ended();
        assert_ended_for(&scene, mark, "ended", reason);
        verifying.wait().ok();
    };
    for (message, times, reason) in wrong().into_iter().chain(more) {
        walk(&message, times, reason, false);
    }
    let names = vec!["x".to_owned(); LINKED_NAMES + 1];
    let sum = HomeSum { linked_names: names, ..HomeSum::default() };
    let walked = |op| FilerToDaemon::Walked { op, sum: sum.clone() };
    walk(&walked, 1, "it names more files than were asked for", true);
    scene.assert_exact();
}

//! What a filer's puppet says to the daemon: out of phase, about others' uploads, absurd, with descriptors.

use std::time::Instant;

use berth_common::channel::Message;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::codec;
use berth_common::entry::SourceFingerprint;
use berth_common::ids::{OpId, StagingName, UploadToken};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, HomeReport, HomeSum, IntentItem, Outcome, SettleItem, Settling,
};
use berth_common::limits::NAMES_PER_MESSAGE;
use berth_common::rel_path::RelPath;
use berth_puppets::haggle;
use berth_puppets::orders::Haggling;
use berth_tests::puppets::{Fate, Order, Puppet, Report};
use berth_tests::{Options, ledger, wait_until};

use crate::in_flight::{send_message, with_descriptors};
use crate::packets::broken;
use crate::scene::Scene;

const OP: OpId = OpId(1);

/// A puppet that has joined as alice's filer, with its worker.
struct Joined {
    filer: Puppet,
    worker: Puppet,
}

impl Joined {
    fn new(scene: &Scene) -> Self {
        let (filer, worker) = scene.filer();
        Self { filer, worker }
    }

    fn tell(&mut self, message: &FilerToDaemon) -> Result<(), Fate> {
        self.filer.send(self.filer.descriptor(0), message)
    }

    fn ask(&mut self, message: &FilerToDaemon) -> DaemonToFiler {
        self.tell(message).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> DaemonToFiler {
        self.filer.receive(self.filer.descriptor(0)).unwrap().0
    }

    /// Asks what must be refused; the session goes on.
    #[track_caller]
    fn assert_refused(&mut self, message: &FilerToDaemon) {
        let answer = self.ask(message);
        assert!(matches!(answer, DaemonToFiler::Refused { .. }), "{message:?}: {answer:?}");
    }

    /// Claims that the daemon has ended the filer, and its session with it; gives the reason.
    #[track_caller]
    fn assert_broke(mut self, scene: &Scene, what: &str) {
        self.filer.ended();
        let (_, filer) = scene.ends_of(self.worker.pid());
        assert!(filer.contains("broke the protocol"), "{what}: {filer}");
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn source(size: u64) -> SourceFingerprint {
    SourceFingerprint { size, mtime_ns: i64::MAX, ctime_ns: i64::MIN, inode: u64::MAX }
}

fn intent(items: Vec<IntentItem>) -> FilerToDaemon {
    FilerToDaemon::Intent { op: OP, items, settle: None }
}

fn settle(name: StagingName, outcome: Outcome) -> FilerToDaemon {
    FilerToDaemon::Settle { op: OP, items: vec![SettleItem { name, outcome }] }
}

/// What only filers in other roles or phases say.
fn of_other_phases() -> Vec<FilerToDaemon> {
    vec![
        FilerToDaemon::Ready,
        FilerToDaemon::Joined,
        FilerToDaemon::Findings { op: OP, findings: vec![] },
        FilerToDaemon::OwedNames { op: OP, names: vec![] },
        FilerToDaemon::Listed { op: OP, done: true },
        FilerToDaemon::Walked { op: OP, sum: HomeSum::default() },
        FilerToDaemon::Done { op: OP },
        FilerToDaemon::Failed { op: OP, reason: "x".repeat(100_000) },
        FilerToDaemon::SyncFailed { op: OP, reason: String::new() },
    ]
}

#[test]
fn a_message_out_of_its_phase_ends_that_session_alone() {
    let scene = Scene::new();
    for message in of_other_phases() {
        let mut joined = Joined::new(&scene);
        let _ = joined.tell(&message);
        joined.assert_broke(&scene, &format!("{message:?}"));
    }
    scene.assert_exact();
}

#[test]
fn a_filer_that_speaks_too_early_is_no_filer() {
    let scene = Scene::new();
    for station in 0..3 {
        let (mut worker, filers) = scene.worker_at_login();
        // Before it is ready, before it has joined, and when it has said that it is ready twice.
        let mut filer = filers.next();
        let daemon = filer.descriptor(0);
        filers.stop();
        let _ = match station {
            0 => filer.send(daemon, &FilerToDaemon::Usage { op: OP }),
            1 => {
                filer = filer.proceed();
                filer.send(daemon, &FilerToDaemon::Usage { op: OP })
            }
            _ => {
                filer = filer.proceed();
                filer.send(daemon, &FilerToDaemon::Ready)
            }
        };
        filer.ended();
        // The login tries another, a real one.
        worker.accepted().unwrap();
        scene.assert_steady();
    }
    scene.assert_exact();
}

#[test]
fn a_packet_that_is_no_message_ends_that_session_alone() {
    let scene = Scene::new();
    for (what, packet) in broken(&FilerToDaemon::Usage { op: OP }) {
        let mut joined = Joined::new(&scene);
        let daemon = joined.filer.descriptor(0);
        match joined.filer.send_bytes(daemon, packet.clone()) {
            Err(Fate::Refused(_)) if packet.len() > 128 * 1024 => continue,
            _ => joined.assert_broke(&scene, what),
        }
    }
    scene.assert_exact();
}

#[test]
fn descriptors_that_nobody_asked_for_end_the_session() {
    let scene = Scene::new();
    for of_the_worker in [false, true] {
        let mut joined = Joined::new(&scene);
        let filer = &mut joined.filer;
        let to = if of_the_worker { filer.descriptor(4) } else { filer.descriptor(0) };
        let mut packet = Vec::new();
        codec::encode_into(&FilerToDaemon::Usage { op: OP }, &mut packet).unwrap();
        let message = with_descriptors(filer, &packet, &[1, 1, 1]).unwrap();
        let mut send = || send_message(filer, to, message);
        if of_the_worker {
            // Its own worker is no wall, and is hostile too: it may have them, unless another test has as many
            // in flight as this user may.
            wait_until("the descriptors are sent", || match send() {
                Err(Fate::Refused(libc::ETOOMANYREFS)) => false,
                sent => sent.map(|()| true).unwrap(),
            });
            continue;
        }
        let sent = send();
        // The kernel may refuse it (SO_PASSRIGHTS), else the daemon does.
        match sent {
            Err(Fate::Refused(errno)) => assert_eq!(errno, libc::EPERM),
            _ => joined.assert_broke(&scene, "descriptors"),
        }
    }
    scene.assert_exact();
}

#[test]
fn what_is_not_its_own_is_not_to_be_had() {
    let scene = Scene::new();
    // An upload of bob's that waits to be gone on with, and one that is alice's but another session's.
    let bobs = scene.open_upload_of_bobs();
    for name in [bobs, StagingName(0), StagingName(u64::MAX), StagingName(1 << 62)] {
        for message in [
            FilerToDaemon::Claim { op: OP, name },
            FilerToDaemon::Extend { op: OP, name, least: 1 },
            FilerToDaemon::Drop { op: OP, name },
            settle(name, Outcome::NotHappened),
            settle(name, Outcome::Placed { replaced: Some(u64::MAX) }),
            settle(name, Outcome::Removed { bytes: 1, entries: 1 }),
            intent(vec![IntentItem::Stage { name, inode: u64::MAX, size: 0, replaces: None }]),
            intent(vec![IntentItem::Stage { name, inode: 1, size: u64::MAX, replaces: Some(0) }]),
        ] {
            Joined::new(&scene).assert_refused_or_broke(&scene, &message);
        }
        for message in [FilerToDaemon::LetGo { name }, FilerToDaemon::Gone { names: vec![name] }] {
            let mut joined = Joined::new(&scene);
            let _ = joined.tell(&message);
            // Not answered: a question behind it is, or the session is ended.
            joined.assert_answered_or_broke(&scene, &FilerToDaemon::Usage { op: OP });
        }
    }
    assert_eq!(ledger::open_rows(&scene.server.data(), "bob"), 1, "bob's upload is his");
    assert!(scene.server.staging("bob").join(bobs.file_name()).exists());
    scene.assert_unharmed();
}

impl Joined {
    /// Asks what must not be done: it is refused, or ends the session.
    #[track_caller]
    fn assert_refused_or_broke(&mut self, scene: &Scene, message: &FilerToDaemon) {
        self.assert_not(scene, message, |answer| matches!(answer, DaemonToFiler::Refused { .. }));
    }

    #[track_caller]
    fn assert_answered_or_broke(&mut self, scene: &Scene, message: &FilerToDaemon) {
        self.assert_not(scene, message, |_| true);
    }

    #[track_caller]
    fn assert_not(
        &mut self,
        scene: &Scene,
        message: &FilerToDaemon,
        accepted: impl Fn(&DaemonToFiler) -> bool,
    ) {
        let daemon = self.filer.descriptor(0);
        let answer = self.tell(message).and_then(|()| self.filer.receive::<DaemonToFiler>(daemon));
        match answer {
            Ok((answer, _)) => assert!(accepted(&answer), "{message:?}: {answer:?}"),
            Err(_) => {
                self.filer.ended();
                let (_, filer) = scene.ends_of(self.worker.pid());
                let told = filer.contains("broke the protocol") || filer.contains("internal");
                assert!(told, "{message:?}: {filer}");
            }
        }
    }
}

#[test]
fn absurd_numbers_are_refused_and_sums_stay_right() {
    let scene = Scene::new();
    let most = [u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 62];
    for number in most {
        let mut joined = Joined::new(&scene);
        let reserve =
            |growth, entries, stages| FilerToDaemon::Reserve { op: OP, growth, entries, stages };
        joined.assert_refused(&reserve(number, 1, None));
        joined.assert_refused(&reserve(0, 0, Some(number)));
        joined.assert_refused(&reserve(number, number, Some(number)));
        let upload = |growth, entries, size| FilerToDaemon::ReserveUpload {
            op: OP,
            path: path("a"),
            source: source(size),
            token: UploadToken([255; 16]),
            growth,
            entries,
        };
        joined.assert_refused(&upload(number, 1, number));
        drop(joined);
        for message in [
            reserve(0, number, None),
            upload(0, number, 1),
            FilerToDaemon::Lease { op: OP, entries: number, replaces: number },
        ] {
            Joined::new(&scene).assert_answered_or_broke(&scene, &message);
        }
        scene.wait_for_rest();
    }
    scene.assert_exact();
}

#[test]
fn empty_and_endless_lists_and_tickets_out_of_turn_end_the_session() {
    let scene = Scene::new();
    let names = |count: usize| FilerToDaemon::Gone { names: vec![StagingName(1); count] };
    let item = SettleItem { name: StagingName(1), outcome: Outcome::NotHappened };
    let unclear =
        |count: usize| FilerToDaemon::Reports { reports: vec![HomeReport::Unclear; count] };
    let together = |items, settled| FilerToDaemon::Intent {
        op: OP,
        items,
        settle: Some(Settling { op: OP, items: settled }),
    };
    let sequences = [
        vec![names(0)],
        vec![names(NAMES_PER_MESSAGE + 1)],
        vec![intent(vec![])],
        vec![intent(vec![IntentItem::Take; NAMES_PER_MESSAGE + 1])],
        vec![FilerToDaemon::Settle { op: OP, items: vec![] }],
        vec![FilerToDaemon::Settle { op: OP, items: vec![item; NAMES_PER_MESSAGE + 1] }],
        vec![together(vec![], vec![item])],
        vec![together(vec![IntentItem::Take], vec![])],
        vec![together(vec![IntentItem::Take], vec![item])],
        vec![unclear(0)],
        vec![unclear(NAMES_PER_MESSAGE + 1)],
        vec![FilerToDaemon::Released { op: OP }],
        vec![FilerToDaemon::Ticket { op: OP }, FilerToDaemon::Ticket { op: OpId(2) }],
        vec![FilerToDaemon::Ticket { op: OP }, FilerToDaemon::Released { op: OpId(2) }],
        (0..100).map(|_| names(NAMES_PER_MESSAGE)).collect(),
    ];
    for sequence in sequences {
        let mut joined = Joined::new(&scene);
        // In one packet after the other, without a pause in which an answer could come.
        let daemon = joined.filer.descriptor(0);
        for message in &sequence {
            joined.filer.begin(&order(daemon, message));
        }
        let what = format!("{} times {:.80}", sequence.len(), format!("{:?}", sequence[0]));
        joined.assert_broke(&scene, &what);
        scene.assert_steady();
    }
    scene.assert_exact();
}

fn order(descriptor: i32, message: &impl Message) -> Order {
    let mut packet = Vec::new();
    codec::encode_into(message, &mut packet).unwrap();
    Order::Send { descriptor, packet, times: 1, per_second: 0 }
}

#[test]
fn a_flood_of_questions_ends_its_session_while_another_works_on() {
    let scene = Scene::new();
    let nobodys = StagingName(1 << 62);
    let flooded = "sent more messages than any honest one does";
    for (message, reasons) in [
        (FilerToDaemon::Usage { op: OP }, ["Usage: it used an operation's number twice", flooded]),
        (FilerToDaemon::LetGo { name: nobodys }, ["it tells of a name that it does not have"; 2]),
        (FilerToDaemon::Reports { reports: vec![HomeReport::Unclear; 1024] }, [flooded; 2]),
    ] {
        let mut joined = Joined::new(&scene);
        let Order::Send { descriptor, packet, .. } = order(joined.filer.descriptor(0), &message)
        else {
            unreachable!()
        };
        let flood = Order::Send { descriptor, packet, times: 10_000_000, per_second: 0 };
        scene.beside(|| drop(joined.filer.order(&flood)));
        let (_, filer) = scene.ends_of(joined.worker.pid());
        let told = reasons.iter().any(|reason| filer.contains(reason));
        assert!(filer.contains("broke the protocol") && told, "{message:.60?}: {filer}");
    }
    scene.assert_exact();
}

#[test]
fn as_much_as_a_filer_may_ask_for_and_give_back_keeps_nobody_from_being_served() {
    // It does not answer while it haggles.
    let scene = Scene::with(Options::new().set("heartbeat_seconds = 3600"));
    let a_second = 10_000;
    for (about, items) in [
        (Haggling::Ticket, 1),
        (Haggling::Reservations, haggle::RESERVATIONS as u64),
        (Haggling::Names, haggle::NAMES as u64),
        (Haggling::TooMuch, haggle::RESERVATIONS as u64),
    ] {
        let began = Instant::now();
        let mut joined = Joined::new(&scene);
        let (descriptor, times) = (joined.filer.descriptor(0), 5_000 / items);
        let order = Order::Haggle { descriptor, about, times, per_second: a_second / items };
        let sent = scene.beside(|| joined.filer.order(&order));
        assert_eq!(sent, Ok(Report::Sent { times, errno: 0 }), "{about:?}");
        // It has broken nothing, is answered like anybody, and has nothing left.
        let DaemonToFiler::Usage { usage, .. } = joined.ask(&FilerToDaemon::Usage { op: OP })
        else {
            panic!("{about:?}: no answer");
        };
        assert_eq!((usage.used_bytes, usage.reserved_bytes), (0, 0), "{about:?}");
        joined.filer.begin(&Order::Exit(0));
        joined.filer.ended();
        let (worker, filer) = scene.ends_of(joined.worker.pid());
        assert_eq!((&*worker, &*filer), ("killed: its partner ended", "ended normally"));
        // A hundred at once and one a second are told, with how many are not.
        let refused = scene.transcript_of(joined.worker.pid(), "refused");
        assert_eq!(refused.told_of, if about == Haggling::TooMuch { times * items } else { 0 });
        assert!(refused.lines <= 101 + began.elapsed().as_secs(), "{refused:?}");
    }
    scene.assert_exact();
}

#[test]
fn a_ticket_that_is_not_given_back_ends_its_holder_and_others_go_on() {
    let scene = Scene::with(Options::new().set("ticket_seconds = 2"));
    let mut joined = Joined::new(&scene);
    let answer = joined.ask(&FilerToDaemon::Ticket { op: OP });
    assert!(matches!(answer, DaemonToFiler::Granted { .. }), "{answer:?}");
    scene.server.real_workers();
    let mut other = scene.server.real_login("alice", "a");
    let made =
        other.ask(|id| ClientToWorker::MakeDirectory { id, path: path("made"), parents: false });
    assert!(matches!(made, WorkerToClient::Done { .. }), "{made:?}");
    joined.filer.ended();
    let (_, filer) = scene.ends_of(joined.worker.pid());
    assert!(filer.contains("ticket"), "{filer}");
    drop((other, joined));
    scene.server.puppet_workers(&Default::default());
    scene.assert_exact();
}

#[test]
fn lies_about_what_was_removed_hurt_the_liars_user_alone() {
    let scene = Scene::new();
    for (bytes, entries) in [(u64::MAX, u64::MAX), (1 << 62, 1), (1, 1 << 62), (1 << 40, 1 << 40)] {
        let mut joined = Joined::new(&scene);
        let DaemonToFiler::Granted { names, .. } = joined.ask(&intent(vec![IntentItem::Take]))
        else {
            break;
        };
        joined.tell(&FilerToDaemon::Released { op: OP }).unwrap();
        let outcome = Outcome::Removed { bytes, entries };
        let daemon = joined.filer.descriptor(0);
        let _ = joined.tell(&settle(names[0], outcome));
        let answer = joined.filer.receive::<DaemonToFiler>(daemon);
        assert!(!matches!(answer, Ok((DaemonToFiler::Settled { .. }, _))), "{answer:?}");
        drop(joined);
        scene.assert_steady();
        scene.server.wait_for_no_session_of("alice");
    }
    let used = scene.server.user("alice")["used_bytes"].as_i64();
    assert_eq!(used, Some(0), "nothing was there to be removed");
    scene.assert_steady();
    scene.server.berthctl(&["status"]).ok();
}
